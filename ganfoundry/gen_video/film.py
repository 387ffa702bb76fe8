"""The command `gen_video.py`: the film of a network, or the time lapse of a run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dnnlib.errors import ConfigError
from dnnlib.log import counted
from ganfoundry.command_options import given_options
from ganfoundry.drawing import check_finite
from ganfoundry.gen_video.content import Content, VideoOptions
from ganfoundry.gen_video.draw import draw_frames
from ganfoundry.gen_video.output import check_background, frame_of, open_film
from ganfoundry.gen_video.sweep_option import parse_sweep
from ganfoundry.gen_video.timelapse import sheets_of, timelapse
from ganfoundry.jobs import parse_grid
from ganfoundry.network import load
from ganfoundry.pictures import stop
from ganfoundry.transform_option import apply_transform, parse_transform
from training.data.progress import progress
from training.run.open_network import with_latest

FPS = 60  # frames per second
SHEET_FRAMES, SHEET_FPS = 1, 10  # frames that show a sheet, and their rate

# Options that decide what a network draws, and their spellings; the sheets of --run are drawn already.
OF_A_NETWORK = {
    'network': '--network',
    'seeds': '--seeds',
    'latents': '--latents',
    'class_text': '--class',
    'shuffle_seed': '--shuffle-seed',
    'grid': '--grid',
    'num_keyframes': '--num-keyframes',
    'truncation_psi': '--trunc',
    'interp': '--interp',
    'space': '--space',
    'sweep': '--sweep',
    'there_and_back': '--there-and-back',
    'recalibrate': '--recalibrate',
    'noise_mode': '--noise-mode',
    'translate': '--translate',
    'rotate': '--rotate',
}


def run_video(options: VideoOptions) -> None:
    """Carries out a command line of gen_video.py."""
    check_background(options.background)
    check_finite(options.truncation_psi, '--trunc')
    if Path(options.output).is_file() and not options.overwrite:
        raise ConfigError(f'{options.output}: exists; choose another --output, or add --overwrite')
    if options.run is not None:
        film_of_run(options, Path(with_latest(options.run)))
        return
    if options.network is None:
        raise ConfigError('--network is needed, for instance --network=latest; or --run=RUN shows the sheets of a run')
    if options.noise_mode == 'random':
        raise ConfigError('--noise-mode=random flickers in a film; take const or none, or --sweep=noise')
    transform = parse_transform(options.translate, options.rotate)
    sweep = parse_sweep(options.sweep) if options.sweep is not None else None
    columns, rows = parse_grid(options.grid)
    if options.seeds is None and not options.latents:
        raise ConfigError('--seeds or --latents is needed, for instance --seeds=0-3')
    network = load(
        options.network, device=options.device or 'auto', precision=options.precision or 'fp32', plugin=options.plugin
    )
    apply_transform(network.module, transform, network.spec, str(network.path))
    content = Content(options, network, sweep, columns * rows)
    count, frames = content.frames()
    drawn = draw_frames(
        network.module,
        frames,
        columns * rows,
        batch=options.batch,
        bits=network.spec.bits,
        circle=content.circle,
        noise_mode=options.noise_mode,
    )
    pictures = (frame_of(cells, columns, upscale=options.upscale, background=options.background) for cells in drawn)
    write_film(options, pictures, count, options.fps or FPS, content.comment())


def film_of_run(options: VideoOptions, folder: Path) -> None:
    """Writes the time lapse of a run."""
    if given := given_options(options, OF_A_NETWORK):
        raise ConfigError(f'{", ".join(given)}: --run shows the sheets of a run; give one of the two')
    sheets = sheets_of(folder)
    per_sheet = options.w_frames or SHEET_FRAMES
    pictures = timelapse(sheets, frames_per_sheet=per_sheet, upscale=options.upscale, background=options.background)
    comment = {'run': folder.name, 'nimg': [sheet.nimg for sheet in sheets], 'w_frames': per_sheet}
    write_film(options, pictures, len(sheets) * per_sheet, options.fps or SHEET_FPS, comment)


def write_film(
    options: VideoOptions, pictures: Iterable[np.ndarray], count: int, fps: int, comment: dict[str, object]
) -> None:
    """Writes pictures to --output. After Ctrl-C the film holds those so far, and the exit code is 130.

    Args:
        options: The command line.
        pictures: Frames, uint8 [H, W, 1 or 3].
        count: Number of frames.
        fps: Frames per second.
        comment: How the frames were made.
    """
    path = Path(options.output)
    writer = open_film(path, fps=fps, crf=options.crf, comment=json.dumps(comment, sort_keys=True))
    try:
        with writer, progress('frames') as advance:
            for picture in pictures:
                writer.add(picture)
                advance(count)
    except KeyboardInterrupt:
        stop(f'{path} has {writer.num_frames} of {count} frames')
    print(f'{path}: {counted(count, "frame")}, {count / fps:.1f} s')
