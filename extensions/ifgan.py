"""IF-GAN: a residual generator with an image branch and a latent branch, which refine each other in every block.

Park and Shin 2022, Fig. 1 to 3, Eq. 5-7, Table 1. The text leaves open the start of the branches, the form of the
shortcut, the position of width changes and the use of biases, and prints no parameter count that could decide. Readings
are documented where they apply. This one has 20,560,643 parameters at 128x128 and 20,675,459 at 256x256.

Every convolution has a bias. If only normalizations read its output (all except the gates' mixing and ToRGB), the bias
cancels against the batch mean in training and acts under running statistics only. The same holds for the shifts of the
batch norms in Table 3's sum and concatenation.

Convolutions have StyleGAN2's equalized learning rate: a reading, since the residual blocks of SNGAN and BigGAN, which
the paper builds on, have none.

Letters: N batch, I and O channels of a block's input and output, M and S of a main and a side feature, H and W height
and width, V width of the vector v = [z, c] that determines the modified batch norm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F

from dnnlib.errors import ConfigError
from extensions.layers.batch_norm import BigBN
from torch_utils.ops.conv2d import conv2d
from torch_utils.ops.folded_conv import up_conv2d
from training.config import EmaConfig, OptimizerConfig, PathLengthConfig, R1Config, RunConfig, require
from training.data.shapes import images_at_once
from training.interface import ImageSpec
from training.networks.config import StyleGAN2DiscriminatorConfig, channels_at, is_lowered
from training.networks.discriminator import StyleGAN2Discriminator  # noqa: F401 (registers itself)
from training.networks.layers import Conv2d, FullyConnected, LowerableBlock
from training.registry import register_generator, register_recipe

PAPER = 'Park and Shin, IF-GAN: A Novel Generator Architecture with Information Feedback, 2022'
MIN_RESOLUTION = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class IFGANConfig:
    """IF generator, its ablations, and the traditional generator.

    Table 1's widths, 512, 512, 256, 128, 64 at 8x8 to 128x128 and 32 at 256x256, are 8192 / R and at most 512. The same
    rule gives 16 channels at 512x512 and 8 at 1024x1024.
    """

    z_dim: int = 32
    channel_base: int = 8192  # a block with output at resolution R has channel_base / R channels ...
    channel_max: int = 512  # ... but no more than this
    latent: bool = True  # False: traditional generator, without latent branch and gates
    fuse: Literal['gate', 'sum', 'concat'] = 'gate'  # combination of the branches (Table 3)
    # False: the latent feature is only upsampled (Table 4: "removing the gating module in the latent branch"). The text
    # on that table has "in the image branch", a slip: without that gate, the latent branch would have no effect.
    feedback: bool = True
    # Start of the branches. Table 1 lists one fully connected layer, hence 'shared'; 'two_fc' has one per branch;
    # 'const' has a learned constant for the image branch, as StyleGAN2.
    init: Literal['shared', 'two_fc', 'const'] = 'shared'
    # Residual shortcut around the two convolutions: the update of the latent feature is "the only difference" from the
    # traditional generator, which has residual blocks. False: none, since section 3.1 mentions none.
    shortcut: bool = True
    gate_raw_fm: bool = False  # f_m in Eq. 7: False, normalized as in Eq. 5 and 6; True, the gate's input
    num_fp16_res: int = 4  # number of highest resolutions computed in the run's lower precision

    def __post_init__(self) -> None:
        for name, least in {'z_dim': 1, 'channel_base': 1, 'channel_max': 1, 'num_fp16_res': 0}.items():
            require(getattr(self, name) >= least, name, getattr(self, name), f'must be at least {least}')
        require(self.fuse in ('gate', 'sum', 'concat'), 'fuse', self.fuse, 'one of gate, sum, concat')
        require(self.init in ('shared', 'two_fc', 'const'), 'init', self.init, 'one of shared, two_fc, const')
        for name, default in {'fuse': 'gate', 'feedback': True, 'init': 'shared', 'gate_raw_fm': False}.items():
            value = getattr(self, name)
            require(self.latent or value == default, name, value, f'must be {default} if latent=False')
        require(self.fuse == 'gate' or not self.gate_raw_fm, 'gate_raw_fm', True, 'needs the gating module, fuse=gate')


class EqualizedLinear(torch.nn.Module):
    """Linear layer x W^T, [N, I] -> [N, O], with an equalized learning rate and without a bias."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn([out_features, in_features]))
        self.weight_gain = 1 / math.sqrt(in_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x * self.weight_gain, self.weight)


def conv1x1(in_channels: int, out_channels: int) -> Conv2d:
    """Returns a 1x1 convolution with bias, [N, I, H, W] -> [N, O, H, W]."""
    return Conv2d(in_channels, out_channels, 1, act='linear')


def conv_or_identity(in_channels: int, out_channels: int) -> torch.nn.Module:
    """Returns a 1x1 convolution with bias, or the identity if the width does not change."""
    return torch.nn.Identity() if in_channels == out_channels else conv1x1(in_channels, out_channels)


def like(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Returns `x` at the height and width of `y`, which are those of `x` or twice as large."""
    return x if x.shape[2:] == y.shape[2:] else F.interpolate(x, scale_factor=2, mode='nearest')


def conv_of_both(conv: Conv2d, m: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """Computes a 1x1 convolution of the concatenation of m and s, as a sum of two, each at its input's size.

    Args:
        conv: Convolution of M + S channels.
        m: Main feature, [N, M, H, W] or half that size.
        s: Side feature, [N, S, H, W].

    Returns:
        conv([m, s]), [N, O, H, W].
    """
    w = (conv.weight * conv.weight_gain).to(s.dtype)  # [O, M + S, 1, 1]
    w_m, w_s = w.split([m.shape[1], s.shape[1]], dim=1)
    assert conv.bias is not None
    return conv2d(s, w_s, conv.bias.to(s.dtype)) + like(conv2d(m, w_m), s)  # [N, O, H, W]


class Fusion(torch.nn.Module):
    """Fusion of a main feature [N, M, H, W] and a side feature [N, S, H, W] to [N, O, H, W].

    It is the gating module, or Table 3's sum or concatenation. The gate's last convolution changes the width, so that
    no further layer is needed.

    In the latent branch, the main feature has half the size and represents its upsampling. Repeating pixels does not
    change mean and variance and commutes with 1x1 convolutions, so that everything that depends only on f_m is computed
    at its own size. `plain` is the definition, `forward` the equivalent without upsampling and concatenation.
    """

    def __init__(self, cfg: IFGANConfig, m: int, s: int, out: int) -> None:
        super().__init__()
        self.fuse, self.raw_fm = cfg.fuse, cfg.gate_raw_fm
        self.bn_m = torch.nn.BatchNorm2d(m)
        self.bn_s = torch.nn.BatchNorm2d(s)
        if self.fuse == 'gate':
            self.mix = conv1x1(m + s, 2 * m)  # the convolutions of Eq. 5 and 6: first f_g's outputs, then f_r's
            self.out = conv1x1(m, out)
        elif self.fuse == 'concat':
            self.out = conv1x1(m + s, out)
        else:
            self.out_m = conv_or_identity(m, out)
            self.out_s = conv_or_identity(s, out)

    def plain(self, f_m: torch.Tensor, f_s: torch.Tensor) -> torch.Tensor:
        """Returns the fused feature by its definition; `forward` equals it."""
        f_m = like(f_m, f_s)  # [N, M, H, W]
        m, s = self.bn_m(f_m), self.bn_s(f_s)
        if self.fuse == 'sum':
            return self.out_m(m) + self.out_s(s)
        if self.fuse == 'concat':
            return self.out(torch.cat([m, s], dim=1))
        f_g, f_r = self.gates(m, s)
        return self.out(f_g * (f_m if self.raw_fm else m) + (1 - f_g) * f_r)  # Eq. (7), [N, O, H, W]

    def gates(self, m: torch.Tensor, s: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns f_g and f_r, each [N, M, H, W], of normalized features of equal size."""
        f_g, f_r = self.mix(torch.cat([m, s], dim=1)).chunk(2, dim=1)  # Eq. (6), [N, M, H, W]
        return torch.sigmoid(f_g), f_r  # Eq. (5)

    def forward(self, f_m: torch.Tensor, f_s: torch.Tensor) -> torch.Tensor:
        m, s = self._normalized_main(f_m, copies=f_s[0, 0].numel() // f_m[0, 0].numel()), self.bn_s(f_s)
        if self.fuse == 'sum':
            return like(self.out_m(m), s) + self.out_s(s)
        if self.fuse == 'concat':
            return conv_of_both(self.out, m, s)
        f_g, f_r = conv_of_both(self.mix, m, s).chunk(2, dim=1)
        return self.out(torch.lerp(f_r, like(f_m if self.raw_fm else m, s), torch.sigmoid(f_g)))

    def _normalized_main(self, f_m: torch.Tensor, copies: int) -> torch.Tensor:
        """Returns bn_m(f_m) and updates the running variance as for `copies` times as many pixels."""
        if not self.bn_m.training or copies == 1:  # bn_m's own mode, since recalibration sets only the norms
            return self.bn_m(f_m)
        # PyTorch stores the batch's variance times n / (n - 1) for n pixels. Scaling the stored value before and after
        # corrects this factor for any momentum. Autograd saves the tensor it was given, hence the copy.
        n = f_m[:, 0].numel()
        scale = copies * (n - 1) / (copies * n - 1)
        stored = self.bn_m.running_var
        assert stored is not None
        self.bn_m.running_var = stored / scale
        m = self.bn_m(f_m)
        self.bn_m.running_var = stored.copy_(self.bn_m.running_var * scale)
        return m


class NoisyConv(torch.nn.Module):
    """3x3 convolution, with `up` of the upsampled input, and noise (Karras et al. 2019): [N, I, H, W] -> [N, O, *size].

    One noise map per image is multiplied by a learned scale per channel, initially zero, and added before the next
    normalization.
    """

    noise_const: torch.Tensor

    def __init__(self, in_channels: int, out_channels: int, size: tuple[int, int], *, up: bool = False) -> None:
        super().__init__()
        self.up = up
        self.conv = Conv2d(in_channels, out_channels, 3, act='linear')
        self.noise_scale = torch.nn.Parameter(torch.zeros([out_channels]))
        self.register_buffer('noise_const', torch.randn(size))

    def forward(self, x: torch.Tensor, noise_mode: str) -> torch.Tensor:
        conv = self.conv
        x = up_conv2d(x, conv.weight * conv.weight_gain, conv.bias) if self.up else conv(x)  # [N, O, *size]
        if noise_mode == 'none':
            return x
        noise = self.noise_const  # size
        if noise_mode == 'random':
            noise = torch.randn([len(x), 1, *noise.shape], device=noise.device)  # [N, 1, *size]
        return torch.addcmul(x, noise.to(x.dtype), self.noise_scale[:, None, None].to(x.dtype))


class IFBlock(LowerableBlock):
    """Block of Fig. 2: image and latent feature, each [N, I, H, W] -> [N, O, 2 H, 2 W].

    A reading: the latent branch is spatial and has the image branch's size, since Eq. 5 concatenates and Eq. 7
    multiplies without pooling or broadcasting, which a vector would need. The latent feature of the last block and of
    the traditional block is None, since nothing would read it.
    """

    def __init__(self, cfg: IFGANConfig, spec: ImageSpec, i: int, o: int, resolution: int) -> None:
        super().__init__(is_lowered(cfg, spec, resolution))
        v_dim = cfg.z_dim + spec.label_dim
        self.image_gate = Fusion(cfg, i, i, i) if cfg.latent else None
        self.bn0 = BigBN(i, v_dim, EqualizedLinear)
        self.conv0 = NoisyConv(i, o, spec.size_at(resolution), up=True)
        self.bn1 = BigBN(o, v_dim, EqualizedLinear)
        self.conv1 = NoisyConv(o, o, spec.size_at(resolution))
        self.skip = conv_or_identity(i, o) if cfg.shortcut else None
        self.has_latent, self.feedback = cfg.latent and resolution < spec.resolution, cfg.feedback
        if self.has_latent:
            self.latent_gate = Fusion(cfg, i, o, o) if self.feedback else conv_or_identity(i, o)

    def forward(
        self, x: torch.Tensor, latent: torch.Tensor | None, v: torch.Tensor, noise_mode: str
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        x = self.lower(x)  # [N, I, H, W]
        if self.image_gate is not None:
            assert latent is not None
            latent = self.lower(latent)  # [N, I, H, W]
            x = self.image_gate(x, latent)
        h = self.conv0(F.relu(self.bn0(x, v)), noise_mode)  # [N, O, 2 H, 2 W]
        h = self.conv1(F.relu(self.bn1(h, v)), noise_mode)
        if self.skip is not None:
            h = h + like(self.skip(x), h)
        if not self.has_latent:
            return h, None
        return h, self.latent_gate(latent, h) if self.feedback else like(self.latent_gate(latent), h)


@register_generator('ifgan', config=IFGANConfig)
class IFGenerator(torch.nn.Module):
    """Generator: z [N, z_dim] and label [N, c_dim] -> image [N, C, H, W] float32 in [-1, 1].

    The paper has no labels. Here, [z, c] determines the modified batch norm and z the start, as in the authors' GConv.

    Raises:
        ConfigError: unless the resolution is a power of two and at least 32.
    """

    def __init__(self, config: IFGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        res = spec.resolution
        if res < MIN_RESOLUTION or res & (res - 1):
            raise ConfigError(f'resolution={res}: IF-GAN needs a power of two, at least 32; use dataset_tool.py')
        self.z_dim, self.c_dim = config.z_dim, spec.label_dim
        self.img_resolution, self.img_channels = res, spec.channels
        self.resolutions = [2**k for k in range(3, res.bit_length())]
        i = channels_at(config, 4)
        self.base = h, w = spec.size_at(4)
        self.fc = FullyConnected(self.z_dim, i * h * w)  # start of the latent branch, and of the image's if shared
        self.fc_image = FullyConnected(self.z_dim, i * h * w) if config.init == 'two_fc' else None
        self.const = torch.nn.Parameter(torch.randn([i, h, w])) if config.init == 'const' else None
        for r in self.resolutions:
            o = channels_at(config, r)
            setattr(self, f'b{r}', IFBlock(config, spec, i, o, r))
            i = o
        self.bn = torch.nn.BatchNorm2d(i)
        self.torgb = conv1x1(i, spec.channels)

    def forward(
        self, z: torch.Tensor, c: torch.Tensor | None, *, truncation_psi: float = 1, noise_mode: str = 'random'
    ) -> torch.Tensor:
        """Returns the image.

        Args:
            z: latents, [N, z_dim].
            c: labels, [N, c_dim]; ignored if c_dim is 0.
            truncation_psi: factor on z.
            noise_mode: 'random' draws from torch's global generator, 'const' uses the stored noise, 'none' adds none.

        Raises:
            ValueError: if noise_mode is unknown.
        """
        if noise_mode not in ('random', 'const', 'none'):
            raise ValueError(f"noise_mode '{noise_mode}': must be random, const or none")
        z = z.float() * truncation_psi
        v = z  # [N, V]
        if self.c_dim > 0:
            assert c is not None, f'labels [N, {self.c_dim}] are needed, got None'
            v = torch.cat([z, c.float()], dim=1)
        x = latent = self.fc(z).unflatten(1, (-1, *self.base))  # [N, I, H, W] of the base
        if self.const is not None:
            x = self.const.expand(len(z), -1, -1, -1)
        elif self.fc_image is not None:
            x = self.fc_image(z).unflatten(1, (-1, *self.base))
        for r in self.resolutions:
            x, latent = getattr(self, f'b{r}')(x, latent, v, noise_mode)
        return torch.tanh(self.torgb(F.relu(self.bn(x.float()))))


@register_recipe('ifgan', paper=PAPER, min_resolution=MIN_RESOLUTION)
def ifgan(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns section 4.1's config: 300k steps of 32 images, the learning rate falling over the last 50k.

    The paper prints beta1 = 0.9. Here it is 0, as in the official code that the paper builds on, since 0.9 is a likely
    misprint of 0.0; the printed value is --set g_opt.beta1=0.9 --set d_opt.beta1=0.9. The paper mentions no moving
    average, but its metrics, "using the official code", measure one: 10 kimg. Sizes other than 128x128 and 256x256 use
    the same settings. Above 256x256, a process handles as many images at a time as have the pixels of 32 at 256x256, at
    least 4. Batch statistics are those of `batch_gpu` images.
    """
    adam = OptimizerConfig(lr=0.0025, beta1=0.0, beta2=0.99)
    # Table 1 names the input widths of the official discriminator's blocks, 8192 / R.
    D = StyleGAN2DiscriminatorConfig(channel_base=8192, mbstd_group=4)
    return RunConfig(cfg='ifgan', generator=IFGANConfig(), discriminator=D, r1=R1Config(gamma=10, interval=16),
                     pl=PathLengthConfig(weight=0, interval=None), style_mixing_prob=0.0, g_opt=adam, d_opt=adam,
                     kimg=9600, lr_decay_kimg=1600, ema=EmaConfig(kimg=10), gpus=num_gpus, batch=32,
                     batch_gpu=min(images_at_once(32, 256, facts.pixels), 32 // num_gpus))  # fmt: skip


@register_recipe('traditional', paper=PAPER, min_resolution=MIN_RESOLUTION)
def traditional(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns the paper's baseline: the same blocks and training without the latent branch."""
    return replace(ifgan(facts, num_gpus), cfg='traditional', generator=IFGANConfig(latent=False))
