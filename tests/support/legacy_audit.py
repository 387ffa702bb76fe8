"""Reader of official files under an audit hook, in a process of its own: a hook cannot be removed.

`python -m tests.support.legacy_audit TASK FOLDER` prints one line of JSON. Tasks: `files` reads every file of the
folder, `mutants` reads 10,000 damaged forms of those files, `memory` measures what each file takes.
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dnnlib.errors import UserError
from training.interface import ImageSpec
from training.legacy.convert import load_official
from training.legacy.fit import _hints_of, shapes_of
from training.legacy.module import Module
from training.legacy.reader import read_network_pickle, state_dict
from training.networks.config import StyleGAN2DiscriminatorConfig, StyleGAN2GeneratorConfig
from training.networks.discriminator import StyleGAN2Discriminator
from training.networks.stylegan2 import StyleGAN2Generator
from training.registry import DISCRIMINATORS, GENERATORS, RECIPES

NUM_MUTANTS = 10_000
FORBIDDEN = ('exec', 'compile', 'import', 'marshal.', 'pickle.', 'subprocess.', 'os.system', 'os.exec', 'os.fork',
             'os.posix_spawn', 'os.spawn', 'os.remove', 'os.rename', 'os.mkdir', 'socket.', 'ctypes.', 'shutil.',
             'urllib.', 'code.__new__', 'tempfile.', 'webbrowser.', 'sys.settrace', 'sys.setprofile')  # fmt: skip
seen: list[str] = []
watching = False


def hook(event: str, args: tuple[Any, ...]) -> None:
    """Notes the events that reading data never needs."""
    if watching and (event.startswith(FORBIDDEN) or (event == 'open' and not is_reading(*args[1:]))):
        seen.append(f'{event} {ascii(args)[:200]}')


def is_reading(mode: str | None, flags: int) -> bool:
    """Whether a file is opened for reading, by `open` with a mode, or by `os.open` with flags."""
    return mode in ('r', 'rb') if mode is not None else flags & (os.O_ACCMODE | os.O_CREAT | os.O_TRUNC) == os.O_RDONLY


def warm_up() -> None:
    """Uses the meta device once, at which PyTorch imports parts of itself, and imports our R3GAN and StyleGAN3."""
    r3gan = RECIPES.get('r3gan').make(ImageSpec(resolution=8, channels=3, label_dim=0, num_images=1), 1)
    style = RECIPES.get('stylegan3-t').make(ImageSpec(resolution=16, channels=3, label_dim=0, num_images=1), 1)
    _hints_of(type(style.generator))  # our own annotations are compiled when they are first used
    for labels in (0, 2):
        spec = ImageSpec(resolution=8, channels=3, label_dim=labels, num_images=1)
        shapes_of(StyleGAN2Generator, StyleGAN2GeneratorConfig(), spec, 'warm-up')
        shapes_of(StyleGAN2Discriminator, StyleGAN2DiscriminatorConfig(), spec, 'warm-up')
        shapes_of(GENERATORS.get('r3gan').build, r3gan.generator, spec, 'warm-up')
        shapes_of(DISCRIMINATORS.get('r3gan').build, r3gan.discriminator, spec, 'warm-up')
        shapes_of(GENERATORS.get('stylegan3').build, style.generator, replace(spec, resolution=16), 'warm-up')


def watched(read: Any, path: Path) -> str:
    """Returns 'read' or the class name of the error; errors that are not ours are raised."""
    global watching
    watching = True
    try:
        read(path)
    except UserError as error:
        return type(error).__name__
    finally:
        watching = False
    return 'read'


def read_files(folder: Path) -> dict[str, Any]:
    """Reads every file of a folder and returns the outcomes."""
    outcomes, slowest = {}, 0.0
    for path in sorted(folder.iterdir()):
        began = time.perf_counter()
        outcomes[path.name] = watched(load_official, path)
        slowest = max(slowest, time.perf_counter() - began)
    return {'outcomes': outcomes, 'slowest_s': slowest}


def mutants(sources: list[bytes]) -> Iterator[bytes]:
    """Yields damaged files: bits flipped, bytes replaced, cut short, parts doubled, removed, exchanged with others.

    Large files take long to read and are damaged less often.
    """
    draw = random.Random(0)
    small = [data for data in sources if len(data) < 20_000]
    for i in range(NUM_MUTANTS):
        data = bytearray(draw.choice(sources if i % 50 == 0 else small))
        kind = draw.randrange(6)
        at, length = draw.randrange(len(data)), draw.randrange(1, 64)
        if kind == 0:
            for _ in range(draw.randrange(1, 4)):
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        elif kind == 1:
            data[at : at + length] = draw.randbytes(length)
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            data[at:at] = data[at : at + length]
        elif kind == 4:
            del data[at : at + length]
        else:
            other = draw.choice(sources)
            start = draw.randrange(len(other))
            data[at : at + length] = other[start : start + length]
        yield bytes(data)


def read_all_tensors(path: Path) -> None:
    """Reads a file without building networks, which takes most of the time and sees only plain values."""
    content = read_network_pickle(path)
    for value in content.values() if type(content) is dict else ():
        if isinstance(value, Module):
            state_dict(value, str(path))


def read_mutants(folder: Path) -> dict[str, Any]:
    """Reads damaged files and returns how many end in which way, the time and the memory."""
    sources = [path.read_bytes() for path in sorted(folder.iterdir())]
    path = folder / 'mutant.pkl'
    outcomes: Counter[str] = Counter()
    converted: Counter[str] = Counter()
    before, slowest = peak_bytes(), 0.0
    for data in mutants(sources):
        path.write_bytes(data)
        began = time.perf_counter()
        outcome = watched(read_all_tensors, path)
        slowest = max(slowest, time.perf_counter() - began)
        outcomes[outcome] += 1
        if outcome == 'read' and converted.total() < 40:
            converted[watched(load_official, path)] += 1
    return {'outcomes': outcomes, 'converted': converted, 'slowest_s': slowest, 'grown_bytes': peak_bytes() - before}


def measure_memory(folder: Path) -> dict[str, Any]:
    """Returns the growth of the peak memory per file; each is read in a fork, whose peak starts at this process's."""
    grown = {}
    for path in sorted(folder.iterdir()):
        reading, writing = os.pipe()
        with warnings.catch_warnings(action='ignore', category=DeprecationWarning):  # there may be idle threads
            child = os.fork()
        if child == 0:
            before = peak_bytes()
            outcome = watched(read_network_pickle, path)
            os.write(writing, json.dumps([outcome, path.stat().st_size, peak_bytes() - before, seen]).encode())
            os._exit(0)
        os.waitpid(child, 0)
        *grown[path.name], events = json.loads(os.read(reading, 65536))
        seen.extend(events)
    return {'grown': grown}


def peak_bytes() -> int:
    """Returns the peak memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == '__main__':
    torch.set_num_threads(1)
    warm_up()
    sys.addaudithook(hook)
    result = {'files': read_files, 'mutants': read_mutants, 'memory': measure_memory}[sys.argv[1]](Path(sys.argv[2]))
    print(json.dumps({**result, 'forbidden': seen}))
