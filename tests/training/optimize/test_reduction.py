"""Reduction: equal parts of the tree are its branches."""

from __future__ import annotations

import torch

from training.optimize.reduction import tree_sum


def test_equal_parts_of_the_tree_are_its_branches():
    draw = torch.Generator().manual_seed(0)
    leaves = [torch.randn(100, generator=draw) for _ in range(24)]
    whole = tree_sum(0, 24, lambda k: leaves[k].clone())
    torch.testing.assert_close(whole, torch.stack(leaves).sum(dim=0))
    for size in (2, 4, 8):
        parts = [tree_sum(r * 24 // size, (r + 1) * 24 // size, lambda k: leaves[k].clone()) for r in range(size)]
        assert torch.equal(tree_sum(0, size, parts.__getitem__), whole)
