"""Parts shared by networks without a W space: the input vector of latent and label, and D's projection of labels.

Letters: N batch, C channels, V width of the vector, H and W height and width.
"""

from __future__ import annotations

import math

import torch

from extensions.layers.spectral_norm import Linear
from training.interface import ImageSpec

LABEL_STD = 0.3  # standard deviation of a new label embedding; that of z is 1


class LatentGenerator(torch.nn.Module):
    """Base class of generators whose input vector is z, followed by the embedding of the label if there are labels.

    Concatenation fits all these networks, with BN, RBN or without normalization, and keeps the paper's parameters in
    the absence of labels; class-conditional affine maps would need one variant per normalization. The embedding starts
    at a fraction of the size of z: of equal size, it is half of what the first layer sees, and the generator learns one
    picture per class (bench/results/labels.md). truncation_psi scales z.

    Attributes:
        v_dim: V, z_dim without labels and twice z_dim with labels.
    """

    def __init__(self, z_dim: int, spec: ImageSpec) -> None:
        super().__init__()
        self.z_dim, self.c_dim = z_dim, spec.label_dim
        self.img_resolution, self.img_channels = spec.resolution, spec.channels
        self.v_dim = 2 * z_dim if self.c_dim else z_dim
        self.embed = None
        if self.c_dim:
            self.embed = Linear(self.c_dim, z_dim, bias=False)
            torch.nn.init.normal_(self.embed.weight, std=LABEL_STD)

    def vector(self, z: torch.Tensor, c: torch.Tensor | None, truncation_psi: float, noise_mode: str) -> torch.Tensor:
        """Returns the input vector, [N, V].

        Args:
            z: Latents, [N, z_dim].
            c: Labels, [N, c_dim]; ignored if c_dim is 0.
            truncation_psi: Factor on z.
            noise_mode: 'random', 'const' or 'none'; without effect.

        Raises:
            ValueError: If noise_mode is unknown.
        """
        if noise_mode not in ('random', 'const', 'none'):
            raise ValueError(f'noise_mode={noise_mode!r}: choose random, const or none')
        z = z * truncation_psi
        return z if self.embed is None else torch.cat([z, self.embed(c)], dim=1)


class Projection(torch.nn.Module):
    """Label term of the logit: <V c, sum of h over its pixels> (Miyato and Koyama 2018, Eq. 4).

    h [N, C, H, W] and c [N, c_dim] -> [N, 1]. The weights start at the scale of PyTorch's initialization of the
    parallel layer C H W -> 1, so that both terms have similar size.

    Args:
        c_dim: width of a label.
        channels: C.
        pixels: H W.
        sn: whether the weight is spectrally normalized.
    """

    def __init__(self, c_dim: int, channels: int, *, pixels: int, sn: bool = False) -> None:
        super().__init__()
        self.v = Linear(c_dim, channels, bias=False, sn=sn)
        bound = 1 / math.sqrt(channels * pixels)
        torch.nn.init.uniform_(self.v.weight, -bound, bound)

    def forward(self, h: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return (self.v(c) * h.sum(dim=[2, 3])).sum(dim=1, keepdim=True)
