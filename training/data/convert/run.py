"""Conversion of all pictures of a source to a data set."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence

import numpy as np

from dnnlib.errors import ConfigError, DataError, UserError
from dnnlib.signals import StopSignal
from training.data.convert.classes import choose_classes
from training.data.convert.labels import choose_labels, labels_to_json
from training.data.convert.options import ConvertOptions
from training.data.convert.picture import Outcome, PictureJob, convert_picture
from training.data.convert.source import PictureSource, SourceLabels
from training.data.convert.sources import open_pictures
from training.data.convert.summary import Summary
from training.data.convert.writer import check_dest, open_writer
from training.data.names import summarize_names
from training.data.pool import map_in_order, resolve_num_workers
from training.data.progress import progress


class _ColorMetError(Exception):
    """A color picture where all were assumed to be gray."""


def convert_pictures(options: ConvertOptions, stop: StopSignal) -> Summary:
    """Makes the data set. Raises UserError, or StopRequested after a signal; in both cases there is no output."""
    check_dest(options.dest)
    source = open_pictures(options.source, options.split)
    try:
        labels = choose_labels(source, options.labels)
        candidates: Sequence[int] = range(len(source))
        if options.classes is not None:
            labels, candidates = choose_classes(labels, options.classes)
        positions = _choose(candidates, options)
        mode, is_guess = _first_mode(source, positions, options)
        try:
            return _convert_as(mode, is_guess, source, positions, labels, options, stop)
        except _ColorMetError:  # the pictures written so far are gray: start again in RGB
            return _convert_as('RGB', False, source, positions, labels, options, stop)
    finally:
        source.close()


def _choose(candidates: Sequence[int], options: ConvertOptions) -> Sequence[int]:
    """Returns the ascending positions of the pictures to convert, some of the ascending `candidates` or all."""
    count = len(candidates)
    limit = min(count, options.max_images or count)
    if options.shuffle_seed is None:
        return candidates[:limit]
    chosen = np.random.RandomState(options.shuffle_seed).permutation(count)[:limit]
    return sorted(candidates[int(index)] for index in chosen)


def _first_mode(source: PictureSource, positions: Sequence[int], options: ConvertOptions) -> tuple[str, bool]:
    """Returns the mode of the first attempt, and whether it is a guess, which a later picture may refute.

    Only decoding all pictures shows if all are gray. Reading everything twice would double the time for every data set;
    a guess by the first picture is wrong for hardly any.

    Args:
        source: Pictures.
        positions: Positions of the pictures to convert.
        options: Options of the conversion.
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
    """Makes one attempt.

    Args:
        mode: Mode of all pictures, 'L' or 'RGB'.
        is_guess: Whether a color picture refutes the mode.
        source: Pictures.
        positions: Positions of the pictures to convert.
        labels: Labels of all pictures of the source.
        options: Options of the conversion.
        stop: Signal that ends the conversion.

    Raises:
        _ColorMetError: The mode was a guess, and wrong.
    """
    summary = Summary(
        dest=options.dest,
        labels=labels,
        bits=options.picture.bits,
        keeps_alpha=options.picture.alpha is None,
        notes=_notes(source, labels, options),
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
        progress('pictures') as advance,
    ):
        try:
            for index, outcome in zip(positions, outcomes, strict=True):
                stop.check()
                advance(len(positions))
                if outcome.met_color:
                    raise _ColorMetError
                if options.drop_duplicates and summary.repeats(source, index, outcome):
                    continue
                if _note(summary, index, outcome, source.where(index), strict=options.strict):
                    write(summary.names[-1], outcome.data, source.origin(index))
        except UserError:
            stop.check()  # a user who stops the run may have killed the workers too, which is then no fault
            raise
        if not summary.kept:
            raise DataError(_nothing_left(options, summary))
        write('dataset.json', labels_to_json(labels, summary.names, summary.kept))
    return summary


def _notes(source: PictureSource, labels: SourceLabels | None, options: ConvertOptions) -> list[str]:
    """Returns lines for users about what a source does not have, or what is not used of it.

    Args:
        source: Pictures.
        labels: Labels of all pictures of the source.
        options: Options of the conversion.
    """
    notes = [source.passed_over.line()] if source.passed_over else []
    if options.max_images is not None and options.max_images > len(source):
        notes.append(f'--max-images={options.max_images} is more than there are: the source has {len(source)} pictures')
    if labels is None and options.labels == 'json':
        notes.append('labels: none in the source (--labels=folders makes a class of each folder)')
    return notes


def _job(source: PictureSource, index: int, mode: str, is_guess: bool) -> PictureJob:
    """Reads a picture and returns its job; a file that cannot be read is a job too, which keeps order and counts.

    Args:
        source: Pictures.
        index: Position of the picture.
        mode: Mode of all pictures, 'L' or 'RGB'.
        is_guess: Whether a color picture refutes the mode.
    """
    try:
        payload = source.read(index)
    except DataError as error:
        return PictureJob(where=source.where(index), payload=error, mode=mode, mode_is_a_guess=is_guess)
    return PictureJob(where=source.where(index), payload=payload, mode=mode, mode_is_a_guess=is_guess)


def _note(summary: Summary, index: int, outcome: Outcome, where: str, *, strict: bool) -> bool:
    """Adds an outcome to the summary.

    Args:
        summary: Summary to extend.
        index: Position of the picture in the source.
        outcome: Result of its conversion.
        where: Name of the picture in messages.
        strict: Whether a bad picture is an error.

    Returns:
        Whether there is a file to write.

    Raises:
        DataError: The picture is bad, and `strict` is set.
        ConfigError: The picture has another size or number of channels than the first.
    """
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
    number = len(summary.kept)  # consecutive: a picture that is left out leaves no gap
    summary.kept.append(index)
    summary.names.append(f'{number // 1000:05d}/img{number:08d}{outcome.extension}')
    summary.num_enlarged += outcome.enlarged
    summary.num_profiles_broken += outcome.profile == 'broken'
    summary.num_profiles_kept += outcome.profile == 'kept'
    summary.num_transparent += outcome.was_transparent
    summary.num_deep += outcome.was_deep
    return True


def _check_equal(shape: tuple[int, ...], first: tuple[int, ...], where: str) -> None:
    """Compares height, width and channels of a picture with those of the first.

    Args:
        shape: [H, W, C] of the picture.
        first: [H, W, C] of the first picture.
        where: Name of the picture in messages.

    Raises:
        ConfigError: They differ.
    """
    (height, width, channels), (first_height, first_width, first_channels) = shape, first
    if (height, width) != (first_height, first_width):
        fault = f'is {width}x{height}, but those before are {first_width}x{first_height}; all must be equal'
        raise ConfigError(f'{where}: {fault}. Give --resolution={first_width}x{first_height}')
    if channels != first_channels:
        fault = f'has {channels} channels, but those before have {first_channels}; all must be equal'
        raise ConfigError(f'{where}: {fault}. Convert .npy planes and pictures apart')


def _nothing_left(options: ConvertOptions, summary: Summary) -> str:
    """Returns the message for a conversion without any usable picture."""
    if summary.num_too_small:
        return f'{options.source}: {summary.num_too_small} pictures are too small for --resolution; ask for less'
    return f'{options.source}: none of its {len(summary.bad)} pictures can be read: {summarize_names(summary.bad)}'
