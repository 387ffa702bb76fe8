"""Generated images for training: latents, labels, style mixing. Draws are functions of what the step has seeded.

Letters: N images, C channels, H and W image size, L number of ws.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from torch_utils.seeding import numpy_generator
from training.config import RunConfig
from training.data.dataset import ImageDataset
from training.interface import TrackingGenerator
from training.run.latents import space_of
from training.state import TrainState


class Mixing(NamedTuple):
    """Second latents of a batch whose later ws come from them.

    z: [N, z_dim].
    first: which ws remain those of the first latents, bool [L].
    """

    z: torch.Tensor
    first: torch.Tensor


class Fakes:
    """A source of generated images of a run."""

    def __init__(self, cfg: RunConfig, state: TrainState, dataset: ImageDataset, device: torch.device) -> None:
        """Keeps its arguments.

        Args:
            cfg: Config of the run.
            state: State of the run, whose G draws.
            dataset: Data set whose labels are drawn.
            device: Device of all tensors.
        """
        self.cfg = cfg
        self.state = state
        self.dataset = dataset
        self.device = device
        self.has_w_space = space_of(state.G) == 'w'
        self.tracks = isinstance(state.G, TrackingGenerator)
        self._first: torch.Tensor | None = None  # bool [L, L]; row k selects the first k ws

    def labels(self, index: int, n: int, purpose: str) -> torch.Tensor:
        """Draws labels from the data set's own, as a function of the purpose and the micro-batch.

        Args:
            index: Number of the micro-batch in the step.
            n: Number of labels.
            purpose: Purpose of the draw, such as 'Gmain'.

        Returns:
            Labels, [n, label_dim].
        """
        if self.dataset.spec.label_dim == 0:
            return torch.zeros([n, 0], device=self.device)
        draw = numpy_generator(self.cfg.seed, self.state.purpose(f'labels {purpose}'), self.state.nimg, index)
        labels = self.dataset.labels(draw.integers(len(self.dataset), size=n))
        return torch.from_numpy(labels).to(self.device, non_blocking=True)

    def latents(self, index: int, n: int, purpose: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Draws latents and labels.

        Args:
            index: Number of the micro-batch in the step.
            n: Number of images.
            purpose: Purpose of the draw, such as 'Gmain'.

        Returns:
            z [n, z_dim] and labels [n, label_dim].
        """
        return self.z(n), self.labels(index, n, purpose)

    def z(self, n: int) -> torch.Tensor:
        """Returns latents [n, z_dim], standard normal."""
        return torch.randn([n, self.state.G.z_dim], device=self.device)

    def mixing(self, z: torch.Tensor) -> Mixing | None:
        """Draws the second latents of style mixing, with one crossover for the whole batch of latents `z`.

        The host draws the decision and the crossover. The crossover selects a row of a table on the device, so that
        every shape of a batch is constant.
        """
        if self.cfg.style_mixing_prob == 0:
            return None
        num_ws = self.state.G.num_ws
        crossover = int(torch.randint(1, num_ws, []))
        if not bool(torch.rand([]) < self.cfg.style_mixing_prob):
            return None
        if self._first is None:
            self._first = torch.ones([num_ws, num_ws], dtype=torch.bool, device=self.device).tril(-1)
        return Mixing(z=torch.randn_like(z), first=self._first[crossover])

    def ws(self, z: torch.Tensor, c: torch.Tensor, update_w_avg: bool = False) -> torch.Tensor:
        """Maps latents, with style mixing; arguments and result as in `map`."""
        return self.map(z, c, self.mixing(z), update_w_avg)

    def map(self, z: torch.Tensor, c: torch.Tensor, mixing: Mixing | None, update_w_avg: bool = False) -> torch.Tensor:
        """Maps latents with given style mixing (Karras et al. 2019, section 3.1).

        Args:
            z: Latents, [N, z_dim].
            c: Labels, [N, label_dim].
            mixing: Second latents; None: these are not mixed.
            update_w_avg: Whether the latents `z` move G's running mean of w.

        Returns:
            Latents in W, [N, L, w_dim].
        """
        G = self.state.G
        ws: torch.Tensor = G.mapping(z, c, update_w_avg=update_w_avg)  # [N, L, w_dim]
        if mixing is None:
            return ws
        return torch.where(mixing.first[:, None], ws, G.mapping(mixing.z, c))

    def draw(
        self, z: torch.Tensor, c: torch.Tensor, update_w_avg: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Generates images.

        Args:
            z: Latents, [N, z_dim].
            c: Labels, [N, label_dim].
            update_w_avg: Whether these latents move G's running mean of w, unless G is a `TrackingGenerator`.

        Returns:
            Images [N, C, H, W] and their ws [N, L, w_dim], None if G has no W space.
        """
        if not self.has_w_space:
            return self.state.G(z, c), None
        ws = self.ws(z, c, update_w_avg and not self.tracks)
        return self.state.G.synthesis(ws), ws

    def generate_for_main(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """Returns the images [N, C, H, W] of D's main phase, with which the averages of a `TrackingGenerator` move."""
        if not self.tracks:
            return self.generate(z, c)
        img: torch.Tensor = self.state.G.track(self.ws(z, c, update_w_avg=True))
        return img

    def generate(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """Returns images [N, C, H, W] of latents [N, z_dim] and labels [N, label_dim]."""
        return self.draw(z, c)[0]
