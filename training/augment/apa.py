"""Adaptive pseudo augmentation (Jiang et al., NeurIPS 2021, section 3.2): generated images shown to D as real ones.

Readings. The paper presents them "with a probability p": here each real image of a micro-batch is replaced or not by
itself, as an augmentation is gated in ADA, not a whole batch at once. A pseudo-real image takes the label of the image
that it replaces, so that the labels D sees keep the data set's frequencies; a label of its own would change them. p is
driven by D's signs on the images that are real, of which the heuristic lambda_r = E[sign(D(x))] speaks; with the
pseudo-real ones counted in, p would hold itself down. R1 stays on real images, where its paper has it.

Letters: N images in a micro-batch, K of them replaced, C channels, H and W image size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch


class Shown(NamedTuple):
    """What D is shown as real."""

    img: torch.Tensor  # [N, C, H, W]
    real: torch.Tensor | None  # int64 [N - K], which of them are; None for all


def deceive(
    img: torch.Tensor,  # [N, C, H, W]
    c: torch.Tensor,  # [N, label_dim]
    p: float,
    generate: Callable[[torch.Tensor], torch.Tensor],  # labels [M, label_dim] -> images [M, C, H, W]
    whole: bool,
) -> Shown:
    """Each real image replaced by a generated one with probability p; nothing is drawn at p = 0.

    The draws are the host's own, so that no more images than needed are generated. whole: generate N all the same, for
    a generator in which the images of a batch share statistics.
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
    """Where `chosen` is as wanted, int64."""
    return torch.tensor([i for i, choice in enumerate(chosen) if choice == wanted], dtype=torch.int64)
