"""`--what=losses`: the losses of G and D over runs (GIU Fig. 8, IGAN Fig. 5)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dnnlib.errors import ConfigError
from training.run.curve import Points, draw_curves
from training.run.lines import check_stats, usable
from training.run.run_folder import RunFolder

LOSSES = {'G': 'Loss/G/loss', 'D': 'Loss/D/loss'}


def losses_of(folder: Path) -> dict[str, Points]:
    """Returns the losses of a run, {'G': points, 'D': points} with points (kimg, mean over a tick), oldest first.

    Raises:
        ConfigError: If the folder has no line of losses.
    """
    lines = usable(RunFolder(folder).stats, check_stats)
    losses: dict[str, Points] = {
        name: [(line['nimg'] / 1000, float(line[key]['mean'])) for line in lines if key in line]
        for name, key in LOSSES.items()
    }
    if not all(losses.values()):
        raise ConfigError(
            f'--what=losses: {folder} has no losses of G and D in stats.jsonl; name the folder of a run that has '
            'trained for at least one tick'
        )
    return losses


def draw_losses(folders: Sequence[Path], path: Path) -> dict[str, Any]:
    """Draws the losses of one or more runs into one picture.

    Args:
        folders: Run folders.
        path: The PNG.

    Returns:
        The facts: points by run and network.
    """
    found = {folder.name: losses_of(folder) for folder in folders}
    curves: dict[str, list[Points]] = {}
    for run, losses in found.items():
        for net, points in losses.items():
            finite = [point for point in points if abs(point[1]) < float('inf')]  # NaN compares false
            curves[f'{run} {net}' if len(found) > 1 else net] = [finite]
    draw_curves(curves, 'losses of G and D', path)
    return {
        'runs': {
            run: {net: [{'kimg': kimg, 'mean': mean} for kimg, mean in points] for net, points in losses.items()}
            for run, losses in found.items()
        }
    }
