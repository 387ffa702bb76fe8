"""Reports of a run: the status line, stats.jsonl, metric results, and TensorBoard if it is installed."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch

from dnnlib import files
from dnnlib.log import Log, format_time
from training.run.board import Board
from training.run.curve import draw_curve
from training.run.run_folder import RunFolder


class Reporter:
    """Writer of a run's records. A failed write is a warning and never ends the run."""

    def __init__(self, folder: RunFolder, log: Log, device: torch.device) -> None:
        self._folder = folder
        self._log = log
        self._device = device
        self._failed_metrics = folder.last_stats().get('Health/failed_metrics', {'mean': 0.0})['mean']
        self._board = self._open_board()
        # Runs of versions without ids counted TensorBoard's steps in kimg, of which several ticks may be one.
        self._nimg_per_step = 1 if folder.run_id() else 1000

    def tick(self, record: dict[str, Any], total_kimg: float) -> None:
        """Appends a tick's record and prints its status line."""
        record = {'Health/failed_metrics': point(self._failed_metrics), **record}
        self._log.line(status_line(record, total_kimg))
        self.append(self._folder.stats, record)
        scalars = {k: v['mean'] for k, v in record.items() if isinstance(v, dict)}
        self._to_board(scalars, record['nimg'])

    def metric(self, name: str, record: dict[str, Any]) -> None:
        """Appends a metric's results to its file, its curve and TensorBoard."""
        self._log.line('metric ' + '  '.join(f'{key} {value:.4f}' for key, value in record['results'].items()))
        self.append(self._folder.metric(name), record)
        self._draw_curve(name)
        self._to_board({f'Metrics/{k}': v for k, v in record['results'].items()}, record['nimg'])

    def metric_failed(self, name: str, nimg: int, error: Exception) -> None:
        """Logs a failed metric and counts it in `Health/failed_metrics` of all later ticks."""
        self._failed_metrics += 1
        self._log.warn(f'{name} failed at {nimg / 1000:.1f} kimg: {type(error).__name__}: {error}; training continues')

    def sheet(self, path: Path, nimg: int) -> None:
        """Sends a sample sheet to TensorBoard."""
        self._write_board(lambda board: board.add_picture('Samples', path, nimg // self._nimg_per_step))

    def _draw_curve(self, name: str) -> None:
        try:
            draw_metric(self._folder, name)
        except Exception as error:  # no failed picture may stop the other metrics
            self._log.warn(f'{name}: the curve cannot be drawn ({error}); training continues')

    def append(self, path: Path, record: dict[str, Any]) -> None:
        """Appends one JSON line to a file."""
        try:
            files.append_line(path, json.dumps(record))
        except OSError as error:
            self._log.warn(f'{path}: cannot be written ({error.strerror}); training continues')

    def close(self) -> None:
        """Closes TensorBoard."""
        if self._board is not None:
            self._board.close()

    def _open_board(self) -> Board | None:
        try:
            return Board(self._folder.path)
        except ImportError:
            return None
        except Exception as error:  # no failure of TensorBoard may stop training
            self._log.warn(f'TensorBoard cannot be opened: {error}')
            return None

    def _to_board(self, scalars: dict[str, float], nimg: int) -> None:
        self._write_board(lambda board: board.add(scalars, nimg // self._nimg_per_step))

    def _write_board(self, write: Callable[[Board], None]) -> None:
        if self._board is None:
            return
        try:
            write(self._board)
        except Exception as error:  # no failure of TensorBoard may stop training
            self._log.warn(f'TensorBoard failed and is disabled: {error}')
            self._board.close()
            self._board = None


def draw_metric(folder: RunFolder, name: str) -> None:
    """Writes metric-NAME.png, the first result of a metric against kimg, if there is any result."""
    lines = folder.curve(name)
    if lines:
        title = next(iter(lines[-1]['results']))
        points = [(line['nimg'] / 1000, line['results'][title]) for line in lines]
        draw_curve(points, title, folder.metric(name).with_suffix('.png'))


def status_line(record: dict[str, Any], total_kimg: float) -> str:
    """Returns the status line of a tick: StyleGAN's columns and the remaining time."""

    def mean(name: str) -> float:
        return float(record[name]['mean'])

    left = max(total_kimg - mean('Progress/kimg'), 0) * mean('Timing/sec_per_kimg')
    parts = [
        f'tick {int(mean("Progress/tick")):<5d}',
        f'kimg {mean("Progress/kimg"):<8.1f}',
        f'time {format_time(mean("Timing/total_sec")):<8s}',
        f'eta {format_time(left):<8s}',
        f'sec/tick {mean("Timing/sec_per_tick"):<7.1f}',
        f'sec/kimg {mean("Timing/sec_per_kimg"):<7.2f}',
        f'maintenance {mean("Timing/maintenance_sec"):<6.1f}',
        f'peak cpumem {mean("Resources/cpu_mem_gb"):.2f}',
    ]
    if 'Resources/peak_gpu_mem_gb' in record:
        parts.append(f'gpumem {mean("Resources/peak_gpu_mem_gb"):.2f}')
    held = ' (cap)' if mean('Progress/augment_at_cap') else ''
    parts.append(f'augment {mean("Progress/augment"):.3f}{held}')
    both = (('G', 'Loss/G/loss'), ('D', 'Loss/D/loss'))  # a short tick may have no step of G if n_critic > 1
    parts += [f'{short} {mean(name):.3f}' for short, name in both if name in record]
    return ' '.join(parts)


def resources(device: torch.device) -> dict[str, float]:
    """Returns memory in GB: peak and current of this process, and peak on the GPU since the last call."""
    unit = 1 if sys.platform == 'darwin' else 1024
    usage = {
        'Resources/cpu_mem_gb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30,
        'Resources/cpu_mem_now_gb': psutil.Process().memory_info().rss / 2**30,
    }
    if device.type == 'cuda':
        usage['Resources/peak_gpu_mem_gb'] = torch.cuda.max_memory_allocated(device) / 2**30
        usage['Resources/peak_gpu_mem_reserved_gb'] = torch.cuda.max_memory_reserved(device) / 2**30
        torch.cuda.reset_peak_memory_stats(device)
    return usage


def point(value: float) -> dict[str, float]:
    """Returns a single value in the form of a statistic."""
    return {'num': 1, 'mean': float(value), 'std': 0.0}


def tick_record(
    *,
    nimg: int,
    tick: int,
    tick_nimg: int,
    tick_sec: float,
    maintenance_sec: float,
    total_sec: float,
    losses: dict[str, dict[str, float]],
    phases: dict[str, tuple[int, float]],
    others: dict[str, float],
    augment: tuple[float, bool],
) -> dict[str, Any]:
    """Returns a line of stats.jsonl: statistics by name, each {num, mean, std}, then nimg and a timestamp.

    `Timing/PHASE` is the mean duration of one execution in milliseconds. `Timing/sec_per_kimg` excludes maintenance.

    Args:
        nimg: number of real images shown so far.
        tick: number of the tick.
        tick_nimg: number of images shown in the tick.
        tick_sec: duration of the tick's steps in seconds.
        maintenance_sec: time between the previous tick and this one in seconds.
        total_sec: training time of all launches in seconds.
        losses: statistics of the tick by name.
        phases: number of executions and total seconds by phase.
        others: single values by name.
        augment: augmentation strength, and whether its cap limits it.
    """
    singles = {
        'Progress/tick': tick,
        'Progress/kimg': nimg / 1000,
        'Progress/augment': augment[0],
        'Progress/augment_at_cap': augment[1],
        'Timing/total_sec': total_sec,
        'Timing/total_hours': total_sec / 3600,
        'Timing/sec_per_tick': tick_sec,
        'Timing/sec_per_kimg': tick_sec / max(tick_nimg, 1) * 1000,
        'Timing/maintenance_sec': maintenance_sec,
        **{f'Timing/{name}': seconds / n * 1000 for name, (n, seconds) in phases.items()},
        **others,
    }
    return {
        **losses,
        **{name: point(value) for name, value in singles.items()},
        'nimg': nimg,
        'timestamp': time.time(),
    }
