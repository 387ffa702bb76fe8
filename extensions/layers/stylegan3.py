"""Layers of StyleGAN3: Fourier features as input, and the alias-free layer.

Karras et al. 2021, arXiv 2106.12423, section 3.2 and appendices C and F. Letters: N batch, I and O input and output
channels, H and W height and width, k kernel size, f frequency, s sampling rate.
"""

from __future__ import annotations

import math

import torch

from extensions.layers.stylegan3_config import StyleGAN3Config
from extensions.layers.stylegan3_plan import LayerPlan, Signal
from torch_utils.ops.bias_act import bias_act
from torch_utils.ops.conv2d import conv2d
from torch_utils.ops.filtered_lrelu import filtered_lrelu
from torch_utils.ops.modulated_conv2d import demodulation
from training.networks.layers import LRELU_GAIN, FullyConnected, LowerableBlock


def modulated_conv2d(
    x: torch.Tensor,
    weight: torch.Tensor,
    styles: torch.Tensor,
    demodulate: bool = True,
    padding: int = 0,
    input_gain: torch.Tensor | None = None,
) -> torch.Tensor:
    """Convolves each sample with w * s * g, of which w * s is scaled to unit norm per output channel.

    Scaling the input by s * g and the result by the demodulation is the same map; no kernel is built per sample.

    Args:
        x: Features [N, I, H, W], any floating dtype.
        weight: Kernel w [O, I, k, k], float32 or float64.
        styles: Styles s [N, I], dtype of `weight`.
        demodulate: Whether to scale the kernels to unit norm.
        padding: Zeros on every side of the image.
        input_gain: Factor g on the input, which demodulation does not remove: [], [I] or [N, I]. None: 1.

    Returns:
        [N, O, H + 2 * padding - k + 1, W + 2 * padding - k + 1], dtype of `x`.
    """
    if demodulate:
        weight = weight * weight.square().mean(dim=[1, 2, 3], keepdim=True).rsqrt()
        styles = styles * styles.square().mean().rsqrt()  # one number for the batch: it scales w * s and cancels
    scale = styles if input_gain is None else styles * input_gain  # [N, I]
    y = conv2d(x * scale.to(x.dtype)[:, :, None, None], weight.to(x.dtype), padding=padding)
    return y * demodulation(weight, styles).to(y.dtype)[:, :, None, None] if demodulate else y


class SynthesisInput(torch.nn.Module):
    """Fourier features whose plane each w rotates and shifts, [N, w_dim] -> [N, C, H, W] float32.

    `transform` is the inverse of the user's transform of the image: a pixel at p takes the features at transform @ p.
    The unit of positions is the side of a square image, the origin its center, x to the right, y down.

    Args:
        signal: Shape, rate and bandwidth of the features.
        w_dim: Width of w.
    """

    transform: torch.Tensor  # [3, 3]
    freqs: torch.Tensor  # [C, 2], (x, y) in cycles per unit
    phases: torch.Tensor  # [C], in turns

    def __init__(self, signal: Signal, w_dim: int) -> None:
        super().__init__()
        self.signal = signal
        # |g| exp(-|g|^2 / 2) is the density of |g|: f is uniform in the disc whose radius is the cut-off.
        g = torch.randn([signal.channels, 2])
        r = g.norm(dim=1, keepdim=True)
        self.weight = torch.nn.Parameter(torch.randn([signal.channels, signal.channels]))
        self.affine = FullyConnected(w_dim, 4)
        with torch.no_grad():
            self.affine.weight.zero_()
            self.affine.bias.copy_(torch.tensor([1.0, 0, 0, 0]))
        self.register_buffer('transform', torch.eye(3))
        self.register_buffer('freqs', g / r * (-r.square() / 4).exp() * signal.cutoff)
        self.register_buffer('phases', torch.rand([signal.channels]) - 0.5)

    def forward(self, w: torch.Tensor) -> torch.Tensor:
        m = self._transforms(w)  # [N, 3, 3]
        freqs = self.freqs @ m[:, :2, :2]  # [N, C, 2]
        phases = self.phases + (self.freqs @ m[:, :2, 2:]).squeeze(2)  # [N, C]
        # Frequencies that a stretching transform moves toward the end of the spectrum fade.
        room = self.signal.rate / 2 - self.signal.cutoff
        amplitudes = (1 - (freqs.norm(dim=2) - self.signal.cutoff) / room).clamp(0, 1)  # [N, C]
        x = self._features(freqs, phases, amplitudes)  # [N, H, W, C]
        x = x @ (self.weight / math.sqrt(self.signal.channels)).t()
        return x.permute(0, 3, 1, 2)

    def _transforms(self, w: torch.Tensor) -> torch.Tensor:
        """Returns rotation @ translation @ transform for each w, [N, 3, 3]."""
        t = self.affine(w)  # [N, 4]
        c, s, x, y = (t / t[:, :2].norm(dim=1, keepdim=True)).unbind(dim=1)
        zero, one = torch.zeros_like(c), torch.ones_like(c)
        rotation = torch.stack([c, -s, zero, s, c, zero, zero, zero, one], dim=1).view(-1, 3, 3)
        translation = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one], dim=1).view(-1, 3, 3)
        return rotation @ translation @ self.transform

    def _features(self, freqs: torch.Tensor, phases: torch.Tensor, amplitudes: torch.Tensor) -> torch.Tensor:
        """Returns amplitude * sin(2 pi (f . position + phase)) at every sample.

        Args:
            freqs: f, [N, C, 2].
            phases: [N, C].
            amplitudes: [N, C].

        Returns:
            [N, H, W, C].
        """
        height, width = self.signal.size
        y, x = (torch.arange(0.5 - n / 2, n / 2, device=freqs.device, dtype=freqs.dtype) for n in (height, width))
        samples = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=2)  # [H, W, 2]
        turns = samples.flatten(0, 1) / self.signal.rate @ freqs.transpose(1, 2) + phases[:, None]  # [N, H * W, C]
        return ((2 * math.pi * turns).sin() * amplitudes[:, None]).unflatten(1, (height, width))


class SynthesisLayer(LowerableBlock):
    """Modulated convolution, bias and filtered leaky ReLU; ToRGB has no demodulation, activation and filters.

    Args:
        cfg: Config of the generator.
        plan: Sizes, rates and filters of the layer.
    """

    magnitude_ema: torch.Tensor  # [], running mean square of the input
    up_filter: torch.Tensor | None
    down_filter: torch.Tensor | None

    def __init__(self, cfg: StyleGAN3Config, plan: LayerPlan) -> None:
        super().__init__(plan.lowered)
        self.plan = plan
        self.conv_clamp = cfg.conv_clamp
        self.magnitude_ema_beta = cfg.magnitude_ema_beta
        in_channels, out_channels = plan.source.channels, plan.target.channels
        self.affine = FullyConnected(cfg.w_dim, in_channels, bias_init=1)
        self.weight = torch.nn.Parameter(torch.randn([out_channels, in_channels, plan.kernel, plan.kernel]))
        self.bias = torch.nn.Parameter(torch.zeros([out_channels]))
        self.register_buffer('magnitude_ema', torch.ones([]))
        self.register_buffer('up_filter', plan.up_filter())
        self.register_buffer('down_filter', plan.down_filter())

    def forward(self, x: torch.Tensor, w: torch.Tensor, update_magnitude: bool = False) -> torch.Tensor:
        plan = self.plan
        if update_magnitude:
            magnitude = x.detach().to(self.magnitude_ema.dtype).square().mean()
            self.magnitude_ema.copy_(magnitude.lerp(self.magnitude_ema, self.magnitude_ema_beta))
        styles = self.affine(w)  # [N, I]
        styles = styles / math.sqrt(plan.source.channels) if plan.is_torgb else styles
        x = modulated_conv2d(
            x.to(self.lowp_dtype if self.lowered else self.weight.dtype),
            self.weight,
            styles,
            demodulate=not plan.is_torgb,
            padding=plan.kernel - 1,
            input_gain=self.magnitude_ema.rsqrt(),
        )
        if plan.is_torgb:
            return bias_act(x, self.bias, clamp=self.conv_clamp)
        return filtered_lrelu(
            x,
            self.up_filter,
            self.down_filter,
            self.bias,
            up=plan.up,
            down=plan.down,
            padding=plan.padding,
            gain=LRELU_GAIN,
            clamp=self.conv_clamp,
        )
