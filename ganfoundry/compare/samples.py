"""Samples of a comparison: real images, generated images of the same labels, and their diversity.

Letters: N images, C channels, H and W image size.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from dnnlib.files import atomic_path
from ganfoundry.class_option import Label
from ganfoundry.drawing import draw_points
from ganfoundry.points import points_of_seeds
from torch_utils.images import shown, tile
from torch_utils.seeding import numpy_generator
from training.data.dataset import ImageDataset
from training.data.stored_image import to_8_bits
from training.optimize.diversity import Diversity, classes_of, relative_diversity
from training.run.snapshot import load_generator, load_snapshot

NUM_SAMPLES = 64
COLUMNS = 12  # samples per row of the sheet
CELL = 64  # smallest size of a sample on the sheet, pixels
LABEL_WIDTH = 200  # pixels
PAPER = 'white'


def real_samples(dataset: ImageDataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns random real images and their labels: uint8 [N, C, H, W] and float32 [N, label_dim].

    N is NUM_SAMPLES, or the size of a smaller set.
    """
    indices = numpy_generator(0, 'comparison').permutation(len(dataset))[:NUM_SAMPLES]
    images = np.stack([to_8_bits(dataset.image(int(i))) for i in indices])
    return torch.from_numpy(images), torch.from_numpy(np.asarray(dataset.labels(indices), dtype=np.float32))


def draw_samples(snapshot: Path, labels: torch.Tensor) -> torch.Tensor:
    """Returns the images of seeds 0, 1, 2, ... of a snapshot, uint8 [NUM_SAMPLES, C, H, W].

    Args:
        snapshot: The network file.
        labels: Labels of real images, float32 [N, label_dim]; seed i has label i, from the first again after the last.
    """
    G: Any = load_generator(load_snapshot(snapshot), torch.device('cpu'), 'fp32')
    points = [
        next(points_of_seeds([seed], G.z_dim, Label(labels[seed % len(labels)], '', ''))) for seed in range(NUM_SAMPLES)
    ]
    return torch.from_numpy(np.stack([drawn.image for drawn in draw_points(G, points, batch=16)]))


def sample_diversity(samples: torch.Tensor, reals: torch.Tensor, labels: torch.Tensor) -> Diversity | None:
    """Returns the diversity of samples within classes, relative to real images.

    Args:
        samples: Result of `draw_samples`.
        reals: Real images of `real_samples`.
        labels: Their labels.
    """
    real_classes = classes_of(labels)
    fake_classes = real_classes[torch.arange(len(samples)) % len(labels)]
    return relative_diversity(samples, fake_classes, reals, real_classes)


def draw_sheet(strips: Sequence[tuple[str, torch.Tensor | None]]) -> Image.Image:
    """Returns a picture with a labeled row of samples per (label, uint8 [N, C, H, W]); without samples it is empty."""
    height, width = next(images.shape[2:] for _, images in strips if images is not None)
    scale = max(-(-CELL // max(height, width)), 1)
    h, w = height * scale, width * scale
    picture = Image.new('RGB', (LABEL_WIDTH + COLUMNS * w, len(strips) * h), PAPER)
    canvas, font = ImageDraw.Draw(picture), ImageFont.load_default(size=14)
    for i, (label, images) in enumerate(strips):
        canvas.multiline_text((8, i * h + h / 2), label, fill='#222222', font=font, anchor='lm')
        if images is not None:
            row = images[:COLUMNS]
            pixels = as_picture(tile(row.numpy(), len(row)))
            large = pixels.resize((len(row) * w, h), Image.Resampling.NEAREST)
            picture.paste(large.convert('RGB'), (LABEL_WIDTH, i * h))
    return picture


def as_picture(image: np.ndarray) -> Image.Image:
    """Returns an image, uint8 [C, H, W], as Pillow shows it: the gray, RGB or RGBA channels of any number."""
    pixels = shown(image)
    return Image.fromarray(pixels[0] if len(pixels) < 3 else pixels.transpose(1, 2, 0))


def save_sheet(picture: Image.Image, path: Path) -> None:
    """Writes the sheet as a PNG."""
    with atomic_path(path) as tmp:
        picture.save(tmp, format='PNG')
