"""Controller of the augmentation strength p, which follows D's overfitting (Karras et al. 2020, section 3.2).

The host never waits for the device: D's signs are summed on the device, and each update starts the copy of the current
interval's sums to the host and applies those of the previous interval. p therefore reacts one interval later, by 4
steps compared with the 500 kimg in which it changes by 1, and does so equally on all devices.
"""

from __future__ import annotations

from typing import Any

import torch

from training.augment.config import AugmentConfig


class Controller:
    """Control of p by r = E[sign(D(x))] over the real images of an interval: p moves by a fixed step toward r = target.

    A D that recognizes all real images has r = 1, one that guesses has r = 0. In the paper, logits above 0 mean "real".
    The least-squares loss, with targets 1 and 0, is undecided at 1/2, hence `boundary`: relative to 0, nearly all of
    its logits would be positive, and p would only rise.

    Letters: R calls of `feed` in a step of this process, W processes.

    Args:
        cfg: the augmentation's config.
        batch: number of images in one step, over all processes.
        device: device of D's logits.
        boundary: logit from which signs are counted.

    Attributes:
        p: strength, on the host.
    """

    def __init__(self, cfg: AugmentConfig, batch: int, device: torch.device, boundary: float = 0.0) -> None:
        self.cfg = cfg
        self.boundary = boundary
        self.p = cfg.p
        self.step_size = batch * cfg.interval / (cfg.kimg * 1000)
        self._sums = torch.zeros([2], dtype=torch.float64, device=device)  # sum and number of signs, of all processes
        self._fresh: list[torch.Tensor] = []  # the same, of this process in this step
        self._pending: torch.Tensor | None = None  # [2] on the host, sums of the previous interval
        self._arrived: torch.cuda.Event | None = None

    @property
    def at_cap(self) -> bool:
        """Whether p has reached its upper limit."""
        return self.p >= self.cfg.p_max

    def feed(self, logits: torch.Tensor) -> None:
        """Adds D's logits (any shape) of real images as D receives them."""
        signs = (logits.detach() - self.boundary).sign()
        self._fresh.append(torch.stack([signs.sum(), signs.new_full([], signs.numel())]).double())

    def take(self) -> torch.Tensor:
        """Returns the sums fed since the last call, float64 [R, 2]."""
        fresh, self._fresh = self._fresh, []
        return torch.stack(fresh) if fresh else self._sums.new_zeros([0, 2])

    def absorb(self, rows: torch.Tensor) -> None:
        """Adds the sums taken by all processes, float64 [W, R, 2]; integers, hence exact in any order."""
        self._sums = self._sums + rows.sum(dim=(0, 1))

    def end_step(self, step: int) -> None:
        """Updates p every `interval` steps; called after step number `step`, counted from 0, and its `absorb`."""
        self.absorb(self.take().unsqueeze(0))
        if (step + 1) % self.cfg.interval == 0:
            self._apply()
            self._start_copy()

    def _apply(self) -> None:
        """Moves p by the sums of the previous interval."""
        signs, num = self._read_pending()
        if num == 0:
            return
        r = signs / num
        direction = (r > self.cfg.target) - (r < self.cfg.target)
        self.p = min(max(self.p + direction * self.step_size, 0.0), self.cfg.p_max)

    def _start_copy(self) -> None:
        """Starts the copy of the sums to the host."""
        if self._sums.device.type == 'cuda':
            host = torch.empty([2], dtype=torch.float64, pin_memory=True)
            self._pending = host.copy_(self._sums, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record()
        else:
            self._pending = self._sums.cpu()
        self._sums = torch.zeros_like(self._sums)

    def _read_pending(self) -> list[float]:
        """Returns [sum, number] of signs. Waits only if the host is a whole interval ahead of the device."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return [0.0, 0.0] if self._pending is None else self._pending.tolist()

    def state_dict(self) -> dict[str, Any]:
        """Returns p and both sums as JSON values."""
        return {'p': self.p, 'sums': self._sums.tolist(), 'pending': self._read_pending()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores p and both sums from `state_dict`."""
        self.p = state['p']
        self._sums = torch.tensor(state['sums'], dtype=torch.float64, device=self._sums.device)
        self._pending, self._arrived = torch.tensor(state['pending'], dtype=torch.float64), None
