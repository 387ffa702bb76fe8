"""Helpers of the tests of operations: golden cases, images in every layout, comparisons."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from torch_utils.ops.toolchain import build

LOADED = build.load_cpu()
SETTINGS = settings(max_examples=150, deadline=None, derandomize=True)
# Relative to the largest value. The reference rounds bfloat16 at every step, the kernels once.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 3e-2, torch.float64: 1e-12}
dtypes = st.sampled_from([torch.float32, torch.bfloat16, torch.float64])
layouts = st.sampled_from(['contiguous', 'channels_last', 'strided', 'expanded'])
images = st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(1, 11), st.integers(1, 37))
GOLDEN = ROOT / 'tests' / 'golden'
NUM_CASES = {
    'bias_act': 27, 'upfirdn2d': 7, 'modulated_conv2d': 4,
    'stylegan3_filtered_lrelu': 13, 'stylegan3_modulated_conv2d': 6,
}  # fmt: skip
needs_kernels = pytest.mark.skipif(not LOADED, reason=f'no native operations: {LOADED.problem}')


def image(shape: tuple[int, ...], dtype: torch.dtype, layout: str, seed: int) -> torch.Tensor:
    """Returns a leaf [N, C, H, W] of normal numbers in the named layout."""
    n, c, h, w = shape
    generator = torch.Generator().manual_seed(seed)
    if layout == 'expanded':
        x = torch.randn([n, c, h, 1], generator=generator).to(dtype).expand(shape)
    elif layout == 'strided':
        x = torch.randn([n, c, h, 2 * w], generator=generator).to(dtype)[..., ::2]
    else:
        x = torch.randn(shape, generator=generator).to(dtype)
        x = x.contiguous(memory_format=torch.channels_last) if layout == 'channels_last' else x
    return x.requires_grad_()


def sum_of_mirror_images(f: torch.Tensor) -> torch.Tensor:
    """Returns a filter [fh, fw] that equals itself upside down and from right to left, as a radial one does."""
    return f + f.flip(0) + f.flip(1) + f.flip([0, 1])


def assert_close(actual: torch.Tensor, expected: torch.Tensor, scale: float = 1) -> None:
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    if expected.numel() == 0:
        return
    atol = TOLERANCE[actual.dtype] * max(float(expected.detach().abs().max()), scale)
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


def load_golden(name: str, case: int) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Returns the arrays and the arguments of one golden case."""
    with np.load(GOLDEN / f'{name}.npz', allow_pickle=False) as file:
        meta = json.loads(str(file['meta']))
        assert len(meta) == NUM_CASES[name]
        prefix = f'{case}.'
        arrays = {key.removeprefix(prefix): torch.from_numpy(file[key]) for key in file if key.startswith(prefix)}
        return arrays, meta[case]


def assert_equal(actual: torch.Tensor, expected: torch.Tensor) -> None:
    """Checks equality to 1e-12 of the largest element."""
    assert actual.dtype == expected.dtype == torch.float64
    atol = 1e-12 * max(float(expected.detach().abs().max()), 1)
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


def assert_same_bits(run: Callable[[], list[torch.Tensor]], num_threads: int) -> None:
    """Checks that a function returns the same bits on `num_threads` threads as on the present number of them."""
    before, expected = torch.get_num_threads(), run()
    torch.set_num_threads(num_threads)
    try:
        results = run()
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, e) for a, e in zip(results, expected, strict=True))


def rand(*shape: int, seed: int = 0, grad: bool = True) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_(grad)
