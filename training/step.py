"""One training step: the phases that are due of Gmain, Greg, Dmain and Dreg, then the moving average.

A phase trains one network. It runs over the micro-batches of the step, averages their gradients, and lets the optimiser
step. Every random draw in it is a function of (seed, phase, nimg, micro-batch).

Letters: B images in the step, C channels, H and W image size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from torch_utils.images import from_pixels
from torch_utils.seeding import seed_torch
from torch_utils.timing import PhaseTimer
from training.augment.view import View
from training.config import RunConfig
from training.dataset import ImageDataset
from training.ema import ema_beta, update_ema
from training.fakes import Fakes
from training.health import Undo, guarded_step
from training.losses import LOSSES, Paired
from training.optimizers import GradientBuffer, lr_scale
from training.recalibrate import BATCHES, batch_norms, recalibrate
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
    """Moves a TrainState by one batch. Statistics go to `state.stats`, times to `timer`."""

    def __init__(self, cfg: RunConfig, state: TrainState, dataset: ImageDataset, device: torch.device) -> None:
        self.cfg = cfg
        self.state = state
        self.dataset = dataset
        self.device = device
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
        return [Micro(img=i, c=j, index=k) for k, (i, j) in enumerate(zip(img.split(size), c.split(size), strict=True))]

    def run_phase(self, phase: Phase, micros: list[Micro]) -> None:
        """Gradients of a phase averaged over its micro-batches, then one optimiser step."""
        state, cfg = self.state, self.cfg
        net, optimizer = getattr(state, phase.net), getattr(state, f'opt_{phase.net}')
        scale = state.loss_scale(phase.net)
        weight = phase.gain / len(micros) * (1 if scale is None else scale.factor)
        total, pl_mean = torch.zeros([], device=self.device), state.pl_mean.clone()
        self.undo.remember()
        optimizer.zero_grad(set_to_none=True)
        net.requires_grad_(True)
        for micro in micros:
            seed_torch(cfg.seed, state.purpose(phase.name), state.nimg, micro.index)
            for term in phase.terms:
                for loss in term(micro):
                    (loss * weight).backward()
                    total = total + loss.detach()
        net.requires_grad_(False)
        packed = self.buffers[phase.net].gather(total)
        rate = lr_scale(cfg, state.nimg)
        unsound = guarded_step(optimizer, packed, rate, on_nan=cfg.on_nan, loss_scale=scale, stats=state.stats)
        self.undo.where(unsound)
        state.pl_mean = torch.where(unsound, pl_mean, state.pl_mean)

    def _follow(self) -> None:
        """What D has said in this step moves the augmentation's strength and LeCam's anchors."""
        if self.state.controller is not None:
            self.state.controller.end_step(self.state.step)
        if self.state.lecam is not None:
            self.state.lecam.end_step()

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
