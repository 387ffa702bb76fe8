"""The strength p of an augmentation, which follows D's overfitting (Karras et al. 2020, section 3.2).

Two decisions keep the host from waiting for the device. D's signs are summed there; at an update the sums of the
interval that ends start on their way to the host, and those that started an interval before are applied. So p answers
one interval late, 4 steps of the 500 kimg that it takes to move by 1, in the same way on every device.
"""

from __future__ import annotations

from typing import Any

import torch

from training.augment.config import AugmentConfig


class Controller:
    """r = E[sign(D(x))] over the real images of an interval; p moves by a fixed step towards where r is `target`.

    The paper's D says "real" from 0 up. Least squares, with targets 1 and 0, is undecided at 1/2: signs are counted
    from there, for from 0 all but every logit would be positive, and p would only rise.

    p: the strength, on the host. A D that is sure of the real images has r = 1, one that guesses r = 0.
    Letters: R calls of `feed` in a step of this process, W processes.
    """

    def __init__(self, cfg: AugmentConfig, batch: int, device: torch.device, boundary: float = 0.0) -> None:
        """batch: images in one step, over all processes. boundary: the logit from which signs are counted."""
        self.cfg = cfg
        self.boundary = boundary
        self.p = cfg.p
        self.step_size = batch * cfg.interval / (cfg.kimg * 1000)
        self._sums = torch.zeros([2], dtype=torch.float64, device=device)  # of signs, and how many, of all processes
        self._fresh: list[torch.Tensor] = []  # the same of this process in this step
        self._pending: torch.Tensor | None = None  # [2] on the host, sums of the interval before, perhaps on their way
        self._arrived: torch.cuda.Event | None = None

    @property
    def at_cap(self) -> bool:
        """Whether p has risen to its cap."""
        return self.p >= self.cfg.p_max

    def feed(self, logits: torch.Tensor) -> None:
        """Takes D's logits (any shape) of real images, as D was shown them."""
        signs = (logits.detach() - self.boundary).sign()
        self._fresh.append(torch.stack([signs.sum(), signs.new_full([], signs.numel())]).double())

    def take(self) -> torch.Tensor:
        """What has been fed since the last call, float64 [R, 2]."""
        fresh, self._fresh = self._fresh, []
        return torch.stack(fresh) if fresh else self._sums.new_zeros([0, 2])

    def absorb(self, rows: torch.Tensor) -> None:
        """Adds what all processes took, float64 [W, R, 2]; whole numbers, exact in any order."""
        self._sums = self._sums + rows.sum(dim=(0, 1))

    def end_step(self, step: int) -> None:
        """After step number `step` (from 0), its signs absorbed: every `interval` steps, an update."""
        self.absorb(self.take().unsqueeze(0))
        if (step + 1) % self.cfg.interval == 0:
            self._apply()
            self._start_copy()

    def _apply(self) -> None:
        """p moves by what the interval before has told."""
        signs, num = self._read_pending()
        if num == 0:
            return
        r = signs / num
        direction = (r > self.cfg.target) - (r < self.cfg.target)
        self.p = min(max(self.p + direction * self.step_size, 0.0), self.cfg.p_max)

    def _start_copy(self) -> None:
        """The sums leave for the host."""
        if self._sums.device.type == 'cuda':
            host = torch.empty([2], dtype=torch.float64, pin_memory=True)
            self._pending = host.copy_(self._sums, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record()
        else:
            self._pending = self._sums.cpu()
        self._sums = torch.zeros_like(self._sums)

    def _read_pending(self) -> list[float]:
        """[sum of signs, how many]. The copy began an interval ago: only a host so far ahead waits."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return [0.0, 0.0] if self._pending is None else self._pending.tolist()

    def state_dict(self) -> dict[str, Any]:
        """p and both sums, as JSON holds them exactly."""
        return {'p': self.p, 'sums': self._sums.tolist(), 'pending': self._read_pending()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.p = state['p']
        self._sums = torch.tensor(state['sums'], dtype=torch.float64, device=self._sums.device)
        self._pending, self._arrived = torch.tensor(state['pending'], dtype=torch.float64), None
