"""Sample sheets: images of fixed latents, and a sheet of real images of the same classes.

Letters: N images on the sheet, C channels, H and W image size.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch

from dnnlib.errors import UserError
from dnnlib.log import Log
from torch_utils.images import grid_shape, save_png, shown, tile, to_uint8
from torch_utils.seeding import numpy_generator
from training.data.bad_images import read_one
from training.data.dataset import ImageDataset
from training.data.stored_image import to_8_bits
from training.optimize.diversity import Diversity, are_one_hot, classes_of, relative_diversity, without_detail


class SampleSheet:
    """Latents, labels and real images of a run's sheets; a function of the data set and the seed.

    Without labels, the real images are in random order. With one-hot labels, each row shows one class, and the rows
    cycle through the classes that occur. Sheets have 8 bits per channel; of images with five or more channels they show
    the first three as RGB.

    Args:
        dataset: the training data.
        z_dim: width of a latent.
        seed: seed of the run.
        limit: largest number of images; None fills an 8K screen.
        max_bad: number of bad images to skip, as in `bad_images.read_one`.
    """

    def __init__(
        self, dataset: ImageDataset, z_dim: int, seed: int, limit: int | None = None, max_bad: int = 0
    ) -> None:
        self.columns, rows = grid_shape(dataset.spec.height, dataset.spec.width, limit)
        draw = numpy_generator(seed, 'sheet')
        self._indices = _pick_images(dataset, self.columns, rows, draw)
        self._dataset, self._max_bad = dataset, max_bad
        self.z = torch.from_numpy(draw.standard_normal([len(self._indices), z_dim]).astype(np.float32))  # [N, z_dim]
        self.c = torch.from_numpy(dataset.labels(self._indices))  # [N, label_dim]

    def reals(self) -> np.ndarray:
        """Reads the real images, uint8 [N, C, H, W]."""
        read = (read_one(self._dataset, int(index), self._max_bad)[0] for index in self._indices)
        return np.stack([to_8_bits(pixels) for pixels in read])

    def save_reals(self, path: Path) -> None:
        """Writes the real images, and keeps the small ones, so that `diversity` does not decode them again."""
        reals = self.reals()
        self._small_reals = without_detail(torch.from_numpy(reals))
        save_png(tile(shown(reals), self.columns), path)

    def diversity(self, fakes: torch.Tensor) -> Diversity | None:
        """Returns the diversity of the sheet's images, uint8 [N, C, H, W], within classes and at 8x8 pixels."""
        classes = classes_of(self.c)
        return relative_diversity(without_detail(fakes), classes, self._small_reals, classes)

    @functools.cached_property
    def _small_reals(self) -> torch.Tensor:
        """The real images without detail, [N, C, 8, 8]."""
        return without_detail(torch.from_numpy(self.reals()))

    @torch.no_grad()
    def draw_fakes(self, G_ema: torch.nn.Module, batch_size: int) -> torch.Tensor:
        """Draws the sheet's latents with constant noise, uint8 [N, C, H, W] on the CPU.

        Args:
            G_ema: the generator.
            batch_size: number of images drawn at a time.
        """
        device = next(G_ema.parameters()).device
        batches = zip(self.z.split(batch_size), self.c.split(batch_size), strict=True)
        return torch.cat([to_uint8(G_ema(z.to(device), c.to(device), noise_mode='const')).cpu() for z, c in batches])

    def save_fakes(self, images: torch.Tensor, path: Path, info: dict[str, object]) -> None:
        """Writes drawn images.

        Args:
            images: result of `draw_fakes`.
            path: the PNG file.
            info: text fields of the PNG.
        """
        save_png(tile(shown(images.numpy()), self.columns), path, info)


def save_reals(sheet: SampleSheet | None, path: Path, log: Log) -> None:
    """Writes the sheet of real images; a failed write is a warning.

    Args:
        sheet: The sheet; None on all ranks except 0.
        path: The PNG.
        log: Receives the warning.

    Raises:
        UserError: If an image cannot be read.
    """
    try:
        if sheet is not None:
            sheet.save_reals(path)
    except OSError as error:
        if isinstance(error, UserError):
            raise
        log.warn(f'{path}: cannot be written ({error.strerror}); training continues')


def _pick_images(dataset: ImageDataset, columns: int, rows: int, draw: np.random.Generator) -> np.ndarray:
    """Returns the indices of the real images, row by row."""
    shuffled = draw.permutation(len(dataset))
    if dataset.spec.label_dim == 0:
        return np.resize(shuffled, columns * rows)
    labels = dataset.labels(shuffled)  # [num_images, label_dim]
    if not are_one_hot(torch.from_numpy(labels)):
        return np.resize(shuffled, columns * rows)
    classes = labels.argmax(axis=1)
    members = [shuffled[classes == k] for k in np.unique(classes)]
    used = dict.fromkeys(range(len(members)), 0)
    picked = []
    for row in range(rows):
        k = row % len(members)
        picked.append(np.take(members[k], range(used[k], used[k] + columns), mode='wrap'))
        used[k] += columns
    return np.concatenate(picked)
