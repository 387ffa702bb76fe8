"""One arithmetic within a block, and the settings of the run after it."""

import pytest
import torch

from metrics.detectors.determinism import deterministic_float32


def settings():
    backends = torch.backends
    products = (backends.cudnn.conv, backends.cuda.matmul, backends.mkldnn.conv, backends.mkldnn.matmul)
    return [p.fp32_precision for p in products], backends.cudnn.benchmark, backends.cudnn.deterministic


@pytest.fixture
def fast():
    """Settings for speed; restored after the test."""
    matmul, precision = torch.backends.mkldnn.matmul, torch.backends.mkldnn.matmul.fp32_precision
    benchmark = torch.backends.cudnn.benchmark
    matmul.fp32_precision, torch.backends.cudnn.benchmark = 'bf16', True
    yield
    matmul.fp32_precision, torch.backends.cudnn.benchmark = precision, benchmark


def test_products_are_ieee_within_and_as_before_afterwards_also_after_an_error(fast):
    before = settings()
    with deterministic_float32():
        assert settings() == (['ieee'] * 4, False, True)
    assert settings() == before
    with pytest.raises(KeyError), deterministic_float32():
        raise KeyError
    assert settings() == before
