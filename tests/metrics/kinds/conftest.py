"""Numbers of other implementations, for the tests of the estimators."""

import json

import numpy as np
import pytest
import torch


@pytest.fixture(scope='module')
def numbers(golden):
    """Features and metrics from the official implementation."""
    with np.load(golden / 'metrics.npz', allow_pickle=False) as file:
        return {name: torch.from_numpy(file[name]) for name in file if name != 'meta'}


@pytest.fixture(scope='module')
def fidelity(golden):
    return json.loads((golden / 'torch_fidelity.json').read_text())
