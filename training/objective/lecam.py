"""LeCam regularisation of D for limited data (Tseng et al., CVPR 2021, arXiv:2104.03310, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from dnnlib.config import require


@dataclass(frozen=True, kw_only=True, slots=True)
class LeCamConfig:
    """weight: lambda of R_LC, 0 for off; the paper's lie in 0.001 to 0.5. decay: of the anchors, once a step.

    start_kimg: images, in thousands, before the term joins D's loss. The anchors are followed from the beginning.
    """

    weight: float = 0.0
    decay: float = 0.99
    start_kimg: float = 0.0

    def __post_init__(self) -> None:
        require(self.weight >= 0, 'lecam.weight', self.weight, 'must be non-negative')
        require(0 <= self.decay < 1, 'lecam.decay', self.decay, 'must lie in [0, 1)')
        require(self.start_kimg >= 0, 'lecam.start_kimg', self.start_kimg, 'must be non-negative')


class LeCam:
    """R_LC = E[(D(x) - alpha_F)^2] + E[(D(G(z)) - alpha_R)^2] and its anchors.

    alpha_R and alpha_F are moving averages of D's predictions on real and on generated images, one number each.
    Readings: a term sees the anchors of the steps before its own, so that the size of the micro-batches does not
    matter and D is not pulled to where it stands; the paper does not say in which order. Nor does it say where they
    begin: here each is the weighted mean of what has been seen, as Adam corrects its moments, for an average that
    began at zero would pull D there until it has forgotten that. What D is shown as real is real, also under 'apa'.
    """

    def __init__(self, cfg: LeCamConfig, device: torch.device) -> None:
        self.cfg = cfg
        self.num_steps = 0  # of which the anchors are a mean
        self._moments = torch.zeros([2], dtype=torch.float64, device=device)  # real, generated; not yet corrected
        self._fresh: list[torch.Tensor] = []  # of this step and process: [sum, number] of real, of generated
        self._sums = torch.zeros([2, 2], dtype=torch.float64, device=device)  # the same of all processes

    def anchors(self) -> torch.Tensor:
        """alpha_R and alpha_F, float64 [2]; zero before the first step."""
        return self._moments / (1 - self.cfg.decay**self.num_steps) if self.num_steps else self._moments

    def penalty(self, logits: torch.Tensor, generated: bool, nimg: int) -> dict[str, torch.Tensor]:
        """{'lecam': the term of R_LC for logits [N, 1], weighted, [N, 1]}, or nothing yet. Feeds the anchors too."""
        x = logits.detach().double()
        seen = torch.stack([x.sum(), x.new_full([], x.numel())])  # [2]
        nothing = torch.zeros_like(seen)
        self._fresh.append(torch.stack([nothing, seen] if generated else [seen, nothing]))
        if self.num_steps == 0 or nimg < self.cfg.start_kimg * 1000:
            return {}
        anchor = self.anchors()[int(not generated)].to(logits.dtype)
        return {'lecam': (logits - anchor).square() * self.cfg.weight}

    def take(self) -> torch.Tensor:
        """What has been fed since the last call, float64 [R, 4], for R calls."""
        fresh, self._fresh = self._fresh, []
        return torch.stack(fresh).flatten(1) if fresh else self._sums.new_zeros([0, 4])

    def absorb(self, rows: torch.Tensor) -> None:
        """Adds what all W processes took, float64 [W, R, 4], in the order of the micro-batches."""
        self._sums = self._sums + rows.reshape(-1, 2, 2).sum(dim=0)

    def end_step(self) -> None:
        """Moves the anchors by a step's predictions, which have been absorbed."""
        self.absorb(self.take().unsqueeze(0))
        means = self._sums[:, 0] / self._sums[:, 1]  # [2]
        means = torch.where(means.isfinite(), means, self.anchors())  # one step's NaN must not stay for ever
        self._moments = self._moments.lerp(means, 1 - self.cfg.decay)
        self._sums = torch.zeros_like(self._sums)
        self.num_steps += 1

    def state_dict(self) -> dict[str, Any]:
        """The anchors, as JSON holds them exactly."""
        return {'moments': self._moments.tolist(), 'num_steps': self.num_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._moments = torch.tensor(state['moments'], dtype=torch.float64, device=self._moments.device)
        self.num_steps = state['num_steps']
