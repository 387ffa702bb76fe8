"""FID's Inception-v3: the graph that TensorFlow published on 2015-12-05, as a module of our own.

Szegedy et al. 2015 (arXiv:1512.00567), Table 1, with the differences of that graph from later Inception-v3's: average
pools exclude the padding from the mean, the last block's pool is a maximum, there are 1008 classes, and images are
resized to 299 x 299 by TensorFlow's resize without half-pixel centers. Modules are named as in the state dict of
torch-fidelity and pytorch-fid, which loads strictly.

Letters: N batch, C channels of a block's input, H and W height and width, D = 2048 feature width, K = 1008 classes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

FEATURE_DIM, NUM_CLASSES = 2048, 1008
INPUT_SIZE = 299
BATCH_NORM_EPS = 1e-3


class InceptionV3(nn.Module):
    """Network from prepared images [N, 3, 299, 299] to the features at every tap; inference only."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvBN(3, 32, (3, 3), stride=2)
        self.Conv2d_2a_3x3 = ConvBN(32, 32, (3, 3), padding=(0, 0))
        self.Conv2d_2b_3x3 = ConvBN(32, 64, (3, 3))
        self.Conv2d_3b_1x1 = ConvBN(64, 80)
        self.Conv2d_4a_3x3 = ConvBN(80, 192, (3, 3), padding=(0, 0))
        self.Mixed_5b = MixedA(192, pool_width=32)
        self.Mixed_5c = MixedA(256, pool_width=64)
        self.Mixed_5d = MixedA(288, pool_width=64)
        self.Mixed_6a = MixedB(288)
        self.Mixed_6b = MixedC(768, width=128)
        self.Mixed_6c = MixedC(768, width=160)
        self.Mixed_6d = MixedC(768, width=160)
        self.Mixed_6e = MixedC(768, width=192)
        self.Mixed_7a = MixedD(768)
        self.Mixed_7b = MixedE(1280, pool=average_pool)
        self.Mixed_7c = MixedE(2048, pool=maximum_pool)
        self.fc = nn.Linear(FEATURE_DIM, NUM_CLASSES)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Returns the taps: '64', '192', '768', '2048', means over the image [N, that width]; 'logits_unbiased' and
        'logits' [N, K]."""
        taps = {}
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))  # [N, 64, 147, 147]
        x = F.max_pool2d(x, 3, stride=2)  # [N, 64, 73, 73]
        taps['64'] = x.mean(dim=(2, 3))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))  # [N, 192, 71, 71]
        x = F.max_pool2d(x, 3, stride=2)  # [N, 192, 35, 35]
        taps['192'] = x.mean(dim=(2, 3))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))  # [N, 288, 35, 35]
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))
        x = self.Mixed_6e(self.Mixed_6d(x))  # [N, 768, 17, 17]
        taps['768'] = x.mean(dim=(2, 3))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))  # [N, 2048, 8, 8]
        taps['2048'] = x.mean(dim=(2, 3))
        taps['logits_unbiased'] = F.linear(taps['2048'], self.fc.weight)
        taps['logits'] = taps['logits_unbiased'] + self.fc.bias
        return taps

    def fold_batch_norms(self) -> InceptionV3:
        """Folds every batch norm into its convolution, which saves one pass over the activations each."""
        for module in self.modules():
            if isinstance(module, ConvBN):
                module.fold()
        return self


class ConvBN(nn.Module):
    """Convolution, batch norm, ReLU. The default padding keeps the size at stride 1, and is none at stride 2."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int] = (1, 1),
        stride: int = 1,
        padding: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        if padding is None:
            padding = (kernel[0] // 2, kernel[1] // 2) if stride == 1 else (0, 0)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(out_channels, eps=BATCH_NORM_EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)

    def fold(self) -> None:
        """Folds the batch norm into the convolution, in float64, so that no precision is lost."""
        bn = self.bn
        assert isinstance(bn, nn.BatchNorm2d)
        assert bn.running_mean is not None
        assert bn.running_var is not None
        scale = bn.weight.double() / (bn.running_var.double() + bn.eps).sqrt()  # [out_channels]
        bias = bn.bias.double() - bn.running_mean.double() * scale
        weight = self.conv.weight.double() * scale.view(-1, 1, 1, 1)
        self.conv.weight = nn.Parameter(weight.float(), requires_grad=False)
        self.conv.bias = nn.Parameter(bias.float(), requires_grad=False)
        self.bn = nn.Identity()


def average_pool(x: torch.Tensor) -> torch.Tensor:
    """Returns the 3 x 3 mean over existing pixels, which are fewer at the border."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def maximum_pool(x: torch.Tensor) -> torch.Tensor:
    """Returns the 3 x 3 maximum, with the same size."""
    return F.max_pool2d(x, 3, stride=1, padding=1)


class MixedA(nn.Module):
    """Block of Fig. 5: 1 x 1, 5 x 5, two 3 x 3, pool. [N, C, 35, 35] -> [N, 224 + pool_width, 35, 35]"""

    def __init__(self, channels: int, pool_width: int) -> None:
        super().__init__()
        self.branch1x1 = ConvBN(channels, 64)
        self.branch5x5_1 = ConvBN(channels, 48)
        self.branch5x5_2 = ConvBN(48, 64, (5, 5))
        self.branch3x3dbl_1 = ConvBN(channels, 64)
        self.branch3x3dbl_2 = ConvBN(64, 96, (3, 3))
        self.branch3x3dbl_3 = ConvBN(96, 96, (3, 3))
        self.branch_pool = ConvBN(channels, pool_width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branches = (
            self.branch1x1(x),
            self.branch5x5_2(self.branch5x5_1(x)),
            self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
            self.branch_pool(average_pool(x)),
        )
        return torch.cat(branches, dim=1)


class MixedB(nn.Module):
    """Block of Fig. 10: halves the size by 3 x 3, two 3 x 3, pool. [N, C, 35, 35] -> [N, 480 + C, 17, 17]"""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3 = ConvBN(channels, 384, (3, 3), stride=2)
        self.branch3x3dbl_1 = ConvBN(channels, 64)
        self.branch3x3dbl_2 = ConvBN(64, 96, (3, 3))
        self.branch3x3dbl_3 = ConvBN(96, 96, (3, 3), stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branches = (
            self.branch3x3(x),
            self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
            F.max_pool2d(x, 3, stride=2),
        )
        return torch.cat(branches, dim=1)


class MixedC(nn.Module):
    """Block of Fig. 6 with n = 7: 1 x 1, factorized 7 x 7, two of them, pool. [N, C, 17, 17] -> [N, 768, 17, 17]"""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.branch1x1 = ConvBN(channels, 192)
        self.branch7x7_1 = ConvBN(channels, width)
        self.branch7x7_2 = ConvBN(width, width, (1, 7))
        self.branch7x7_3 = ConvBN(width, 192, (7, 1))
        self.branch7x7dbl_1 = ConvBN(channels, width)
        self.branch7x7dbl_2 = ConvBN(width, width, (7, 1))
        self.branch7x7dbl_3 = ConvBN(width, width, (1, 7))
        self.branch7x7dbl_4 = ConvBN(width, width, (7, 1))
        self.branch7x7dbl_5 = ConvBN(width, 192, (1, 7))
        self.branch_pool = ConvBN(channels, 192)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        branches = (
            self.branch1x1(x),
            self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x))),
            self.branch7x7dbl_5(self.branch7x7dbl_4(double)),
            self.branch_pool(average_pool(x)),
        )
        return torch.cat(branches, dim=1)


class MixedD(nn.Module):
    """Block that halves the size: 3 x 3, factorized 7 x 7 and 3 x 3, pool. [N, C, 17, 17] -> [N, 512 + C, 8, 8]"""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3_1 = ConvBN(channels, 192)
        self.branch3x3_2 = ConvBN(192, 320, (3, 3), stride=2)
        self.branch7x7x3_1 = ConvBN(channels, 192)
        self.branch7x7x3_2 = ConvBN(192, 192, (1, 7))
        self.branch7x7x3_3 = ConvBN(192, 192, (7, 1))
        self.branch7x7x3_4 = ConvBN(192, 192, (3, 3), stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        branches = self.branch3x3_2(self.branch3x3_1(x)), self.branch7x7x3_4(seven), F.max_pool2d(x, 3, stride=2)
        return torch.cat(branches, dim=1)


class MixedE(nn.Module):
    """Block of Fig. 7: 1 x 1, 1 x 3 parallel to 3 x 1, the same after a 3 x 3, pool. [N, C, 8, 8] -> [N, D, 8, 8]"""

    def __init__(self, channels: int, pool: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.pool = pool
        self.branch1x1 = ConvBN(channels, 320)
        self.branch3x3_1 = ConvBN(channels, 384)
        self.branch3x3_2a = ConvBN(384, 384, (1, 3))
        self.branch3x3_2b = ConvBN(384, 384, (3, 1))
        self.branch3x3dbl_1 = ConvBN(channels, 448)
        self.branch3x3dbl_2 = ConvBN(448, 384, (3, 3))
        self.branch3x3dbl_3a = ConvBN(384, 384, (1, 3))
        self.branch3x3dbl_3b = ConvBN(384, 384, (3, 1))
        self.branch_pool = ConvBN(channels, 192)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        branches = (
            self.branch1x1(x),
            self.branch3x3_2a(single),
            self.branch3x3_2b(single),
            self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double),
            self.branch_pool(self.pool(x)),
        )
        return torch.cat(branches, dim=1)
