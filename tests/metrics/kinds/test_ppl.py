"""Path length: the steps that count."""

import numpy as np
import pytest
import torch

from metrics.kinds.ppl import path_length


def test_the_mean_over_the_squared_step_leaves_out_what_is_beyond_the_percentiles():
    distances = torch.arange(1000.0).double()[torch.randperm(1000, generator=torch.Generator().manual_seed(0))]
    distances[distances == 999] = 1e9
    # numpy's 'lower' and 'higher': rank 9.99 is 9, rank 989.01 is 990, and both belong.
    assert path_length(distances) == pytest.approx(np.mean(np.arange(9, 991)) / 1e-8, rel=1e-12)
    assert path_length(torch.tensor([3.0]).double()) == pytest.approx(3e8, rel=1e-12)
