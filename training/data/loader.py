"""An endless stream of batches of real images and labels, from any position on.

This process decides what is loaded (`EpochSampler`) and workers only decode. The stream is therefore the same for any
number of workers, and can be resumed at any position.

Letters: B batch of one rank, C image channels, H and W image height and width.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Self

import torch

from training.data.bad_images import BadImages, read_into
from training.data.dataset import ImageDataset
from training.data.sampler import EpochSampler
from training.data.workers import DecoderPool


def data_loader(
    dataset: ImageDataset,
    *,
    start_nimg: int,
    batch_size: int,
    seed: int,
    num_workers: int,
    rank: int = 0,
    world: int = 1,
    device: torch.device | str = 'cpu',
    bad_images: BadImages | None = None,
    warn: Callable[[str], None] = warnings.warn,
) -> BatchStream:
    """Returns the stream of batches of one rank.

    Args:
        dataset: Data set to read from.
        start_nimg: Number of images that all ranks have shown so far; the stream begins there.
        batch_size: Number of images per batch over all ranks, a multiple of `world`.
        seed: Seed of the order.
        num_workers: Number of decoding processes; 0 decodes in this process.
        rank: Rank of this process.
        world: Number of ranks.
        device: Device of the batches.
        bad_images: Counter of bad images, each of which the next usable image replaces; None makes them an error.
        warn: Callback that receives a message for every worker that was killed and replaced.

    Raises:
        ConfigError: The ranks cannot share the batch equally.
        DataError: While iterating: a file cannot be used.
        WorkerDiedError: While iterating: workers were killed repeatedly over one batch.
    """
    sampler = EpochSampler(len(dataset), seed)
    where = (start_nimg, batch_size, rank, world)
    return BatchStream(dataset, sampler, where, num_workers, torch.device(device), bad_images, warn)


class BatchStream:
    """An endless iterator of images, uint8 or uint16 [B, C, H, W], and labels, float32 [B, label_dim].

    It must be closed; `with` does so.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        sampler: EpochSampler,
        where: tuple[int, int, int, int],  # start_nimg, batch_size, rank, world
        num_workers: int,
        device: torch.device,
        bad_images: BadImages | None,
        warn: Callable[[str], None],
    ) -> None:
        """Starts the workers; the arguments are those of `data_loader`, `where` holds the position of this rank."""
        start_nimg, *share = where
        per_rank = len(sampler.batch_indices(start_nimg, *share))
        self._dataset = dataset
        self._device = device
        self._bad_images = bad_images
        self._max_bad = 0 if bad_images is None else bad_images.max_bad
        self._sampler, self._share = sampler, share
        self._batches = sampler.batches(start_nimg, *share)
        self._pool: DecoderPool | None = None
        self._closed = False
        if num_workers:
            self._pool = DecoderPool(dataset, self._batches, per_rank, num_workers, self._max_bad, warn)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        if self._closed:
            raise RuntimeError('this data loader is closed')
        if self._pool is not None:
            read, images = self._pool.next_images()
        else:
            indices = next(self._batches)
            spec = self._dataset.spec
            dtype = torch.uint16 if spec.bits == 16 else torch.uint8
            images = torch.empty([len(indices), spec.channels, spec.height, spec.width], dtype=dtype)  # [B, C, H, W]
            read = read_into(images.numpy(), self._dataset, indices, self._max_bad)
        if self._bad_images is not None:
            self._bad_images.add(read.faults)
        labels = torch.from_numpy(self._dataset.labels(read.indices))  # [B, label_dim]
        return self._deliver(images), self._deliver(labels)

    def seek(self, nimg: int) -> None:
        """Continues at another position of the order."""
        self._batches = self._sampler.batches(nimg, *self._share)
        if self._pool is not None:
            self._pool.restart(self._batches)

    def faults(self) -> dict[str, float]:
        """Returns the number of faults so far, by the names of their statistics."""
        return {
            'Data/bad_images': 0 if self._bad_images is None else self._bad_images.count(),
            'Data/replaced_workers': 0 if self._pool is None else self._pool.replaced,
        }

    def worker_pids(self) -> list[int]:
        """Returns the process ids of the workers; none if this process decodes."""
        return [] if self._pool is None else self._pool.pids()

    def close(self) -> None:
        """Kills the workers."""
        self._closed = True
        if self._pool is not None:
            self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _deliver(self, batch: torch.Tensor) -> torch.Tensor:
        """Copies a batch to the device, through pinned memory, so that a GPU trains during the copy."""
        if self._device.type == 'cuda':
            batch = batch.pin_memory()
        return batch.to(self._device, non_blocking=True)
