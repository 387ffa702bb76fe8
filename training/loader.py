"""Batches of real images and labels from `start_nimg` on, for ever.

This process decides what is loaded (`EpochSampler`), workers only decode, so the stream is the same for any number of
them, and can be taken up at any position.

Letters: B batch of one rank, C image channels, H and W image height and width.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

import torch

from training.dataset import ImageDataset
from training.sampler import EpochSampler
from training.workers import DecoderPool, read_images


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
) -> BatchStream:
    """The batches of one rank.

    start_nimg: images shown so far by all ranks; the stream begins there. batch_size: of all ranks together, a
    multiple of `world`. seed: of the order. num_workers: 0 decodes in this process. device: where batches arrive.

    Raises ConfigError for a batch size that the ranks cannot share. While iterating: DataError naming a file that
    cannot be used, WorkerDiedError when a worker was killed.
    """
    sampler = EpochSampler(len(dataset), seed)
    return BatchStream(dataset, sampler, start_nimg, batch_size, num_workers, rank, world, torch.device(device))


class BatchStream:
    """An endless iterator of images, uint8 or uint16 [B, C, H, W], and labels, float32 [B, label_dim].

    Close it, or use `with`.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        sampler: EpochSampler,
        start_nimg: int,
        batch_size: int,
        num_workers: int,
        rank: int,
        world: int,
        device: torch.device,
    ) -> None:
        per_rank = len(sampler.batch_indices(start_nimg, batch_size, rank, world))
        self._dataset = dataset
        self._device = device
        self._batches = sampler.batches(start_nimg, batch_size, rank, world)
        self._pool = DecoderPool(dataset, self._batches, per_rank, num_workers) if num_workers else None
        self._closed = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        if self._closed:
            raise RuntimeError('this data loader is closed')
        if self._pool is not None:
            indices, images = self._pool.next_images()
        else:
            indices = next(self._batches)
            images = read_images(self._dataset, indices)
        labels = torch.from_numpy(self._dataset.labels(indices))  # [B, label_dim]
        return self._deliver(images), self._deliver(labels)

    def worker_pids(self) -> list[int]:
        """Process ids of the workers; empty when this process decodes."""
        return [] if self._pool is None else self._pool.pids()

    def close(self) -> None:
        """Ends the workers at once."""
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
        """To the device; through pinned memory, so that the copy to a GPU goes on beside the training."""
        if self._device.type == 'cuda':
            batch = batch.pin_memory()
        return batch.to(self._device, non_blocking=True)
