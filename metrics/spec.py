"""Names of metrics: their grammar, and everything that follows from a name.

Official names, with StyleGAN2-ADA's definitions over its networks, and any count in place of 50k:

    fid50k_full  kid50k_full  pr50k3_full  is50k  ppl2_wend  eqt50k_int  eqt50k_frac  eqr50k
    fid50k  kid50k  pr50k3  ppl_zfull  ppl_wfull  ppl_zend  ppl_wend

Names of this project state the network: `fd_efflite50k_full`, `dc_inception10k`, `fd_dinov2_50k`:

    <kind>_<detector>[_]<count>[k][neighbors][_full]        ppl[2]_<space><sampling>[count[k]]

kind: `fd` (Fréchet distance), `kid` (kernel distance), `pr` (precision and recall), `dc` (density and coverage), `mem`
(copies of training images), `is` (Inception score), or another name in `metrics.registry.METRICS`. The neighbors (after
the `k`; `pr` and `dc`) are the size of a neighborhood. With `_full` the reference is every image of the data set,
without its x-flips and regardless of --subset; without, it is the first `count` of the images that the run trains on,
x-flips included, in data-set order. PPL: the path is in `z` or `w`; `full` takes points of it at random, `end` its
beginning; `ppl_` compares the part of the image where an aligned portrait has its face, `ppl2_` all of it.

Importing this module loads no PyTorch; the first `parse_metric` imports the kinds, which do.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass

from dnnlib.errors import ConfigError
from metrics.detectors.table import DETECTORS, available
from metrics.registry import METRICS, MetricKind, Motion

LPIPS = 'lpips'  # the detector of metrics of paths
NO_DETECTOR = ''  # metrics of moves have no detector
DEFAULT_PAIRS = 50_000
NOTHING = ('none', 'no', 'nothing', 'null', 'false', 'off', '0')  # words by which people ask for no metric

_COUNT = r'(?P<count>[1-9]\d*)((?P<thousands>k)(?P<neighbors>[1-9]\d*)?)?'
_MOVES = r'(?P<count>[1-9]\d*)(?P<thousands>k)?'
_PATH = r'(?P<whole>2)?_(?P<space>[zw])(?P<sampling>full|end)((?P<count>[1-9]\d*)(?P<thousands>k)?)?'


@dataclass(frozen=True, kw_only=True, slots=True)
class PathSpec:
    """The pairs of images whose distance PPL takes.

    Attributes:
        space: 'z' walks on the sphere of latents, 'w' straight in W.
        sampling: 'end' begins at the first latent, 'full' anywhere between two.
        crop: Compare only rows 3/8 to 7/8 and columns 2/8 to 6/8.
    """

    space: str
    sampling: str
    crop: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class MoveSpec:
    """The motion of a generator's input; see `metrics.registry.Motion`."""

    motion: Motion


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricSpec:
    """One metric, as its name defines it.

    Attributes:
        name: As given; results are recorded under it.
        kind: Name of the kind of metric, a key of `METRICS`.
        detector: Key of `DETECTORS`, 'lpips' for metrics of paths, '' for metrics of moves.
        num_fakes: Number of images (for metrics of paths, of pairs) to generate.
        full: The reference is the whole data set, see the module.
        neighbors: Size of a neighborhood, 0 if there are none.
        path: The pairs of a metric of paths, or the motion of a metric of moves, else None.
    """

    name: str
    kind: str
    detector: str
    num_fakes: int
    full: bool = False
    neighbors: int = 0
    path: PathSpec | MoveSpec | None = None

    @property
    def definition(self) -> MetricKind:
        """The registration of the kind."""
        return METRICS.get(self.kind)

    @property
    def needs_reals(self) -> bool:
        """Whether the metric compares with real images."""
        return self.definition.uses_reals

    @property
    def lower_is_better(self) -> bool:
        """Whether a lower value is better."""
        return self.definition.lower_is_better

    def num_reals(self, available: int) -> int:
        """Returns the number of real images, of the `available` ones, that the metric compares with."""
        if not self.needs_reals:
            return 0
        most = min(available, self.definition.max_reals or available)
        return most if self.full else min(most, self.num_fakes)

    @property
    def min_images(self) -> int:
        """The least number of images, real or generated, for which the metric makes sense."""
        return max(self.definition.min_images, 2 * (self.neighbors + 1) if self.neighbors else 1)

    @property
    def modules(self) -> list[str]:
        """The modules that register the kind and the detector."""
        modules = [METRICS.module_of(self.kind)]
        if self.path is None:
            modules.append(DETECTORS[self.detector].module)
        return list(dict.fromkeys(modules))

    @property
    def plugins(self) -> list[str]:
        """The modules outside of this package among them: those of plug-ins."""
        return [module for module in self.modules if not module.startswith('metrics.')]

    @property
    def min_images_reason(self) -> str:
        """The reason for `min_images`, '' if none is known."""
        if self.min_images > self.definition.min_images:
            return f'the ball of {self.neighbors} neighbors would cover more than half of fewer images'
        return self.definition.min_images_reason


def metric_names() -> list[str]:
    """Returns the usual names, the official ones first. Any count works: `fid10k_full`, `fd_efflite2k`."""
    own = [
        kind.pattern.format(name)
        for name, entry in DETECTORS.items()
        for kind in _kinds('images')
        if kind.needs != 'probabilities' or entry.num_classes
    ]
    return [*official_names(), *own, *_other_paths()]


def official_names() -> list[str]:
    """Returns the names with StyleGAN2-ADA's definitions, the most usual first."""
    names = [
        kind.official_names for kind in (*_kinds('images'), *_kinds('paths'), *_kinds('moves')) if kind.official_names
    ]
    return [*(first for first, *_ in names), *(name for _, *others in names for name in others)]


def parse_metric(name: str) -> MetricSpec:
    """Returns the metric of a name. The ConfigError for an unknown one shows the grammar and the nearest name."""
    match, kind, detector = _match(name)
    if kind.stream == 'paths':
        path = PathSpec(space=match['space'], sampling=match['sampling'], crop=not match['whole'])
        num_pairs = _number(match) if match['count'] else DEFAULT_PAIRS
        return MetricSpec(name=name, kind=kind.name, detector=detector, num_fakes=num_pairs, path=path)
    if kind.motion:
        return MetricSpec(
            name=name, kind=kind.name, detector=detector, num_fakes=_number(match), path=MoveSpec(motion=kind.motion)
        )
    if kind.needs == 'probabilities' and DETECTORS[detector].num_classes == 0:
        raise ConfigError(f'{name}: the detector {detector} has no classes to take the score over')
    return MetricSpec(
        name=name,
        kind=kind.name,
        detector=detector,
        num_fakes=_number(match),
        full=match['full'] is not None,
        neighbors=int(match['neighbors'] or kind.neighbors),
    )


def default_metrics(device_type: str) -> tuple[str, ...]:
    """Returns the metrics that are measured unless others are named; a CPU draws fewer images.

    () without the package of the detector. device_type: 'cuda' or 'cpu'.
    """
    if not available('efflite'):
        return ()
    return ('fd_efflite50k_full',) if device_type == 'cuda' else ('fd_efflite2k',)


def metric_list(text: str) -> tuple[str, ...]:
    """Returns the names of a comma list, each once; () for `none` in any case. Raises ConfigError for an unknown name.

    `none` next to other names is refused, because it contradicts them.
    """
    words = [word for part in text.split(',') if (word := part.strip())]
    others = [word for word in words if word.casefold() != 'none']
    if others and len(others) < len(words):
        raise ConfigError(
            f"--metrics={text}: 'none' contradicts the other names; give --metrics=none or --metrics={','.join(others)}"
        )
    for word in others:
        parse_metric(word)
    return tuple(dict.fromkeys(others))


def with_count(name: str, count: int) -> str:
    """Returns the name of the same metric with another number of generated images: `fid50k_full` to `fid2k_full`.

    Raises ConfigError if there is no such name: a number of neighbors can only follow the `k`.
    """
    match, kind, _ = _match(name)
    number = str(count) if count % 1000 else f'{count // 1000}k'
    if match['count'] is None:
        return name + number
    if kind.motion:
        return kind.pattern.replace('50k', number)
    spec = parse_metric(name)
    head, tail = name[: match.start('count')], '_full' if spec.full else ''
    if spec.neighbors != kind.neighbors:
        if count % 1000:
            raise ConfigError(f'{name}: with {spec.neighbors} neighbors the number of images is one of thousands')
        tail = f'{spec.neighbors}{tail}'
    elif match.groupdict().get('neighbors') and not count % 1000:
        tail = f'{spec.neighbors}{tail}'
    return f'{head}{"_" if head[-1].isdigit() else ""}{number}{tail}'


def _other_paths() -> list[str]:
    """Returns the usual names of metrics of paths without an official definition."""
    return [f'{kind.name}2_wend' for kind in _kinds('paths') if not kind.official]


@functools.cache
def _load_kinds() -> None:
    METRICS.load_all()


def _kinds(stream: str) -> list[MetricKind]:
    """Returns the registered kinds of a stream, by name; those of plug-in files may be added at any time."""
    _load_kinds()
    kinds = (METRICS.get(name) for name in sorted(METRICS.names()))
    return [kind for kind in kinds if kind.stream == stream]


def _match(name: str) -> tuple[re.Match[str], MetricKind, str]:
    """Returns the parts of a name, its kind and its detector."""
    kinds = {kind.name: kind for kind in _kinds('images')}
    paths = {kind.name: kind for kind in _kinds('paths')}
    official = {kind.official: kind for kind in kinds.values() if kind.official}
    if match := re.fullmatch(rf'(?P<kind>{_choice(paths)}){_PATH}', name, re.ASCII):
        return match, paths[match['kind']], LPIPS
    for kind in _kinds('moves'):
        if match := re.fullmatch(kind.pattern.replace('50k', _MOVES), name, re.ASCII):
            return match, kind, NO_DETECTOR
    if match := re.fullmatch(rf'(?P<kind>{_choice(official)}){_COUNT}(?P<full>_full)?', name, re.ASCII):
        kind, detector = official[match['kind']], official[match['kind']].detector
    elif match := re.fullmatch(
        rf'(?P<kind>{_choice(kinds)})_(?P<detector>{_choice(DETECTORS)})_?{_COUNT}(?P<full>_full)?', name, re.ASCII
    ):
        kind, detector = kinds[match['kind']], match['detector']
    else:
        raise ConfigError(_unknown(name))
    if (match['neighbors'] and not kind.neighbors) or (match['full'] and not kind.uses_reals):
        raise ConfigError(_unknown(name))
    return match, kind, detector


def _choice(names: Iterable[str]) -> str:
    """Returns a pattern that matches one of the names, the longest first, so that no shorter name hides one."""
    return '|'.join(sorted(map(re.escape, names), key=len, reverse=True))


def _number(match: re.Match[str]) -> int:
    return int(match['count']) * (1000 if match['thousands'] else 1)


def _is_known(name: str) -> bool:
    """Whether a name in lower case is one of a metric."""
    try:
        return name.islower() and bool(_match(name))
    except ConfigError:
        return False


def _unknown(name: str) -> str:
    """Returns the error message for an unknown name."""
    if name.casefold() in NOTHING:
        return f'unknown metric {name!r}; to measure nothing, give --metrics=none'
    nearest = [name.lower()] if name != name.lower() and _is_known(name.lower()) else []
    nearest = nearest or difflib.get_close_matches(name.lower(), [*metric_names(), 'none'], n=1, cutoff=0.5)
    hint = f' (nearest: {nearest[0]})' if nearest else ''
    complete = ', '.join([*official_names(), *_other_paths()])
    patterns = ', '.join(kind.pattern.format('DETECTOR') for kind in _kinds('images'))
    return (
        f'unknown metric {name!r}{hint}; there are {complete}, and {patterns}, with any number of images for 50k and '
        f'with DETECTOR one of {", ".join(DETECTORS)}; those of a plug-in need --plugin=FILE'
    )
