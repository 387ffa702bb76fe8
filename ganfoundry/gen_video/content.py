"""The content of a film that a network draws: its keyframes, and the path or sweep that they are shown on.

Letters: M cells of the grid, K keyframes per cell, N keyframes, F frames between two of them or of a sweep.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dnnlib.errors import ConfigError
from dnnlib.log import print_note
from ganfoundry.class_option import NO_LABEL, Label, parse_class
from ganfoundry.directions import directions
from ganfoundry.drawing import measure_batch_norm
from ganfoundry.gen_video.frames import (
    Frame,
    NoiseCircle,
    morph,
    positions,
    sweep_direction,
    sweep_noise,
    sweep_truncation,
)
from ganfoundry.gen_video.paths import Interpolation
from ganfoundry.gen_video.sweep_option import Sweep
from ganfoundry.latent_options import parse_latents, parse_seeds
from ganfoundry.network import Network
from ganfoundry.points import Point, batched, notes_on, points_of_file, points_of_seeds, read_file, stack, ws_of
from ganfoundry.transform_option import parse_transform
from training.run.latents import Latents, Space, space_of

FRAMES = 120  # F by default


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoOptions:
    """The options of gen_video.py under their names in Python; `ganfoundry/commands/gen_video.py` describes each."""

    output: str
    network: str | None = None
    run: str | None = None
    seeds: str | None = None
    latents: tuple[str, ...] = ()
    class_text: str | None = None  # --class
    shuffle_seed: int | None = None
    grid: str = '1x1'
    num_keyframes: int | None = None
    w_frames: int | None = None
    fps: int | None = None
    crf: int = 17
    truncation_psi: float = 1
    interp: Interpolation = 'cubic'
    space: Space | None = None
    sweep: str | None = None
    there_and_back: bool = False
    recalibrate: bool = False
    noise_mode: str = 'const'
    translate: str | None = None
    rotate: float | None = None
    upscale: int = 1
    background: str = 'checker'
    overwrite: bool = False
    batch: int = 8
    precision: str | None = None
    plugin: tuple[str, ...] = ()
    device: str | None = None


class Content:
    """The frames that a command line asks for.

    Args:
        options: The command line.
        network: The network.
        sweep: What is swept; None for a path through keyframes.
        cells: M.

    Raises:
        ConfigError: If the network cannot draw them, or the keyframes do not fit the grid.
    """

    def __init__(self, options: VideoOptions, network: Network, sweep: Sweep | None, cells: int) -> None:
        self._options, self._network, self._sweep, self._cells = options, network, sweep, cells
        self._G = network.module
        self._label = self._label_of_all()
        self._space: Space = options.space or space_of(self._G)
        if self._space == 'w' and space_of(self._G) == 'z':
            raise ConfigError('--space=w: this network has no W space; drop --space')
        if options.recalibrate:
            measure_batch_norm(self._G, self._label.c[None], options.truncation_psi)
        self._points = self._keyframes()
        self.circle = NoiseCircle(self._G, sweep.index) if sweep is not None and sweep.kind == 'noise' else None

    def _label_of_all(self) -> Label:
        options, sweep = self._options, self._sweep
        if sweep is not None and sweep.kind == 'class':
            if options.class_text is not None:
                raise ConfigError(f'--class={options.class_text}: --sweep=class shows the classes; drop one of the two')
            if self._G.c_dim == 0:
                raise ConfigError('--sweep=class: this network is unconditional; sweep another setting')
            return self._labels_of_sweep()[0]
        if options.class_text is None and options.seeds is None:
            return NO_LABEL  # latents may have labels, or need none
        return parse_class(options.class_text, self._G.c_dim, self._network.class_names)

    def _labels_of_sweep(self) -> list[Label]:
        assert self._sweep is not None
        texts = self._sweep.classes or [str(index) for index in range(self._G.c_dim)]
        return [parse_class(text, self._G.c_dim, self._network.class_names, '--sweep=class') for text in texts]

    def _keyframes(self) -> list[Point]:
        """Returns the keyframes: seeds, then latents."""
        options = self._options
        points: list[Point] = []
        if options.seeds is not None:
            points += points_of_seeds(parse_seeds(options.seeds), self._G.z_dim, self._label)
        files = parse_latents(options.latents)
        found = [read_file(file, self._G) for file in files]
        for note in notes_on(found, self._network.sha256):
            print_note(note)
        for file, latents in zip(files, found, strict=True):
            points += points_of_file(file, latents, self._G, self._label if self._label.text else None)
        if options.shuffle_seed is not None:
            order = np.random.RandomState(options.shuffle_seed).permutation(len(points))
            points = [points[index] for index in order]
        return points

    def frames(self) -> tuple[int, Iterator[Frame]]:
        """Returns the number of frames, and the frames."""
        if self._sweep is None:
            per_cell = self._keyframes_per_cell()
            latents, c = self._in_space(self._points)
            return self._morph(latents, c, per_cell)
        if len(self._points) != self._cells:
            raise ConfigError(
                f'--sweep={self._options.sweep}: shows one seed per cell, and there are {len(self._points)} for the '
                f'{self._cells} of --grid={self._options.grid}; give as many seeds as cells'
            )
        if self._sweep.kind == 'class':
            return self._sweep_class()
        num_frames = self._options.w_frames or FRAMES
        return num_frames, self._sweep_setting(self._sweep, num_frames)

    def _keyframes_per_cell(self) -> int:
        """Returns K."""
        count, cells, given = len(self._points), self._cells, self._options.num_keyframes
        if given is None and count % cells:
            raise ConfigError(
                f'--grid={self._options.grid}: {count} keyframes do not fill {cells} cells equally; give a multiple of '
                f'{cells} --seeds, or --num-keyframes, and they are repeated in turn'
            )
        per_cell = given or count // cells
        if per_cell == 1:
            raise ConfigError(
                f'one keyframe per cell: nothing would move; give {2 * cells} --seeds or more, --num-keyframes, or '
                '--sweep'
            )
        return per_cell

    def _in_space(self, points: Sequence[Point]) -> tuple[Latents, torch.Tensor]:
        """Returns points in the space of the film, and their labels [N, c_dim]."""
        c = torch.stack([point.c for point in points])
        if self._space == 'z':
            self._check_z(points, '--space=z')
            return Latents(space='z', points=stack(points)[0]), c
        with torch.no_grad():
            parts = [
                ws_of(self._G, part, self._options.truncation_psi) for part in batched(points, self._options.batch)
            ]
        return Latents(space='w', points=torch.cat(parts).float().cpu()), c

    def _check_z(self, points: Sequence[Point], option: str) -> None:
        if any(point.space == 'w' for point in points):
            raise ConfigError(f'{option}: needs z, and the latents hold w, which is final; give --seeds')

    def _morph(self, latents: Latents, c: torch.Tensor, per_cell: int) -> tuple[int, Iterator[Frame]]:
        num_between = self._options.w_frames or FRAMES
        frames = morph(
            latents,
            c,
            cells=self._cells,
            num_keyframes=per_cell,
            num_between=num_between,
            interpolation=self._options.interp,
            psi=self._options.truncation_psi if latents.space == 'z' else 1,
        )
        return per_cell * num_between, frames

    def _sweep_class(self) -> tuple[int, Iterator[Frame]]:
        """Each cell passes all classes and returns to the first."""
        self._check_z(self._points, '--sweep=class')
        labels = self._labels_of_sweep()
        points = [point._replace(c=label.c) for point in self._points for label in labels]
        latents, c = self._in_space(points)
        return self._morph(latents, c, len(labels))

    def _sweep_setting(self, sweep: Sweep, num_frames: int) -> Iterator[Frame]:
        psi = self._options.truncation_psi
        places = positions(num_frames, there_and_back=self._options.there_and_back)
        values = sweep.first + (sweep.last - sweep.first) * places
        if sweep.kind == 'trunc':
            self._check_z(self._points, '--sweep=trunc')
            z, c = stack(self._points)
            return sweep_truncation(Latents(space='z', points=z), c, values)
        latents, c = self._in_space(self._points)
        if sweep.kind == 'noise':
            return sweep_noise(latents, c, num_frames, psi if latents.space == 'z' else 1)
        found = directions(self._G, self._label.c[None] if self._label.text else None)
        if found.space != latents.space:
            raise ConfigError('--sweep=direction: the directions of this network lie in W; drop --space=z')
        return sweep_direction(latents, c, found, sweep.index, values)

    def comment(self) -> dict[str, object]:
        """Returns the text that the film carries: the network, the keyframes and the options."""
        options = self._options
        info = self._network.info(
            truncation_psi=options.truncation_psi, noise_mode=options.noise_mode, recalibrate=options.recalibrate
        )
        info |= parse_transform(options.translate, options.rotate).record()
        names = ('grid', 'num_keyframes', 'w_frames', 'interp', 'space', 'sweep', 'there_and_back', 'shuffle_seed')
        chosen = {name: value for name in names if (value := getattr(options, name)) is not None}
        return {**info, **chosen, 'batch': options.batch, 'keyframes': [point.origin for point in self._points]}
