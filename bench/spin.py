"""Seconds per training step by spin count of OpenMP's threads: alone, and next to busy processes.

python bench/spin.py --counts=default,20000,1000,passive

OpenMP reads the spin count once, so each count has a process of its own; all of them train the same steps, one process
after the other, in every round. Half of the rounds run next to busy processes. Ratios are those of one round: noise
that lasts longer than a round does not enter.
"""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import click

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from dnnlib.command import run_command
from dnnlib.errors import ConfigError, UserError
from dnnlib.torch_defaults import SPINNING

SPAWN = multiprocessing.get_context('spawn')


def train(pipe: Connection, cfg: str, resolution: int, batch: int, sets: dict[str, str]) -> None:
    """Trains the requested number of steps at each message, and answers with the seconds of one.

    The first answer, before any message, is None, or the UserError that prevents training.

    Args:
        pipe: Receives numbers of steps, and sends answers.
        cfg: Name of the recipe.
        resolution: Height and width of the images, in pixels.
        batch: Images per step.
        sets: Further fields of the config.
    """
    import torch

    from bench.train_step import make_step
    from torch_utils.allocator import keep_freed_memory

    keep_freed_memory()
    try:
        step = make_step(cfg, resolution, batch, 'bf16', sets, torch.device('cpu'))
    except UserError as error:
        pipe.send(error)
        return
    pipe.send(None)
    img = torch.zeros([batch, 3, resolution, resolution], dtype=torch.uint8)
    labels = torch.zeros([batch, 0])
    while num_steps := pipe.recv():
        began = time.perf_counter()
        for _ in range(num_steps):
            step(img, labels)
        pipe.send((time.perf_counter() - began) / num_steps)


def checked_counts(text: str) -> list[str]:
    """Returns the items of a comma list of spin counts. Raises ConfigError if one is neither a number nor a name."""
    counts = text.split(',')
    for count in counts:
        if count not in ('passive', 'default') and not (count.isascii() and count.isdecimal()):
            raise ConfigError(f"--counts={text}: '{count}': expected a whole number, passive or default")
    return counts


def start(count: str, *arguments: object) -> Connection:
    """Starts a training process with a spin count, and returns the way to it once it is ready.

    Args:
        count: A number, 'passive' or 'default'.
        arguments: Further arguments of `train`.

    Raises:
        UserError: If the process cannot train.
    """
    for name in SPINNING:
        os.environ.pop(name, None)
    if count == 'passive':
        os.environ['OMP_WAIT_POLICY'] = 'PASSIVE'
    elif count != 'default':
        os.environ['GOMP_SPINCOUNT'] = count
    mine, theirs = SPAWN.Pipe()
    SPAWN.Process(target=train, args=(theirs, *arguments), daemon=True).start()
    theirs.close()  # otherwise the end of the process would not end the wait for its answer
    if (error := answer_of(mine)) is not None:
        raise error
    return mine


def answer_of(pipe: Connection) -> Any:
    """Returns the next answer of a process. Raises UserError if it has ended instead."""
    try:
        return pipe.recv()
    except (EOFError, ConnectionResetError):
        raise UserError('a training process has ended; its error, if it has printed one, is above') from None


def seconds_of(pipe: Connection, num_steps: int) -> float:
    """Returns the seconds of one training step of a process."""
    pipe.send(num_steps)
    seconds: float = answer_of(pipe)
    return seconds


def spin() -> None:
    """Keeps one core busy."""
    while True:
        pass


@contextmanager
def busy(number: int) -> Iterator[None]:
    """Runs a number of busy processes inside a `with` block."""
    processes = [SPAWN.Process(target=spin, daemon=True) for _ in range(number)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def ratios(rounds: list[list[float]]) -> list[float]:
    """Returns, for each count, the median over the rounds of its speed relative to the first count."""
    return [statistics.median(times[0] / times[i] for times in rounds) for i in range(len(rounds[0]))]


@click.command()
@click.option('--counts', default='default,20000,1000,passive', show_default=True, help='The first is compared with.')
@click.option('--processes', default=6, show_default=True, help='Number of busy processes.')
@click.option('--rounds', default=8, show_default=True, help='Rounds alone, and as many next to busy processes.')
@click.option('--steps', default=4, show_default=True, help='Training steps per count and round.')
@click.option('--cfg', default='squeeze', show_default=True)
@click.option('--resolution', default=32, show_default=True)
@click.option('--batch', default=16, show_default=True)
@click.option('--cbase', default=1024, show_default=True)
@click.option('--cmax', default=128, show_default=True)
def main(
    counts: str, processes: int, rounds: int, steps: int, cfg: str, resolution: int, batch: int, cbase: int, cmax: int
) -> None:
    """Prints seconds per step, and speeds relative to the first count."""
    names = checked_counts(counts)
    widths = {'channel_base': str(cbase), 'channel_max': str(cmax)}
    sets = {f'{part}.{name}': value for part in ('generator', 'discriminator') for name, value in widths.items()}
    pipes = [start(name, cfg, resolution, batch, sets) for name in names]
    for pipe in pipes:
        seconds_of(pipe, 16)  # every phase once: R1 is the rarest
    print(f'--cfg={cfg} at {resolution}x{resolution}, batch {batch}, {os.cpu_count()} cores, {rounds} rounds')
    print(f'{"":28s}' + ''.join(f'{name:>12s}' for name in names))
    for number in (0, processes):
        with busy(number):
            table = [[seconds_of(pipe, steps) for pipe in pipes] for _ in range(rounds)]
        title = f'next to {number} busy processes' if number else 'alone'
        print(
            f'{title + ", s":28s}' + ''.join(f'{statistics.median(times):12.4f}' for times in zip(*table, strict=True))
        )
        print(f'{"times as fast":28s}' + ''.join(f'{ratio:12.2f}' for ratio in ratios(table)), flush=True)
    for pipe in pipes:
        pipe.send(0)


if __name__ == '__main__':
    run_command(main)
