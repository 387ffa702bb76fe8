"""The images that a command line of generate.py asks for, single or on a sheet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dnnlib.errors import ConfigError
from dnnlib.log import print_note
from ganfoundry.class_option import ALL, NO_LABEL, Label, parse_classes
from ganfoundry.latent_options import LatentsFile, Seeds, parse_latents, parse_seeds
from ganfoundry.network import Network
from ganfoundry.points import Point, PointList, notes_on, points_of_file, read_file
from ganfoundry.transform_option import STILL, Transform
from training.interface import ImageSpec
from training.run.latents import Latents

COLUMNS = 8  # columns of a sheet of all classes without --seeds
MAX_SHEET_BYTES = 2**31
NO_SEEDS = '--seeds is needed, for instance --seeds=0-15; or ask for a sheet with --grid=8x8'
MAX_NAME = 160  # bytes of a sheet's name that come from its seeds and class


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """The points that a command line names, before a network is known.

    Attributes:
        seeds: The seeds; None if none are given.
        files: The latents files.
        class_text: The text of --class; None if it is not given.
        grid: Columns and rows of --grid.
        projected: The files come from --projected-w, whose pictures are called proj00, proj01, ...
        noise_seed: --noise-seed; None if it is not given.
    """

    seeds: Seeds | None
    files: tuple[LatentsFile, ...]
    class_text: str | None
    grid: tuple[int, int] | None
    projected: bool = False
    noise_seed: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How images are drawn.

    Attributes:
        truncation_psi: Truncation.
        noise_mode: 'const', 'random' or 'none'.
        recalibrate: Whether batch-norm statistics are measured again.
        batch: Number of images that the network draws at a time.
        transform: Transform of the pictures.
    """

    truncation_psi: float = 1
    noise_mode: str = 'const'
    recalibrate: bool = False
    batch: int = 8
    transform: Transform = STILL


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """Images to draw.

    Attributes:
        points: Their points.
        position: For an image that is drawn again: its position in the batch of equal points; None to draw them all.
        columns: Images in a row of a sheet; None for one picture per image.
        rows: Names of the rows of a sheet.
        name: Stem of the sheet's file.
    """

    points: PointList
    position: int | None = None
    columns: int | None = None
    rows: tuple[str, ...] = ()
    name: str = ''


def parse_wanted(
    seeds: str | None, latents: Sequence[str], projected_w: str | None, class_text: str | None, grid: str | None
) -> Wanted:
    """Returns the points that the texts of options name.

    Args:
        seeds: --seeds.
        latents: --latents.
        projected_w: --projected-w.
        class_text: --class.
        grid: --grid.

    Raises:
        ConfigError: If a text cannot be read, or if nothing says what to draw.
    """
    if projected_w is not None and latents:
        raise ConfigError('--projected-w is the old name of --latents; give one of the two')
    files = parse_latents(latents) if projected_w is None else [LatentsFile(path=Path(projected_w))]
    wanted = Wanted(
        seeds=None if seeds is None else parse_seeds(seeds),
        files=tuple(files),
        class_text=class_text,
        grid=parse_grid(grid) if grid else None,
        projected=projected_w is not None,
    )
    if seeds is None and not files and not grid and class_text != ALL:
        raise ConfigError(NO_SEEDS)
    return wanted


def parse_grid(text: str) -> tuple[int, int]:
    """Returns (8, 4), columns and rows, for '8x4'."""
    match = re.fullmatch(r'([1-9]\d{0,3})x([1-9]\d{0,3})', text)
    if match is None:
        raise ConfigError(f'--grid={text}: expected COLUMNSxROWS, such as 8x8')
    return int(match[1]), int(match[2])


def job_of(wanted: Wanted, network: Network, truncation_psi: float) -> Job:
    """Returns the images that a command line asks for. Notes the options that have no effect on stored latents."""
    G = network.module
    latents = [read_file(file, G, '--projected-w' if wanted.projected else '--latents') for file in wanted.files]
    for note in notes_on(latents, network.sha256):
        print_note(note)
    only_stored = wanted.seeds is None and bool(latents)
    labels: list[Label] = [NO_LABEL]
    if not only_stored or wanted.class_text is not None:  # stored latents may have labels, or need none
        labels = parse_classes(wanted.class_text, G.c_dim, network.class_names)
    every_class = wanted.class_text == ALL and ALL not in network.class_names
    if every_class and any(part.space == 'w' or part.c is not None for part in latents):
        raise ConfigError('--class=all: these latents have their label already; give seeds, or z without labels')
    if only_stored:
        note_ignored(wanted, latents, truncation_psi)
    seeds = wanted.seeds if wanted.seeds is not None else default_seeds(wanted, latents, every_class)
    lists = [
        PointList(seeds, G.z_dim, label, stored_points(wanted, latents, network, label), wanted.noise_seed)
        for label in labels
    ]
    if every_class:
        return sheet_of_classes(wanted, labels, lists, truncation_psi)
    if not lists[0]:
        raise ConfigError(NO_SEEDS)
    if wanted.grid is not None:
        columns, rows = wanted.grid
        if (count := len(lists[0])) > columns * rows:
            raise ConfigError(
                f'--grid={columns}x{rows} has fewer places than the {count} {"images" if latents else "--seeds"}; '
                'enlarge it'
            )
        return Job(points=lists[0], columns=columns, name=sheet_name(wanted, seeds, labels[0].title, truncation_psi))
    points = PointList(seeds.unique(), G.z_dim, labels[0], lists[0].stored, wanted.noise_seed)
    check_names(points.stored)
    return Job(points=points)


def default_seeds(wanted: Wanted, latents: Sequence[Latents], every_class: bool) -> Seeds:
    """Returns 0, 1, 2, ... for each place of a sheet that is not filled by latents."""
    if latents:
        return Seeds(())
    if every_class:
        return Seeds([range(COLUMNS if wanted.grid is None else wanted.grid[0])])
    columns, rows = wanted.grid or (0, 0)
    return Seeds([range(columns * rows)])


def stored_points(wanted: Wanted, latents: Sequence[Latents], network: Network, label: Label) -> list[Point]:
    """Returns the chosen points of the latents files.

    Args:
        wanted: The command line.
        latents: The contents of its files.
        network: The network.
        label: Label of z in files without labels.
    """
    given = label if label.text else None
    points: list[Point] = []
    for file, found in zip(wanted.files, latents, strict=True):
        points += points_of_file(file, found, network.module, given)
    if wanted.projected:  # StyleGAN2-ADA's names
        points = [point._replace(name=f'proj{index:02d}') for index, point in enumerate(points)]
    return points


def note_ignored(wanted: Wanted, latents: Sequence[Latents], truncation_psi: float) -> None:
    """Notes the options that have no effect on latents."""
    final = all(part.space == 'w' for part in latents)
    ignored = []
    if wanted.class_text is not None and all(part.space == 'w' or part.c is not None for part in latents):
        ignored.append('--class')
    if truncation_psi != 1 and final:
        ignored.append('--trunc')
    if ignored:
        print_note(f'{" and ".join(ignored)} ignored: {"w" if final else "the labels of the latents"} is final')


def check_names(points: Sequence[Point]) -> None:
    """Refuses two points with one name, which would be one file."""
    names = [point.name for point in points]
    if len(set(names)) < len(names):
        name = next(name for name in names if names.count(name) > 1)
        raise ConfigError(
            f'--latents: two points would be written as {name}.png; give each once, and files of one name apart'
        )


def sheet_of_classes(wanted: Wanted, labels: Sequence[Label], lists: Sequence[PointList], psi: float) -> Job:
    """Returns a sheet with one row per class.

    Args:
        wanted: The command line.
        labels: The classes.
        lists: Points of each class, equally many.
        psi: Truncation.
    """
    columns, rows = len(lists[0]), len(labels)
    if wanted.grid is not None and wanted.grid != (columns, rows):
        grid = f'{wanted.grid[0]}x{wanted.grid[1]}'
        raise ConfigError(
            f'--grid={grid}: --class=all has one row per class and one column per seed, {columns}x{rows}; '
            f'drop --grid, or write --grid={columns}x{rows}'
        )
    points = PointList(Seeds(()), 0, labels[0], [point for part in lists for point in part])
    titles = tuple(label.title for label in labels)
    return Job(points=points, columns=columns, rows=titles, name=sheet_name(wanted, lists[0].seeds, 'classes', psi))


def sheet_name(wanted: Wanted, seeds: Seeds, title: str, psi: float) -> str:
    """Returns the stem of a sheet's file, such as 'grid-seeds0-63-cat-trunc0.7'.

    Args:
        wanted: The command line.
        seeds: The seeds.
        title: The class in words.
        psi: Truncation.
    """
    parts = [f'seeds{seeds}'] if seeds else []
    parts += [file.path.stem for file in wanted.files]
    parts += [title] if title else []
    text = re.sub(r'[^\w,.-]+', '_', '-'.join(parts)).encode()[:MAX_NAME].decode(errors='ignore')
    return f'grid-{text}{"" if psi == 1 else f"-trunc{psi:g}"}'


def one_label(points: PointList) -> torch.Tensor:
    """Returns the label that all images have, [label_dim]. Raises ConfigError if they differ: see --recalibrate."""
    labels = ([points.label.c] if points.seeds else []) + [point.c for point in points.stored]
    if any(not torch.equal(c, labels[0]) for c in labels):
        raise ConfigError('--recalibrate measures for one class, and these images have several; draw each class alone')
    return labels[0]


def check_size(job: Job, spec: ImageSpec) -> None:
    """Refuses a sheet that is too large for the memory."""
    if (size := len(job.points) * spec.pixels * min(spec.channels, 4)) > MAX_SHEET_BYTES:
        raise ConfigError(
            f'a sheet of {len(job.points)} images of {spec.width}x{spec.height} has {size / 1e9:.1f} GB, and at most '
            f'{MAX_SHEET_BYTES / 1e9:.1f} are drawn; give fewer --seeds'
        )
