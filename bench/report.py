"""Size and speed of report.py: a page of 100 sheets, a page of 100,000 ticks, and the cost of watching a run.

    python bench/report.py
    python bench/report.py --sheet=docs/images/demo_final.png --num-ticks=100000

CPU seconds are those of the whole command, imports included; on a machine with other work, the wall time is longer.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import PIL.Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere

from dnnlib.command import run_command
from dnnlib.errors import UserError
from ganfoundry.report import live_updates
from ganfoundry.report.live_updates import LiveReport
from ganfoundry.report.run_report import open_runs
from tests.support.run_folders import tick_line, write_run
from torch_utils.images import save_png
from training.run.run_folder import RunFolder

ROOT = Path(__file__).resolve().parent.parent
SIDE = 512  # pixels of a sheet
NUM_SHEETS = 100
NUM_ROUNDS = 20


def sheet_of(picture: np.ndarray, index: int) -> np.ndarray:
    """Returns a sheet, uint8 [C, H, W]: a picture that emerges from noise, as in training."""
    noise = np.random.RandomState(index).randint(0, 256, picture.shape)
    share = 0.5 * 0.9**index
    return (picture * (1 - share) + noise * share).astype(np.uint8)


def timed_report(run: Path, out: Path) -> tuple[float, float, int]:
    """Returns wall seconds, CPU seconds and the size of the page of one call of report.py."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, str(ROOT / 'report.py'), str(run), f'--out={out}']
    if code := subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
        raise UserError(f'report.py ended with exit code {code}; its error is above')
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - began
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, out.stat().st_size


def watch(run: Path, num_ticks: int) -> tuple[float, float, float]:
    """Returns seconds of a reading without news, of one with a new tick, and from a line to its message.

    The first two are CPU seconds; the third is wall time, with the wait between two readings.
    """
    report = LiveReport(open_runs([run]), 'token')
    live_updates.INTERVAL_S = 0
    began = time.process_time()
    for _ in range(NUM_ROUNDS):
        report.update()
    idle = (time.process_time() - began) / NUM_ROUNDS
    stats = RunFolder(run).stats
    began = time.process_time()
    for index in range(NUM_ROUNDS):
        with stats.open('a') as file:
            file.write(tick_line(num_ticks + index, (num_ticks + index) * 1000))
        report.update()
    busy = (time.process_time() - began) / NUM_ROUNDS
    live_updates.INTERVAL_S = 0.5
    delays = []
    for index in range(5):
        number = report._number
        with stats.open('a') as file:
            file.write(tick_line(num_ticks + 100 + index, (num_ticks + 100 + index) * 1000))
        began = time.monotonic()
        while not report.messages(report._boot, number):
            time.sleep(0.05)
        delays.append(time.monotonic() - began)
    return idle, busy, max(delays)


@click.command(help=__doc__)
@click.option('--sheet', type=Path, default=ROOT / 'docs' / 'images' / 'demo_final.png', help='Picture of the sheets.')
@click.option('--num-ticks', type=int, default=100_000, show_default=True)
def main(sheet: Path, num_ticks: int) -> None:
    """Prints a table in Markdown."""
    with PIL.Image.open(sheet) as file:
        picture = np.asarray(file.convert('RGB').resize((SIDE, SIDE))).transpose(2, 0, 1)  # [C, H, W]
    print('| what | wall | CPU | size |\n|---|---|---|---|')
    with tempfile.TemporaryDirectory() as folder:
        many = write_run(Path(folder) / 'sheets', num_ticks=2, kimg=NUM_SHEETS)
        for index in range(NUM_SHEETS):
            save_png(
                sheet_of(picture, index), RunFolder(many).sheet(index * 1000 + 1000), {'nimg': index * 1000 + 1000}
            )
        wall, cpu, size = timed_report(many, Path(folder) / 'a.html')
        print(f'| {NUM_SHEETS} sheets of {SIDE}x{SIDE} | {wall:.1f} s | {cpu:.1f} s | {size / 1e6:.2f} MB |')
        long = write_run(Path(folder) / 'ticks', num_ticks=3, kimg=num_ticks)
        with RunFolder(long).stats.open('w') as file:
            file.writelines(tick_line(index, index * 1000) for index in range(num_ticks))
        wall, cpu, size = timed_report(long, Path(folder) / 'b.html')
        read = RunFolder(long).stats.stat().st_size
        print(f'| {num_ticks:,} ticks ({read / 1e6:.0f} MB) | {wall:.1f} s | {cpu:.1f} s | {size / 1e6:.2f} MB |')
        idle, busy, delay = watch(long, num_ticks)
        print(f'| `--watch`, a reading without news | | {1000 * idle:.1f} ms | |')
        print(f'| `--watch`, a reading with a new tick | | {1000 * busy:.1f} ms | |')
        print(f'| `--watch`, from a line to its message | {delay:.2f} s | | |')


if __name__ == '__main__':
    run_command(main)
