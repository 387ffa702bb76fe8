"""Images per second of a detector, by batch size, compared with its network alone on prepared inputs.

python bench/detector.py --images=128
python bench/detector.py --detector=inception --images=64
"""

from __future__ import annotations

import pathlib
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import click
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from dnnlib.command import run_command
from metrics.detectors.inception_detector import InceptionDetector
from metrics.detectors.table import get_detector
from metrics.detectors.vgg import Vgg16ConvDetector, Vgg16Detector
from torch_utils.devices import deterministic_float32, pick_device, prepare
from training.data.dataset import DataConfig, ImageDataset

# The speed of these does not depend on the weights.
RANDOM = {'inception': InceptionDetector, 'vgg16': Vgg16Detector, 'vgg16conv': Vgg16ConvDetector}


@click.command()
@click.option('--detector', 'name', type=click.Choice(['efflite', *RANDOM]), default='efflite', show_default=True)
@click.option('--images', 'num_images', default=128, show_default=True)
@click.option('--chunks', default='4,8,16,64', show_default=True)
@click.option('--rounds', default=3, show_default=True, help='The median of so many is reported.')
@click.option('--device')
def main(name: str, num_images: int, chunks: str, rounds: int, device: str | None) -> None:
    """Measures a detector on the embedded images; weights that need a download are drawn at random."""
    where = pick_device(device)
    prepare(where)
    detector = RANDOM[name].random(where) if name in RANDOM else get_detector(name, where)
    images = torch.from_numpy(next(ImageDataset(DataConfig()).parts([range(num_images)]))).to(where)  # [N, 3, 64, 64]
    print(f'{name} on {where}, {torch.get_num_threads()} threads, {num_images} images of 64x64')
    for chunk in map(int, chunks.split(',')):
        detector.chunk_size = chunk
        ready = detector.prepare(images[:chunk])
        whole, alone = paired(lambda: detector(images), partial(network_alone, detector, images, ready), where, rounds)
        rates = f'{num_images / whole:7.1f} images/s, network alone {num_images / alone:7.1f}'
        print(f'{chunk:4d} at a time: {rates}, share {alone / whole:.1%}')


@torch.inference_mode()
def network_alone(detector: Any, images: torch.Tensor, ready: torch.Tensor) -> None:
    """Runs the network on as many inputs as there are images; only the first chunk is prepared, and reused.

    Args:
        detector: The detector.
        images: Images, uint8 [N, C, H, W].
        ready: Prepared inputs of one chunk.
    """
    with deterministic_float32():
        for start in range(0, len(images), detector.chunk_size):
            detector.network(ready[: len(images) - start])


def paired(a: Callable[[], object], b: Callable[[], object], where: torch.device, rounds: int) -> tuple[float, float]:
    """Measures two functions in turn, after one round to warm up.

    Args:
        a: First function.
        b: Second function.
        where: Device that they run on.
        rounds: Number of rounds.

    Returns:
        Median seconds of each.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 1):
        for run, taken in zip((a, b), seconds, strict=True):
            synchronize(where)
            began = time.perf_counter()
            run()
            synchronize(where)
            taken.append(time.perf_counter() - began)
    return statistics.median(seconds[0][1:]), statistics.median(seconds[1][1:])


def synchronize(where: torch.device) -> None:
    """Waits for work on a GPU."""
    if where.type == 'cuda':
        torch.cuda.synchronize(where)


if __name__ == '__main__':
    run_command(main)
