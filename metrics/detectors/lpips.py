"""LPIPS: the perceptual distance of the path length (PPL), and of loss terms.

Zhang et al. 2018 (arXiv:1801.03924), over VGG16 or AlexNet, with the scales of version 0.1.

Letters: N batch, C channels of images or of a tap, H and W height and width, F length of an embedding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from dnnlib.errors import DataError
from metrics.detectors.lpips_weights import HEADS, LPIPS, LPIPS_ALEX
from metrics.detectors.network_detector import load_network
from metrics.detectors.random_weights import random_weights
from metrics.detectors.vgg import WIDTHS, convolutions, taps_of
from metrics.detectors.weights import Weights, digest_of, load_weights, locate
from metrics.streams.images import to_rgb
from torch_utils.devices import deterministic_float32

MIN_SIZE = 16  # four pools halve it to 1
# Mean and std of ImageNet for inputs in [-1, 1], rounded as in LPIPS; VGG16's differ in the fourth digit.
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
EPS = 1e-10
ALEX_WIDTHS = (64, 192, 384, 256, 256)
ALEX_SHAPES = ((11, 4, 2), (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1))  # size, stride and padding of a convolution


def unit_length(tap: torch.Tensor) -> torch.Tensor:
    """Scales features [N, C, H, W] to unit length over C; features that are all zero stay zero, with finite gradients.

    The square root has no finite derivative at 0. There its argument is replaced by 1, which changes no value.
    """
    squares = tap.square().sum(dim=1, keepdim=True)  # [N, 1, H, W]
    return tap / (squares.where(squares > 0, 1).sqrt() + EPS)


class LpipsNetwork(nn.Module):
    """Network from images [N, 3, H, W] in [-1, 1] to embeddings [N, F], whose squared distances are LPIPS."""

    def __init__(self) -> None:
        super().__init__()
        self.features = convolutions()
        self.heads = nn.ParameterList(torch.ones(widths[-1]) for widths in WIDTHS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the embeddings [N, F] of images [N, 3, H, W] in [-1, 1]."""
        # A copy without a wait of the host, since a training step may run this.
        shift, scale = (
            torch.tensor(values, dtype=x.dtype).to(x.device, non_blocking=True).view(1, 3, 1, 1)
            for values in (SHIFT, SCALE)
        )
        x = ((x - shift) / scale).contiguous(memory_format=torch.channels_last)
        parts = []
        for tap, head in zip(self.taps(x), self.heads, strict=True):
            # Eq. (1): d(x, x0) = Σ_l 1/(H_l W_l) Σ_hw ‖w_l ⊙ (ŷ_hw − ŷ0_hw)‖², ŷ with unit length over its channels.
            # The published scales are already squared: version 0.1 multiplies the squared difference by them.
            scales = (head / (tap.shape[2] * tap.shape[3])).sqrt()  # [C]
            parts.append((unit_length(tap) * scales.view(1, -1, 1, 1)).flatten(start_dim=1))
        return torch.cat(parts, dim=1)  # [N, F]

    def taps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Returns the five features [N, C, H, W] of normalized images."""
        return taps_of(self.features, x)


class AlexNetwork(LpipsNetwork):
    """LPIPS over the five convolutions of AlexNet (Krizhevsky 2014, arXiv:1404.5997), each tapped after its ReLU."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        widths = (3, *ALEX_WIDTHS)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(widths[k], widths[k + 1], size, stride=stride, padding=padding)
            for k, (size, stride, padding) in enumerate(ALEX_SHAPES)
        )
        self.heads = nn.ParameterList(torch.ones(width) for width in ALEX_WIDTHS)

    def taps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Returns the five features [N, C, H, W] of normalized images of at least 63 pixels."""
        taps = []
        for k, convolution in enumerate(self.convolutions):
            if k in (1, 2):
                x = F.max_pool2d(x, 3, stride=2)
            x = F.relu(convolution(x))
            taps.append(x)
        return taps


class Lpips:
    """The distance as an embedding: ‖embed(a) − embed(b)‖² is LPIPS(a, b). Always IEEE float32.

    `digest` is the sha256 of the weights, `edition` the file that they came in.

    Args:
        device: Device of the network.
        weights: Used in place of the published ones.
    """

    source, make_network, min_size = LPIPS, LpipsNetwork, MIN_SIZE
    preprocessing = 'v1: float32, size kept, x / 127.5 - 1'

    def __init__(self, device: torch.device | str = 'cpu', *, weights: Weights | None = None) -> None:
        self.device = torch.device(device)
        weights = weights or load_weights(self.source)
        self.digest, self.edition = weights.digest, weights.edition
        self.network = load_network(self.make_network, weights).to(self.device, memory_format=torch.channels_last)

    @classmethod
    def available(cls) -> bool:
        """Returns whether the weights can be read without a download."""
        return locate(cls.source) is not None

    @classmethod
    def random(cls, device: torch.device | str = 'cpu') -> Lpips:
        """Returns the distance with random weights, for tests and timing."""
        tensors = random_weights(cls.make_network)
        tensors |= {head: tensors[head].abs() for head in HEADS}
        return cls(device, weights=Weights(tensors, digest_of(tensors), 'random'))

    @torch.inference_mode()
    def embed(
        self,
        images: torch.Tensor,  # [N, 1 or 3, H, W] uint8, or float in [0, 255]
    ) -> torch.Tensor:
        """Returns embeddings [N, F] float32, F = 122 H W if both sizes divide by 16; bitwise repeatable.

        An image of 256 x 256 becomes 32 MB, so batches should be small. Floats are not rounded: the steps of PPL are
        far smaller than a gray level. Raises DataError for images below 16 pixels, or of another form.
        """
        return self.embed_with_gradients(images)

    def embed_with_gradients(self, images: torch.Tensor) -> torch.Tensor:
        """Returns the embeddings of `embed`, bit for bit, through which gradients reach images of floats."""
        allowed = images.dtype == torch.uint8 or images.is_floating_point()
        if images.ndim != 4 or images.shape[1] not in (1, 3) or not allowed:
            form = f'{str(images.dtype).removeprefix("torch.")} {list(images.shape)}'
            raise DataError(
                f'LPIPS reads gray or RGB images [N, C, H, W], uint8 or float in [0, 255]; these are {form}'
            )
        if min(images.shape[2:]) < self.min_size:
            raise DataError(
                f'LPIPS needs images of at least {self.min_size} pixels, these are {list(images.shape[2:])}'
            )
        with deterministic_float32():
            embeddings: torch.Tensor = self.network(to_rgb(images.to(self.device)).float() / 127.5 - 1)
        return embeddings

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Returns the LPIPS of each pair of images, as `embed` takes them, [N] float32; 0 for equal ones."""
        return (self.embed(a) - self.embed(b)).square().sum(dim=1)


class LpipsAlex(Lpips):
    """LPIPS over AlexNet, whose strides need images of at least 63 pixels."""

    source, make_network, min_size = LPIPS_ALEX, AlexNetwork, 63
