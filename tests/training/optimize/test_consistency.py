"""Consistency check: a difference between processes is found and named."""

from __future__ import annotations

import pytest
import torch

from dnnlib.errors import UserError
from tests.support.ranks import run_ranks
from training.optimize.consistency import check_identical, checksum


@pytest.mark.slow
@pytest.mark.parametrize('rank', [0, 1])
def test_a_difference_between_processes_is_found_and_named(rank):
    def task(world):
        tensors = {'G.w': torch.arange(6.0).view(2, 3), 'D.b': torch.zeros(4), 'D.n': torch.tensor(7)}
        check_identical(world, tensors, 1000)
        if world.rank == rank:
            tensors['D.b'][2] = -0.0
        with pytest.raises(UserError) as error:
            check_identical(world, tensors, 2000)
        return str(error.value)

    messages = run_ranks(2, task)
    assert messages[0] == messages[1]
    assert messages[0].startswith('rank 1 holds another D.b than rank 0 at 2.00 kimg')


def test_a_checksum_sees_every_bit_and_every_place():
    x = torch.arange(8, dtype=torch.float32)
    swapped = x[[1, 0, 2, 3, 4, 5, 6, 7]]
    assert len({int(checksum(y)) for y in (x, swapped, x + 0, x.nextafter(x + 1))}) == 3
    for dtype in (torch.bfloat16, torch.float64, torch.int64, torch.uint8):
        assert checksum(torch.ones(3, dtype=dtype)) != checksum(torch.zeros(3, dtype=dtype))
