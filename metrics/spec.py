"""Metric names and what they ask for.

Official names, with StyleGAN2-ADA's definitions over its networks, any count in place of 50k:

    fid50k_full  kid50k_full  pr50k3_full  is50k  ppl2_wend
    fid50k  kid50k  pr50k3  ppl_zfull  ppl_wfull  ppl_zend  ppl_wend

Ours say the network: `fd_efflite50k_full`, `dc_inception10k`, `fd_dinov2_50k`:

    <kind>_<detector>[_]<count>[k][neighbours][_full]        ppl[2]_<space><sampling>[count[k]]

kind: `fd` Fréchet distance, `kid` kernel distance, `pr` precision and recall, `dc` density and coverage, `mem` copies
of training images, `is` Inception score. The neighbours (after the `k`; `pr` and `dc`) are the size of a neighbourhood.
With `_full` the reference is every image of the data set, without its x-flips and whatever --subset says; without, it
is the first `count` of the images that the run trains on, x-flips included, in data-set order. PPL: `z` or `w` is where
the path runs, `full` takes points of it at random, `end` its beginning; `ppl_` looks at the part of the image where an
aligned portrait has its face, `ppl2_` at all of it.

Free of torch, so that a command line can check names before it builds anything.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from dnnlib.errors import ConfigError
from metrics.detectors.table import DETECTORS

NUM_SPLITS = 10  # of the Inception score
LPIPS = 'lpips'  # what stands for a detector in PPL

_NEIGHBOURS = {'pr': 3, 'dc': 5, 'mem': 1}  # where the name says none; those of `mem` are fixed
_MAX_REALS = {'kid': 1_000_000, 'pr': 200_000}  # the official bounds; more are cut, in data-set order
_PATTERNS = {
    'fd': 'fd_{}50k_full',
    'kid': 'kid_{}50k_full',
    'pr': 'pr_{}50k3_full',
    'dc': 'dc_{}50k5_full',
    'mem': 'mem_{}50k_full',
    'is': 'is_{}50k',
}
# Official kind: ours, and the network that the official definition has.
_OFFICIAL = {'fid': ('fd', 'inception'), 'kid': ('kid', 'inception'), 'pr': ('pr', 'vgg16'), 'is': ('is', 'inception')}
OFFICIAL_NAMES = (
    *('fid50k_full', 'kid50k_full', 'pr50k3_full', 'ppl2_wend', 'is50k'),
    *('fid50k', 'kid50k', 'pr50k3', 'ppl_zfull', 'ppl_wfull', 'ppl_zend', 'ppl_wend'),
)
_COUNT = r'(?P<count>[1-9]\d*)((?P<thousands>k)(?P<neighbours>[1-9]\d*)?)?'
_OFFICIAL_NAME = re.compile(rf'(?P<kind>{"|".join(_OFFICIAL)}){_COUNT}(?P<full>_full)?', re.ASCII)
_PATH = re.compile(
    r'ppl(?P<whole>2)?_(?P<space>[zw])(?P<sampling>full|end)((?P<count>[1-9]\d*)(?P<thousands>k)?)?', re.ASCII
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PathSpec:
    """How the pairs of images are made whose distance PPL takes.

    space: 'z' walks on the sphere of latents, 'w' straight in W. sampling: 'end' begins at the first latent, 'full'
    anywhere between two. crop: only rows 3/8 to 7/8, columns 2/8 to 6/8.
    """

    space: str
    sampling: str
    crop: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricSpec:
    """One metric, as its name says.

    name: as given; the key of its results. kind: 'fd', 'kid', 'pr', 'dc', 'mem', 'is' or 'ppl'. detector: a key of
    `DETECTORS`, or 'lpips'. num_fakes: images, for PPL pairs of images, to generate. full: whether the reference is
    the whole data set, see the module. neighbours: 0 where there are none. path: of PPL only.
    """

    name: str
    kind: str
    detector: str
    num_fakes: int
    full: bool = False
    neighbours: int = 0
    path: PathSpec | None = None

    @property
    def needs_reals(self) -> bool:
        """Whether the metric compares with real images."""
        return self.kind not in ('is', 'ppl')

    @property
    def lower_is_better(self) -> bool:
        """True for distances and lengths, False for shares and scores."""
        return self.kind in ('fd', 'kid', 'ppl')

    def num_reals(self, available: int) -> int:
        """How many of the `available` real images the metric looks at."""
        if not self.needs_reals:
            return 0
        most = _MAX_REALS.get(self.kind, available)
        return min(available, most) if self.full else min(available, most, self.num_fakes)

    @property
    def min_images(self) -> int:
        """Below this many images, real or generated, the estimator is not defined."""
        return {'fd': 2, 'kid': 2, 'is': NUM_SPLITS, 'ppl': 1}.get(self.kind, self.neighbours + 1)


def metric_names() -> list[str]:
    """The usual names, the official ones first. Every count works: `fid10k_full`, `fd_efflite2k`, `fd_efflite500`."""
    own = [
        pattern.format(name)
        for name, entry in DETECTORS.items()
        for kind, pattern in _PATTERNS.items()
        if kind != 'is' or entry.num_classes
    ]
    return [*OFFICIAL_NAMES, *own]


def parse_metric(name: str) -> MetricSpec:
    """Reads a metric's name. A ConfigError says what names look like, and the nearest, where it is none of ours."""
    if match := _PATH.fullmatch(name):
        path = PathSpec(space=match['space'], sampling=match['sampling'], crop=not match['whole'])
        num_pairs = _number(match) if match['count'] else 50_000
        return MetricSpec(name=name, kind='ppl', detector=LPIPS, num_fakes=num_pairs, path=path)
    if match := _OFFICIAL_NAME.fullmatch(name):
        kind, detector = _OFFICIAL[match['kind']]
    elif match := _grammar().fullmatch(name):
        kind, detector = match['kind'], match['detector']
    else:
        raise ConfigError(_refusal(name))
    if (match['neighbours'] and kind not in ('pr', 'dc')) or (match['full'] and kind == 'is'):
        raise ConfigError(_refusal(name))
    if kind == 'is' and DETECTORS[detector].num_classes == 0:
        raise ConfigError(f'{name}: the detector {detector} has no classes to take the score over')
    return MetricSpec(
        name=name,
        kind=kind,
        detector=detector,
        num_fakes=_number(match),
        full=match['full'] is not None,
        neighbours=int(match['neighbours'] or _NEIGHBOURS.get(kind, 0)),
    )


def with_count(name: str, count: int) -> str:
    """The name of the same metric over another number of generated images: `fid50k_full`, 2000 -> `fid2k_full`.

    ConfigError where no name says it: a number of neighbours stands behind the `k`.
    """
    spec = parse_metric(name)
    match = _PATH.fullmatch(name) or _OFFICIAL_NAME.fullmatch(name) or _grammar().fullmatch(name)
    assert match is not None
    number = str(count) if count % 1000 else f'{count // 1000}k'
    if match['count'] is None:
        return name + number
    head, tail = name[: match.start('count')], '_full' if spec.full else ''
    if spec.neighbours and spec.neighbours != _NEIGHBOURS[spec.kind]:
        if count % 1000:
            raise ConfigError(f'{name}: with {spec.neighbours} neighbours the number of images is one of thousands')
        tail = f'{spec.neighbours}{tail}'
    elif match.groupdict().get('neighbours') and not count % 1000:
        tail = f'{spec.neighbours}{tail}'
    return f'{head}{"_" if head[-1].isdigit() else ""}{number}{tail}'


def _number(match: re.Match[str]) -> int:
    return int(match['count']) * (1000 if match['thousands'] else 1)


def _grammar() -> re.Pattern[str]:
    # Longest first: no detector's name may hide behind a shorter one. The table grows while a command line is read.
    detectors = '|'.join(sorted(map(re.escape, DETECTORS), key=len, reverse=True))
    return re.compile(rf'(?P<kind>{"|".join(_PATTERNS)})_(?P<detector>{detectors})_?{_COUNT}(?P<full>_full)?', re.ASCII)


def _refusal(name: str) -> str:
    nearest = difflib.get_close_matches(name, metric_names(), n=1, cutoff=0.5)
    hint = f' (nearest: {nearest[0]})' if nearest else ''
    own = ', '.join(pattern.format('DETECTOR') for pattern in _PATTERNS.values())
    return (
        f'unknown metric {name!r}{hint}; there are {", ".join(OFFICIAL_NAMES)}, and {own}, with any number of images '
        f'for 50k and with DETECTOR one of {", ".join(DETECTORS)}'
    )
