"""Images a second through the offline detector, by the number of images that go through it at a time.

python bench/detector.py --images=128
"""

from __future__ import annotations

import pathlib
import sys
import time

import click
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from metrics.detectors import get_detector
from torch_utils.devices import pick_device
from training.dataset import DataConfig, ImageDataset


@click.command()
@click.option('--images', 'num_images', default=128, show_default=True)
@click.option('--chunks', default='4,8,16,64', show_default=True)
@click.option('--device')
def main(num_images: int, chunks: str, device: str | None) -> None:
    """Times EfficientNet-lite0 on the embedded images."""
    where = pick_device(device)
    detector = get_detector('efflite', where)
    images = torch.from_numpy(next(ImageDataset(DataConfig()).image_batches(num_images))).to(where)  # [N, 3, 64, 64]
    print(f'efflite on {where}, {torch.get_num_threads()} threads, {num_images} images of 64x64')
    for chunk in map(int, chunks.split(',')):
        detector.chunk_size = chunk
        detector(images[:chunk])
        began = time.perf_counter()
        detector(images).pooled.sum().item()
        print(f'{chunk:4d} at a time: {num_images / (time.perf_counter() - began):7.1f} images/s')


if __name__ == '__main__':
    main()
