"""Registry of the kinds of metrics. A kind is one file with one class and one registration.

    @register_metric('kid', pattern='kid_{}50k_full', official='kid', detector='inception', lower_is_better=True,
                     min_images=2, max_reals=1_000_000)
    class Kid(Metric):
        def of(self, chosen, seed):
            rng = np.random.default_rng(seed)
            return {'': kernel_distance(self.reals.features, self.fakes.features[chosen], rng)}

The file is in `metrics/kinds/`, or anywhere if `--plugin=FILE` names it (train.py and calc_metrics.py), or behind the
entry point `ganfoundry.metrics` of an installed distribution. The registration decides the names that `metrics.spec`
reads, the passes over images, the direction of better, and the checks; registering enrolls the kind in
`tests/contracts/test_every_metric.py`. This module imports no PyTorch.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from dnnlib.errors import ConfigError, DataError
from dnnlib.registry import Registry

if TYPE_CHECKING:
    import torch

    from metrics.measurement import ImageSample, MetricInputs
    from metrics.sheet import Sheet

RESERVED = ('full', 'std', 'low95', 'high95')  # ends of keys that belong to other metrics, or to errors of the number
Motion = Literal['whole', 'part', 'turn']  # translation by whole pixels, by parts of pixels, rotation
M = TypeVar('M', bound='Metric')


class Metric(ABC):
    """One metric of one generator. An instance is made per generator and name of a metric.

    Results that depend on the real images alone should be computed once per instance (`functools.cached_property`),
    because `of` is called once for all generated images and, with `--bootstrap=N`, again for N halves of them.

    Args:
        inputs: Everything that the metric may read. The attributes `reals`, `fakes`, `distances` and `neighbors` give
            access to it.
    """

    def __init__(self, inputs: MetricInputs) -> None:
        self._inputs = inputs

    @property
    def reals(self) -> ImageSample:
        """The real images, for kinds with `uses_reals`. `features` [N, D] are on the device of comparison."""
        assert self._inputs.reals is not None, 'registered with uses_reals=False'
        return self._inputs.reals

    @property
    def fakes(self) -> ImageSample:
        """The generated images, for kinds with stream='images'. `features` [N, D] are on the device of comparison."""
        assert self._inputs.fakes is not None, "registered with stream='paths' or 'moves'"
        return self._inputs.fakes

    @property
    def distances(self) -> torch.Tensor:
        """Distances of pairs of images, float64 on the CPU.

        [N], perceptual, for kinds with stream='paths'; [N, 2], the sums of `equivariance.errors`, with stream='moves'.
        """
        assert self._inputs.distances is not None, "registered with stream='images'"
        return self._inputs.distances

    @property
    def neighbors(self) -> int:
        """Size of a neighborhood as given by the name, for kinds registered with `neighbors`."""
        return self._inputs.neighbors

    @abstractmethod
    def of(self, chosen: torch.Tensor, seed: int) -> dict[str, float]:
        """Computes the metric over some of the generated images (or pairs).

        The result is a function of the arguments and the inputs alone, bit for bit.

        Args:
            chosen: Positions in the stream of generated images, int64 [M], ascending, without repetition.
            seed: Seed of every random draw.

        Returns:
            Values by suffix, always with the same suffixes in the same order: {'': v} is recorded as `<name>`, {'mean':
            v} as `<name>_mean`. The first value decides which snapshot of a run is the best.
        """

    def whole(self, seed: int) -> dict[str, float]:
        """Computes the metric over all generated images. Override it if that is cheaper than `of` all positions."""
        import torch  # here: a command line can be checked without PyTorch

        return self.of(torch.arange(self._inputs.num_items), seed)

    def sheet(self) -> Sheet | None:
        """Returns the images to show in the run folder, None for none. Called after `whole`."""
        return None


def numbers_of(name: str, result: dict[str, float]) -> dict[str, float]:
    """Returns the result of a metric.

    Raises TypeError that names the metric if the result cannot be recorded, and DataError if a number is not finite.
    """
    if not isinstance(result, dict) or not all(isinstance(value, float | int) for value in result.values()):
        raise TypeError(f"{name}: a metric returns numbers by suffix, such as {{'': float(value)}}, not {result!r}")
    if '' in result and (clash := [suffix for suffix in result if suffix in RESERVED]):
        raise ConfigError(f"{name}: the suffix '{clash[0]}' next to '' would be the key of another number; rename it")
    for suffix, value in result.items():
        if not math.isfinite(value):
            which = f'{name}_{suffix}' if suffix else name
            raise DataError(f'{which} is {float(value)}, no finite number: it is not defined for these images')
    return result


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricKind:
    """A registered kind of metric. `register_metric` documents the fields."""

    name: str
    make: Callable[[MetricInputs], Metric]
    pattern: str
    official: str
    detector: str
    needs: Literal['features', 'moments', 'probabilities']
    uses_reals: bool
    uses_classes: bool
    stream: Literal['images', 'paths', 'moves']
    motion: Motion | Literal['']
    lower_is_better: bool
    neighbors: int
    min_images: int
    min_images_reason: str
    max_reals: int | None
    without_error: tuple[str, ...]

    def __post_init__(self) -> None:
        if problem := self._problem():
            raise ConfigError(f"the metric '{self.name}': {problem}")

    @property
    def official_names(self) -> tuple[str, ...]:
        """The names with StyleGAN2-ADA's definition, the most usual first; () if there is none."""
        if self.stream == 'moves':
            return (self.pattern,)
        if not self.official:
            return ()
        if self.stream == 'paths':
            return tuple(f'{self.official}{version}' for version in ('2_wend', '_zfull', '_wfull', '_zend', '_wend'))
        usual = f'{self.official}{self.pattern.partition("{}")[2]}'
        return tuple(dict.fromkeys((usual, usual.removesuffix('_full'))))

    def _problem(self) -> str | None:
        """Returns the contradiction within the fields, if there is one."""
        paths = self.stream == 'paths'
        if not re.fullmatch('[a-z]+' if paths else '[a-z][a-z0-9]*', self.name):
            return 'a name is lower-case letters and digits and begins with a letter; for paths it is letters alone'
        if paths:
            if self.pattern or self.detector or self.neighbors or self.uses_reals:
                return 'a metric of paths has no pattern, detector, neighbors or real images'
            return None if self.official in ('', self.name) else 'the official name of a metric of paths is its name'
        if (self.stream == 'moves') != bool(self.motion):
            return "a motion comes with stream='moves'"
        if self.stream == 'moves':
            if self.detector or self.official or self.neighbors or self.uses_reals:
                return 'a metric of moves has no detector, official name, neighbors or real images'
            known = re.fullmatch(r'[a-z]+50k(_[a-z]+)?', self.pattern)
            return None if known else f'the pattern {self.pattern!r} is none of its names, such as eqt50k_int'
        neighbors, full = self.neighbors or '', '_full' if self.uses_reals else ''
        if not re.fullmatch(rf'{self.name}_\{{\}}[1-9]\d*(k{neighbors})?({full})?', self.pattern):
            usual = f'{self.name}_{{}}50k{neighbors}{full}'
            return f'the pattern {self.pattern!r} is none of its names; the usual one is {usual!r}'
        if bool(self.official) != bool(self.detector) or not re.fullmatch('[a-z]*', self.official):
            return 'an official name is lower-case letters and comes with its detector'
        return None


METRICS: Registry[MetricKind] = Registry('metric', packages=('metrics.kinds',), entry_points='ganfoundry.metrics')


def _check_official(name: str, official: str) -> None:
    """Raises ConfigError if another metric than `name` has the official name already; '' is no name."""
    for other in map(METRICS.get, METRICS.names()):
        if official and other.official == official and other.name != name:
            raise ConfigError(f"the metric '{name}': '{other.name}' has the official name '{official}' already")


def register_metric(
    name: str,
    *,
    lower_is_better: bool,
    pattern: str = '',
    official: str = '',
    detector: str = '',
    needs: Literal['features', 'moments', 'probabilities'] = 'features',
    uses_reals: bool = True,
    uses_classes: bool = False,
    stream: Literal['images', 'paths', 'moves'] = 'images',
    motion: Motion | Literal[''] = '',
    neighbors: int = 0,
    min_images: int = 1,
    min_images_reason: str = '',
    max_reals: int | None = None,
    without_error: tuple[str, ...] = (),
) -> Callable[[type[M]], type[M]]:
    """Registers a subclass of `Metric` as a kind of metric; a class decorator.

    Args:
        name: The beginning of every name of the metric, lower-case letters and digits: `<name>_<detector>50k_full`.
        lower_is_better: The direction of better, by which runs choose their best snapshot.
        pattern: The usual name with {} in place of the detector, for lists and error messages:
            `<name>_{}<count>k[neighbors][_full]`. Required if `stream` is 'images'.
        official: The beginning of StyleGAN2-ADA's names for the same metric, if there are any: 'fid' makes
            `fid50k_full` a name. For metrics of paths it is `name` itself.
        detector: The detector of the official names; '' for metrics of paths.
        needs: Data of a sample: 'features', 'moments' (mean and covariance, for `whole`; `of` reads features of the
            generated images) or 'probabilities' (of a detector with a classifier).
        uses_reals: The metric compares with real images; False for metrics of paths.
        uses_classes: The metric reads `classes` of its samples, whose digests then belong to the record of a number.
        stream: 'images', or 'paths' for distances of pairs of images on paths through the latent space. Names of the
            latter are `<name>[2]_<space><sampling>[count[k]]`, see `metrics.spec`. 'moves' for images of a still and of
            a moved input; their name is the pattern, with any number in place of 50k.
        motion: Motion of the input, if `stream` is 'moves'; see `Motion`.
        neighbors: Default size of a neighborhood, which names then may state (`pr50k3_full`); 0 if there are none.
        min_images: The least number of images, real or generated, for which the metric makes sense. With k neighbors it
            is at least 2 (k + 1), so that the ball of an image covers at most half of them.
        min_images_reason: Reason for `min_images`, the end of the error message: 'one image has no covariance'.
        max_reals: The largest number of real images; more are cut, in data-set order. None for no limit.
        without_error: Suffixes of values that get no standard error of their own.

    Raises:
        ConfigError: The fields contradict each other, or another module has registered the name.
    """

    def register(cls: type[M]) -> type[M]:
        kind = MetricKind(
            name=name,
            make=cls,
            pattern=pattern,
            official=official,
            detector=detector,
            needs=needs,
            uses_reals=uses_reals,
            uses_classes=uses_classes,
            stream=stream,
            motion=motion,
            lower_is_better=lower_is_better,
            neighbors=neighbors,
            min_images=min_images,
            min_images_reason=min_images_reason,
            max_reals=max_reals,
            without_error=without_error,
        )
        _check_official(name, official)
        METRICS.register(name, kind, module=cls.__module__)
        return cls

    return register
