"""The line of generate.py that draws a view."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from ganfoundry.class_option import Label
from ganfoundry.explore.view import View
from ganfoundry.points import Point
from training.run.latents import Space


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """Options of the explorer that generate.py needs, too."""

    precision: str = 'fp32'
    plugin: tuple[str, ...] = ()
    device: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A point of a latents file. labeled: whether the file holds its label."""

    path: Path
    index: int
    space: Space
    labeled: bool


def generate_line(
    view: View, point: Point, label: Label, network: Path, machine: Machine, stored: Stored | None
) -> str:
    """Returns the command that draws a view, for a shell.

    Args:
        view: The view.
        point: Its point.
        label: Its label.
        network: File of the network.
        machine: The options of the explorer.
        stored: Where the point is stored; None for the view's seed.
    """
    flags = [f'--network={network}']
    flags.append(f'--seeds={view.seed}' if stored is None else f'--latents={stored.path}:{stored.index}')
    is_final = stored is not None and stored.space == 'w'
    if label.text and not is_final and not (stored is not None and stored.labeled):
        flags.append(f'--class={label.text}')
    if view.psi != 1 and not is_final:
        flags.append(f'--trunc={view.psi!r}')
    if view.noise != 'const':
        flags.append(f'--noise-mode={view.noise}')
    own_noise = view.seed if stored is None else stored.index  # noise seed of generate.py without --noise-seed
    if view.noise == 'random' and (view.noise_seed is not None or point.noise_seed != own_noise):
        flags.append(f'--noise-seed={point.noise_seed}')
    if view.transform.translate != (0, 0):
        flags.append(f'--translate={view.translate_x!r},{view.translate_y!r}')
    if view.rotate != 0:
        flags.append(f'--rotate={view.rotate!r}')
    if view.recalibrate:
        flags.append('--recalibrate')
    if machine.precision != 'fp32':
        flags.append(f'--precision={machine.precision}')
    flags += [f'--plugin={path}' for path in machine.plugin]
    if machine.device is not None:
        flags.append(f'--device={machine.device}')
    return shlex.join(['python', 'generate.py', *flags])
