"""Parts of bench/first_gpu.sh that are more than one command. Every part also runs on a CPU, with --device=cpu.

python bench/first_gpu.py train --folder=runs --records=records.jsonl
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import math
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere

from dnnlib.command import run_command
from dnnlib.files import append_line

ROOT = Path(__file__).resolve().parent.parent
AT_A_TIME = 4  # runs that share the device
COMMON = ('--metrics=none', '--snap=1', '--workers=2', '--resolution=64', '--kimg=1', '--batch=32')
RUNS = {name: (f'--cfg={name}',) for name in ('auto', 'squeeze', 'ifgan', 'gconv', 'giu', 'igan')} | {
    'augmented': ('--cfg=auto', '--aug=fixed', '--p=0.8', '--augpipe=bgcfnc'),
    'fp16': ('--cfg=auto', '--precision=fp16'),
}
FIXED = ('--deterministic=1', '--aug=fixed', '--p=0.8', '--augpipe=bgc', '--pause=0.256')

records_option = click.option('--records', metavar='FILE', required=True, help='Receives lines of JSON.')
folder_option = click.option('--folder', required=True, help='Folder of the runs.')
device_option = click.option('--device', default='cuda', show_default=True)


def write(path: str, part: str, **facts: Any) -> None:
    """Appends a line of JSON to the records and prints it."""
    line = json.dumps({'bench': part, **facts})
    print(line, flush=True)
    append_line(Path(path), line)


def train(folder: Path, *flags: str, python: str = sys.executable) -> tuple[int, float, Path | None]:
    """Runs train.py in a folder of its own.

    Args:
        folder: The folder, which also receives the output.
        *flags: Options of train.py.
        python: The Python that runs it.

    Returns:
        The exit code, the seconds, and the run folder; None if there is none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with open(folder / 'output.log', 'a', encoding='utf-8') as log:
        command = [python, str(ROOT / 'train.py'), f'--outdir={folder}', *flags]
        code = subprocess.run(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, check=False).returncode
    return code, time.monotonic() - began, next(iter(sorted(folder.glob('0*'))), None)


def losses(run: Path | None) -> dict[str, float]:
    """Returns the losses after the first step of a run."""
    if run is None or not (run / 'stats.jsonl').exists():
        return {}
    first = json.loads((run / 'stats.jsonl').read_text(encoding='utf-8').splitlines()[0])
    return {name: value['mean'] for name, value in first.items() if name.startswith('Loss/')}


@click.group()
def main() -> None:
    """Runs one part."""


@main.command()
@records_option
def gpu(records: str) -> None:
    """Describes the GPU; without one, prints why there is none and ends with exit code 1."""
    if not torch.cuda.is_available():
        built = 'for CPUs only' if torch.version.cuda is None else f'for CUDA {torch.version.cuda}'
        print(f'PyTorch {torch.__version__}, built {built}, finds no GPU')
        sys.exit(1)
    facts = torch.cuda.get_device_properties(0)
    device = {'device': facts.name, 'capability': f'{facts.major}.{facts.minor}', 'bytes': facts.total_memory}
    versions = {'torch': torch.__version__, 'cuda': torch.version.cuda, 'cudnn': torch.backends.cudnn.version()}
    write(records, 'gpu', **device, **versions, python=platform.python_version())


@main.command('train')
@folder_option
@records_option
@device_option
def train_all(folder: str, records: str, device: str) -> None:
    """Trains every generator, four runs at a time, resumes one, and compares first losses with those of the CPU."""
    common, ok = (*COMMON, f'--device={device}'), True
    jobs = {name: (*common, *flags) for name, flags in RUNS.items()}
    jobs['cpu'] = (*COMMON, '--cfg=auto', '--device=cpu', '--pause=0.032')
    first: dict[str, dict[str, float]] = {}
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        started = {name: pool.submit(train, Path(folder, name), *flags) for name, flags in jobs.items()}
        for name, job in started.items():
            code, seconds, run = job.result()
            first[name] = losses(run)
            finite = bool(first[name]) and all(math.isfinite(loss) for loss in first[name].values())
            write(records, 'train', run=name, rc=code, sec=round(seconds, 1), finite=finite, losses=first[name])
            ok = ok and code == 0 and finite
    code, seconds, _ = train(Path(folder, 'auto'), '--resume=latest', '--kimg=2', f'--device={device}')
    write(records, 'train', run='auto, resumed', rc=code, sec=round(seconds, 1))
    apart = {key: abs(first['auto'][key] - value) for key, value in first['cpu'].items() if key in first['auto']}
    write(records, 'train', run='auto against the CPU', apart=apart)
    sys.exit(0 if ok and code == 0 else 1)


@main.command('same-bits')
@folder_option
@records_option
@device_option
def same_bits(folder: str, records: str, device: str) -> None:
    """Trains the same deterministic run twice, with geometric augmentation; the states must be equal in every bit."""
    digests, ok = [], True
    for name in ('a', 'b'):
        code, seconds, run = train(Path(folder, name), *COMMON, *FIXED, '--cfg=auto', f'--device={device}')
        states = [] if run is None else sorted(run.glob('state/*/tensors.safetensors'))
        digests.append(hashlib.sha256(states[-1].read_bytes()).hexdigest() if states else None)
        write(records, 'same_bits', run=name, rc=code, sec=round(seconds, 1), state=digests[-1])
        ok = ok and code == 0
    sys.exit(0 if ok and digests[0] is not None and digests[0] == digests[1] else 1)


@main.command()
@click.option('--resolution', default=256, show_default=True)
@click.option('--batch', default=16, show_default=True)
@click.option('--top', default=40, show_default=True, help='Kernels to list.')
@records_option
@device_option
def profile(resolution: int, batch: int, top: int, records: str, device: str) -> None:
    """Lists the kernels of two training steps with all phases by their total time."""
    from torch.profiler import ProfilerActivity

    from bench.train_step import make_step
    from torch_utils.devices import prepare

    where = torch.device(device)
    prepare(where, benchmark=True, allow_tf32=True)
    step = make_step('auto', resolution, batch, 'bf16', {}, where)
    img = torch.randint(0, 256, [batch, 3, resolution, resolution], dtype=torch.uint8)
    micros = step.split(img, torch.zeros([batch, 0]))
    on_gpu = where.type == 'cuda'

    def run() -> None:
        for phase in step.phases:
            step.run_phase(phase, micros)
        if on_gpu:
            torch.cuda.synchronize()

    run()
    with torch.profiler.profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as found:
        for _ in range(2):
            run()
    rows = [(row.key, row.count, row.self_device_time_total if on_gpu else row.self_cpu_time_total)
            for row in found.key_averages()]  # fmt: skip
    rows = sorted((row for row in rows if row[2] > 0), key=lambda row: -row[2])
    write(records, 'profile', num_kernels=sum(count for _, count, _ in rows), us=sum(us for _, _, us in rows), steps=2)
    for name, count, us in rows[:top]:
        write(records, 'profile', kernel=name[:160], count=count, us=us)


@main.command()
@click.option('--images', 'num_images', default=2000, show_default=True)
@records_option
@device_option
def metrics(num_images: int, records: str, device: str) -> None:
    """Measures a trained network by Inception with random weights, twice; the numbers must be equal in every bit."""
    from ganfoundry import load, meter
    from ganfoundry.subjects import of_generator
    from metrics.detectors.inception_detector import InceptionDetector
    from training.data.dataset import DataConfig, ImageDataset

    network = load(ROOT / 'examples' / 'networks' / 'peeps32.safetensors', device=device)
    dataset = ImageDataset(DataConfig(resolution=network.spec.resolution))
    meter.get_detector = lambda name, where: InceptionDetector.random(where)
    numbers = []
    for _ in range(2):
        measured = meter.Meter(dataset, network.device)
        subject = of_generator(network.module, network.spec, dataset, precision=network.precision)
        for name, line in measured.measure([f'fid{num_images}', f'is{num_images}'], subject):
            if isinstance(line, Exception):
                raise line
            numbers.append(line['results'])
            write(records, 'metrics', metric=name, results=line['results'], sec=line['total_time'])
    half = len(numbers) // 2
    sys.exit(0 if numbers[:half] == numbers[half:] else 1)


if __name__ == '__main__':
    run_command(main)
