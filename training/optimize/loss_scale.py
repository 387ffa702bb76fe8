"""Loss scaling for float16 (Micikevicius et al. 2018, section 3.2), all of it on the device.

float16 has no number between 0 and 6e-8: the gradients of an image's pixels, some 1 / (N H W), vanish there. The loss
is multiplied by a power of two, the gradients are divided by it, and nothing but their range has changed. What
overflows at one factor is tried again, with the next batch, at half of it.

The clamp of activations (`conv_clamp`) bounds what goes forward and does nothing for what comes back. The gradients
inside R1 and the path length are of single images and not divided by N: a squared norm of 0.1 at 256x256 means entries
of 7e-4, which float16 holds, so they are taken as they are, as in StyleGAN2-ADA.
"""

from __future__ import annotations

from typing import Any

import torch

FIRST = 2.0**16
LARGEST = 2.0**24  # gradients below 2^-24 of this are zero in float32's sums anyway
INTERVAL = 2000  # clean steps after which twice the factor is tried


class LossScale:
    """The factor of one network's losses. Its phases share it.

    Readings: the paper leaves the rule open. These are the numbers that are usual with PyTorch: from 2^16, half after
    an overflow, double after 2,000 clean steps. At 1 there is nothing to give back: what overflows there is a fault.
    """

    def __init__(self, device: torch.device) -> None:
        self.factor = torch.full([], FIRST, device=device)
        self._clean = torch.zeros([], device=device)  # steps since the last overflow or doubling

    @property
    def lowest(self) -> torch.Tensor:
        """Whether the factor cannot be lowered any more, bool []."""
        return self.factor <= 1

    def update(self, overflow: torch.Tensor) -> None:
        """After every step of the optimiser. overflow: whether its gradients were too large, bool []."""
        clean = torch.where(overflow, 0, self._clean + 1)
        grow = clean >= INTERVAL
        factor = torch.where(overflow, self.factor / 2, torch.where(grow, self.factor * 2, self.factor))
        self.factor = factor.clamp(1, LARGEST)
        self._clean = torch.where(grow, 0, clean)

    def state_dict(self) -> dict[str, Any]:
        """The factor and the count, as JSON holds them exactly."""
        return {'factor': self.factor.item(), 'clean': self._clean.item()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.factor = torch.full_like(self.factor, state['factor'])
        self._clean = torch.full_like(self._clean, state['clean'])
