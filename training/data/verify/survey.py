"""Verification of a whole data set: `dataset_tool.py verify`.

One pass reads, checks and decodes every image in worker processes and keeps about 200 bytes per image, so a million
images take about 200 MB in addition to their names and dataset.json. Each process holds the pixels of one image at a
time. Checks of all images together follow: the size and form of the majority, the classes, the duplicates.

Letters: n images in the check, C channels.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from dnnlib.errors import ConfigError
from training.data.dataset import resize_command
from training.data.pool import map_in_order, resolve_num_workers
from training.data.shapes import nearest_size, split_size
from training.data.source import FolderSource, ImageSource
from training.data.stored_image import Layout
from training.data.verify.duplicates import CHUNK_SIZE, find_duplicates
from training.data.verify.findings import Findings
from training.data.verify.image import ImageSummary, summarize_image
from training.data.verify.labels import LabelSummary, check_labels
from training.data.verify.manifest import Manifest
from training.data.verify.similar import MAX_DISTANCE, Group
from training.data.verify.source import scan

BRIGHTNESS_BINS = 16

_FORM = [('height', 'u4'), ('width', 'u4'), ('channels', 'u2'), ('bits', 'u1'), ('flat', '?')]
_RECORD = np.dtype([*_FORM, ('digest', 'u1', (32,)), ('spectrum', 'f2', (64,))])  # see image.ImageSummary


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyOptions:
    """The options of a check."""

    workers: int | None = None  # processes; 0 and 1: this one; None: one per core, or this one for little work
    max_images: int | None = None  # number of images, evenly spread; None: all
    near: int = 6  # bits of 64 in which the hashes of near duplicates may differ
    duplicates: bool = True
    write_manifest: bool = False  # write manifest.json into a folder without defects

    def __post_init__(self) -> None:
        if not 0 <= self.near <= MAX_DISTANCE:
            raise ConfigError(f'--near={self.near}: must be between 0 and {MAX_DISTANCE}')
        if self.write_manifest and self.max_images is not None:
            raise ConfigError('--write-manifest records all images; leave out --max-images')


@dataclass(kw_only=True, slots=True)
class VerifyReport:
    """The result of a check. Positions are those in `source`."""

    path: str
    findings: Findings
    source: ImageSource | None = None  # None: it could not be opened
    num_files: int = 0  # images that can be opened
    positions: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))  # [n], images in the check
    decoded: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=bool))  # [n], whether the image has pixels
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)  # (height, width) to number of images
    forms: Counter[tuple[int, int]] = field(default_factory=Counter)  # (channels, bits) to number of images
    labels: LabelSummary = field(default_factory=LabelSummary)
    groups: list[Group] = field(default_factory=list)  # duplicates
    mean: tuple[float, ...] = ()  # per channel, over the images of the most frequent form, in [0, 1]
    std: tuple[float, ...] = ()
    # Number of images by their mean, dark to light.
    brightness: list[int] = field(default_factory=lambda: [0] * BRIGHTNESS_BINS)


def verify_dataset(path: str, options: VerifyOptions, watch: Callable[[int], None] | None = None) -> VerifyReport:
    """Checks the data set at a path; a fault never ends the check.

    Args:
        path: Folder or zip.
        options: Options of the check.
        watch: Callback after each image, which receives the total number of images.

    Raises:
        UserError: The path does not exist, or an option does not fit the data set.
    """
    findings = Findings()
    source = scan(path, findings)
    report = VerifyReport(path=path, findings=findings, source=source)
    if source is None or len(source) == 0:
        return report
    report.num_files = len(source)
    report.labels = check_labels(source, findings)
    report.positions = np.arange(len(source))
    if options.max_images is not None and options.max_images < len(source):
        report.positions = evenly_spread(report.positions, options.max_images)
        findings.add('sample', path, f'{options.max_images} of {len(source)} images were checked')
    elif options.max_images is not None and options.max_images > len(source):
        findings.add('small-set', path, f'holds {len(source)} images; --max-images={options.max_images}')
    num_workers = resolve_num_workers(options.workers, len(report.positions))
    table = _summarize_all(report, options, num_workers, watch)
    report.decoded = table['height'] > 0
    _check_sizes(report, table)
    _check_forms(report, table)
    if options.duplicates:
        report.groups = find_duplicates(
            source, report.positions, table, report.labels, options.near, findings, num_workers
        )
    source.close()
    return report


def _summarize_all(
    report: VerifyReport, options: VerifyOptions, num_workers: int, watch: Callable[[int], None] | None
) -> np.ndarray:
    """Makes the pass over the images: records, faults, manifest and statistics.

    Args:
        report: Report to extend.
        options: Options of the check.
        num_workers: Number of processes.
        watch: Callback after each image, which receives the total number of images.

    Returns:
        The records of the images, [n].
    """
    source, findings = report.source, report.findings
    assert source is not None
    manifest = Manifest(source, options.write_manifest, findings)
    table = np.zeros(len(report.positions), dtype=_RECORD)
    statistics = _Statistics()
    function = functools.partial(summarize_image, source, digest=manifest.wanted, hashes=options.duplicates)
    summaries = map_in_order(function, map(int, report.positions), num_workers, chunk_size=CHUNK_SIZE)
    num_jpegs = 0
    for row, position, summary in zip(table, report.positions, summaries, strict=True):
        name = source.name(int(position))
        num_jpegs += name.lower().endswith(('.jpg', '.jpeg'))
        for kind, words in summary.problems:
            findings.add(kind, name, words)
        if summary.flat:
            findings.add('flat', name, 'has a single color')
        manifest.add(name, summary)
        statistics.add(summary)
        _keep(row, summary)
        if watch:
            watch(len(table))
    manifest.finish(source)
    if num_jpegs and isinstance(source, FolderSource) and not manifest.wanted:
        findings.add('no-manifest', report.path, f'holds JPEGs ({num_jpegs}) and no manifest.json')
    report.mean, report.std, report.brightness = statistics.of_most()
    return table


def _keep(row: np.void, summary: ImageSummary) -> None:
    """Writes the summary of an image into its record."""
    row['height'], row['width'] = summary.height, summary.width
    row['channels'], row['bits'], row['flat'] = summary.channels, summary.bits, summary.flat
    if summary.spectrum is not None:
        row['digest'] = np.frombuffer(summary.pixels_digest, dtype=np.uint8)
        row['spectrum'] = summary.spectrum


class _Statistics:
    """Means over images with equal weights, by (channels, bits)."""

    def __init__(self) -> None:
        self._sums: dict[tuple[int, int], np.ndarray] = {}  # float64 [2, C]: means, mean squares
        self._counts: Counter[tuple[int, int]] = Counter()
        self._brightness = np.zeros(BRIGHTNESS_BINS, dtype=np.int64)

    def add(self, summary: ImageSummary) -> None:
        """Adds an image that has pixels."""
        if not summary.mean:
            return
        color = summary.mean[: 1 if len(summary.mean) <= 2 else 3]  # channels except alpha
        self._brightness[min(int(np.mean(color) * BRIGHTNESS_BINS), BRIGHTNESS_BINS - 1)] += 1
        form = (summary.channels, summary.bits)
        if summary.channels:
            self._sums[form] = self._sums.get(form, 0) + np.array([summary.mean, summary.mean_square])
            self._counts[form] += 1

    def of_most(self) -> tuple[tuple[float, ...], tuple[float, ...], list[int]]:
        """Returns mean and standard deviation [C] of images of the most frequent form, and the brightness of all."""
        if not self._counts:
            return (), (), self._brightness.tolist()
        form = _commonest(self._counts)
        mean, square = self._sums[form] / self._counts[form]
        std = np.sqrt(np.maximum(square - mean**2, 0))
        return tuple(mean.tolist()), tuple(std.tolist()), self._brightness.tolist()


def _check_sizes(report: VerifyReport, table: np.ndarray) -> None:
    """Finds images of another size than most, and checks that the most frequent size can be trained on."""
    pairs = np.stack([table['height'], table['width']], axis=1)[report.decoded]  # [decoded, 2]
    report.sizes = Counter((int(h), int(w)) for h, w in pairs)
    if not report.sizes:
        return
    most = _commonest(report.sizes)
    for index in np.flatnonzero(report.decoded & ((table['height'] != most[0]) | (table['width'] != most[1]))):
        own = f'is {table["width"][index]}x{table["height"][index]}'
        report.findings.add('wrong-size', _name(report, index), f'{own}, most are {most[1]}x{most[0]}')
    if split_size(*most) is None:
        command = resize_command(report.path, *nearest_size(*most))
        words = f'images are {most[1]}x{most[0]} ({report.sizes[most]}), which cannot be halved down to a small base'
        report.findings.add('untrainable-size', report.path, f'{words}. Try: {command}')


def _check_forms(report: VerifyReport, table: np.ndarray) -> None:
    """Finds images with other channels or bits than most; unusable forms are already findings."""
    good = table['channels'] > 0
    report.forms = Counter(zip(table['channels'][good].tolist(), table['bits'][good].tolist(), strict=True))
    if not report.forms:
        return
    channels, bits = _commonest(report.forms)
    for index in np.flatnonzero(good & (table['channels'] != channels)):
        own = kind_of(int(table['channels'][index]), int(table['bits'][index]))
        report.findings.add('wrong-channels', _name(report, index), f'is {own}, most are {kind_of(channels, bits)}')
    for index in np.flatnonzero(good & (table['bits'] != bits)):
        words = f'has {table["bits"][index]} bits per channel, most have {bits}'
        report.findings.add('wrong-bits', _name(report, index), words)


def kind_of(channels: int, bits: int) -> str:
    """Returns the kind of channels for messages: 'RGB', '16-bit gray', '6 channels'."""
    return Layout(0, 0, channels, bits).kind


def evenly_spread(values: np.ndarray, count: int) -> np.ndarray:
    """Returns at most `count` of the values [n], evenly spread, in their order."""
    if len(values) <= count:
        return values
    return values[np.linspace(0, len(values) - 1, count).round().astype(np.int64)]


def _name(report: VerifyReport, index: np.integer) -> str:
    """Returns the path in the data set of the image in row `index` of the table."""
    assert report.source is not None
    return report.source.name(int(report.positions[index]))


def _commonest(counts: Counter[tuple[int, int]]) -> tuple[int, int]:
    """Returns the key with the largest count, and the largest of such keys, whatever the order of files."""
    return max(counts, key=lambda key: (counts[key], key))
