"""LeCam regularization of D for limited data (Tseng et al., CVPR 2021, arXiv:2104.03310, section 3).

Letters: N images, R scored halves of micro-batches in a step of this process, W processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from dnnlib.config import require
from training.objective.term import Scored, Summand, Term, TermConfig, register_term

if TYPE_CHECKING:
    from training.config import RunConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class LeCamConfig(TermConfig):
    """Settings of LeCam regularization.

    weight: lambda of R_LC, 0 for off; the paper's lie in 0.001 to 0.5.
    decay: factor of the anchors' moving average, once per step.
    start_kimg: images, in thousands, before the term joins D's loss. The anchors are followed from the beginning.
    """

    weight: float = 0.0
    decay: float = 0.99
    start_kimg: float = 0.0

    def __post_init__(self) -> None:
        require(self.weight >= 0, 'lecam.weight', self.weight, 'must be non-negative')
        require(0 <= self.decay < 1, 'lecam.decay', self.decay, 'must lie in [0, 1)')
        require(self.start_kimg >= 0, 'lecam.start_kimg', self.start_kimg, 'must be non-negative')

    @property
    def active(self) -> bool:
        """Whether the weight is positive."""
        return self.weight > 0

    def describe(self, name: str, cfg: RunConfig) -> str:
        """Returns the words for the plan."""
        return f'LeCam in every step (weight {self.weight:g})'


@register_term('lecam', config=LeCamConfig)
class LeCam(Term):
    """R_LC = E[(D(x) - alpha_F)^2] + E[(D(G(z)) - alpha_R)^2] and its anchors.

    alpha_R and alpha_F are moving averages of D's predictions on real and on generated images, one number each.
    Readings: the paper does not say whether a term sees anchors that its own step has moved. Here it sees those of the
    steps before, so that the size of the micro-batches does not matter and D is not pulled to where it is already. Nor
    does the paper say where the anchors begin: here each is the weighted mean of what has been seen, as Adam corrects
    its moments, since an average that began at zero would pull D there until it has forgotten that. Images that D is
    shown as real count as real, also under 'apa'.
    """

    cfg: LeCamConfig

    def __init__(self, cfg: LeCamConfig, G: Any, D: Any, device: torch.device) -> None:
        super().__init__(cfg, G, D, device)
        self.num_steps = 0  # number of steps that the anchors average
        self._moments = torch.zeros([2], dtype=torch.float64, device=device)  # real, generated; not yet corrected
        self._fresh: list[torch.Tensor] = []  # this step and process: [[sum, number] of real, of generated]
        self._sums = torch.zeros([2, 2], dtype=torch.float64, device=device)  # the same of all processes

    def anchors(self) -> torch.Tensor:
        """Returns alpha_R and alpha_F, float64 [2]; zero before the first step."""
        return self._moments / (1 - self.cfg.decay**self.num_steps) if self.num_steps else self._moments

    def on_logits(self, scored: Scored) -> Summand | None:
        """Returns the weighted term of R_LC for these images, and notes their logits for the anchors."""
        self._note(scored.logits, scored.generated)
        if self.num_steps == 0 or scored.nimg < self.cfg.start_kimg * 1000:
            return None
        anchor = self.anchors()[int(not scored.generated)].to(scored.logits.dtype)
        loss = (scored.logits - anchor).square() * self.cfg.weight  # [N, 1]
        return Summand(loss=loss, statistics={f'Loss/D/{self.name}': loss})

    def _note(self, logits: torch.Tensor, generated: bool) -> None:
        x = logits.detach().double()
        seen = torch.stack([x.sum(), x.new_full([], x.numel())])  # [2]
        nothing = torch.zeros_like(seen)
        self._fresh.append(torch.stack([nothing, seen] if generated else [seen, nothing]))

    def take(self) -> torch.Tensor:
        """Returns the sums of logits noted since the last call, float64 [R, 4]."""
        fresh, self._fresh = self._fresh, []
        return torch.stack(fresh).flatten(1) if fresh else self._sums.new_zeros([0, 4])

    def absorb(self, rows: torch.Tensor) -> None:
        """Adds the sums of all processes, float64 [W, R, 4], in the order of the micro-batches."""
        self._sums = self._sums + rows.reshape(-1, 2, 2).sum(dim=0)

    def end_step(self) -> None:
        """Moves the anchors by the predictions of a step, which have been absorbed."""
        self.absorb(self.take().unsqueeze(0))
        means = self._sums[:, 0] / self._sums[:, 1]  # [2]
        means = torch.where(means.isfinite(), means, self.anchors())  # one step's NaN must not stay for ever
        self._moments = self._moments.lerp(means, 1 - self.cfg.decay)
        self._sums = torch.zeros_like(self._sums)
        self.num_steps += 1

    def state_dict(self) -> dict[str, Any]:
        """Returns the anchors in a form that JSON holds exactly."""
        return {'moments': self._moments.tolist(), 'num_steps': self.num_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self._moments = torch.tensor(state['moments'], dtype=torch.float64, device=self._moments.device)
        self.num_steps = state['num_steps']
