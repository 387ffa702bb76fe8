"""VGG16: the network of the official pr50k3_full, and the trunk of LPIPS.

Simonyan and Zisserman 2014 (arXiv:1409.1556), Table 1, configuration D. Modules are numbered as in the published state
dict, so that it loads. The detectors: `vgg16`, 4096 features of the second fully connected layer, and `vgg16conv`, 512
pooled features of the last convolution, whose weights a package registry carries.

Letters: N batch, C image channels, H and W image height and width.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from dnnlib.errors import UserError
from metrics.detectors.interface import Features
from metrics.detectors.lpips_weights import LPIPS, TRUNK, of_trunk
from metrics.detectors.network_detector import NetworkDetector
from metrics.detectors.resize import resize_like_tensorflow
from metrics.detectors.torchscript import read_torchscript
from metrics.detectors.weights import Edition, Tensors, Weights, WeightsSource, digest_of, load_weights, read_state_dict
from metrics.streams.images import to_rgb

INPUT_SIZE = 224
WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
FC_WIDTH = 4096
# Mean and standard deviation of ImageNet, for inputs in [0, 1].
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def convolutions() -> nn.Sequential:
    """Returns the 13 convolutions with their ReLUs, and the five pools, in one sequence as they are published."""
    layers = nn.Sequential()
    channels = 3
    for widths in WIDTHS:
        for width in widths:
            layers.append(nn.Conv2d(channels, width, 3, padding=1))
            layers.append(nn.ReLU(inplace=True))
            channels = width
        layers.append(nn.MaxPool2d(2))
    return layers


def taps_of(layers: nn.Sequential, x: torch.Tensor) -> list[torch.Tensor]:
    """Returns the input of each pool of `convolutions()` for normalized images [N, 3, H, W].

    [N, 64, H, W], [N, 128, H/2, W/2], [N, 256, H/4, W/4], [N, 512, H/8, W/8], [N, 512, H/16, W/16]
    """
    taps = []
    for layer in layers:
        if isinstance(layer, nn.MaxPool2d):
            taps.append(x)
        if len(taps) < len(WIDTHS):
            x = layer(x)
    return taps


class Vgg16Conv(nn.Module):
    """Network from normalized images [N, 3, H, W] to the mean [N, 512] of the last ReLU; H and W are at least 16."""

    def __init__(self) -> None:
        super().__init__()
        self.features = convolutions()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the features [N, 512] of normalized images [N, 3, H, W]."""
        return taps_of(self.features, x)[-1].mean(dim=(2, 3))


class Vgg16(nn.Module):
    """Network from normalized images [N, 3, 224, 224] to features of the second fully connected layer [N, 4096], >= 0.

    "Activation vectors after the second fully connected layer" (Kynkäänniemi et al. 2019, Sec. 3) is read as after its
    ReLU, which is also how the official file is used; the alternative, before it, gives other neighborhoods. The
    classifier's last layer is omitted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = convolutions()
        side = INPUT_SIZE // 2 ** len(WIDTHS)
        self.classifier = nn.Sequential(
            nn.Linear(WIDTHS[-1][-1] * side * side, FC_WIDTH),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(FC_WIDTH, FC_WIDTH),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the features [N, 4096] of normalized images [N, 3, 224, 224]."""
        x = self.features(x)  # [N, 512, 7, 7]
        pooled: torch.Tensor = self.classifier(x.flatten(start_dim=1))
        return pooled


def normalize(x: torch.Tensor) -> torch.Tensor:
    """Converts [N, 3, H, W] in [0, 255] to the range of the network's training, about [-2.1, 2.7]; channels last."""
    mean, std = (x.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return ((x / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def read_published(path: Path) -> Tensors:
    """Reads torchvision's state dict, without the classifier's last layer."""
    return {name: tensor for name, tensor in read_state_dict(path).items() if not name.startswith('classifier.6.')}


def read_official_vgg(path: Path) -> Tensors:
    """Reads StyleGAN2-ADA's vgg16.pt. Raises UserError if its tensors do not have the known names.

    Order and shape alone would identify the layers, but not the order of the 7 x 7 x 512 values before `fc1`.
    """
    tensors = read_torchscript(path)
    try:
        result = of_trunk(tensors)
        for ours, theirs in (('classifier.0', 'layers.fc1'), ('classifier.3', 'layers.fc2')):
            result |= {f'{ours}.{leaf}': tensors[f'{theirs}.{leaf}'] for leaf in ('weight', 'bias')}
    except KeyError as error:
        raise UserError(
            f'{path}: has no tensor {error}; --detector-path=vgg16=vgg16-397923af.pth holds such a network too'
        ) from error
    return result


class Vgg16Detector(NetworkDetector):
    """The detector `vgg16`: features [N, 4096], no classes.

    Images are resized as in the official file. Whether the weights of the two editions are bit-identical has not been
    tested; the digest, which is part of every record, distinguishes them.
    """

    name = 'vgg16'
    preprocessing = 'v1: float32, bilinear as TensorFlow 1 (no half-pixel centres) to 224, ImageNet mean and std'
    feature_dim = FC_WIDTH
    num_classes = 0
    source = WeightsSource(
        name='vgg16',
        editions=(
            Edition(
                filename='vgg16.pt',
                sha256='b437eb095feaeb0b83eb3fa11200ebca4548ee39a07fb944a417ddc516cc07c3',
                read=read_official_vgg,
                url='https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/vgg16.pt',
            ),
            Edition(
                filename='vgg16-397923af.pth',
                sha256='397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0',
                read=read_published,
                url='https://download.pytorch.org/models/vgg16-397923af.pth',
            ),
        ),
    )

    @classmethod
    def make_network(cls) -> Vgg16:
        """Returns the bare network, with any weights."""
        return Vgg16()

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Converts uint8 [N, C, H, W] to [N, 3, 224, 224] float32, channels last."""
        return normalize(resize_like_tensorflow(to_rgb(images.to(self.device)).float(), INPUT_SIZE))

    def features(self, x: torch.Tensor) -> Features:
        """Returns the features [N, 4096] of a prepared chunk."""
        return Features(self.network(x), None)


class Vgg16ConvDetector(NetworkDetector):
    """The detector `vgg16conv`: the last convolution's ReLU, averaged over the image, [N, 512]; no classes.

    It is not the network of pr50k3_full but a substitute, whose weights a package registry carries.
    """

    name = 'vgg16conv'
    preprocessing = 'v1: float32, bilinear with antialiasing (torch, half-pixel centres) to 224, ImageNet mean and std'
    feature_dim = WIDTHS[-1][-1]
    num_classes = 0
    source = LPIPS

    @classmethod
    def make_network(cls) -> Vgg16Conv:
        """Returns the bare network, with any weights."""
        return Vgg16Conv()

    @classmethod
    def published_weights(cls) -> Weights:
        """Returns the convolutions alone, and their digest."""
        weights = load_weights(cls.source)
        tensors = {name: weights.tensors[name] for name in TRUNK}
        return Weights(tensors, digest_of(tensors), weights.edition)

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Converts uint8 [N, C, H, W] to [N, 3, 224, 224] float32, channels last."""
        x = to_rgb(images.to(self.device)).float()
        # No published number requires TensorFlow's resize here, which undersamples.
        x = nn.functional.interpolate(x, size=(INPUT_SIZE, INPUT_SIZE), mode='bilinear', antialias=True)
        return normalize(x)

    def features(self, x: torch.Tensor) -> Features:
        """Returns the features [N, 512] of a prepared chunk."""
        return Features(self.network(x), None)
