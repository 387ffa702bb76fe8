"""The images that an inspection follows through a network.

Letters: N images, C channels, H and W image size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ganfoundry.drawing import draw_batch
from ganfoundry.inspection.taps import Call, tapped
from ganfoundry.network import Network
from ganfoundry.points import Point
from torch_utils.images import to_uint8


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """A network, the points that it draws, and how."""

    network: Network
    points: Sequence[Point]
    truncation_psi: float = 1
    noise_mode: str = 'const'

    def run(self, modules: Mapping[str, torch.nn.Module]) -> tuple[torch.Tensor, dict[str, Call]]:
        """Draws the images as one batch.

        Args:
            modules: Modules of the network to record, by name.

        Returns:
            Images, float32 [N, C, H, W] on the CPU, and the calls of the modules by name.
        """
        how: dict[str, Any] = {'truncation_psi': self.truncation_psi, 'noise_mode': self.noise_mode}
        with tapped(modules) as calls:
            images = draw_batch(self.network.module, self.points, **how)
        return images, calls


def pixels(images: torch.Tensor) -> np.ndarray:
    """Returns images in [-1, 1] as uint8 [N, C, H, W]."""
    return to_uint8(images).cpu().numpy()


def rms(features: torch.Tensor) -> np.ndarray:
    """Returns the root mean square over channels of features [N, C, H, W], float64 [N, H, W]."""
    return features.double().square().mean(dim=1).sqrt().cpu().numpy()
