"""All pictures of a source to a data set."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Sequence

import click
import numpy as np

from dnnlib.errors import ConfigError, DataError, UserError
from dnnlib.signals import StopSignal
from training.data.convert.labels import choose_labels, labels_to_json
from training.data.convert.options import ConvertOptions
from training.data.convert.picture import Outcome, PictureJob, convert_picture
from training.data.convert.source import PictureSource, SourceLabels
from training.data.convert.sources import open_pictures
from training.data.convert.summary import Summary
from training.data.convert.writer import check_dest, open_writer
from training.data.pool import map_in_order, resolve_num_workers
from training.data.source import summarize_names


class _ColorMetError(Exception):
    """All pictures were taken to be grey, and one is not."""


def convert_pictures(options: ConvertOptions, stop: StopSignal) -> Summary:
    """Makes the data set. Raises UserError, or StopRequested after a signal; then there is no output."""
    check_dest(options.dest)
    source = open_pictures(options.source, options.split)
    try:
        positions = _choose(len(source), options)
        labels = choose_labels(source, options.labels)
        mode, is_guess = _first_mode(source, positions, options)
        try:
            return _convert_as(mode, is_guess, source, positions, labels, options, stop)
        except _ColorMetError:  # among grey pictures, and what is written so far is grey: once more, in RGB
            return _convert_as('RGB', False, source, positions, labels, options, stop)
    finally:
        source.close()


def _choose(count: int, options: ConvertOptions) -> Sequence[int]:
    """Ascending positions of the pictures to take."""
    limit = min(count, options.max_images or count)
    if options.shuffle_seed is None:
        return range(limit)
    return sorted(map(int, np.random.RandomState(options.shuffle_seed).permutation(count)[:limit]))


def _first_mode(source: PictureSource, positions: Sequence[int], options: ConvertOptions) -> tuple[str, bool]:
    """The mode to begin with, and whether it is a guess, which a later picture may refute.

    Whether all pictures are grey is known when all have been decoded. Reading everything twice to know it before would
    double the time for every data set; a guess by the first picture is wrong for hardly any.
    """
    if options.picture.mode != 'auto':
        return options.picture.mode, False
    first = convert_picture(options.picture, _job(source, positions[0], 'L', True))
    return ('RGB', False) if first.met_color else ('L', True)


def _convert_as(
    mode: str,
    is_guess: bool,
    source: PictureSource,
    positions: Sequence[int],
    labels: SourceLabels | None,
    options: ConvertOptions,
    stop: StopSignal,
) -> Summary:
    """One attempt. Raises _ColorMetError when the mode was a guess, and wrong."""
    summary = Summary(
        dest=options.dest, labels=labels, bits=options.picture.bits, keeps_alpha=options.picture.alpha is None
    )
    jobs = (_job(source, index, mode, is_guess) for index in positions)
    outcomes = map_in_order(
        functools.partial(convert_picture, options.picture),
        jobs,
        resolve_num_workers(options.num_workers, len(positions)),
    )
    with (
        open_writer(options.dest) as write,
        contextlib.closing(outcomes),
        click.progressbar(positions, file=sys.stderr) as progress,
    ):
        try:
            for index, outcome in zip(progress, outcomes, strict=True):
                stop.check()
                if outcome.met_color:
                    raise _ColorMetError
                if _note(summary, index, outcome, source.where(index), strict=options.strict):
                    write(summary.names[-1], outcome.data)
        except UserError:
            stop.check()  # one who asks for an end may end the workers too, which is then no fault
            raise
        if not summary.kept:
            raise DataError(_nothing_left(options, summary))
        write('dataset.json', labels_to_json(labels, summary.names, summary.kept))
    return summary


def _job(source: PictureSource, index: int, mode: str, is_guess: bool) -> PictureJob:
    """The job for a picture; a file that cannot be read is one too, so that order and counting stay in one place."""
    try:
        payload = source.read(index)
    except DataError as error:
        return PictureJob(where=source.where(index), payload=error, mode=mode, mode_is_a_guess=is_guess)
    return PictureJob(where=source.where(index), payload=payload, mode=mode, mode_is_a_guess=is_guess)


def _note(summary: Summary, index: int, outcome: Outcome, where: str, *, strict: bool) -> bool:
    """Adds an outcome to the summary; returns whether there is a file to write."""
    if outcome.bad:
        if strict:
            raise DataError(outcome.bad)
        summary.bad.append(outcome.bad)
        return False
    if outcome.is_too_small:
        summary.num_too_small += 1
        return False
    if not summary.kept:
        summary.shape, summary.extension = outcome.shape, outcome.extension
    _check_equal(outcome.shape, summary.shape, where)
    number = len(summary.kept)  # dense: a picture left out leaves no gap
    summary.kept.append(index)
    summary.names.append(f'{number // 1000:05d}/img{number:08d}{outcome.extension}')
    summary.num_enlarged += outcome.enlarged
    summary.num_profiles_broken += outcome.profile == 'broken'
    summary.num_profiles_kept += outcome.profile == 'kept'
    summary.num_transparent += outcome.was_transparent
    return True


def _check_equal(shape: tuple[int, ...], first: tuple[int, ...], where: str) -> None:
    """Holds height, width and channels of a picture against those of the first."""
    (height, width, channels), (first_height, first_width, first_channels) = shape, first
    if (height, width) != (first_height, first_width):
        fault = f'is {width}x{height}, but those before are {first_width}x{first_height}; all must be equal'
        raise ConfigError(f'{where}: {fault}. Give --resolution={first_width}x{first_height}')
    if channels != first_channels:
        fault = f'has {channels} channels, but those before have {first_channels}; all must be equal'
        raise ConfigError(f'{where}: {fault}. Convert .npy planes and pictures apart')


def _nothing_left(options: ConvertOptions, summary: Summary) -> str:
    """Why there is no data set."""
    if summary.num_too_small:
        return f'{options.source}: {summary.num_too_small} pictures are too small for --resolution; ask for less'
    return f'{options.source}: none of its {len(summary.bad)} pictures can be read: {summarize_names(summary.bad)}'
