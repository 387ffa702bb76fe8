"""Finiteness: each part is checked once, and the message names the image."""

import pytest
import torch

from dnnlib.errors import DataError
from metrics.finite import check_finite, finite_rows


def test_the_first_number_that_is_not_finite_is_named_by_its_position():
    parts = [range(3, 5), range(8, 10)]
    rows = [torch.ones(2, 3), torch.tensor([[1.0, 1, 1], [1, -torch.inf, 1]])]
    seen = finite_rows(lambda parts: iter(rows), 'generated images', 'efflite')(parts)
    assert torch.equal(next(seen), rows[0])
    with pytest.raises(DataError, match='generated images: efflite returns NaN or infinity for number 9 '):
        next(seen)


def test_every_tensor_is_checked():
    check_finite('features', torch.ones(2), torch.zeros(0))
    with pytest.raises(DataError, match='features: not all numbers are finite'):
        check_finite('features', torch.ones(2), torch.tensor([1.0, torch.nan]))
