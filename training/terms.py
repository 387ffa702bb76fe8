"""The losses of the phases of a step: the adversarial loss and the hooks of the run's terms.

D sees every image through the run's view of it: G's images in G's loss, both halves in D's, and the images at which R1
and R2 take D's gradient. Terms come in the order of `RunConfig.all_terms`; what they report goes to `state.stats`.

Letters: N images in a micro-batch, C channels, H and W image size, L number of ws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch

from training.augment.apa import Shown, deceive
from training.augment.view import Seen, View
from training.config import RunConfig
from training.fakes import Fakes
from training.interface import Features
from training.objective.features import FeatureTap
from training.objective.losses import Loss, Paired, Separable
from training.objective.term import Micro, Scored, Summand, Term, has_hook
from training.optimize.recalibrate import batch_norms
from training.passes import Passes
from training.state import TrainState

# Yields scalar losses; each is backpropagated before the next is computed, which frees its graph.
Losses = Callable[[Micro], Iterator[torch.Tensor]]


class LazyDraw:
    """The `Draw` of one micro-batch of the lazy phase of a network.

    Labels are a function of the purpose: a second set of them in the same micro-batch has a purpose of its own.
    """

    def __init__(self, state: TrainState, fakes: Fakes, view: View, net: str, micro: Micro) -> None:
        """Binds the draws to a micro-batch.

        Args:
            state: State of the run.
            fakes: Source of generated images.
            view: Augmentation of the run.
            net: Network that the phase trains, 'G' or 'D'.
            micro: Micro-batch.
        """
        self._state, self._fakes, self._view = state, fakes, view
        self._purpose, self._micro, self._num_draws = f'{net}reg', micro, 0

    def latents(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns z [n, z_dim] and labels [n, label_dim] drawn from the data set's."""
        purpose = self._purpose if self._num_draws == 0 else f'{self._purpose} {self._num_draws}'
        self._num_draws += 1
        return self._fakes.latents(self._micro.index, n, purpose)

    def ws(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """Maps latents to ws [N, L, w_dim], with style mixing; G needs a W space."""
        return self._fakes.ws(z, c)

    def fakes(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns generated images [n, C, H, W], without G's graph, and their labels [n, label_dim]."""
        z, c = self.latents(n)
        with torch.no_grad():
            return self._fakes.generate(z, c), c

    def score(self, img: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """Returns D's logits [N, 1] of images [N, C, H, W], seen through the run's augmentation."""
        logits: torch.Tensor = self._state.D(self._view(img), c)
        return logits

    def score_real(self, img: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """Scores real images like `score`, and counts their signs for the strength of an adaptive augmentation."""
        logits = self.score(img, c)
        if self._state.controller is not None:
            self._state.controller.feed(logits)
        return logits


class _NetworkTerms:
    """Losses of one network, 'G' or 'D', of which `main` is the method for the main phase."""

    net = ''

    def __init__(self, cfg: RunConfig, state: TrainState, fakes: Fakes, view: View, passes: Passes) -> None:
        """Keeps its arguments.

        Args:
            cfg: Config of the run.
            state: State of the run, with its terms and statistics.
            fakes: Source of generated images.
            view: Augmentation of the run.
            passes: Passes through the networks.
        """
        self.cfg, self.state, self.fakes, self.view, self.passes = cfg, state, fakes, view, passes
        self.loss: Loss = cfg.loss.build()
        lazy = [term for term in self._having('regularize') if not term.shares_main]
        self.regularizing = [term for term in lazy if term.net == self.net]

    def regularize(self, micro: Micro) -> Iterator[torch.Tensor]:
        """Yields the loss of each regularizer."""
        draw = LazyDraw(self.state, self.fakes, self.view, self.net, micro)
        for term in self.regularizing:
            yield from self._means([self.passes.regularize(term, micro, draw)])

    def _latents(self, micro: Micro, n: int, purpose: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Draws latents, with the labels that the run's loss gives generated images.

        Args:
            micro: Micro-batch of real images.
            n: Number of images; that of the micro-batch if labels are paired.
            purpose: Purpose of the draw.

        Returns:
            z [n, z_dim] and labels [n, label_dim].
        """
        if self.cfg.loss.labels == 'paired':
            return self.fakes.z(n), micro.c
        return self.fakes.latents(micro.index, n, purpose)

    def _having(self, hook: str) -> list[Term]:
        """Returns the terms that define a hook, in their order."""
        return [term for term in self.state.terms.values() if has_hook(term, hook)]

    def _means(self, summands: Iterable[Summand | None]) -> Iterator[torch.Tensor]:
        """Reports the statistics of summands and yields their means, [] each."""
        for summand in summands:
            if summand is not None:
                if not isinstance(summand, Summand):
                    raise TypeError(f'a hook of a term returns a Summand or None, not a {type(summand).__name__}')
                for name, values in summand.statistics.items():
                    self.state.stats.report(name, values)
                yield summand.mean()


class GeneratorTerms(_NetworkTerms):
    """Losses of G."""

    net = 'G'

    def __init__(self, cfg: RunConfig, state: TrainState, fakes: Fakes, view: View, passes: Passes) -> None:
        super().__init__(cfg, state, fakes, view, passes)
        self.watching = self._having('on_generated')

    def main(self, micro: Micro) -> Iterator[torch.Tensor]:
        """Yields G's main loss, on `g_batch_mult` images per real one or on pairs with the real images."""
        n = len(micro.img) * self.cfg.g_batch_mult
        z, c = self._latents(micro, n, 'Gmain')
        img, ws = self.passes.draw(z, c)  # [N, C, H, W], [N, L, w_dim]
        logits = self.passes.score(self.view(img), c)  # [N, 1]
        if isinstance(self.loss, Separable):
            loss = self.loss.generator(logits)  # [N, 1]
        else:
            with torch.no_grad():
                real_logits = self.state.D(self.view(micro.img), micro.c)  # [N, 1]
            loss = self.loss.generator_pairs(logits, real_logits)  # [N, 1]
        self.state.stats.report('Loss/G/loss', loss)
        summands = (term.on_generated(img, ws, c, logits) for term in self.watching)
        yield sum(self._means(summands), start=loss.mean())


class DiscriminatorTerms(_NetworkTerms):
    """Losses of D."""

    net = 'D'

    def __init__(self, cfg: RunConfig, state: TrainState, fakes: Fakes, view: View, passes: Passes) -> None:
        super().__init__(cfg, state, fakes, view, passes)
        self.shares_statistics = bool(batch_norms(state.G))
        self.scoring, self.comparing = self._having('on_logits'), self._having('between')
        self.differentiating = any(term.shares_main for term in self.scoring)
        tapped = any(term.needs_features for term in self.scoring)
        self.taps = {net: FeatureTap(getattr(state, net)) for net in ('G', 'D') if tapped}

    def main(self, micro: Micro) -> Iterator[torch.Tensor]:
        """Yields D's main loss: on generated images, on real ones (or on pairs of both), then between them."""
        fake, c, features = self._generate(micro)
        seen = self.view.see(fake)
        seen_fake = seen.images  # [N, C, H, W]
        fake_logits, fake_others = self._score(fake, seen, c, features_g=features)  # [N, 1], []
        del features  # not needed any longer than here
        if isinstance(self.loss, Paired):
            seen_real, real_logits, real_others = self._score_real(micro)
            loss = self.loss.discriminator_pairs(fake_logits, real_logits)  # [N, 1]
            yield _plus(_plus(loss.mean(), fake_others), real_others)
        else:
            fake_loss = self.loss.discriminator_fake(fake_logits)  # [N, 1]
            yield _plus(fake_loss.mean(), fake_others)
            seen_real, real_logits, real_others = self._score_real(micro)
            real_loss = self.loss.discriminator_real(real_logits)  # [N, 1]
            yield _plus(real_loss.mean(), real_others)
            loss = fake_loss + real_loss
        self._report(loss, fake_logits, real_logits)
        for term in self.comparing:
            yield from self._means([term.between(seen_real, seen_fake, micro.c)])

    # ---- images

    def _generate(self, micro: Micro) -> tuple[torch.Tensor, torch.Tensor, Features]:
        """Returns as many generated images as real ones, without graph, their labels and G's features."""
        z, c = self._latents(micro, len(micro.img), 'Dmain')
        with torch.no_grad(), self._tapped('G') as features:
            img = self.passes.generate(z, c)  # [N, C, H, W]
        return img.requires_grad_(self.differentiating), c, features

    @torch.no_grad()
    def _reals(self, micro: Micro) -> Shown:
        """Returns the real images, some of them pseudo-real if that is the run's augmentation."""
        if self.cfg.aug.kind != 'apa':
            return Shown(micro.img, None)
        return deceive(micro.img, micro.c, self.view.p, self._pseudo, whole=self.shares_statistics)

    def _pseudo(self, c: torch.Tensor) -> torch.Tensor:
        """Returns generated images [N, C, H, W] that pass for real ones with labels c [N, label_dim]."""
        return self.fakes.generate(self.fakes.z(len(c)), c)

    # ---- D on them

    @contextmanager
    def _tapped(self, net: str) -> Iterator[Features]:
        """Yields a dict that takes the features of a network's pass; it stays empty if no term needs them."""
        with ExitStack() as stack:
            yield stack.enter_context(self.taps[net].open()) if net in self.taps else {}

    def _score(
        self, img: torch.Tensor, seen: Seen, c: torch.Tensor, features_g: Features | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Scores images, and computes what terms add to D's loss on them.

        Args:
            img: Images as generated or stored, [N, C, H, W].
            seen: The same as D sees them.
            c: Labels, [N, label_dim].
            features_g: G's features of generated images; None for real ones.

        Returns:
            D's logits, [N, 1], and the sum of the means of all terms, [], None without terms.
        """
        with self._tapped('D') as features_d:
            logits = self.passes.score(seen.images, c)  # [N, 1]
        scored = Scored(
            img=img,
            seen=seen.images,
            inverse=seen.inverse,
            c=c,
            logits=logits,
            generated=features_g is not None,
            nimg=self.state.nimg,
            features_d=features_d,
            features_g=features_g or {},
        )
        means = list(self._means(term.on_logits(scored) for term in self.scoring))
        return logits, sum(means[1:], start=means[0]) if means else None

    def _score_real(self, micro: Micro) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Returns the real images as D sees them [N, C, H, W], their logits [N, 1] and the terms' sum [] or None."""
        shown = self._reals(micro)
        img = shown.img.detach().requires_grad_(self.differentiating)  # [N, C, H, W]
        seen = self.view.see(img)
        logits, others = self._score(img, seen, micro.c, features_g=None)
        if self.state.controller is not None:
            self.state.controller.feed(logits if shown.real is None else logits.detach()[shown.real])
        return seen.images, logits, others

    def _report(self, loss: torch.Tensor, fake_logits: torch.Tensor, real_logits: torch.Tensor) -> None:
        """Reports D's loss, logits and signs, [N, 1] each."""
        stats = self.state.stats
        stats.report('Loss/D/loss', loss)
        for name, logits in (('fake', fake_logits), ('real', real_logits)):
            stats.report(f'Loss/scores/{name}', logits)
            stats.report(f'Loss/signs/{name}', logits.sign())


def _plus(loss: torch.Tensor, others: torch.Tensor | None) -> torch.Tensor:
    """Returns the sum of a loss and those of the terms, [], which are None without terms."""
    return loss if others is None else loss + others
