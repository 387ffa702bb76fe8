"""Adaptive pseudo augmentation (Jiang et al., NeurIPS 2021, section 3.2): D receives generated images as real ones.

Readings. The paper presents them "with a probability p": here each real image of a micro-batch is replaced separately,
as ADA gates an augmentation, instead of a whole batch at once. A pseudo-real image has the label of the image that it
replaces, so that D's labels keep the data set's frequencies. p follows D's signs on the real images only, to which the
heuristic lambda_r = E[sign(D(x))] refers; counting pseudo-real images would keep p low. R1 uses real images, as in its
paper.

Letters: N images in a micro-batch, K of them replaced, C channels, H and W image size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch


class Shown(NamedTuple):
    """Images that D receives as real ones."""

    img: torch.Tensor  # [N, C, H, W]
    real: torch.Tensor | None  # int64 [N - K], indices of the real ones; None: all


def deceive(
    img: torch.Tensor,  # [N, C, H, W]
    c: torch.Tensor,  # [N, label_dim]
    p: float,
    generate: Callable[[torch.Tensor], torch.Tensor],  # labels [M, label_dim] -> images [M, C, H, W]
    whole: bool,
) -> Shown:
    """Replaces each real image by a generated one with probability p; draws nothing at p = 0.

    The host draws, so that only the needed images are generated.

    Args:
        img: real images.
        c: their labels.
        p: probability of a replacement.
        generate: generator of images with given labels.
        whole: whether to generate N images in any case, for generators with batch statistics.
    """
    if p == 0:
        return Shown(img, None)
    chosen = (torch.rand([len(img)], device='cpu') < p).tolist()  # [N]
    if not any(chosen):
        return Shown(img, None)
    pseudo, real = (_indices(chosen, wanted).to(img.device, non_blocking=True) for wanted in (True, False))
    fakes = generate(c)[pseudo] if whole else generate(c[pseudo])  # [K, C, H, W]
    return Shown(img.index_copy(0, pseudo, fakes), real)


def _indices(chosen: list[bool], wanted: bool) -> torch.Tensor:
    """Returns the indices at which `chosen` equals `wanted`, int64."""
    return torch.tensor([i for i, choice in enumerate(chosen) if choice == wanted], dtype=torch.int64)
