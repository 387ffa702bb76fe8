"""Metric names and what they ask for: `fd_efflite50k_full` is kind, detector, number of images, reference set.

    <kind>_<detector><count>[k][neighbours][_full]

kind: `fd` Fréchet distance, `kid` kernel distance, `pr` precision and recall, `is` Inception score. The neighbours
(after the `k`, `pr` only) are the size of the neighbourhood, as in the official `pr50k3_full`. With `_full` the
reference is every real image; without, the first `count` in data-set order. Free of torch, so that a command line can
check names before it builds anything.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from dnnlib.errors import ConfigError
from metrics.detectors import DETECTORS

DEFAULT_NEIGHBOURS = 3
NUM_SPLITS = 10  # of the Inception score

_KINDS = {'fd': 'fd_{}50k_full', 'kid': 'kid_{}50k_full', 'pr': 'pr_{}50k3_full', 'is': 'is_{}50k'}
# The kinds of the official names: what they are called, the network they need, ours that comes nearest.
_INCEPTION = 'the Inception network of 2015-12-05'
_OFFICIAL = {
    'fid': ('FID', _INCEPTION, 'fd'),
    'kid': ('KID', _INCEPTION, 'kid'),
    'is': ('the Inception score', _INCEPTION, 'is'),
    'pr': ('precision and recall', 'the VGG16 network of StyleGAN2-ADA', 'pr'),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricSpec:
    """One metric, as its name says.

    name: as given; the key of its results. kind: 'fd', 'kid', 'pr' or 'is'. detector: a key of `DETECTORS`.
    num_fakes: images to generate. full: whether every real image is the reference. neighbours: `pr` only, else 0.
    """

    name: str
    kind: str
    detector: str
    num_fakes: int
    full: bool
    neighbours: int

    def num_reals(self, available: int) -> int:
        """How many of the `available` real images the metric looks at; the Inception score looks at none."""
        if self.kind == 'is':
            return 0
        return available if self.full else min(self.num_fakes, available)

    @property
    def min_images(self) -> int:
        """Below this many images, real or generated, the estimator is not defined."""
        return {'fd': 2, 'kid': 2, 'pr': self.neighbours + 1, 'is': NUM_SPLITS}[self.kind]


def metric_names() -> list[str]:
    """The usual names. Every size works: `fd_efflite50k_full`, `fd_efflite2k`, `fd_efflite500`."""
    return [pattern.format(detector) for detector in DETECTORS for pattern in _KINDS.values()]


def parse_metric(name: str) -> MetricSpec:
    """Reads a metric's name. A ConfigError lists the names and the nearest one where it is none of ours."""
    match = _grammar().fullmatch(name)
    if match is None:
        raise ConfigError(_refusal(name))
    kind, neighbours = match['kind'], match['neighbours']
    if (neighbours and kind != 'pr') or (match['full'] and kind == 'is'):
        raise ConfigError(_refusal(name))
    return MetricSpec(
        name=name,
        kind=kind,
        detector=match['detector'],
        num_fakes=int(match['count']) * (1000 if match['thousands'] else 1),
        full=match['full'] is not None,
        neighbours=int(neighbours or DEFAULT_NEIGHBOURS) if kind == 'pr' else 0,
    )


def _grammar() -> re.Pattern[str]:
    # Longest first: no detector's name may hide behind a shorter one.
    detectors = '|'.join(sorted(map(re.escape, DETECTORS), key=len, reverse=True))
    return re.compile(
        rf'(?P<kind>{"|".join(_KINDS)})_(?P<detector>{detectors})'
        r'(?P<count>[1-9]\d*)((?P<thousands>k)(?P<neighbours>[1-9]\d*)?)?(?P<full>_full)?',
        re.ASCII,
    )


def _refusal(name: str) -> str:
    official = re.fullmatch(rf'({"|".join(_OFFICIAL)})\d+k3?(_full)?', name)
    if official is not None:
        meaning, network, kind = _OFFICIAL[official[1]]
        offline = _KINDS[kind].format('efflite')
        return (
            f'{name} is {meaning}, which needs {network}; that network is not in this version. '
            f'{offline} works offline, over another network, so its numbers do not compare with {meaning}'
        )
    nearest = difflib.get_close_matches(name, metric_names(), n=1, cutoff=0.5)
    hint = f' (nearest: {nearest[0]})' if nearest else ''
    return f'unknown metric {name!r}{hint}; there are {", ".join(metric_names())}, with any number of images for 50k'
