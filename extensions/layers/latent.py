"""What networks without a W space share: the latent and the label as one vector, and D's projection of labels.

Letters: N batch, C channels, V width of the vector, H and W height and width.
"""

from __future__ import annotations

import math

import torch

from extensions.layers.spectral_norm import Linear
from training.interface import ImageSpec


class LatentGenerator(torch.nn.Module):
    """The attributes of a generator, and its input vector: z, and behind it the label's embedding where labels exist.

    Concatenation is the conditional form that fits every network here, with BN, RBN or without a norm, and leaves the
    paper's parameters as they are without labels; class-conditional affine maps would need one variant a norm.

    v_dim: V, twice z_dim with labels. truncation_psi scales z; there is no mean vector to move towards but zero.
    """

    def __init__(self, z_dim: int, spec: ImageSpec) -> None:
        super().__init__()
        self.z_dim, self.c_dim = z_dim, spec.label_dim
        self.img_resolution, self.img_channels = spec.resolution, spec.channels
        self.v_dim = 2 * z_dim if self.c_dim else z_dim
        self.embed = None
        if self.c_dim:
            self.embed = Linear(self.c_dim, z_dim, bias=False)
            torch.nn.init.normal_(self.embed.weight)  # a one-hot label becomes N(0, 1), as z is

    def vector(self, z: torch.Tensor, c: torch.Tensor, truncation_psi: float, noise_mode: str) -> torch.Tensor:
        """z [N, z_dim] and c [N, c_dim] -> [N, V]. ValueError for an unknown noise_mode; there is no noise."""
        if noise_mode not in ('random', 'const', 'none'):
            raise ValueError(f'noise_mode={noise_mode!r}: choose random, const or none')
        z = z * truncation_psi
        return z if self.embed is None else torch.cat([z, self.embed(c)], dim=1)


class Projection(torch.nn.Module):
    """<V c, sum of h over its pixels>: what a label adds to the logit (Miyato and Koyama 2018, Eq. 4).

    h [N, C, H, W] and c [N, c_dim] -> [N, 1]. pixels: H W. Its weights begin at the scale that PyTorch gives the layer
    C H W -> 1 beside it, so that neither term drowns the other.
    """

    def __init__(self, c_dim: int, channels: int, *, pixels: int, sn: bool = False) -> None:
        super().__init__()
        self.v = Linear(c_dim, channels, bias=False, sn=sn)
        bound = 1 / math.sqrt(channels * pixels)
        torch.nn.init.uniform_(self.v.weight, -bound, bound)

    def forward(self, h: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return (self.v(c) * h.sum(dim=[2, 3])).sum(dim=1, keepdim=True)
