"""One training step: the phases Gmain, Greg, Dmain and Dreg that are due, in this order or with D first; the average.

A phase trains one network. It runs over the micro-batches of the step, averages their gradients, and the optimizer
steps. Every random draw in it is a function of (seed, phase, nimg, micro-batch). Micro-batches are numbered over all
processes, each of which computes its share of them; `optimize/reduction.py` combines their results.

Letters: B images in the step of this process, C channels, H and W image size.
"""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass

import torch

from torch_utils.distributed import World
from torch_utils.images import from_pixels
from torch_utils.seeding import seed_torch
from torch_utils.timing import PhaseTimer
from training.augment.view import View
from training.config import OptimizerConfig, RunConfig
from training.data.dataset import ImageDataset
from training.fakes import Fakes
from training.graphs import make_passes
from training.interface import Exchanged
from training.objective.r1 import InputGradient
from training.objective.term import Micro, has_hook
from training.optimize.ema import ema_beta, update_ema
from training.optimize.health import Undo, guarded_step
from training.optimize.optimizers import GradientBuffer, lr_scale, set_beta2
from training.optimize.recalibrate import BATCHES, batch_norms, recalibrate
from training.optimize.reduction import MovingBuffers, sum_in_order
from training.state import TrainState
from training.terms import DiscriminatorTerms, GeneratorTerms, Losses


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """A phase of a step: the losses that one step of an optimizer minimizes.

    name: name in statistics and seeds.
    net: network that it trains, 'G' or 'D'.
    losses: losses of a micro-batch, computed one after another.
    interval: number of steps from one run of the phase to the next.
    gain: factor on the gradients.
    """

    name: str
    net: str
    losses: tuple[Losses, ...]
    interval: int
    gain: int = 1


class TrainStep:
    """A function that moves a TrainState by one batch. Statistics go to `state.stats`, times to `timer`."""

    def __init__(
        self,
        cfg: RunConfig,
        state: TrainState,
        dataset: ImageDataset,
        device: torch.device,
        world: World | None = None,
    ) -> None:
        """Prepares the phases.

        Args:
            cfg: Config of the run.
            state: State that is trained.
            dataset: Data set, for labels of generated images.
            device: Device of the state.
            world: Processes of the run, which hold the same state before and after every step; None for a single one.
        """
        self.cfg = cfg
        self.state = state
        self.dataset = dataset
        self.device = device
        self.world = world or World()
        # Micro-batches of a step, over all processes, by the network that they train.
        self.num_micro = {net: cfg.batch // cfg.micro_size(net) for net in ('G', 'D')}
        self._sizes: dict[str, tuple[int, int]] = {}  # phase to numbers with a gradient, and in buffers that move
        self.fakes = Fakes(cfg, state, dataset, device)
        self.view = View(cfg.aug, state.controller, lambda: state.nimg)
        self.passes = make_passes(cfg, state, self.fakes, device, self.world)
        self.phases = self._make_phases()
        self.buffers = {'G': GradientBuffer(state.G), 'D': GradientBuffer(state.D)}
        self.undo = Undo(state.G, state.D)
        self.timer = PhaseTimer(device)

    def __call__(
        self,
        img: torch.Tensor,  # [B, C, H, W] uint8 or uint16
        c: torch.Tensor,  # [B, label_dim] float32
        for_G: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> None:
        """Trains one step on a batch of real images, this process's share of it.

        Args:
            img: Real images.
            c: Their labels.
            for_G: Images and labels for the phases of G, as many, under `fresh_reals`; None: the same.
        """
        state, cfg = self.state, self.cfg
        self._follow_schedule()
        micros = {'D': self.split(img, c)}
        shared = for_G is None and self.num_micro['G'] == self.num_micro['D']
        micros['G'] = micros['D'] if shared else self.split(*(for_G or (img, c)), net='G')
        for phase in self.phases:
            if state.step % phase.interval == 0:
                self.world.set_stage(f'step {state.step}, {phase.name}')
                with self.timer(phase.name):
                    self.run_phase(phase, micros[phase.net])
        if state.step % cfg.n_critic == 0:
            with self.timer('ema'):
                half_life = cfg.schedule.at(state.nimg, cfg.ema.kimg, cfg.schedule.ema_kimg)
                beta = ema_beta(cfg.batch * cfg.n_critic, half_life, cfg.ema.rampup, state.nimg)
                update_ema(state.G_ema, state.G, beta)
        self._end_step()
        state.nimg += cfg.batch
        state.step += 1

    def _follow_schedule(self) -> None:
        """Sets the values that follow the run's schedule and are kept elsewhere, as functions of `nimg`."""
        schedule, nimg = self.cfg.schedule, self.state.nimg
        if schedule.beta2 is not None:
            for net in ('G', 'D'):
                start = self._optimizer_config(net).beta2
                set_beta2(getattr(self.state, f'opt_{net}'), schedule.at(nimg, start, schedule.beta2))
        for term in self.state.terms.values():
            if isinstance(term, InputGradient):
                term.gamma = schedule.at(nimg, term.cfg.gamma, schedule.gamma)
        self.view.fixed_p = schedule.at(nimg, self.cfg.aug.p, schedule.p)

    def _optimizer_config(self, net: str) -> OptimizerConfig:
        return self.cfg.g_opt if net == 'G' else self.cfg.d_opt

    def _lr_factor(self, net: str) -> float:
        """Returns the factor on the initial learning rate of a network in this step."""
        cfg, nimg = self.cfg, self.state.nimg
        start = self._optimizer_config(net).lr
        return lr_scale(nimg, cfg.kimg, cfg.lr_decay_kimg) * (cfg.schedule.at(nimg, start, cfg.schedule.lr) / start)

    def _make_phases(self) -> list[Phase]:
        """Returns the phases: G before D unless the run has `d_first`, main before lazy.

        Without an interval a lazy phase joins the main one.
        """
        cfg = self.cfg
        g_losses = GeneratorTerms(cfg, self.state, self.fakes, self.view, self.passes)
        d_losses = DiscriminatorTerms(cfg, self.state, self.fakes, self.view, self.passes)
        g_lazy = g_losses.regularize if g_losses.regularizing else None
        d_lazy = d_losses.regularize if d_losses.regularizing else None
        of_G = _phases_of('G', g_losses.main, g_lazy, cfg.pl.interval, every=cfg.n_critic)
        of_D = _phases_of('D', d_losses.main, d_lazy, cfg.r1.interval, every=1)
        return of_D + of_G if cfg.d_first else of_G + of_D

    def split(self, img: torch.Tensor, c: torch.Tensor, net: str = 'D') -> list[Micro]:
        """Returns a batch of the loader as micro-batches on the device.

        Args:
            img: Real images, [B, C, H, W] uint8 or uint16.
            c: Their labels, [B, label_dim] float32.
            net: The network that they train, 'G' or 'D'.
        """
        img = from_pixels(img.to(self.device, non_blocking=True))  # [B, C, H, W]
        c = c.to(self.device, non_blocking=True)  # [B, label_dim]
        size = self.cfg.micro_size(net)
        first = self.world.rank * (len(img) // size)
        parts = zip(img.split(size), c.split(size), strict=True)
        return [Micro(img=i, c=j, index=k) for k, (i, j) in enumerate(parts, start=first)]

    def run_phase(self, phase: Phase, micros: list[Micro]) -> None:
        """Averages a phase's gradients over its micro-batches, then steps its optimizer once."""
        state, cfg = self.state, self.cfg
        net, optimizer = getattr(state, phase.net), getattr(state, f'opt_{phase.net}')
        self.undo.remember(state.moving)
        optimizer.zero_grad(set_to_none=True)
        net.requires_grad_(True)
        moving = MovingBuffers((state.G, state.D), state.moving) if self.num_micro[phase.net] > 1 else None
        self.passes.begin(phase.name, self.buffers[phase.net])
        packed = self._gradients(phase, micros, moving)
        self.passes.end(self.buffers[phase.net])
        if moving is not None:
            moving.finish(self.world)
        net.requires_grad_(False)
        unsound = guarded_step(
            optimizer,
            packed,
            self._lr_factor(phase.net),
            on_nan=cfg.on_nan,
            loss_scale=state.loss_scale(phase.net),
            stats=state.stats,
        )
        self.undo.where(unsound)

    def _gradients(self, phase: Phase, micros: list[Micro], moving: MovingBuffers | None) -> torch.Tensor:
        """Computes the mean gradients over the micro-batches of all processes.

        Args:
            phase: Phase to compute.
            micros: Micro-batches of this process.
            moving: Buffers that the phase moves; None with a single micro-batch.

        Returns:
            The gradients, of which the parameters' gradients are views, and last the sum of all losses, as
            `guarded_step` takes them; float32 [numbers that have a gradient + 1].
        """
        buffer = self.buffers[phase.net]
        if not self.cfg.deterministic:
            packed = buffer.gather(self._sum([self._backward(phase, micro, moving) for micro in micros]))
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
        """Accumulates one micro-batch's gradients, scaled so that the sum over micro-batches is the mean.

        Args:
            phase: Phase to compute.
            micro: Micro-batch.
            moving: Buffers that the phase moves; None with a single micro-batch.

        Returns:
            The sum of the losses, detached, [].
        """
        if moving is not None:
            moving.begin_micro()
        scale = self.state.loss_scale(phase.net)
        weight = torch.full([], phase.gain / self.num_micro[phase.net], device=self.device)
        if scale is not None:
            weight = weight * scale.factor
        totals: list[torch.Tensor] = []
        seed_torch(self.cfg.seed, self.state.purpose(phase.name), self.state.nimg, micro.index)
        for losses in phase.losses:
            for loss in losses(micro):
                # The gradient of loss * weight: one launch, not three.
                loss.backward(weight.to(loss.dtype))
                totals.append(loss.detach())
        if moving is not None:
            moving.end_micro()
        return self._sum(totals)

    def _sum(self, totals: list[torch.Tensor]) -> torch.Tensor:
        """Returns the sum of losses, [] each."""
        return functools.reduce(operator.add, totals) if totals else torch.zeros([], device=self.device)

    def _check_sizes(self, phase: Phase, packed: torch.Tensor, moving: MovingBuffers | None) -> None:
        """Checks that all processes exchange tensors of one size: among them the first time, then against that size.

        Args:
            phase: Phase that is computed.
            packed: Gradients and loss.
            moving: Buffers that the phase moves; None with a single micro-batch.

        Raises:
            RuntimeError: If a size differs from that of another process or of an earlier step.
        """
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

    def _end_step(self) -> None:
        """Updates the ADA controller and the terms with memory from what all processes collected in this step."""
        self._exchange()
        if self.state.controller is not None:
            self.state.controller.end_step(self.state.step)
        for term in self.state.terms.values():
            if has_hook(term, 'end_step'):
                term.end_step()

    def _exchange(self) -> None:
        """Combines what the micro-batches of all processes have reported, in one small collective per step."""
        state = self.state
        parts: list[Exchanged] = [state.stats]
        parts += [part for part in (state.controller, *state.terms.values()) if isinstance(part, Exchanged)]
        rows = [part.take() for part in parts]  # float64 [R, K] each
        flat = self.world.gather(torch.cat([r.flatten() for r in rows]), 'the statistics')  # [W, numbers]
        for part, mine, all_rows in zip(parts, rows, flat.split([r.numel() for r in rows], dim=1), strict=True):
            part.absorb(all_rows.view(-1, *mine.shape))  # [W, R, K]

    def recalibrate(self) -> None:
        """Measures the batch-norm statistics of G_ema before it is drawn from, if it is an average and has any."""
        state, cfg = self.state, self.cfg
        averages = cfg.ema.kimg > 0 or bool(cfg.schedule.ema_kimg)
        if not averages or not batch_norms(state.G_ema):
            return
        seed_torch(cfg.seed, 'recalibration', state.nimg)
        recalibrate(state.G_ema, (self.fakes.latents(k, cfg.micro_size('G'), 'recalibration') for k in range(BATCHES)))


def _phases_of(net: str, main: Losses, lazy: Losses | None, interval: int | None, every: int) -> list[Phase]:
    """Returns the phases of a network.

    Args:
        net: 'G' or 'D'.
        main: Losses of the main phase.
        lazy: Losses of the regularizers; None if there are none.
        interval: Runs of the main phase per run of the lazy one; None joins the two.
        every: Steps per run of the main phase.
    """
    if lazy is None:
        return [Phase(name=f'{net}main', net=net, losses=(main,), interval=every)]
    if interval is None:
        return [Phase(name=f'{net}both', net=net, losses=(main, lazy), interval=every)]
    return [
        Phase(name=f'{net}main', net=net, losses=(main,), interval=every),
        Phase(name=f'{net}reg', net=net, losses=(lazy,), interval=every * interval, gain=interval),
    ]
