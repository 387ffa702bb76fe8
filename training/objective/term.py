"""Loss and regularization terms: the base class, what its hooks receive and return, and the registry.

A term is one file: a config, pure functions for its equations, a class and one registration.

    @register_term('lecam', config=LeCamConfig)
    class LeCam(Term):
        def on_logits(self, scored: Scored) -> Summand | None: ...

The trainer (`training/terms.py`) calls the hooks that the class overrides. The terms of a run have a fixed order: first
`r1 r2 gp pl ggdr glead lecam`, then all others by name. Within a step, G is trained before D, or after it if the run
has `d_first`, and each main phase runs before the lazy phase. A term draws from torch's global generators and from
`Draw` alone, which the step has seeded; it logs nothing and imports nothing of the trainer.

Letters: N images, C channels, H and W image size, L number of ws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

import torch

from dnnlib.registry import Registry
from training.interface import Features, ImageSpec

if TYPE_CHECKING:
    from training.config import RunConfig

# Keys of a state file's scalars that belong to the run itself; no term takes one of these names.
RESERVED = ('nimg', 'step', 'tick', 'tick_start_nimg', 'retry', 'stats', 'controller', 'scale_G', 'scale_D', 'guardian')


@dataclass(frozen=True, kw_only=True, slots=True)
class TermConfig:
    """Base class of the settings of a term. The defaults of a term that is no field of `RunConfig` switch it off."""

    @property
    def active(self) -> bool:
        """Whether the term takes part in the run. Only then is it built."""
        raise NotImplementedError(f'{type(self).__name__}.active')

    def describe(self, name: str, cfg: RunConfig) -> str:
        """Returns the words for the plan of `--dry-run`. name: the term's name in `cfg`."""
        raise NotImplementedError(f'{type(self).__name__}.describe')

    def check(self, name: str, cfg: RunConfig) -> None:
        """Raises ConfigError if the active term cannot work with other fields of the run. name: its name in `cfg`."""


def frequency(interval: int | None) -> str:
    """Returns the words for the interval of a lazy phase."""
    return 'in every step' if interval is None else f'every {interval} steps'


@dataclass(frozen=True, kw_only=True, slots=True)
class Micro:
    """The real half of a micro-batch.

    img: float32 [N, C, H, W] in [-1, 1].
    c: labels, float32 [N, label_dim].
    index: number of the micro-batch in the step, over all processes.
    """

    img: torch.Tensor
    c: torch.Tensor
    index: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """Images that D has scored in its main phase, all real or all generated.

    img: images as generated or as stored, [N, C, H, W]; they require a gradient if a term of the run has
        `shares_main`.
    seen: the same images as D saw them, under the run's augmentation, [N, C, H, W].
    c: labels, [N, label_dim].
    logits: D's logits, [N, 1]; they carry D's graph.
    generated: whether the images are generated.
    nimg: real images shown before this step.
    features_d: D's features of `seen`, with graph; empty unless a term of the run has `needs_features`.
    features_g: G's features of generated images, without graph; empty for real images and like `features_d`.
    inverse: maps of the plane by which `seen` was moved, `augment.geometric`'s G_inv, float64 [N, 3, 3] on the host;
        None if it was not.
    """

    img: torch.Tensor
    seen: torch.Tensor
    c: torch.Tensor
    logits: torch.Tensor
    generated: bool
    nimg: int
    features_d: Features = field(default_factory=dict)
    features_g: Features = field(default_factory=dict)
    inverse: torch.Tensor | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Summand:
    """A part of a loss.

    loss: weighted; [N] or [N, 1], of which the trainer takes the mean, or [], which is a mean already.
    statistics: tensors of any shape by the full name under which they are reported, such as 'Loss/D/lecam'.
    """

    loss: torch.Tensor
    statistics: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def mean(self) -> torch.Tensor:
        """Returns the loss as a scalar, []."""
        return self.loss if self.loss.ndim == 0 else self.loss.mean()


class Draw(Protocol):
    """Draws and scores for one micro-batch of a lazy phase. Every draw is a function of what the step has seeded."""

    def latents(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns z [n, z_dim] and labels [n, label_dim] drawn from the data set's."""

    def ws(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """Maps latents to ws [N, L, w_dim], with style mixing; G needs a W space."""

    def fakes(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns generated images [n, C, H, W], without G's graph, and their labels [n, label_dim]."""

    def score(self, img: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """Returns D's logits [N, 1] of images [N, C, H, W], seen through the run's augmentation."""

    def score_real(self, img: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """Scores real images like `score`, and counts their signs for the strength of an adaptive augmentation."""


class Term:
    """Base class of terms. There is one instance per run, built only if its config is active.

    A hook that a class does not override is not called. A hook returns None if it contributes nothing this time.

    A term with memory has `state_dict` and `load_state_dict` (`training.interface.Stateful`); its state, which consists
    of numbers, texts and lists, is saved under its name. If the memory follows what single micro-batches show, the term
    also has `take` and `absorb` (`training.interface.Exchanged`), which the trainer calls once per step, before
    `end_step`.

    name: the name of the registration, which is also that of its config and of its state.
    net: the network that `regularize` trains: 'D' every `r1.interval` steps or 'G' every `pl.interval` steps of G.
    needs_features: whether `on_logits` reads features of D and G, which networks without `FeatureNetwork` do not show.
    shares_main: whether `on_logits`, in place of `regularize`, computes the term from the main loss's logits and their
        derivatives with respect to the images.
    moving: tensors that hooks change in place while a phase runs, such as running means. The trainer averages them over
        micro-batches and processes, and restores them after a phase that was not finite.
    """

    name: ClassVar[str] = ''
    net: ClassVar[Literal['G', 'D']] = 'D'
    needs_features: ClassVar[bool] = False

    def __init__(self, cfg: Any, G: Any, D: Any, device: torch.device) -> None:
        """Keeps its arguments.

        Args:
            cfg: Config of the term, an instance of the class it was registered with.
            G: Generator of the run. It has no gradients in phases of D.
            D: Discriminator of the run. It has no gradients in phases of G.
            device: Device on which the run computes. At this time the networks may still be elsewhere.
        """
        self.cfg, self.G, self.D, self.device = cfg, G, D, device
        self.moving: tuple[torch.Tensor, ...] = ()
        self.shares_main = False

    def attach(self, spec: ImageSpec) -> None:
        """Prepares the networks before training: adds submodules to D, or raises ConfigError if they lack something.

        Modules that it adds to D are trained, saved and moved to the device with D.
        """
        raise NotImplementedError

    def on_logits(self, scored: Scored) -> Summand | None:
        """Adds to D's main loss, first for the generated half of a micro-batch, then for the real half."""
        raise NotImplementedError

    def between(self, real: torch.Tensor, fake: torch.Tensor, c: torch.Tensor) -> Summand | None:
        """Adds to D's main loss after both halves.

        Args:
            real: Real images as D saw them, [N, C, H, W].
            fake: As many generated images as D saw them, [N, C, H, W], without G's graph.
            c: Labels of the real images, [N, label_dim].
        """
        raise NotImplementedError

    def regularize(self, micro: Micro, draw: Draw) -> Summand | None:
        """Returns the loss of the lazy phase of the network `net` for one micro-batch.

        The trainer multiplies its gradient by the phase's interval.
        """
        raise NotImplementedError

    def on_generated(
        self, img: torch.Tensor, ws: torch.Tensor | None, c: torch.Tensor, logits: torch.Tensor
    ) -> Summand | None:
        """Adds to G's main loss.

        Args:
            img: Generated images with G's graph, [N, C, H, W].
            ws: Latents of these images, [N, L, w_dim]; None if G has no W space.
            c: Labels of these images, [N, label_dim].
            logits: D's logits of these images, seen through the run's augmentation, [N, 1].
        """
        raise NotImplementedError

    def end_step(self) -> None:
        """Updates the term's memory at the end of a step, in the same way in all processes."""
        raise NotImplementedError


def has_hook(term: Term, hook: str) -> bool:
    """Returns whether the class of `term` defines that hook."""
    return getattr(type(term), hook) is not getattr(Term, hook)


@dataclass(frozen=True, kw_only=True, slots=True)
class TermType:
    """A registered kind of term: its name, the class of its config, and its own class."""

    name: str
    config: type[TermConfig]
    build: type[Term]


TERMS: Registry[TermType] = Registry('term', packages=('training.objective',), entry_points='ganfoundry.terms')
T = TypeVar('T', bound=type[Term])


def register_term(name: str, *, config: type[TermConfig]) -> Callable[[T], T]:
    """Registers a class as the term `name`, which a run configures under that name (`--set name.field=value`).

    The config is a frozen dataclass derived from `TermConfig` whose defaults switch the term off. Raises ConfigError if
    another module has registered the name.
    """
    if not name.isidentifier() or name in RESERVED:
        raise ValueError(f'register_term({name!r}): not an identifier, or a name that state files use otherwise')
    if not issubclass(config, TermConfig):
        raise TypeError(f'register_term({name!r}): {config.__name__} is not derived from TermConfig')

    def decorate(cls: T) -> T:
        TERMS.register(name, TermType(name=name, config=config, build=cls), module=cls.__module__)
        cls.name = name
        return cls

    return decorate
