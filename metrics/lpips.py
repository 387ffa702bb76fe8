"""LPIPS: the perceptual distance that path length (PPL) is measured in.

Zhang et al. 2018 (arXiv:1801.03924), over VGG16, with the scales of version 0.1.

Letters: N batch, C channels (of images, or of a tap of VGG16), H and W height and width, F length of an embedding.
"""

from __future__ import annotations

import torch
from torch import nn

from dnnlib.errors import DataError
from metrics.determinism import deterministic_float32
from metrics.images import to_rgb
from metrics.lpips_weights import HEADS, LPIPS
from metrics.network_detector import load_network
from metrics.random_weights import random_weights
from metrics.vgg import WIDTHS, Vgg16Trunk
from metrics.weights import Weights, digest_of, load_weights, locate

MIN_SIZE = 16  # four pools halve it to 1
# Of ImageNet's, for inputs in [-1, 1], rounded as LPIPS has them; VGG16's own differ in the fourth digit.
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
EPS = 1e-10


class LpipsNetwork(nn.Module):
    """Images [N, 3, H, W] in [-1, 1] -> embeddings [N, F], whose squared distances are LPIPS."""

    def __init__(self) -> None:
        super().__init__()
        self.features = Vgg16Trunk().features
        self.heads = nn.ParameterList(torch.ones(widths[-1]) for widths in WIDTHS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shift, scale = (x.new_tensor(values).view(1, 3, 1, 1) for values in (SHIFT, SCALE))
        x = ((x - shift) / scale).contiguous(memory_format=torch.channels_last)
        parts = []
        for tap, head in zip(Vgg16Trunk.forward(self, x), self.heads, strict=True):  # type: ignore[arg-type]
            # Eq. (1): d(x, x0) = Σ_l 1/(H_l W_l) Σ_hw ‖w_l ⊙ (ŷ_hw − ŷ0_hw)‖², ŷ of unit length over its channels.
            # The published scales are squares already: version 0.1 multiplies the squared difference by them.
            unit = tap / (tap.square().sum(dim=1, keepdim=True).sqrt() + EPS)  # [N, C, H, W]
            scales = (head / (tap.shape[2] * tap.shape[3])).sqrt()  # [C]
            parts.append((unit * scales.view(1, -1, 1, 1)).flatten(start_dim=1))
        return torch.cat(parts, dim=1)  # [N, F]
