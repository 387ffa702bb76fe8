"""A loss term in one file: balanced consistency regularization, bCR (Zhao et al., AAAI 2021, arXiv:2002.04724).

    python train.py --data=ffhq.zip --plugin=examples/my_loss_term.py --set=bcr.weight=10

D gives an image and a slightly changed copy of it the same score, for real and for generated images:

    L_bCR = weight * (E[(D(x) - D(T(x)))^2] + E[(D(G(z)) - D(T(G(z))))^2])

T flips an image with probability 1/2 and moves it by a few pixels, the paper's choice. The paper has a weight each for
real and generated images and uses 10 for both; here there is one.

Letters: N images, C channels, H and W image size, S the largest shift in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

import ganfoundry as gf
from dnnlib.config import require

if TYPE_CHECKING:
    from training.config import RunConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsistencyConfig(gf.TermConfig):
    """Settings of bCR. weight: 0 switches it off. shift: largest shift as a share of the image's height and width."""

    weight: float = 0.0
    shift: float = 0.125

    def __post_init__(self) -> None:
        require(self.weight >= 0, 'bcr.weight', self.weight, 'must be non-negative')
        require(0 <= self.shift < 0.5, 'bcr.shift', self.shift, 'must lie in [0, 0.5)')

    @property
    def active(self) -> bool:
        """Whether the weight is positive."""
        return self.weight > 0

    def describe(self, name: str, cfg: RunConfig) -> str:
        """Returns the words for the plan of --dry-run."""
        return f'bCR in every step (weight {self.weight:g})'


def change(img: torch.Tensor, shift: float) -> torch.Tensor:
    """Returns T(img): images [N, C, H, W], each flipped or not and moved by whole pixels, with reflected borders."""
    n, _, height, width = img.shape
    flip = torch.rand([n, 1, 1, 1], device=img.device) < 0.5
    img = torch.where(flip, img.flip(3), img)
    rows, columns = (_positions(n, size, int(size * shift), img.device) for size in (height, width))  # [N, H], [N, W]
    padded = F.pad(img, [int(width * shift)] * 2 + [int(height * shift)] * 2, mode='reflect')  # [N, C, H + 2S, W + 2S]
    images = torch.arange(n, device=img.device)[:, None, None]  # [N, 1, 1]
    return padded.permute(0, 2, 3, 1)[images, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _positions(n: int, size: int, shift: int, device: torch.device) -> torch.Tensor:
    """Returns positions in the padded image of the pixels along one axis.

    Args:
        n: Number of images.
        size: Height or width in pixels.
        shift: Largest shift S in pixels; each image gets one of 0, ..., 2S.
        device: Device of the result.

    Returns:
        int64 [N, size].
    """
    begin = torch.randint(0, 2 * shift + 1, [n, 1], device=device)
    return begin + torch.arange(size, device=device)


@gf.register_term('bcr', config=ConsistencyConfig)
class Consistency(gf.Term):
    """The distance of D's logits of images and of their changed copies, both as D sees them under an augmentation."""

    cfg: ConsistencyConfig

    def on_logits(self, scored: gf.Scored) -> gf.Summand:
        """Returns weight * (D(x) - D(T(x)))^2 for a half of a micro-batch, real or generated."""
        changed = self.D(change(scored.seen, self.cfg.shift), scored.c)  # [N, 1]
        loss = self.cfg.weight * (scored.logits - changed).square()  # [N, 1]
        return gf.Summand(loss=loss, statistics={'Loss/D/bcr': loss})
