"""Run folders written by hand, in the form in which training leaves them: any length, any ending, no training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from torch_utils.images import save_png
from training.interface import ImageSpec
from training.record import to_record
from training.registry import RECIPES
from training.run.run_folder import RunFolder

SPEC = ImageSpec(resolution=16, channels=3, label_dim=0, num_images=40)
BEGAN = 1_790_000_000.0  # time of the first tick
SIDE = 4  # images on a side of a sheet


def tick_line(index: int, nimg: int, **changes: float) -> str:
    """Returns a line of stats.jsonl.

    Args:
        index: Number of the tick.
        nimg: Number of images shown.
        changes: Other means by name, with '__' in place of '/'.
    """
    means = {
        'Health/failed_metrics': 0,
        'Health/nonfinite_steps': 0,
        'Loss/D/loss': 1.4 - 0.01 * (index % 7),
        'Loss/G/loss': 0.8 + 0.01 * (index % 5),
        'Loss/scores/fake': -0.3,
        'Loss/scores/real': 0.6,
        'Loss/signs/fake': -0.4,
        'Loss/signs/real': 0.7,
        **({'Loss/r1_penalty': 0.2} if index % 2 else {}),
        'Progress/tick': index,
        'Progress/kimg': nimg / 1000,
        'Progress/augment': 0.01 * (index % 50),
        'Progress/augment_at_cap': 0,
        'Timing/total_sec': 10.0 * index + 10,
        'Timing/sec_per_tick': 9.0,
        'Timing/sec_per_kimg': 9.0,
        'Timing/maintenance_sec': 1.0,
        'Timing/Gmain': 40.0,
        'Timing/Dmain': 50.0,
        'Resources/cpu_mem_gb': 0.5,
        'Resources/cpu_mem_now_gb': 0.4,
        'Data/bad_images': 0,
        'Health/rollbacks': 0,
    } | {name.replace('__', '/'): value for name, value in changes.items()}
    record: dict[str, Any] = {name: {'num': 1, 'mean': float(value), 'std': 0.0} for name, value in means.items()}
    return json.dumps(record | {'nimg': nimg, 'timestamp': BEGAN + 10 * index}) + '\n'


def sheet_pixels(nimg: int) -> np.ndarray:
    """Returns the sheet of a moment, uint8 [C, H, W]: each image has one color, which the moment decides, too."""
    colors = np.random.RandomState(nimg).randint(0, 256, [3, SIDE, SIDE], dtype=np.uint8)
    return colors.repeat(16, axis=1).repeat(16, axis=2)


def metric_line(nimg: int, value: float, name: str = 'fd_efflite1k') -> str:
    """Returns a line of metric-NAME.jsonl with an error.

    Args:
        nimg: Number of images shown.
        value: The number.
        name: The metric.
    """
    results = {name: value, f'{name}_std': 1.0, f'{name}_low95': value - 2, f'{name}_high95': value + 2}
    snapshot = RunFolder(Path()).snapshot(nimg).name
    line = {'results': results, 'metric': name, 'provenance': {'detector': 'efflite'}, 'snapshot': snapshot}
    return json.dumps(line | {'nimg': nimg, 'timestamp': BEGAN}) + '\n'


def write_run(
    path: Path,
    *,
    num_ticks: int = 7,
    kimg: int = 6,
    metrics: bool = True,
    ending: str = 'done',
    record: dict[str, Any] | None = None,
) -> Path:
    """Writes the folder of a run with a tick per kimg, a sheet and a metric every second kimg.

    Args:
        path: The folder.
        num_ticks: Number of ticks, the first of which is at 0 kimg.
        kimg: Length of the run.
        metrics: Whether it was measured.
        ending: Last line of the log: 'done', 'stopped', or '' for that of a killed process.
        record: Further fields of config.json.
    """
    path.mkdir(parents=True)
    folder = RunFolder(path)
    cfg = dataclasses.replace(RECIPES.get('squeeze').make(SPEC, 1), kimg=kimg)
    argv = ['train.py', '--cfg=squeeze', f'--kimg={kimg}', '--plugin', '/a b/mine.py']
    facts = {'run_id': 'a' * 32, 'argv': argv, 'commit': 'b' * 40, 'versions': {'python': '3.11'}, 'threads': 1}
    folder.config.write_text(json.dumps(to_record(cfg, SPEC) | facts | (record or {}), indent=2))
    folder.stats.write_text(''.join(tick_line(index, index * 1000) for index in range(num_ticks)))
    log = [f'run folder {path}, cpu, fp32']
    for index in range(num_ticks):
        log.append(f'tick {index:<5d} kimg {index:<8.1f} time 1s')
        if index == 2:
            log.append('WARNING: samples have lost their diversity: they differ by 1.0 gray levels; look at the sheets')
    last = (num_ticks - 1) * 1000
    if ending == 'done':
        log.append(f'done: {folder.snapshot(last)}')
    elif ending == 'stopped':
        log.append(f'stopped at {last / 1000:.2f} kimg; the newest state is of {last / 1000:.2f} kimg')
        log.append("continue: python train.py --resume=elsewhere '--plugin=/a b/mine.py'")
    (path / 'log.txt').write_text('\n'.join(log) + '\n')
    save_png(sheet_pixels(10**6), path / 'reals.png')
    save_png(sheet_pixels(0), path / 'fakes_init.png', {'nimg': 0})
    moments = range(2000, last + 1, 2000)
    for nimg in moments:
        save_png(sheet_pixels(nimg), folder.sheet(nimg), {'nimg': nimg})
    if metrics and moments:
        values = [100 - nimg / 100 if nimg < 6000 else 70 for nimg in moments]
        lines = [metric_line(nimg, value) for nimg, value in zip(moments, values, strict=True)]
        folder.metric('fd_efflite1k').write_text(''.join(lines))
        folder.record_best(json.loads(min(lines, key=lambda line: json.loads(line)['results']['fd_efflite1k'])))
    return path


def files_of(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Returns size, time and contents of every file of a folder."""
    found = sorted(path for path in folder.rglob('*') if path.is_file())
    return {str(p.relative_to(folder)): (p.stat().st_size, p.stat().st_mtime_ns, p.read_bytes()) for p in found}
