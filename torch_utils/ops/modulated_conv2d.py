"""StyleGAN2's convolution, whose kernel every sample scales by its own style, with what follows it in a layer.

Karras et al., Analyzing and Improving the Image Quality of StyleGAN, arXiv 1912.04958, section 2.2. Letters: N batch,
I and O input and output channels, H and W height and width, k kernel size.
"""

from __future__ import annotations

import torch

from torch_utils.ops.conv2d_resample import conv2d_before_fir, conv2d_resample
from torch_utils.ops.epilogue import synthesis_epilogue


def modulated_conv2d(
    x: torch.Tensor,
    weight: torch.Tensor,
    styles: torch.Tensor,
    noise: torch.Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: int = 0,
    resample_filter: torch.Tensor | None = None,
    demodulate: bool = True,
    flip_weight: bool = True,
    gain: float = 1,
    bias: torch.Tensor | None = None,
    act: str = 'linear',
    clamp: float | None = None,
) -> torch.Tensor:
    """clip(gain * act(demodulated convolution of x with the kernel s_i w_oikl, plus noise, plus bias), -clamp, clamp).

    No kernel is built per sample: scaling the input by s and the output by the demodulation is the same map. All that
    follows the convolution is `synthesis_epilogue`, the filter of an up-sampling one included.

    Args:
        x: [N, I, H, W], any floating dtype; the result has it too.
        weight: [O, I, k, k] float32 (or the dtype of `x`).
        styles: [N, I], dtype of `weight`.
        noise: [N, 1, H', W'] or [H', W'], added to every output channel after demodulation; None: nothing.
        up, down, padding, resample_filter, flip_weight: as in `conv2d_resample`.
        demodulate: scale every output channel of every sample to unit expected variance.
        gain, bias, act, clamp: as in `synthesis_epilogue`.

    Returns:
        [N, O, H', W'], dtype of `x`.
    """
    if demodulate and x.dtype == torch.float16:
        weight, styles = _keep_in_range(weight, styles)
    d = demodulation(weight, styles) if demodulate else None  # [N, O]
    if d is None:
        # act(g x) = g act(x): the gain rides on what is smaller than the features.
        weight, gain, g = weight * gain, 1, gain
        noise, bias = (None if t is None else t * g for t in (noise, bias))

    fir, fir_padding = None, [0, 0, 0, 0]
    if noise is None and d is None and up == down == 1 and _prefers_matmul(x, weight, padding):
        x = _pointwise(x, weight, styles)  # [N, O, H, W]
    else:
        x = x * styles.to(x.dtype)[:, :, None, None]  # [N, I, H, W]
        w = weight.to(x.dtype)
        if up > 1 and down == 1 and w.shape[-1] > 1 and resample_filter is not None:
            fir = resample_filter
            x, fir_padding = conv2d_before_fir(x, w, fir, up, padding, flip_weight)
        else:
            x = conv2d_resample(x, w, resample_filter, up, down, padding, flip_weight)  # [N, O, H', W']
    return synthesis_epilogue(x, fir, fir_padding, d, noise, bias, act, gain=gain, clamp=clamp, fir_gain=up**2)


def demodulation(weight: torch.Tensor, styles: torch.Tensor) -> torch.Tensor:
    """The factor [N, O] that makes the output of each sample's kernel have unit variance, for unit-variance input.

    Eq. (3): 1 / sqrt(sum_ikl (s_i w_oikl)^2 + eps), the sum written as s^2 @ (sum_kl w^2)^T: N * O * I products, where
    the scaled kernels would be N * O * I * k^2 numbers to hold.
    """
    return (styles.square() @ weight.square().sum([2, 3]).t() + 1e-8).rsqrt()


def _keep_in_range(weight: torch.Tensor, styles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale weights and styles so that float16 cannot overflow. Demodulation takes every such scale out again."""
    fan_in = weight[0].numel()
    weight = weight / (weight.abs().amax(dim=[1, 2, 3], keepdim=True) * fan_in**0.5)  # Each output channel by its own.
    styles = styles / styles.abs().amax(dim=1, keepdim=True)  # Each sample by its own.
    return weight, styles


def _prefers_matmul(x: torch.Tensor, weight: torch.Tensor, padding: int) -> bool:
    """Whether the kernels of N samples are so small, beside the image, that building them is the cheaper way."""
    return weight.shape[2] == weight.shape[3] == 1 and padding == 0 and 8 * weight.shape[0] <= x.shape[2] * x.shape[3]


def _pointwise(x: torch.Tensor, weight: torch.Tensor, styles: torch.Tensor) -> torch.Tensor:
    """1x1 kernels, one per sample, as matrix products: no scaled copy of `x` is made."""
    n, i, h, w = x.shape
    kernels = (weight[:, :, 0, 0] * styles[:, None, :]).to(x.dtype)  # [N, O, I]
    y = x.permute(0, 2, 3, 1).reshape(n, h * w, i) @ kernels.transpose(1, 2)  # [N, H W, O]
    return y.reshape(n, h, w, -1).permute(0, 3, 1, 2)  # [N, O, H, W]
