"""Tests of the filter of one of two branches: one operator adds their gradients, with the bits of the two passes."""

from __future__ import annotations

import pytest
import torch

from tests.support.operations import needs_kernels
from tests.torch_utils.ops.test_epilogue import Recorder, normal
from torch_utils.ops.conv2d_resample import branched_conv2d_down, conv2d_resample
from torch_utils.ops.filter_branch import filter_branch
from torch_utils.ops.upfirdn2d import setup_filter, upfirdn2d

FIR = setup_filter([1, 3, 3, 1])


@needs_kernels
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float64])
def test_values_and_gradients_have_the_bits_of_two_branches_on_a_cpu(dtype: torch.dtype) -> None:
    x = normal(2, 8, 7, 6, seed=0, dtype=dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    results = []
    for a, b in (filter_branch(x, FIR, 2, [1] * 4), (x, upfirdn2d(x, FIR, down=2, padding=[1] * 4))):
        loss = (a.square().sum() + (b * a[:, :, :3, :3]).square().sum()).float()
        (dx,) = torch.autograd.grad(loss, x, create_graph=True)
        (second,) = torch.autograd.grad(dx.square().sum(), x)
        results.append([b, dx, second])
    assert all(torch.equal(t, e) for t, e in zip(*results, strict=True))


@needs_kernels
def test_the_gradient_of_both_branches_is_one_operator() -> None:
    x = normal(2, 8, 6, 6, seed=0).requires_grad_()
    a, b = filter_branch(x, FIR, 2, [1] * 4)
    with Recorder() as seen:
        torch.autograd.grad(a.sum() + b.sum(), x)
    assert seen.names == ['upfirdn2d_add']


def test_a_convolution_after_the_filter_is_that_of_conv2d_resample() -> None:
    x, w = normal(2, 3, 8, 6, seed=0), normal(5, 3, 1, 1, seed=1)
    same, y = branched_conv2d_down(x, w, FIR, 2)
    assert same is x or torch.equal(same, x)
    assert torch.equal(y, conv2d_resample(x, w, FIR, down=2))


@needs_kernels
def test_an_image_of_another_shape_cannot_be_added() -> None:
    x = normal(1, 2, 4, 4, seed=0)
    with pytest.raises(ValueError, match="upfirdn2d_add: r's shape"):
        torch.ops.ganfoundry.upfirdn2d_add(x, x, FIR, [1, 1], [1, 1], [1] * 4)
