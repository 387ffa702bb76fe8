"""What the phases of a step minimise, term by term. They report to `state.stats`.

D sees every image through the run's view of it: G's images in G's loss, both halves in D's. R1 and R2 take D's
gradient at the image itself, through the augmentation. WGAN-GP's points lie between augmented images and are not
augmented again. Path lengths are G's alone and see no augmentation.

Letters: N images in a micro-batch, B in the step, C channels, H and W image size, L number of ws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from training.augment.apa import Shown, deceive
from training.augment.view import View
from training.config import RunConfig
from training.fakes import Fakes
from training.objective.gp import interpolate, slope_penalty
from training.objective.guidance import Guidance
from training.objective.losses import Paired, Separable
from training.objective.pl import path_length_penalty, path_lengths
from training.objective.r1 import r1_penalty
from training.optimize.recalibrate import batch_norms
from training.state import TrainState


@dataclass(frozen=True, kw_only=True, slots=True)
class Micro:
    """The real half of a micro-batch, and where it stands in the run."""

    img: torch.Tensor  # [N, C, H, W] float32 in [-1, 1]
    c: torch.Tensor  # [N, label_dim] float32
    index: int  # of the micro-batch in the step


# Yields scalar losses; each is back-propagated before the next is computed, which frees its graph.
Term = Callable[[Micro], Iterator[torch.Tensor]]


class GeneratorTerms:
    """Adversarial loss and path length of G."""

    def __init__(self, cfg: RunConfig, state: TrainState, fakes: Fakes, view: View, loss: Separable | Paired) -> None:
        self.cfg, self.state, self.fakes, self.view, self.loss = cfg, state, fakes, view, loss

    def _fake_logits(self, micro: Micro, n: int) -> torch.Tensor:
        """D's logits [n, 1] of n generated images, with G's graph."""
        z, c = self.fakes.latents(micro.index, n, 'Gmain')
        return self.state.D(self.view(self.fakes.generate(z, c, update_w_avg=True)), c)

    def _reported(self, loss: torch.Tensor) -> torch.Tensor:
        self.state.stats.report('Loss/G/loss', loss)
        return loss.mean()

    def main(self, micro: Micro) -> Iterator[torch.Tensor]:
        """G's loss on `g_batch_mult` images for a real one."""
        assert isinstance(self.loss, Separable)
        logits = self._fake_logits(micro, len(micro.img) * self.cfg.g_batch_mult)  # [N, 1]
        yield self._reported(self.loss.generator(logits))

    def pairs(self, micro: Micro) -> Iterator[torch.Tensor]:
        """G's loss on pairs with the real images."""
        assert isinstance(self.loss, Paired)
        fake_logits = self._fake_logits(micro, len(micro.img))  # [N, 1]
        with torch.no_grad():
            real_logits = self.state.D(self.view(micro.img), micro.c)  # [N, 1]
        yield self._reported(self.loss.generator_pairs(fake_logits, real_logits))

    def path_length(self, micro: Micro) -> Iterator[torch.Tensor]:
        """StyleGAN2's regulariser of the path from w to the image."""
        state, cfg = self.state, self.cfg.pl
        z, c = self.fakes.latents(micro.index, max(len(micro.img) // cfg.batch_shrink, 1), 'Greg')
        ws = self.fakes.ws(z, c)  # [N, L, w_dim]
        img = state.G.synthesis(ws)  # [N, C, H, W]
        lengths = path_lengths(img, ws, torch.randn_like(img))  # [N]
        penalty, mean = path_length_penalty(lengths, state.pl_mean, cfg.decay)  # [N], []
        state.pl_mean.copy_(mean)
        state.stats.report('Loss/pl_penalty', penalty)
        state.stats.report('Loss/G/reg', penalty * cfg.weight)
        yield (penalty * cfg.weight).mean()


class DiscriminatorTerms:
    """Adversarial loss of D with its other tasks and regularisers, and the penalties on its gradient."""

    def __init__(self, cfg: RunConfig, state: TrainState, fakes: Fakes, view: View, loss: Separable | Paired) -> None:
        self.cfg, self.state, self.fakes, self.view, self.loss = cfg, state, fakes, view, loss
        self.guidance = Guidance(state.G, state.D)
        self.shares_statistics = bool(batch_norms(state.G))

    def main(self, micro: Micro) -> Iterator[torch.Tensor]:
        """D's loss: generated images, then real ones, then what lies between them."""
        assert isinstance(self.loss, Separable)
        fake, c = self._fakes(micro, 'Dmain')
        seen_fake = self.view(fake)  # [N, C, H, W]
        fake_logits, others = self._score(fake, seen_fake, c, generated=True)  # [N, 1], []
        fake_loss = self.loss.discriminator_fake(fake_logits)  # [N, 1]
        yield fake_loss.mean() + others
        seen_real, real_logits, others = self._score_real(micro)
        real_loss = self.loss.discriminator_real(real_logits)  # [N, 1]
        yield real_loss.mean() + others
        self._report(fake_loss + real_loss, fake_logits, real_logits)
        if self.cfg.gp.weight > 0:
            yield self._gradient_penalty(seen_real, seen_fake, micro.c)

    def pairs(self, micro: Micro) -> Iterator[torch.Tensor]:
        """D's loss on pairs of real and generated images."""
        assert isinstance(self.loss, Paired)
        fake, c = self._fakes(micro, 'Dmain')
        seen_fake = self.view(fake)  # [N, C, H, W]
        fake_logits, fake_others = self._score(fake, seen_fake, c, generated=True)  # [N, 1], []
        seen_real, real_logits, real_others = self._score_real(micro)
        loss = self.loss.discriminator_pairs(fake_logits, real_logits)  # [N, 1]
        yield loss.mean() + fake_others + real_others
        self._report(loss, fake_logits, real_logits)
        if self.cfg.gp.weight > 0:
            yield self._gradient_penalty(seen_real, seen_fake, micro.c)

    def gradients(self, micro: Micro) -> Iterator[torch.Tensor]:
        """R1 on the real images, R2 on generated ones."""
        cfg, controller = self.cfg, self.state.controller
        if cfg.r1.gamma > 0:
            loss, logits = self._gradient_norm('r1', cfg.r1.gamma, micro.img, micro.c)
            if controller is not None:
                controller.feed(logits)
            yield loss
        if cfg.r2.gamma > 0:
            yield self._gradient_norm('r2', cfg.r2.gamma, *self._fakes(micro, 'Dreg'))[0]

    # ---- images

    def _fakes(self, micro: Micro, purpose: str) -> tuple[torch.Tensor, torch.Tensor]:
        """As many generated images as real ones, without G's graph, and their labels."""
        z, c = self.fakes.latents(micro.index, len(micro.img), purpose)
        with torch.no_grad(), self.guidance.generating():
            return self.fakes.generate(z, c), c  # [N, C, H, W], [N, label_dim]

    @torch.no_grad()
    def _reals(self, micro: Micro) -> Shown:
        """The real images, some of them pseudo-real where that is the run's augmentation."""
        if self.cfg.aug.kind != 'apa':
            return Shown(micro.img, None)
        return deceive(micro.img, micro.c, self.view.p, self._pseudo, whole=self.shares_statistics)

    def _pseudo(self, c: torch.Tensor) -> torch.Tensor:
        """Generated images [N, C, H, W] to be taken for real ones with labels c [N, label_dim]."""
        return self.fakes.generate(self.fakes.z(len(c)), c)

    # ---- D on them

    def _score(
        self, img: torch.Tensor, seen: torch.Tensor, c: torch.Tensor, generated: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """D's logits [N, 1] of images as it has `seen` them, and the sum [] of all but its adversarial loss."""
        logits, losses = self.guidance.score(img, c, generated, seen=seen)
        if self.state.lecam is not None:
            losses |= self.state.lecam.penalty(logits, generated, self.state.nimg)
        for name, loss in losses.items():
            self.state.stats.report(f'Loss/D/{name}', loss)
        return logits, sum((loss.mean() for loss in losses.values()), start=logits.new_zeros([]))

    def _score_real(self, micro: Micro) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As D has seen them [N, C, H, W], logits [N, 1] and other losses [] of the real images."""
        shown = self._reals(micro)
        seen = self.view(shown.img)
        logits, others = self._score(shown.img, seen, micro.c, generated=False)
        if self.state.controller is not None:
            self.state.controller.feed(logits if shown.real is None else logits.detach()[shown.real])
        return seen, logits, others

    def _gradient_penalty(self, real: torch.Tensor, fake: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """WGAN-GP's term between `real` and `fake` [N, C, H, W] as D has seen them, []."""
        share = torch.rand([len(fake), 1, 1, 1], device=fake.device)
        img = interpolate(real, fake, share)  # [N, C, H, W]
        penalty = slope_penalty(img, self.state.D(img, c))  # [N]
        self.state.stats.report('Loss/gradient_penalty', penalty)
        return penalty.mean() * self.cfg.gp.weight

    def _gradient_norm(
        self, name: str, gamma: float, img: torch.Tensor, c: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """gamma / 2 times the squared norm of D's gradient at img [N, C, H, W], averaged over N, []; logits [N, 1]."""
        img = img.detach().requires_grad_(True)
        logits = self.state.D(self.view(img), c)  # [N, 1]
        penalty = r1_penalty(img, logits)  # [N]
        loss = penalty * (gamma / 2)  # [N]
        self.state.stats.report(f'Loss/{name}_penalty', penalty)
        self.state.stats.report('Loss/D/reg', loss)
        return loss.mean(), logits.detach()

    def _report(self, loss: torch.Tensor, fake_logits: torch.Tensor, real_logits: torch.Tensor) -> None:
        stats = self.state.stats
        stats.report('Loss/D/loss', loss)
        for name, logits in (('fake', fake_logits), ('real', real_logits)):
            stats.report(f'Loss/scores/{name}', logits)
            stats.report(f'Loss/signs/{name}', logits.detach().sign())
