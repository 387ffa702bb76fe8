"""One training step: the phases that are due of Gmain, Greg, Dmain and Dreg, then the moving average.

A phase trains one network. It runs over the micro-batches of the step, averages their gradients, and lets the optimiser
step. Every random draw in it is a function of (seed, phase, nimg, micro-batch). Micro-batches are numbered over all
processes, each of which computes its share of them; `reduction.py` brings together what they leave.

Letters: B images in the step of this process, C channels, H and W image size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from torch_utils.distributed import World
from torch_utils.images import from_pixels
from torch_utils.seeding import seed_torch
from torch_utils.timing import PhaseTimer
from training.augment.view import View
from training.config import RunConfig
from training.data.dataset import ImageDataset
from training.fakes import Fakes
from training.objective.losses import LOSSES, Paired
from training.optimize.ema import ema_beta, update_ema
from training.optimize.health import Undo, guarded_step
from training.optimize.optimizers import GradientBuffer, lr_scale
from training.optimize.recalibrate import BATCHES, batch_norms, recalibrate
from training.optimize.reduction import MovingBuffers, sum_in_order
from training.state import TrainState
from training.terms import DiscriminatorTerms, GeneratorTerms, Micro, Term


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """What one optimiser step minimises. interval: it runs every so many steps. gain: factor on its gradients."""

    name: str
    net: str  # 'G' or 'D'
    terms: tuple[Term, ...]
    interval: int
    gain: int = 1


class TrainStep:
    """Moves a TrainState by one batch. Statistics go to `state.stats`, times to `timer`.

    world: the processes of the run; their states are, and stay, the same.
    """

    def __init__(
        self,
        cfg: RunConfig,
        state: TrainState,
        dataset: ImageDataset,
        device: torch.device,
        world: World | None = None,
    ) -> None:
        self.cfg = cfg
        self.state = state
        self.dataset = dataset
        self.device = device
        self.world = world or World()
        self.num_micro = cfg.batch // cfg.batch_gpu  # of all processes
        self._sizes: dict[str, tuple[int, int]] = {}  # by phase: numbers with a gradient, and in buffers that move
        self.fakes = Fakes(cfg, state, dataset, device)
        self.view = View(cfg.aug, state.controller)
        self.phases = self._make_phases()
        self.buffers = {'G': GradientBuffer(state.G), 'D': GradientBuffer(state.D)}
        self.undo = Undo(state.G, state.D)
        self.timer = PhaseTimer(device)

    def __call__(
        self,
        img: torch.Tensor,  # [B, C, H, W] uint8 or uint16
        c: torch.Tensor,  # [B, label_dim] float32
    ) -> None:
        """One step on one batch of real images."""
        state, cfg = self.state, self.cfg
        micros = self.split(img, c)
        for phase in self.phases:
            if state.step % phase.interval == 0:
                self.world.set_stage(f'step {state.step}, {phase.name}')
                with self.timer(phase.name):
                    self.run_phase(phase, micros)
        if state.step % cfg.n_critic == 0:
            with self.timer('ema'):
                beta = ema_beta(cfg.batch * cfg.n_critic, cfg.ema.kimg, cfg.ema.rampup, state.nimg)
                update_ema(state.G_ema, state.G, beta)
        self._follow()
        state.nimg += cfg.batch
        state.step += 1

    def _make_phases(self) -> list[Phase]:
        """G before D, main before regularisation; a regulariser without an interval joins the main phase."""
        cfg = self.cfg
        loss = LOSSES[cfg.loss.kind]()
        paired = isinstance(loss, Paired)
        of_g = GeneratorTerms(cfg, self.state, self.fakes, self.view, loss)
        of_d = DiscriminatorTerms(cfg, self.state, self.fakes, self.view, loss)
        g_reg = of_g.path_length if cfg.pl.weight > 0 else None
        d_reg = of_d.gradients if cfg.r1.gamma > 0 or cfg.r2.gamma > 0 else None
        return [
            *_phases_of('G', of_g.pairs if paired else of_g.main, g_reg, cfg.pl.interval, every=cfg.n_critic),
            *_phases_of('D', of_d.pairs if paired else of_d.main, d_reg, cfg.r1.interval, every=1),
        ]

    def split(self, img: torch.Tensor, c: torch.Tensor) -> list[Micro]:
        """A batch of the loader as micro-batches on the device."""
        img = from_pixels(img.to(self.device, non_blocking=True))  # [B, C, H, W]
        c = c.to(self.device, non_blocking=True)  # [B, label_dim]
        size = self.cfg.batch_gpu
        first = self.world.rank * (len(img) // size)
        parts = zip(img.split(size), c.split(size), strict=True)
        return [Micro(img=i, c=j, index=k) for k, (i, j) in enumerate(parts, start=first)]

    def run_phase(self, phase: Phase, micros: list[Micro]) -> None:
        """Gradients of a phase averaged over its micro-batches, then one optimiser step."""
        state, cfg = self.state, self.cfg
        net, optimizer = getattr(state, phase.net), getattr(state, f'opt_{phase.net}')
        pl_mean = state.pl_mean.clone()
        self.undo.remember()
        optimizer.zero_grad(set_to_none=True)
        net.requires_grad_(True)
        moving = MovingBuffers((state.G, state.D), [state.pl_mean]) if self.num_micro > 1 else None
        packed = self._gradients(phase, micros, moving)
        if moving is not None:
            moving.finish(self.world)
        net.requires_grad_(False)
        unsound = guarded_step(
            optimizer,
            packed,
            lr_scale(state.nimg, cfg.kimg, cfg.lr_decay_kimg),
            on_nan=cfg.on_nan,
            loss_scale=state.loss_scale(phase.net),
            stats=state.stats,
        )
        self.undo.where(unsound)
        state.pl_mean.copy_(torch.where(unsound, pl_mean, state.pl_mean))

    def _gradients(self, phase: Phase, micros: list[Micro], moving: MovingBuffers | None) -> torch.Tensor:
        """The mean over the micro-batches of all processes, as the parameters' gradients, and packed.

        Behind them stands the sum of all losses: see `guarded_step`.
        """
        buffer = self.buffers[phase.net]
        if not self.cfg.deterministic:
            total = torch.zeros([], device=self.device)
            for micro in micros:
                total = total + self._backward(phase, micro, moving)
            packed = buffer.gather(total)
            self._check_sizes(phase, packed, moving)
            self.world.all_reduce(packed, 'the gradients')
            return packed

        def of_micro(k: int) -> torch.Tensor:
            buffer.clear()
            packed = buffer.gather(self._backward(phase, micros[k], moving))
            self._check_sizes(phase, packed, moving)
            return packed.clone()

        return buffer.fill(sum_in_order(self.world, len(micros), of_micro))

    def _backward(self, phase: Phase, micro: Micro, moving: MovingBuffers | None) -> torch.Tensor:
        """Adds the gradients of one micro-batch, so scaled that their sum over all is the mean. Returns its loss []."""
        if moving is not None:
            moving.begin_micro()
        scale = self.state.loss_scale(phase.net)
        weight = phase.gain / self.num_micro * (1 if scale is None else scale.factor)
        total = torch.zeros([], device=self.device)
        seed_torch(self.cfg.seed, self.state.purpose(phase.name), self.state.nimg, micro.index)
        for term in phase.terms:
            for loss in term(micro):
                (loss * weight).backward()
                total = total + loss.detach()
        if moving is not None:
            moving.end_micro()
        return total

    def _check_sizes(self, phase: Phase, packed: torch.Tensor, moving: MovingBuffers | None) -> None:
        """What processes exchange must have one size: compared among them once, afterwards with what it was then."""
        if moving is None or self.world.size == 1:
            return
        sizes = (len(packed), moving.size)
        if phase.name not in self._sizes:
            self._sizes[phase.name] = sizes
            every = self.world.gather_on_host(torch.tensor(sizes), f'the sizes of {phase.name}')  # [W, 2]
            sizes = tuple(every.max(dim=0).values.tolist())
        if sizes != self._sizes[phase.name]:
            raise RuntimeError(
                f'{self.world}: {phase.name} moves {self._sizes[phase.name]} numbers (with a gradient, in buffers) '
                f'here and {sizes} in another process or step: what has a gradient must not depend on the data'
            )

    def _follow(self) -> None:
        """What D has said in this step moves the augmentation's strength and LeCam's anchors."""
        self._exchange()
        if self.state.controller is not None:
            self.state.controller.end_step(self.state.step)
        if self.state.lecam is not None:
            self.state.lecam.end_step()

    def _exchange(self) -> None:
        """All processes add up what the micro-batches of all have reported, in one small collective a step."""
        state = self.state
        parts = [part for part in (state.stats, state.controller, state.lecam) if part is not None]
        rows = [part.take() for part in parts]  # float64 [R, K] each
        flat = self.world.gather(torch.cat([r.flatten() for r in rows]), 'the statistics')  # [W, numbers]
        for part, mine, all_rows in zip(parts, rows, flat.split([r.numel() for r in rows], dim=1), strict=True):
            part.absorb(all_rows.view(-1, *mine.shape))  # [W, R, K]

    def recalibrate(self) -> None:
        """Measures the batch-norm statistics of G_ema, where it is an average and has any, before it is shown."""
        state, cfg = self.state, self.cfg
        if cfg.ema.kimg == 0 or not batch_norms(state.G_ema):
            return
        seed_torch(cfg.seed, 'recalibration', state.nimg)
        recalibrate(state.G_ema, (self.fakes.latents(k, cfg.batch_gpu, 'recalibration') for k in range(BATCHES)))


def _phases_of(net: str, main: Term, reg: Term | None, interval: int | None, every: int) -> list[Phase]:
    """The main phase of a network every so many steps, and its regulariser's at its interval of those."""
    if reg is None:
        return [Phase(name=f'{net}main', net=net, terms=(main,), interval=every)]
    if interval is None:
        return [Phase(name=f'{net}both', net=net, terms=(main, reg), interval=every)]
    return [
        Phase(name=f'{net}main', net=net, terms=(main,), interval=every),
        Phase(name=f'{net}reg', net=net, terms=(reg,), interval=every * interval, gain=interval),
    ]
