"""Passes of the networks within the phases of a step, computed operation by operation.

`training/graphs.py` has the same passes as CUDA graphs.

Letters: N images, C channels, H and W image size, L number of ws.
"""

from __future__ import annotations

import torch

from training.fakes import Fakes
from training.objective.term import Draw, Micro, Summand, Term
from training.optimize.optimizers import GradientBuffer
from training.state import TrainState


class Passes:
    """Passes that the losses of a run take through its networks."""

    def __init__(self, state: TrainState, fakes: Fakes) -> None:
        self.state, self.fakes = state, fakes

    def begin(self, phase: str, buffer: GradientBuffer) -> None:
        """Prepares for a phase, by name; `buffer` packs the gradients of its network, which are None now."""

    def end(self, buffer: GradientBuffer) -> None:
        """Ends a phase whose gradients are complete."""

    def draw(self, z: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Generates the images of G's main phase, which move G's running mean of w.

        Args:
            z: Latents, [N, z_dim].
            c: Labels, [N, label_dim].

        Returns:
            Images [N, C, H, W] and their ws [N, L, w_dim], None if G has no W space.
        """
        return self.fakes.draw(z, c, update_w_avg=True)

    def generate(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """Generates the images of D's main phase, [N, C, H, W], of latents [N, z_dim] and labels [N, label_dim]."""
        return self.fakes.generate_for_main(z, c)

    def score(self, img: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """Returns D's logits [N, 1] of images [N, C, H, W] as D sees them, with labels [N, label_dim]."""
        logits: torch.Tensor = self.state.D(img, c)
        return logits

    def regularize(self, term: Term, micro: Micro, draw: Draw) -> Summand | None:
        """Returns the loss of a regularizer.

        Args:
            term: Regularizer.
            micro: Micro-batch.
            draw: Draws and scores for it.
        """
        return term.regularize(micro, draw)
