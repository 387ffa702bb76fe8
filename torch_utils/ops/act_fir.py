"""Bias and activation with the filter before a strided convolution in one pass: the specification, the kernels' way.

Differentiable any number of times, as `epilogue` is. Letters: N batch, C channels, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from torch_utils.ops import dispatch
from torch_utils.ops.bias_act import bias_act
from torch_utils.ops.epilogue import SLOPES, correlated
from torch_utils.ops.upfirdn2d import upfirdn2d


def act_fir(
    x: torch.Tensor,
    bias: torch.Tensor | None,
    fir: torch.Tensor,
    padding: Sequence[int],
    act: str = 'linear',
    alpha: float | None = None,
    gain: float = 1,
    clamp: float | None = None,
    impl: str = 'auto',
) -> torch.Tensor:
    """FIR(clip(gain * act(x + bias), -clamp, clamp)), in the dtype of `x`.

    Args:
        x: [N, C, H, W], any floating dtype. The kernel takes channels last; in another memory format the two
            operations run one after the other, each by its own kernel.
        bias: [C]; None: 0.
        fir: filter of `upfirdn2d.setup_filter`, convolved. No gradient flows into it.
        padding: of the filter, (x0, x1, y0, y1) pixels; negative ones crop.
        act, alpha, gain, clamp, impl: as in `synthesis_epilogue`.

    Returns:
        [N, C, H + y0 + y1 - fh + 1, W + x0 + x1 - fw + 1].

    Raises:
        ValueError: arguments of a wrong shape or out of range.
        ConfigError: an implementation that is not there.
    """
    if act not in SLOPES:
        raise ValueError(f"act_fir: act '{act}', known are {', '.join(SLOPES)}")
    slope = SLOPES[act] if alpha is None or act == 'linear' else alpha
    if slope < 0 or gain <= 0 or (clamp is not None and clamp < 0):
        raise ValueError(f'act_fir: needs {alpha=} and {clamp=} of at least 0 (or None), positive {gain=}')
    if dispatch.pick(impl, x) != 'cpu' or not x.is_contiguous(memory_format=torch.channels_last):
        x = bias_act(x, bias, act=act, alpha=slope, gain=gain, clamp=clamp, impl=impl)
        return upfirdn2d(x, fir, padding=padding, impl=impl)
    bias = x.new_zeros(x.shape[1]) if bias is None else bias
    return torch.ops.ganfoundry.act_fir(x, bias, correlated(fir), padding, slope, gain, clamp)
