"""Small training runs for tests: a tiny data set, tiny networks, train.py in a process of its own."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from tests.conftest import ROOT
from tests.support.forks import Launch, shared_zygote

# 25 steps per kimg in two micro-batches, a tick every two steps, a state at each tick.
SHORT = (
    '--batch=40', '--batch-gpu=20', '--mbstd-group=4', '--metrics=none', '--workers=0', '--tick=0.08', '--snap=2',
    '--device=cpu', '--set=grid_images=16', '--set=save_every_s=0', '--set=discriminator.channel_base=192',
    '--set=discriminator.channel_max=16',
)  # fmt: skip
# The same with a small generator of the StyleGAN2 family.
TINY = (*SHORT, '--cbase=192', '--cmax=16', '--map-depth=2', '--set=generator.z_dim=16', '--set=generator.w_dim=16')

# After either of them: 5 steps per kimg, for tests of what surrounds the training.
FEW_STEPS = ('--batch=200', '--batch-gpu=100', '--tick=0.4')


def make_zip(
    path: Path,
    num_images: int = 40,
    resolution: int = 16,
    channels: int = 3,
    classes: int = 3,
    *,
    width: int | None = None,
    bits: int = 8,
) -> Path:
    """Writes a labelled data set of colored squares on noise.

    Args:
        path: The zip.
        num_images: Number of images.
        resolution: Height in pixels, and width unless `width` is given.
        channels: Number of channels.
        classes: Number of classes.
        width: Width in pixels.
        bits: 8 or 16.
    """
    draw = np.random.RandomState(0)
    labels = []
    kind = 'png' if (bits == 8 and channels <= 4) or channels == 1 else 'npy'
    with zipfile.ZipFile(path, 'w') as archive:
        for i in range(num_images):
            pixels = draw.randint(0, 80, [resolution, width or resolution, channels], dtype=np.uint8)
            pixels[4:12, 4:12, i % channels] = 200 + i % 50
            name = f'00000/img{i:08d}.{kind}'
            archive.writestr(name, encode(pixels if bits == 8 else pixels.astype(np.uint16) * 257, kind))
            labels.append([name, i % classes])
        archive.writestr('dataset.json', json.dumps({'labels': labels}))
    return path


def encode(pixels: np.ndarray, kind: str) -> bytes:
    """Returns pixels [H, W, C] as a file, 'png' or 'npy'."""
    data = io.BytesIO()
    if kind == 'npy':
        np.save(data, pixels)
    else:
        PIL.Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(data, 'PNG')
    return data.getvalue()


def command(outdir: Path, *flags: Any, script: str = 'train.py') -> list[str]:
    """Returns the command line of a run."""
    return [sys.executable, str(ROOT / script), *([f'--outdir={outdir}'] if script == 'train.py' else []), *flags]


def start(folder: Path, *words: Any, forks: bool = False) -> Launch:
    """Starts a command line, forked from the zygote of this test process.

    Args:
        folder: Place of the files `output` and `errors`, to which it writes.
        words: The script and its arguments, or '-m', a module and its arguments.
        forks: Whether the processes of --gpus=N of a script are forks instead of interpreters of their own.
    """
    task = 'tests.support.forked_ranks:run_forking' if forks else 'tests.support.zygote:run_script'
    if words[0] == '-m':
        task, words = 'tests.support.zygote:run_module', words[1:]
    files = {'output': folder / 'output', 'errors': folder / 'errors'}
    return shared_zygote().start(task, *map(str, words), **files)


def call(
    outdir: Path, *flags: Any, check: bool = True, script: str = 'train.py', forks: bool = False
) -> subprocess.CompletedProcess[str]:
    """Runs a command line to its end, forked from the zygote of this test process.

    Args:
        outdir: Folder of the runs of train.py; other scripts ignore it.
        flags: Arguments of the command line.
        check: Whether an exit code other than 0 is an error; the error holds the output.
        script: Name of the launcher in the root.
        forks: Whether the processes of --gpus=N are forks of the launcher instead of interpreters of their own.
    """
    words = [str(word) for word in command(outdir, *flags, script=script)[1:]]
    with tempfile.TemporaryDirectory() as folder:
        code = start(Path(folder), *words, forks=forks).wait()
        output, errors = ((Path(folder) / name).read_text() for name in ('output', 'errors'))
        done = subprocess.CompletedProcess(words, code, output, errors)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def only_run(outdir: Path) -> Path:
    """Returns the only run folder in `outdir`."""
    (folder,) = [path for path in outdir.iterdir() if path.is_dir()]
    return folder


def last_state(folder: Path) -> tuple[str, dict[str, Any]]:
    """Returns the sha256 of the newest state's tensors, and its scalars."""
    state = max((folder / 'state').iterdir())
    manifest = json.loads((state / 'manifest.json').read_text())
    return manifest['tensors.safetensors']['sha256'], json.loads((state / 'scalars.json').read_text())


def losses(folder: Path) -> list[dict[str, Any]]:
    """Returns every tick of stats.jsonl without times and memory."""
    lines = [json.loads(line) for line in (folder / 'stats.jsonl').read_text().splitlines()]
    keep = ('Loss/', 'Progress/', 'Health/', 'nimg')
    return [{key: value for key, value in line.items() if key.startswith(keep)} for line in lines]
