"""One training step: the phases that are due of Gmain, Greg, Dmain and Dreg, then the moving average.

A phase trains one network. It runs over the micro-batches of the step, averages their gradients, and lets the optimiser
step. Every random draw in it is a function of (seed, phase, nimg, micro-batch).

Letters: N images in a micro-batch, B in the step, C channels, H and W image size, L number of ws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from torch_utils.images import from_pixels
from torch_utils.seeding import numpy_generator, seed_torch
from torch_utils.timing import PhaseTimer
from training.config import RunConfig
from training.dataset import ImageDataset
from training.ema import ema_beta, update_ema
from training.guidance import Guidance
from training.interface import StyleGenerator
from training.losses import LOSSES, Paired, Separable
from training.optimizers import GradientBuffer, lr_scale, step_if_finite
from training.recalibrate import BATCHES, batch_norms, recalibrate
from training.regularizers import interpolate, path_length_penalty, path_lengths, r1_penalty, slope_penalty
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
        self.loss = LOSSES[cfg.loss.kind]()
        self.has_w_space = isinstance(state.G, StyleGenerator)
        self.guidance = Guidance(state.G, state.D)
        self.phases = self._make_phases()
        self.buffers = {'G': GradientBuffer(state.G), 'D': GradientBuffer(state.D)}
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
        state.nimg += cfg.batch
        state.step += 1

    def _make_phases(self) -> list[Phase]:
        """G before D, main before regularisation; a regulariser without an interval joins the main phase."""
        cfg = self.cfg
        paired = isinstance(self.loss, Paired)
        g_reg = self._g_path_length if cfg.pl.weight > 0 else None
        d_reg = self._d_gradients if cfg.r1.gamma > 0 or cfg.r2.gamma > 0 else None
        return [
            *_phases_of('G', self._g_pairs if paired else self._g_main, g_reg, cfg.pl.interval, every=cfg.n_critic),
            *_phases_of('D', self._d_pairs if paired else self._d_main, d_reg, cfg.r1.interval, every=1),
        ]

    def split(self, img: torch.Tensor, c: torch.Tensor) -> list[Micro]:
        """A batch of the loader as micro-batches on the device."""
        img = from_pixels(img.to(self.device, non_blocking=True))  # [B, C, H, W]
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
                    (loss * (phase.gain / len(micros))).backward()
        net.requires_grad_(False)
        grads = self.buffers[phase.net].gather()
        skipped = step_if_finite(optimizer, grads, lr_scale(self.cfg, self.state.nimg))
        self.state.stats.report('Health/skipped_steps', skipped)

    def recalibrate(self) -> None:
        """Measures the batch-norm statistics of G_ema, where it is an average and has any, before it is shown."""
        state, cfg = self.state, self.cfg
        if cfg.ema.kimg == 0 or not batch_norms(state.G_ema):
            return
        seed_torch(cfg.seed, 'recalibration', state.nimg)
        recalibrate(state.G_ema, (self._latents(k, 'recalibration', cfg.batch_gpu) for k in range(BATCHES)))

    # ---- latents

    def _labels(self, index: int, n: int, purpose: str) -> torch.Tensor:
        """Labels for n generated images, drawn from the data set's own."""
        if self.dataset.spec.label_dim == 0:
            return torch.zeros([n, 0], device=self.device)
        draw = numpy_generator(self.cfg.seed, f'labels {purpose}', self.state.nimg, index)
        labels = self.dataset.labels(draw.integers(len(self.dataset), size=n))
        return torch.from_numpy(labels).to(self.device, non_blocking=True)  # [n, label_dim]

    def _latents(self, index: int, purpose: str, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """z [n, z_dim] and labels [n, label_dim] of micro-batch `index`."""
        z = torch.randn([n, self.state.G.z_dim], device=self.device)
        return z, self._labels(index, n, purpose)

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

    def _fake_logits_of_G(self, micro: Micro, n: int) -> torch.Tensor:
        """D's logits [n, 1] of n generated images, with G's graph."""
        z, c = self._latents(micro.index, 'Gmain', n)
        return self.state.D(self._generate(z, c, update_w_avg=True), c)

    def _g_main(self, micro: Micro) -> Iterator[torch.Tensor]:
        assert isinstance(self.loss, Separable)
        logits = self._fake_logits_of_G(micro, len(micro.img) * self.cfg.g_batch_mult)  # [N, 1]
        loss = self.loss.generator(logits)  # [N, 1]
        self.state.stats.report('Loss/G/loss', loss)
        yield loss.mean()

    def _g_pairs(self, micro: Micro) -> Iterator[torch.Tensor]:
        assert isinstance(self.loss, Paired)
        fake_logits = self._fake_logits_of_G(micro, len(micro.img))  # [N, 1]
        with torch.no_grad():
            real_logits = self.state.D(micro.img, micro.c)  # [N, 1]
        loss = self.loss.generator_pairs(fake_logits, real_logits)  # [N, 1]
        self.state.stats.report('Loss/G/loss', loss)
        yield loss.mean()

    def _g_path_length(self, micro: Micro) -> Iterator[torch.Tensor]:
        state, cfg = self.state, self.cfg.pl
        z, c = self._latents(micro.index, 'Greg', max(len(micro.img) // cfg.batch_shrink, 1))
        ws = self._ws(z, c, update_w_avg=False)  # [N, L, w_dim]
        img = state.G.synthesis(ws)  # [N, C, H, W]
        lengths = path_lengths(img, ws, torch.randn_like(img))  # [N]
        penalty, state.pl_mean = path_length_penalty(lengths, state.pl_mean, cfg.decay)  # [N], []
        state.stats.report('Loss/pl_penalty', penalty)
        state.stats.report('Loss/G/reg', penalty * cfg.weight)
        yield (penalty * cfg.weight).mean()

    def _fakes(self, micro: Micro, purpose: str) -> tuple[torch.Tensor, torch.Tensor]:
        """As many generated images as real ones, without G's graph, and their labels."""
        z, c = self._latents(micro.index, purpose, len(micro.img))
        with torch.no_grad(), self.guidance.generating():
            return self._generate(z, c), c  # [N, C, H, W], [N, label_dim]

    def _d_main(self, micro: Micro) -> Iterator[torch.Tensor]:
        assert isinstance(self.loss, Separable)
        fake, c = self._fakes(micro, 'Dmain')
        fake_logits, tasks = self._score(fake, c, generated=True)  # [N, 1], []
        fake_loss = self.loss.discriminator_fake(fake_logits)  # [N, 1]
        yield fake_loss.mean() + tasks
        real_logits, tasks = self._score(micro.img, micro.c, generated=False)  # [N, 1], []
        real_loss = self.loss.discriminator_real(real_logits)  # [N, 1]
        yield real_loss.mean() + tasks
        self._report_d(fake_loss + real_loss, fake_logits, real_logits)
        if self.cfg.gp.weight > 0:
            yield self._gradient_penalty(micro, fake)

    def _d_pairs(self, micro: Micro) -> Iterator[torch.Tensor]:
        assert isinstance(self.loss, Paired)
        fake, c = self._fakes(micro, 'Dmain')
        fake_logits, fake_tasks = self._score(fake, c, generated=True)  # [N, 1], []
        real_logits, real_tasks = self._score(micro.img, micro.c, generated=False)  # [N, 1], []
        loss = self.loss.discriminator_pairs(fake_logits, real_logits)  # [N, 1]
        yield loss.mean() + fake_tasks + real_tasks
        self._report_d(loss, fake_logits, real_logits)
        if self.cfg.gp.weight > 0:
            yield self._gradient_penalty(micro, fake)

    def _score(self, img: torch.Tensor, c: torch.Tensor, generated: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """D's logits [N, 1] and the sum [] of its other tasks' losses."""
        logits, losses = self.guidance.score(img, c, generated)
        for name, loss in losses.items():
            self.state.stats.report(f'Loss/D/{name}', loss)
        return logits, sum((loss.mean() for loss in losses.values()), start=logits.new_zeros([]))

    def _gradient_penalty(self, micro: Micro, fake: torch.Tensor) -> torch.Tensor:
        """WGAN-GP's term between the real images and `fake` [N, C, H, W] of this micro-batch, []."""
        share = torch.rand([len(fake), 1, 1, 1], device=self.device)
        img = interpolate(micro.img, fake, share)  # [N, C, H, W]
        penalty = slope_penalty(img, self.state.D(img, micro.c))  # [N]
        self.state.stats.report('Loss/gradient_penalty', penalty)
        return penalty.mean() * self.cfg.gp.weight

    def _d_gradients(self, micro: Micro) -> Iterator[torch.Tensor]:
        """R1 on the real images, R2 on generated ones."""
        cfg = self.cfg
        if cfg.r1.gamma > 0:
            yield self._gradient_norm('r1', cfg.r1.gamma, micro.img, micro.c)
        if cfg.r2.gamma > 0:
            yield self._gradient_norm('r2', cfg.r2.gamma, *self._fakes(micro, 'Dreg'))

    def _gradient_norm(self, name: str, gamma: float, img: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """gamma / 2 times the squared norm of D's gradient at img [N, C, H, W], averaged over N, []."""
        img = img.detach().requires_grad_(True)
        penalty = r1_penalty(img, self.state.D(img, c))  # [N]
        loss = penalty * (gamma / 2)  # [N]
        self.state.stats.report(f'Loss/{name}_penalty', penalty)
        self.state.stats.report('Loss/D/reg', loss)
        return loss.mean()

    def _report_d(self, loss: torch.Tensor, fake_logits: torch.Tensor, real_logits: torch.Tensor) -> None:
        stats = self.state.stats
        stats.report('Loss/D/loss', loss)
        for name, logits in (('fake', fake_logits), ('real', real_logits)):
            stats.report(f'Loss/scores/{name}', logits)
            stats.report(f'Loss/signs/{name}', logits.detach().sign())


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
