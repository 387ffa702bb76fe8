"""Reduction: equal parts of the tree are its branches."""

from __future__ import annotations

import pytest
import torch

from torch_utils.distributed import World
from training.optimize.reduction import MovingBuffers, tree_sum


def test_equal_parts_of_the_tree_are_its_branches():
    draw = torch.Generator().manual_seed(0)
    leaves = [torch.randn(100, generator=draw) for _ in range(24)]
    whole = tree_sum(0, 24, lambda k: leaves[k].clone())
    torch.testing.assert_close(whole, torch.stack(leaves).sum(dim=0))
    for size in (2, 4, 8):
        parts = [tree_sum(r * 24 // size, (r + 1) * 24 // size, lambda k: leaves[k].clone()) for r in range(size)]
        assert torch.equal(tree_sum(0, size, parts.__getitem__), whole)


class Net(torch.nn.Module):
    """A network with buffers of several dtypes, some of which move."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('mean', torch.zeros(3))
        self.register_buffer('count', torch.zeros([], dtype=torch.int64))
        self.register_buffer('exact', torch.zeros(2, dtype=torch.float64))
        self.register_buffer('still', torch.ones(5))
        self.register_buffer('noise_const', torch.ones(4))

    def move(self, by: float) -> None:
        self.mean += by
        self.count += 1
        self.exact += by


def test_buffers_end_at_the_mean_of_the_micro_batches():
    net, other = Net(), torch.zeros([])
    buffers = MovingBuffers([net], [other])
    for by in (1.0, 2.0, 6.0):
        buffers.begin_micro()
        net.move(by)
        other += by
        buffers.end_micro()
    buffers.finish(World())
    assert net.mean.tolist() == [3.0] * 3
    assert net.exact.tolist() == [3.0] * 2
    assert (net.count.item(), other.item(), buffers.size) == (1, 3.0, 7)
    assert net.still.tolist() == [1.0] * 5


@pytest.mark.parametrize('moved', [0, 1])
def test_a_buffer_whose_name_promises_that_it_stays_must_stay(moved):
    nets = [Net(), Net()]  # both have buffers of the same names
    buffers = MovingBuffers(nets, [torch.zeros([])])
    buffers.begin_micro()
    nets[moved].noise_const += 1
    buffers.end_micro()
    with pytest.raises(RuntimeError, match='noise_const: a pass changed this buffer'):
        buffers.finish(World())
