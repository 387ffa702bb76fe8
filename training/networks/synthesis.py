"""Synthesis network from ws to image, with one block per resolution.

A generator of the family defines another block, a subclass of `SynthesisBlockBase`, and passes its constructor to
`SynthesisNetwork`.

Letters: N batch, I and C input and output channels, H and W height and width, L number of ws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch

from torch_utils.ops.modulated_conv2d import modulated_conv2d
from torch_utils.ops.upfirdn2d import setup_filter, upsample2d
from training.interface import ImageSpec
from training.networks.config import StyleGAN2GeneratorConfig, channels_at, is_lowered, resolutions
from training.networks.layers import FIR_TAPS, LRELU_GAIN, RESNET_GAIN, Conv2d, FullyConnected, LowerableBlock
from training.networks.lowering import Preparable, Request, prepared

NoiseMode = Literal['random', 'const', 'none']


class SynthesisLayer(Preparable):
    """Modulated convolution, noise, bias, leaky ReLU: [N, I, H, W] -> [N, C, H up, W up].

    Args:
        in_channels: I.
        out_channels: C.
        w_dim: width of w.
        size: H up, W up.
        kernel_size: odd side of the kernel.
        up: factor of upsampling, 1 or 2.
        conv_clamp: largest magnitude of the result; None: unbounded.
    """

    resample_filter: torch.Tensor
    noise_const: torch.Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        w_dim: int,
        size: tuple[int, int],
        kernel_size: int = 3,
        up: int = 1,
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.up = up
        self.conv_clamp = conv_clamp
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1)
        self.weight = torch.nn.Parameter(torch.randn([out_channels, in_channels, kernel_size, kernel_size]))
        self.noise_strength = torch.nn.Parameter(torch.zeros([]))
        self.bias = torch.nn.Parameter(torch.zeros([out_channels]))
        self.register_buffer('resample_filter', setup_filter(FIR_TAPS))
        self.register_buffer('noise_const', torch.randn(size))

    def requests(self, dtype: torch.dtype) -> Iterator[Request]:
        """Yields the weights to prepare for inputs of a dtype."""
        yield from self.affine.requests()
        if self.weight.shape[-1] > 1:  # 1x1 kernels may be built by sample, from the weight itself
            yield Request(self, 'weight', dtype=dtype, squares=True)

    def forward(self, x: torch.Tensor, w: torch.Tensor, noise_mode: NoiseMode, gain: float = 1) -> torch.Tensor:
        return self.convolve(x, w, noise_mode, gain)

    def convolve(
        self, x: torch.Tensor | Sequence[torch.Tensor], w: torch.Tensor, noise_mode: NoiseMode, gain: float = 1
    ) -> torch.Tensor:
        """Returns the result of the layer.

        Args:
            x: Input, [N, C, H, W]; a sequence represents its concatenation, as in `modulated_conv2d`.
            w: Latents of the layer, [N, w_dim].
            noise_mode: See `SynthesisNetwork.forward`.
            gain: Factor of the result.
        """
        return modulated_conv2d(
            x,
            self.weight,
            self.affine(w),
            noise=self._noise(w.shape[0], noise_mode),
            up=self.up,
            padding=self.weight.shape[-1] // 2,
            resample_filter=self.resample_filter,
            flip_weight=self.up == 1,
            gain=LRELU_GAIN * gain,
            bias=self.bias,
            act='lrelu',
            clamp=None if self.conv_clamp is None else self.conv_clamp * gain,
            lowered=self.ready.get('weight'),
        )

    def _noise(self, batch: int, mode: NoiseMode) -> torch.Tensor | None:
        """Returns scaled noise per pixel, float32 [N, 1, H, W] or [H, W], or None."""
        if mode == 'random':
            shape = [batch, 1, *self.noise_const.shape]
            return torch.randn(shape, device=self.noise_const.device) * self.noise_strength
        return self.noise_const * self.noise_strength if mode == 'const' else None


class ToRGB(Preparable):
    """Modulated 1x1 convolution to the image's channels, without demodulation, noise or activation."""

    def __init__(self, in_channels: int, img_channels: int, *, w_dim: int, conv_clamp: float | None) -> None:
        super().__init__()
        self.conv_clamp = conv_clamp
        self.weight_gain = 1 / math.sqrt(in_channels)
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1)
        self.weight = torch.nn.Parameter(torch.randn([img_channels, in_channels, 1, 1]))
        self.bias = torch.nn.Parameter(torch.zeros([img_channels]))

    def requests(self, dtype: torch.dtype) -> Iterator[Request]:
        """Yields the weights to prepare; kernels of samples are built in float32, whatever the dtype of the inputs."""
        yield from self.affine.requests()
        yield Request(self, 'weight', self.weight_gain)

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        if self.ready:
            weight, styles = self.ready['weight'].weight, self.affine(w)
        else:
            weight, styles = self.weight, self.affine(w) * self.weight_gain
        return modulated_conv2d(x, weight, styles, demodulate=False, bias=self.bias, clamp=self.conv_clamp)


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockSpec:
    """Position of a block in the network.

    Attributes:
        resolution: name of the block.
        size: height and width of its output.
        in_channels: input channels, 0 for the first block, which has no input.
        out_channels: output channels.
        img_channels: channels of the image.
        is_last: whether this is the last block.
        lowered: whether it computes in the run's lower precision.
    """

    resolution: int
    size: tuple[int, int]
    in_channels: int
    out_channels: int
    img_channels: int
    is_last: bool
    lowered: bool


class SynthesisBlockBase(LowerableBlock):
    """Base class of the block of one resolution, from features and image to features and image of twice the size.

    A subclass sets `num_conv` and `num_torgb`, the numbers of ws that it uses, and defines
    `forward(x, img, ws, noise_mode)`. x is None in the first block, img is None until the first ToRGB, and ws is a
    sequence of [N, w_dim], those of the convolutions first.
    """

    num_conv: int
    num_torgb: int
    resample_filter: torch.Tensor

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__(spec.lowered)
        self.register_buffer('resample_filter', setup_filter(FIR_TAPS))
        if spec.in_channels == 0:
            self.const = torch.nn.Parameter(torch.randn([spec.out_channels, *spec.size]))

    def requests(self) -> Iterator[Request]:
        """Yields the weights to prepare, those of all StyleGAN2 layers in the block."""
        for layer in self.modules():
            if isinstance(layer, (SynthesisLayer, ToRGB)):
                yield from layer.requests(self.dtype)

    def start(self, x: torch.Tensor | None, batch: int) -> torch.Tensor:
        """Returns the block's input, [N, I, H, W]: the learned constant in the first block."""
        return self.lower(self.const.expand(batch, -1, -1, -1) if x is None else x)

    def draw(self, img: torch.Tensor | None, rgb: torch.Tensor) -> torch.Tensor:
        """Returns the upsampled image [N, C, H/2, W/2] plus this block's contribution [N, C, H, W], in float32."""
        rgb = rgb.float()
        return rgb if img is None else upsample2d(img, self.resample_filter) + rgb


class SynthesisBlock(SynthesisBlockBase):
    """StyleGAN2's block: upsampling convolution, convolution, and, depending on the architecture, ToRGB."""

    def __init__(self, cfg: StyleGAN2GeneratorConfig, spec: BlockSpec) -> None:
        super().__init__(spec)
        layer = partial(SynthesisLayer, w_dim=cfg.w_dim, size=spec.size, conv_clamp=cfg.conv_clamp)
        self.has_conv0 = spec.in_channels > 0
        self.has_skip = self.has_conv0 and cfg.architecture == 'resnet'
        if self.has_conv0:
            self.conv0 = layer(spec.in_channels, spec.out_channels, up=2)
        self.conv1 = layer(spec.out_channels, spec.out_channels)
        self.num_conv = 1 + self.has_conv0
        self.num_torgb = int(spec.is_last or cfg.architecture == 'skip')
        if self.num_torgb:
            self.torgb = ToRGB(spec.out_channels, spec.img_channels, w_dim=cfg.w_dim, conv_clamp=cfg.conv_clamp)
        if self.has_skip:
            self.skip = Conv2d(spec.in_channels, spec.out_channels, 1, act='linear', bias=False, up=2)

    def forward(
        self, x: torch.Tensor | None, img: torch.Tensor | None, ws: Sequence[torch.Tensor], noise_mode: NoiseMode
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        w = iter(ws)
        x = self.start(x, ws[0].shape[0])  # [N, I, H, W]
        skip = self.skip(x, gain=RESNET_GAIN) if self.has_skip else None
        if self.has_conv0:
            x = self.conv0(x, next(w), noise_mode)  # [N, C, 2 H, 2 W]
        x = self.conv1(x, next(w), noise_mode, gain=RESNET_GAIN if self.has_skip else 1)
        if skip is not None:
            x = skip + x
        return x, self.draw(img, self.torgb(x, next(w))) if self.num_torgb else img


class SynthesisNetwork(torch.nn.Module):
    """Synthesis network: ws [N, L, w_dim] -> image [N, C, H, W] float32, unbounded, nominally in [-1, 1].

    Args:
        cfg: the generator's config.
        spec: facts of the data set.
        make_block: constructor of a block from the config and its position.
    """

    def __init__(
        self,
        cfg: StyleGAN2GeneratorConfig,
        spec: ImageSpec,
        make_block: Callable[[Any, BlockSpec], SynthesisBlockBase] = SynthesisBlock,
    ) -> None:
        super().__init__()
        self.w_dim = cfg.w_dim
        self.base = spec.base
        self.resolutions = resolutions(spec)
        self.channels = {res: channels_at(cfg, res) for res in self.resolutions}
        in_channels = 0
        for res in self.resolutions:
            place = BlockSpec(
                resolution=res,
                size=spec.size_at(res),
                in_channels=in_channels,
                out_channels=self.channels[res],
                img_channels=spec.channels,
                is_last=res == spec.resolution,
                lowered=is_lowered(cfg, spec, res),
            )
            setattr(self, f'b{res}', make_block(cfg, place))
            in_channels = place.out_channels
        last = getattr(self, f'b{spec.resolution}')
        self.num_ws = sum(block.num_conv for block in self.blocks()) + last.num_torgb

    def blocks(self) -> Iterator[SynthesisBlockBase]:
        """Returns the blocks, lowest resolution first."""
        return (getattr(self, f'b{res}') for res in self.resolutions)

    def forward(
        self,
        ws: torch.Tensor,
        *,
        noise_mode: NoiseMode = 'random',
        features: torch.Tensor | None = None,
        image: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Returns the image.

        Args:
            ws: [N, L, w_dim].
            noise_mode: 'random' draws from torch's global generator, 'const' uses the stored noise, 'none' adds none.
            features: replaces the output of the block at R, [N, C, *size_at(R)]; earlier blocks do not run.
            image: the image up to the block at R, to which the later blocks add, [N, C, *size_at(R)]; None: it starts
                with the next block.

        Raises:
            ValueError: if noise_mode is unknown.
        """
        if noise_mode not in ('random', 'const', 'none'):
            raise ValueError(f"noise_mode '{noise_mode}': must be random, const or none")
        assert ws.shape[1:] == (self.num_ws, self.w_dim), f'ws must be [N, {self.num_ws}, {self.w_dim}]'
        w = ws.float().unbind(dim=1)  # L times [N, w_dim]
        x, img = features, image
        given = 0 if features is None else 4 * features.shape[2] // self.base[0]  # R of the features
        first = 0
        running = [block for res, block in zip(self.resolutions, self.blocks(), strict=True) if res > given]
        with prepared(request for block in running for request in block.requests()):
            for res, block in zip(self.resolutions, self.blocks(), strict=True):
                # ToRGB shares the w of the next block's first convolution: the index advances by the convolutions only.
                last = first + block.num_conv + block.num_torgb
                if res > given:
                    x, img = block(x, img, w[first:last], noise_mode)
                first += block.num_conv
        assert img is not None  # the last block has ToRGB in every architecture
        return img
