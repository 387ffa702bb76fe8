"""The command line of projector.py, from its options to its files."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dnnlib.errors import DataError
from dnnlib.signals import StopSignal
from ganfoundry.drawing import make_outdir
from ganfoundry.films import codec_of
from ganfoundry.network import Network, load
from ganfoundry.projection.outputs import check_free, film_of, write_projection
from ganfoundry.projection.perceptual import Perceptual, choose_perceptual
from ganfoundry.projection.project import Projection, project_batch
from ganfoundry.projection.settings import Settings, check_settings
from ganfoundry.projection.spaces import check_space
from ganfoundry.projection.starts import initial_points
from ganfoundry.projection.targets import Fit, Target, find_targets, label_of, names_of, read_target
from metrics.detectors.table import set_path

FILM = 'proj.mp4'


@dataclass(frozen=True, kw_only=True, slots=True)
class ProjectorOptions:
    """The options of projector.py under their names in Python; `ganfoundry/commands/projector.py` describes each."""

    network: str
    target: tuple[str, ...]
    outdir: str = 'out'
    space: str | None = None
    num_steps: int = 300
    method: str = 'direct'
    init: str | None = None
    mse: float | None = None
    fit: Fit = 'crop'
    class_text: str | None = None  # --class
    tune_steps: int = 100
    max_drift: float = 0.05
    save_video: bool = False
    seed: int = 0
    batch: int = 8
    overwrite: bool = False
    precision: str | None = None
    detector_path: tuple[str, ...] = ()
    plugin: tuple[str, ...] = ()
    device: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """Everything that was read and checked before the first file is written."""

    network: Network
    targets: list[Target]
    folders: list[Path]
    c: torch.Tensor | None
    initial: torch.Tensor | None
    settings: Settings


def run_projector(options: ProjectorOptions) -> None:
    """Carries out a command line of projector.py. Ctrl-C writes the results so far, and ends with its exit code."""
    job = _prepare(options)
    perceptual, line = choose_perceptual(job.network.device)
    print(line, flush=True)
    make_outdir(options.outdir)
    with StopSignal() as stop:
        for start in range(0, len(job.targets), options.batch):
            if not stop.requested():
                _project(job, slice(start, start + options.batch), perceptual, options.save_video, stop)
    if stop.exit_code:
        sys.exit(stop.exit_code)


def _prepare(options: ProjectorOptions) -> _Job:
    """Reads the network and the targets, and checks every option. Writes nothing."""
    for text in options.detector_path:
        set_path(text)
    if options.save_video:
        codec_of(Path(FILM))
    files = find_targets(options.target)
    network = load(
        options.network, device=options.device or 'auto', precision=options.precision or 'fp32', plugin=options.plugin
    )
    G = network.module
    settings = Settings(
        space=check_space(options.space, G),
        method=options.method,
        num_steps=options.num_steps,
        init=options.init,
        mse=options.mse,
        seed=options.seed,
        tune_steps=options.tune_steps,
        max_drift=options.max_drift,
    )
    check_settings(settings, G)
    label = label_of(options.class_text, network)
    names = names_of(files)
    targets = [read_target(file, name, network.spec, options.fit) for file, name in zip(files, names, strict=True)]
    outdir = Path(options.outdir)
    folders = [outdir] if len(targets) == 1 else [outdir / name for name in names]
    if not options.overwrite:
        for folder, target in zip(folders, targets, strict=True):
            check_free(folder, target, network, settings)
    return _Job(
        network=network,
        targets=targets,
        folders=folders,
        c=label,
        initial=initial_points(settings, len(targets), network),
        settings=settings,
    )


def _project(job: _Job, rows: slice, perceptual: Perceptual, save_video: bool, stop: StopSignal) -> None:
    """Projects some targets, and writes the files of each as soon as it is done.

    Args:
        job: Network, targets and settings.
        rows: The targets.
        perceptual: The perceptual distance.
        save_video: Whether to write a film of each.
        stop: Requests to stop.
    """
    frames: Callable[[torch.Tensor], None] | None = None

    def watch(index: int, image: torch.Tensor) -> bool:
        if frames is not None:
            frames(image)
        return not stop.requested()

    targets, network = job.targets[rows], job.network
    initial = None if job.initial is None else job.initial[rows]
    results = project_batch(network.module, targets, job.c, job.settings, perceptual, initial=initial, watch=watch)
    for target, folder in zip(targets, job.folders[rows], strict=True):
        make_outdir(str(folder))
        with contextlib.ExitStack() as film:
            if save_video:
                made, frames = film_of(folder / FILM, target)
                film.enter_context(made)
            found = next(results)
        how: dict[str, Any] = {'settings': job.settings, 'perceptual': perceptual, 'interrupted': stop.requested()}
        try:
            write_projection(folder, found, target, network, **how)
        except OSError as error:
            raise DataError(f'{folder}: cannot be written: {error.strerror or error}') from None
        print(f'{folder}: {summary_of(found)}', flush=True)
        if stop.requested():
            return


def summary_of(found: Projection) -> str:
    """Returns the numbers of a result in one line."""
    drift = '' if found.drift is None else f', drift {found.drift:.4f}'
    return (
        f'{found.network} {found.perceptual:.4f}, {found.psnr:.1f} dB, {found.from_mean:.2f} standard deviations from '
        f'the mean{drift}, {len(found.curve) - 1} steps in {found.seconds:.1f} s'
    )
