"""That all processes hold the same numbers."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dnnlib.errors import UserError
from torch_utils.distributed import World

BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes of a number


def check_same(world: World, tensors: Mapping[str, torch.Tensor], nimg: int) -> None:
    """Compares checksums of all tensors, which have the same names everywhere, bit for bit.

    Raises UserError, in every process, that names the first process and tensor that differ from rank 0's.
    """
    if world.size == 1:
        return
    mine = torch.stack([checksum(tensor) for tensor in tensors.values()]).cpu()  # int64 [T]
    every = world.gather_on_host(mine, 'checksums')  # [W, T]
    differs = (every != every[0]).nonzero().tolist()
    if differs:
        rank, k = differs[0]
        raise UserError(
            f'rank {rank} holds another {list(tensors)[k]} than rank 0 at {nimg / 1000:.2f} kimg, {len(differs)} '
            f'difference(s) in all: memory, a GPU or a network has failed, or an operation is not the same on all of '
            f'them; resume from an older state on other machines'
        )


def checksum(x: torch.Tensor) -> torch.Tensor:
    """A sum of a tensor's bits, weighted by position, modulo 2^64; int64 []."""
    flat = x.detach().contiguous().flatten()
    bits = flat.view(BITS[flat.element_size()]).long()
    return (bits * torch.arange(1, 2 * len(bits), 2, device=bits.device)).sum()
