"""Loss scaling for float16 (Micikevicius et al. 2018, section 3.2), computed on the device.

float16 has no number between 0 and 6e-8, so the gradients of an image's pixels, about 1 / (N H W), vanish. The loss is
multiplied by a power of two and the gradients are divided by it, which changes nothing except their range. After an
overflow, the next batch is tried with half the factor.

The clamp of activations (`conv_clamp`) bounds the forward pass only. The gradients inside R1 and path length belong to
single images and are not divided by N: a squared norm of 0.1 at 256x256 means entries of 7e-4, which float16
represents. They are not scaled, as in StyleGAN2-ADA.
"""

from __future__ import annotations

from typing import Any

import torch

FIRST = 2.0**16
LARGEST = 2.0**24  # gradients below 2^-24 of this are zero in float32 sums anyway
INTERVAL = 2000  # steps without overflow after which the factor doubles


class LossScale:
    """Factor of the losses of one network, shared by its phases.

    Reading: the paper leaves the rule open. The numbers are those that are usual with PyTorch: start at 2^16, halve
    after an overflow, double after 2,000 clean steps. An overflow at a factor of 1 is a fault.
    """

    def __init__(self, device: torch.device) -> None:
        self.factor = torch.full([], FIRST, device=device)
        self._clean = torch.zeros([], dtype=torch.int32, device=device)  # steps since the last overflow or doubling

    def update(self, overflow: torch.Tensor) -> None:
        """Updates the factor after an optimizer step. overflow: whether its gradients overflowed, bool []."""
        torch._amp_update_scale_(self.factor, self._clean, overflow.float(), 2.0, 0.5, INTERVAL)
        self.factor.clamp_(1, LARGEST)

    def state_dict(self) -> dict[str, Any]:
        """Returns the factor and the count of clean steps as JSON values."""
        return {'factor': self.factor.item(), 'clean': float(self._clean)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the factor and the count from `state_dict`."""
        self.factor.fill_(state['factor'])
        self._clean.fill_(state['clean'])
