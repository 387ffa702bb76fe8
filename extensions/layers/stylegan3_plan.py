"""Plan of StyleGAN3's synthesis network: cut-offs, sampling rates, sizes, widths and filters of every layer.

Karras et al. 2021, arXiv 2106.12423, section 3.2 and appendix C. Letters: f_c cut-off, f_t end of the transition band,
f_h half of its width, s sampling rate in samples per unit, N number of layers, R resolution of the images.

Images that are not square are an extension of this project: the rates are those of the square image of the same
resolution, and a grid of rate s has as many samples as the image has at that resolution, plus the margins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from dnnlib.errors import ConfigError
from extensions.layers.stylegan3_config import StyleGAN3Config
from extensions.layers.stylegan3_filters import low_pass
from training.interface import ImageSpec

Size = tuple[int, int]  # height, width


@dataclass(frozen=True, kw_only=True, slots=True)
class Signal:
    """Features between two layers.

    Attributes:
        channels: Number of channels.
        size: Height and width in samples, margins included.
        rate: Samples per unit.
        cutoff: Cut-off frequency, in cycles per unit.
        half_width: Half of the width of the transition band around it.
    """

    channels: int
    size: Size
    rate: int
    cutoff: float
    half_width: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerPlan:
    """Everything that is fixed about a layer.

    Attributes:
        index: Number of the layer; N is ToRGB.
        source: Its input.
        target: Its result.
        raised_rate: Samples per unit at which the activation is computed.
        kernel: Size of the convolution.
        up_taps: Taps of the filter before the activation; 1: no filter.
        down_taps: Taps of the filter after it; 1: no filter.
        radial: Whether the filter after the activation is radial.
        is_torgb: Whether this is ToRGB.
        lowered: Whether the layer computes in the run's lower precision.
    """

    index: int
    source: Signal
    target: Signal
    raised_rate: int
    kernel: int
    up_taps: int
    down_taps: int
    radial: bool
    is_torgb: bool
    lowered: bool

    @property
    def name(self) -> str:
        """The name of the layer in the state dict: 'L3_52_512'; 'L3_52x68_512' for 52 rows of 68 samples."""
        height, width = self.target.size
        size = f'{height}' if height == width else f'{height}x{width}'
        return f'L{self.index}_{size}_{self.target.channels}'

    @property
    def up(self) -> int:
        """The factor from the rate of the input to the raised rate."""
        return self.raised_rate // self.source.rate

    @property
    def down(self) -> int:
        """The factor from the raised rate to that of the result."""
        return self.raised_rate // self.target.rate

    @property
    def padding(self) -> tuple[int, int, int, int]:
        """The padding (x0, x1, y0, y1) at the raised rate, which keeps the grids centered (appendix C.3)."""
        y0, y1 = self._padding(0)
        return (*self._padding(1), y0, y1)

    def _padding(self, axis: int) -> tuple[int, int]:
        wanted = (self.target.size[axis] - 1) * self.down + 1  # samples of which every down-th is kept
        given = (self.source.size[axis] + self.kernel - 1) * self.up
        total = wanted - given + self.up_taps + self.down_taps - 2
        low = (total + self.up) // 2
        return low, total - low

    def up_filter(self) -> torch.Tensor | None:
        """Returns the filter before the activation, [up_taps], or None."""
        return low_pass(self.up_taps, self.source.cutoff, 2 * self.source.half_width, self.raised_rate)

    def down_filter(self) -> torch.Tensor | None:
        """Returns the filter after the activation, [down_taps], [down_taps, down_taps] if radial, or None."""
        return low_pass(self.down_taps, self.target.cutoff, 2 * self.target.half_width, self.raised_rate, self.radial)


def plan_signals(cfg: StyleGAN3Config, spec: ImageSpec) -> list[Signal]:
    """Returns the results of layers 0 to N, where N is ToRGB. The network's input is a signal like the first.

    Raises ConfigError if a layer would have no channel.
    """
    res, signals = spec.resolution, []
    for i in range(cfg.num_layers + 1):
        e = min(i / (cfg.num_layers - cfg.num_critical), 1)
        cutoff = cfg.first_cutoff * (res / 2 / cfg.first_cutoff) ** e
        stopband = cfg.first_stopband * (res / 2 * cfg.last_stopband_rel / cfg.first_stopband) ** e
        rate = 2 ** math.ceil(math.log2(min(2 * stopband, res)))
        half_width = max(stopband, rate / 2) - cutoff
        channels = round(cfg.channel_factor * min(cfg.channel_base / 2 / cutoff, cfg.channel_max))
        if channels < 1:
            raise ConfigError(f'channel_base={cfg.channel_base}: at {res} pixels it must be at least {res}')
        height, width = spec.size_at(rate)
        size = (height + 2 * cfg.margin_size, width + 2 * cfg.margin_size)
        size = size if i < cfg.num_layers - 1 else (spec.height, spec.width)
        channels = channels if i < cfg.num_layers else spec.channels
        signals.append(Signal(channels=channels, size=size, rate=rate, cutoff=cutoff, half_width=half_width))
    return signals


def plan_layers(cfg: StyleGAN3Config, spec: ImageSpec) -> list[LayerPlan]:
    """Returns the plans of layers 0 to N. The first one's source is the network's input."""
    signals = plan_signals(cfg, spec)
    return [_plan_layer(cfg, spec, i, signals[max(i - 1, 0)], signals[i]) for i in range(len(signals))]


def _plan_layer(cfg: StyleGAN3Config, spec: ImageSpec, index: int, source: Signal, target: Signal) -> LayerPlan:
    """Returns the plan of a layer.

    Args:
        cfg: Config of the generator.
        spec: Facts of the data set.
        index: Number of the layer.
        source: Its input.
        target: Its result.
    """
    is_torgb = index == cfg.num_layers
    raised = max(source.rate, target.rate) * (1 if is_torgb else cfg.lrelu_upsampling)

    def taps(rate: int) -> int:
        return cfg.filter_size * (raised // rate) if raised > rate and not is_torgb else 1

    return LayerPlan(
        index=index,
        source=source,
        target=target,
        raised_rate=raised,
        kernel=1 if is_torgb else cfg.conv_kernel,
        up_taps=taps(source.rate),
        down_taps=taps(target.rate),
        radial=cfg.use_radial_filters and index < cfg.num_layers - cfg.num_critical,
        is_torgb=is_torgb,
        lowered=target.rate << cfg.num_fp16_res > spec.resolution,
    )
