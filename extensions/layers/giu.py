"""GIU module: involution with kernels generated from channels weighted by squeeze and excitation.

Tian et al. 2022, "GIU-GANs: Global Information Utilization for Generative Adversarial Networks", section 3.2.

Letters: N batch, C channels, G = C / group_channels groups, K side of the kernel, H and W height and width.
"""

from __future__ import annotations

from typing import Literal

import torch

from dnnlib.errors import ConfigError
from extensions.layers.batch_norm import BatchNorm2d, normalized
from extensions.layers.spectral_norm import Conv2d, Linear
from torch_utils.ops.involution import involution

KernelNorm = Literal['bn', 'gn', 'none']
KERNEL_NORMS = ('bn', 'gn', 'none')


class ChannelGate(torch.nn.Module):
    """Squeeze and excitation (Hu et al. 2018): s in (0, 1) per channel, [N, C, H, W] -> [N, C, 1, 1].

    It has no biases: the paper counts 2 C^2 / r_2 parameters.
    """

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        self.squeeze = Linear(channels, channels // ratio, bias=False, lowered=True)  # W_0
        self.excite = Linear(channels // ratio, channels, bias=False, lowered=True)  # W_1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Eq. (8): z = GAP(X)
        z = x.mean(dim=[2, 3])  # [N, C]
        # Eq. (7): s = sigmoid(W_1 relu(W_0 z))
        return torch.sigmoid(self.excite(torch.relu(self.squeeze(z))))[:, :, None, None]


class KernelGenerator(torch.nn.Module):
    """Function phi of Eq. (9): 1x1 convolutions C -> C / ratio -> K K G, [N, C, H, W] -> [N, G, K K, H, W].

    Algorithm 1 has only a ReLU between them, the text after Eq. (5) "BN and ReLU". The printed FLOPs include BN on
    C / ratio channels, and without it D's gradient starts 5 to 30 times weaker. The bias before this BN has no effect
    but belongs to the printed counts. 'gn' is GroupNorm with one group, which separates samples under a gradient
    penalty.
    """

    def __init__(self, channels: int, *, k: int, groups: int, ratio: int, norm: KernelNorm) -> None:
        super().__init__()
        self.groups = groups
        hidden = channels // ratio
        self.reduce = Conv2d(channels, hidden, 1)  # W_2
        self.norm: torch.nn.Module | None = None
        if norm != 'none':
            self.norm = BatchNorm2d(hidden) if norm == 'bn' else torch.nn.GroupNorm(1, hidden)
        self.span = Conv2d(hidden, k * k * groups, 1)  # W_3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.reduce(x)  # [N, C / ratio, H, W]
        x = x if self.norm is None else normalized(self.norm, x)
        return self.span(torch.relu(x)).unflatten(1, (self.groups, -1))


class GIU(torch.nn.Module):
    """Involution of X with kernels generated from s X, [N, C, H, W] -> same shape, without shortcut and activation.

    Args:
        channels: C.
        k: K, odd.
        group_channels: channels that share a kernel.
        kernel_ratio: r_1. The text has 16; the printed FLOPs and parameters fit only 4, involution's own default.
        se_ratio: r_2.
        kernel_norm: normalization between the kernel generator's convolutions.
        gate_value: whether the kernels apply to s X. Eq. (10) and Algorithm 1, line 6, have X.

    Raises:
        ConfigError: if k is even, or if group_channels, kernel_ratio or se_ratio does not divide C.
    """

    def __init__(
        self,
        channels: int,
        *,
        k: int = 3,
        group_channels: int = 16,
        kernel_ratio: int = 4,
        se_ratio: int = 16,
        kernel_norm: KernelNorm = 'bn',
        gate_value: bool = False,
    ) -> None:
        super().__init__()
        for name, value in (
            ('group_channels', group_channels),
            ('kernel_ratio', kernel_ratio),
            ('se_ratio', se_ratio),
        ):
            if channels % value:
                raise ConfigError(f'{name}={value}: must divide the {channels} channels of the GIU module')
        if k % 2 == 0:
            raise ConfigError(f'k={k}: an involution kernel has an odd side: 1, 3, 5, 7 ...')
        self.gate_value = gate_value
        self.gate = ChannelGate(channels, se_ratio)
        self.kernel = KernelGenerator(
            channels, k=k, groups=channels // group_channels, ratio=kernel_ratio, norm=kernel_norm
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Algorithm 1, line 3: X~ = s X. A reading: u_c is X, since the counts exclude another convolution.
        gated = x * self.gate(x)  # [N, C, H, W]
        # Eq. (9): H~ = phi(X~)
        weight = self.kernel(gated)  # [N, G, K K, H, W]
        # Eq. (10): Y~ = sum over the K K neighbors of H~ X
        return involution(gated if self.gate_value else x, weight)
