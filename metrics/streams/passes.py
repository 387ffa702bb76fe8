"""Passes over streams of images or pairs, as rank 0 describes them to the other processes.

Letters: N items of a part, K numbers observed per item.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from metrics.streams.shares import cut

Stream = Literal['reals', 'originals', 'fakes', 'paths', 'moves']


@dataclass(frozen=True, kw_only=True, slots=True)
class Pass:
    """One pass over a stream.

    Attributes:
        stream: Real images as the run trains on them, the original data set, generated images, or pairs of images.
        network: Name of the detector; for paths and moves the name of the metric.
        num_items: Number of items of the stream.
        size: Number of items of a part.
        width: K.
        seed: Seed of the generated images.
    """

    stream: Stream
    network: str
    num_items: int
    size: int
    width: int
    seed: int = 0

    @property
    def parts(self) -> list[range]:
        """Positions of the items, in parts."""
        return cut(self.num_items, self.size)

    def blank(self, device: torch.device) -> torch.Tensor:
        """Returns zeros [N, K] for the rows of a part, on the device of their exchange: a GPU or the CPU.

        float64 holds the features of detectors of any dtype.
        """
        return torch.zeros(self.size, self.width, dtype=torch.float64, device=with_float64(device))

    @property
    def source(self) -> str:
        """Name of the stream in messages."""
        kinds = {'fakes': 'generated images', 'paths': 'pairs of images', 'moves': 'moved images'}
        return f'{kinds.get(self.stream, "real images")} for {self.network}'


def with_float64(device: torch.device) -> torch.device:
    """Returns the device, or the CPU in place of an accelerator without float64; among these only CUDA has it."""
    return device if device.type == 'cuda' else torch.device('cpu')
