"""One training step: the four phases of StyleGAN2 (Gmain, Greg, Dmain, Dreg), then the moving average.

A phase trains one network. It runs over the micro-batches of the step, averages their gradients, and lets Adam step.
Every random draw in it is a function of (seed, phase, nimg, micro-batch).

Letters: N images in a micro-batch, B in the step, C channels, H and W image size, L number of ws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from torch_utils.images import from_uint8
from torch_utils.seeding import numpy_generator, seed_torch
from torch_utils.timing import PhaseTimer
from training.config import RunConfig
from training.dataset import ImageDataset
from training.ema import ema_beta, update_ema
from training.interface import StyleGenerator
from training.losses import LOSSES
from training.regularizers import path_length_penalty, path_lengths, r1_penalty
from training.state import TrainState


@dataclass(frozen=True, kw_only=True, slots=True)
class Micro:
    """The real half of a micro-batch, and where it stands in the run."""

    img: torch.Tensor  # [N, C, H, W] float32 in [-1, 1]
    c: torch.Tensor  # [N, label_dim] float32
    index: int  # of the micro-batch in the step


# Yields scalar losses; each is back-propagated before the next is computed, which frees its graph.
Term = Callable[[Micro], Iterator[torch.Tensor]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """What one optimiser step minimises. interval: it runs every so many steps, its gradients times as large."""

    name: str
    net: str  # 'G' or 'D'
    terms: tuple[Term, ...]
    interval: int = 1


class TrainStep:
    """Moves a TrainState by one batch. Statistics go to `state.stats`, times to `timer`."""

    def __init__(self, cfg: RunConfig, state: TrainState, dataset: ImageDataset, device: torch.device) -> None:
        self.cfg = cfg
        self.state = state
        self.dataset = dataset
        self.device = device
        self.loss = LOSSES[cfg.loss.kind]()
        self.has_w_space = isinstance(state.G, StyleGenerator)
        self.phases = self._make_phases()
        self.timer = PhaseTimer(device)

    def __call__(
        self,
        img: torch.Tensor,  # [B, C, H, W] uint8
        c: torch.Tensor,  # [B, label_dim] float32
    ) -> None:
        """One step on one batch of real images."""
        state, cfg = self.state, self.cfg
        micros = self.split(img, c)
        for phase in self.phases:
            if state.step % phase.interval == 0:
                with self.timer(phase.name):
                    self.run_phase(phase, micros)
        with self.timer('ema'):
            beta = ema_beta(cfg.batch, cfg.ema.kimg, cfg.ema.rampup, state.nimg)
            update_ema(state.G_ema, state.G, beta)
        state.nimg += cfg.batch
        state.step += 1

    def _make_phases(self) -> list[Phase]:
        """G before D, main before regularisation; a regulariser without an interval joins the main phase."""
        cfg = self.cfg
        return [
            *_phases_of('G', self._g_main, self._g_path_length, cfg.pl.weight > 0, cfg.pl.interval),
            *_phases_of('D', self._d_main, self._d_r1, cfg.r1.gamma > 0, cfg.r1.interval),
        ]

    def split(self, img: torch.Tensor, c: torch.Tensor) -> list[Micro]:
        """A batch of the loader as micro-batches on the device."""
        img = from_uint8(img.to(self.device, non_blocking=True))  # [B, C, H, W]
        c = c.to(self.device, non_blocking=True)  # [B, label_dim]
        size = self.cfg.batch_gpu
        return [Micro(img=i, c=j, index=k) for k, (i, j) in enumerate(zip(img.split(size), c.split(size), strict=True))]

    def run_phase(self, phase: Phase, micros: list[Micro]) -> None:
        """Gradients of a phase averaged over its micro-batches, then one optimiser step."""
        net, optimizer = getattr(self.state, phase.net), getattr(self.state, f'opt_{phase.net}')
        optimizer.zero_grad(set_to_none=True)
        net.requires_grad_(True)
        for micro in micros:
            seed_torch(self.cfg.seed, phase.name, self.state.nimg, micro.index)
            for term in phase.terms:
                for loss in term(micro):
                    (loss * (phase.interval / len(micros))).backward()
        net.requires_grad_(False)
        self._optimize(optimizer)

    def _optimize(self, optimizer: torch.optim.Optimizer) -> None:
        """Steps unless a gradient is not finite: then the step is skipped, counted and reported, never masked."""
        grads = [p.grad for group in optimizer.param_groups for p in group['params'] if p.grad is not None]
        finite = bool(torch.stack(torch._foreach_norm(grads)).isfinite().all())
        self.state.stats.report('Health/skipped_steps', float(not finite))
        if finite:
            optimizer.step()

    # ---- latents

    def _labels(self, micro: Micro, n: int, purpose: str) -> torch.Tensor:
        """Labels for n generated images, drawn from the data set's own."""
        if self.dataset.spec.label_dim == 0:
            return torch.zeros([n, 0], device=self.device)
        draw = numpy_generator(self.cfg.seed, f'labels {purpose}', self.state.nimg, micro.index)
        labels = self.dataset.labels(draw.integers(len(self.dataset), size=n))
        return torch.from_numpy(labels).to(self.device)  # [n, label_dim]

    def _latents(self, micro: Micro, purpose: str, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        z = torch.randn([n, self.state.G.z_dim], device=self.device)
        return z, self._labels(micro, n, purpose)

    def _ws(self, z: torch.Tensor, c: torch.Tensor, update_w_avg: bool) -> torch.Tensor:
        """Maps latents, with style mixing (Karras et al. 2019, section 3.1): one crossover for the whole batch."""
        G = self.state.G
        ws = G.mapping(z, c, update_w_avg=update_w_avg)  # [N, L, w_dim]
        if self.cfg.style_mixing_prob > 0:
            crossover = int(torch.randint(1, G.num_ws, []))
            mixed = bool(torch.rand([]) < self.cfg.style_mixing_prob)
            if mixed:
                other = G.mapping(torch.randn_like(z), c)
                ws = torch.cat([ws[:, :crossover], other[:, crossover:]], dim=1)
        return ws

    def _generate(self, z: torch.Tensor, c: torch.Tensor, update_w_avg: bool = False) -> torch.Tensor:
        if self.has_w_space:
            return self.state.G.synthesis(self._ws(z, c, update_w_avg))  # [N, C, H, W]
        return self.state.G(z, c)  # [N, C, H, W]

    # ---- terms

    def _g_main(self, micro: Micro) -> Iterator[torch.Tensor]:
        z, c = self._latents(micro, 'Gmain', len(micro.img))
        logits = self.state.D(self._generate(z, c, update_w_avg=True), c)  # [N, 1]
        loss = self.loss.generator(logits)  # [N, 1]
        self.state.stats.report('Loss/G/loss', loss)
        yield loss.mean()

    def _g_path_length(self, micro: Micro) -> Iterator[torch.Tensor]:
        state, cfg = self.state, self.cfg.pl
        z, c = self._latents(micro, 'Greg', max(len(micro.img) // cfg.batch_shrink, 1))
        ws = self._ws(z, c, update_w_avg=False)  # [N, L, w_dim]
        img = state.G.synthesis(ws)  # [N, C, H, W]
        lengths = path_lengths(img, ws, torch.randn_like(img))  # [N]
        penalty, state.pl_mean = path_length_penalty(lengths, state.pl_mean, cfg.decay)  # [N], []
        state.stats.report('Loss/pl_penalty', penalty)
        state.stats.report('Loss/G/reg', penalty * cfg.weight)
        yield (penalty * cfg.weight).mean()

    def _d_main(self, micro: Micro) -> Iterator[torch.Tensor]:
        D, stats = self.state.D, self.state.stats
        z, c = self._latents(micro, 'Dmain', len(micro.img))
        with torch.no_grad():
            fake = self._generate(z, c)  # [N, C, H, W]
        fake_logits = D(fake, c)  # [N, 1]
        fake_loss = self.loss.discriminator_fake(fake_logits)  # [N, 1]
        yield fake_loss.mean()
        real_logits = D(micro.img, micro.c)  # [N, 1]
        real_loss = self.loss.discriminator_real(real_logits)  # [N, 1]
        yield real_loss.mean()
        stats.report('Loss/D/loss', fake_loss.detach() + real_loss.detach())
        for name, logits in (('fake', fake_logits), ('real', real_logits)):
            stats.report(f'Loss/scores/{name}', logits)
            stats.report(f'Loss/signs/{name}', logits.detach().sign())

    def _d_r1(self, micro: Micro) -> Iterator[torch.Tensor]:
        img = micro.img.detach().requires_grad_(True)  # [N, C, H, W]
        penalty = r1_penalty(img, self.state.D(img, micro.c))  # [N]
        loss = penalty * (self.cfg.r1.gamma / 2)  # [N]
        self.state.stats.report('Loss/r1_penalty', penalty)
        self.state.stats.report('Loss/D/reg', loss)
        yield loss.mean()


def _phases_of(net: str, main: Term, reg: Term, with_reg: bool, interval: int | None) -> list[Phase]:
    if not with_reg:
        return [Phase(name=f'{net}main', net=net, terms=(main,))]
    if interval is None:
        return [Phase(name=f'{net}both', net=net, terms=(main, reg))]
    return [
        Phase(name=f'{net}main', net=net, terms=(main,)),
        Phase(name=f'{net}reg', net=net, terms=(reg,), interval=interval),
    ]
