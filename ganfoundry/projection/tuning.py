"""Pivotal tuning: the synthesis network learns to draw a target at its pivot, and nearby images stay as they are.

Roich et al. 2021, arXiv 2106.05744. Letters: N images in a batch, L number of ws.
"""

from __future__ import annotations

import copy
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from ganfoundry.points import z_of
from ganfoundry.projection.perceptual import Distance, Parts
from ganfoundry.projection.spaces import Statistics
from torch_utils.devices import deterministic_float32
from torch_utils.seeding import numpy_generator

LR = 1e-3  # Adam's; the paper has 3e-4, with more steps
# Distance of a neighbor from the pivot in standard deviations of w. The paper has α = 30 in the unit of FFHQ's w.
NEIGHBOR = 1.0
# Weight of the neighbor's distance. With 1 instead, two drawings gained 3.3 and 4.3 dB at a drift of 0.01; with 0.1,
# 6.4 and 6.7 dB at 0.03 (100 steps, examples/networks/peeps32.safetensors until commit b79dddd).
LOCALITY = 0.1
NUM_WITNESSES = 32  # other images, by whose mean distance the drift is measured
EVERY = 10  # steps between two measurements of the drift


@dataclass(frozen=True, kw_only=True, slots=True)
class Pivot:
    """The target of a tuning, and the point at which the network shall draw it.

    ws: [1, L, w_dim]. target: image [1, C, H, W] in [-1, 1]. c: label [1, label_dim]. statistics: of w.
    """

    ws: torch.Tensor
    target: torch.Tensor
    c: torch.Tensor
    statistics: Statistics


class Tuned(NamedTuple):
    """State of a tuning at a step. image: [1, C, H, W]. drift: None where it was not measured."""

    step: int
    image: torch.Tensor
    parts: Parts
    drift: float | None


class Witnesses:
    """Other images, which should not change."""

    def __init__(self, G: Any, c: torch.Tensor, distance: Distance) -> None:
        """Draws the images of seeds 0 to 31 with a label c [1, label_dim]."""
        self._distance = distance
        z = z_of(range(NUM_WITNESSES), G.z_dim).to(c.device)
        with torch.no_grad(), deterministic_float32():
            self._ws = G.mapping(z, c.expand(len(z), -1))  # [NUM_WITNESSES, L, w_dim]
            self._before = [self._embed(G, ws) for ws in self._ws.split(1)]

    @torch.no_grad()
    def drift(self, G: Any) -> float:
        """Returns the mean perceptual distance by which the images have moved."""
        with deterministic_float32():
            pairs = zip(self._ws.split(1), self._before, strict=True)
            moved = [float((self._embed(G, ws) - before).square().sum()) for ws, before in pairs]
        return float(np.mean(moved))

    def _embed(self, G: Any, ws: torch.Tensor) -> torch.Tensor:
        return self._distance.embed(G.synthesis(ws, noise_mode='const').float())


class Tuning:
    """A tuning of a copy of a generator.

    Attributes:
        G: The copy, in the state of the last measurement of the drift that was within the limit.
        drift: The drift of that state.
    """

    def __init__(self, G: Any, pivot: Pivot, distance: Distance, *, max_drift: float, seed: int) -> None:
        """Copies the generator.

        Args:
            G: The generator; it is not changed.
            pivot: Target and point.
            distance: The distance to minimize.
            max_drift: Limit of the drift; the tuning ends before it is exceeded.
            seed: Seed of the neighbors.
        """
        self.G, self.drift = copy.deepcopy(G), 0.0
        self._before, self._pivot, self._distance = G, pivot, distance
        self._max_drift, self._seed = max_drift, seed
        self._witnesses = Witnesses(G, pivot.c, distance)

    def run(self, num_steps: int) -> Generator[Tuned, None, None]:
        """Yields the state before every step and after the last one."""
        pivot, distance = self._pivot, self._distance
        tuned = [p for name, p in self.G.named_parameters() if not name.startswith('mapping.')]
        for parameter in tuned:
            parameter.requires_grad_(True)
        adam = torch.optim.Adam(tuned, lr=LR)
        with torch.no_grad(), deterministic_float32():
            embedded = distance.embed(pivot.target)
        kept = _values(self.G)
        try:
            for step in range(num_steps + 1):
                drift = self._witnesses.drift(self.G) if step % EVERY == 0 or step == num_steps else None
                if drift is not None and drift > self._max_drift:
                    break
                if drift is not None:
                    kept, self.drift = _values(self.G), drift
                with torch.enable_grad(), deterministic_float32():
                    image = self.G.synthesis(pivot.ws, noise_mode='const').float()  # [1, C, H, W]
                    parts = distance.parts(image, distance.embed(image), pivot.target, embedded)
                    loss = distance.total(parts) + LOCALITY * self._neighbor(step)
                    adam.zero_grad(set_to_none=True)
                    loss.sum().backward()
                yield Tuned(step, image.detach(), Parts(*(part.detach() for part in parts)), drift)
                if step < num_steps:
                    adam.step()
        finally:  # also where the caller stops
            self.G.load_state_dict(kept)
            self.G.requires_grad_(False)

    def _neighbor(self, step: int) -> torch.Tensor:
        """Returns the distance [1] between the tuned and the original image of a random neighbor of the pivot."""
        pivot, draw = self._pivot, numpy_generator(self._seed, 'tuning neighbor', step)
        z = torch.from_numpy(draw.standard_normal([1, self.G.z_dim])).float().to(pivot.ws.device)
        with torch.no_grad():
            direction = self._before.mapping(z, pivot.c) - pivot.ws  # [1, L, w_dim]
            # w_r = w_p + α (w_z − w_p) / ‖w_z − w_p‖
            ws = pivot.ws + NEIGHBOR * pivot.statistics.std * direction / direction[:, :1].norm(dim=2, keepdim=True)
            before = self._before.synthesis(ws, noise_mode='const').float()
            embedded = self._distance.embed(before)
        after = self.G.synthesis(ws, noise_mode='const').float()
        return self._distance.total(self._distance.parts(after, self._distance.embed(after), before, embedded))


def _values(G: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in G.state_dict().items()}
