"""Consistency check: all processes hold identical state."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dnnlib.errors import UserError
from torch_utils.distributed import World

BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # integer types by bytes per element


def check_identical(world: World, tensors: Mapping[str, torch.Tensor], nimg: int) -> None:
    """Compares checksums of all tensors between processes.

    Args:
        world: the processes; all of them call this function.
        tensors: tensors by name, the same names in the same order in every process.
        nimg: number of real images shown so far, for the message.

    Raises:
        UserError: in every process, if a tensor differs from rank 0's in any bit. Names the first rank and tensor.
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
            f'difference(s) in all: memory, a GPU or the network has failed, or an operation is not deterministic '
            f'across these machines; resume from an older state on other machines'
        )


def checksum(x: torch.Tensor) -> torch.Tensor:
    """Returns the sum of a tensor's bits, weighted by position, modulo 2^64; int64 []."""
    flat = x.detach().contiguous().flatten()
    bits = flat.view(BITS[flat.element_size()]).long()
    return (bits * torch.arange(1, 2 * len(bits), 2, device=bits.device)).sum()
