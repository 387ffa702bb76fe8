"""One pass over a stream by all processes of a run: each reads its share, and all receive the results of every part.

Rank 0 leads: it sends the description of the pass to the others by `World.give`, and they call `in_shares` too.

Letters: N items of a part, K numbers observed per item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from dnnlib.errors import UserError
from dnnlib.signals import StopRequested
from torch_utils.distributed import World

GO, STOPPED, FAILED = range(3)  # the state of a process before an exchange; the largest holds for all

Observer = Callable[[Sequence[range]], Iterator[torch.Tensor]]  # parts of a stream -> rows [N, K] of each


class ShareFailed(UserError):
    """Another process could not read its share; the message is its own."""


def cut(num_items: int, size: int) -> list[range]:
    """Returns the positions 0 ... num_items - 1 in parts of the given size, the last one shorter."""
    return [range(start, min(start + size, num_items)) for start in range(0, num_items, size)]


def in_shares(
    world: World, parts: Sequence[range], observe: Observer, blank: torch.Tensor, take: Callable[[torch.Tensor], None]
) -> None:
    """Calls `take` with the rows of each part, in the order of the parts.

    Process r of W reads the parts r, r + W, r + 2 W, ...; every process takes all of them, bit-identical for every W.

    Args:
        world: The processes.
        parts: Positions of the items, in parts.
        observe: Function from parts to the rows [N, K] of each.
        blank: Zeros [N, K] for the largest part, on a device from which the processes can exchange.
        take: Receives the rows of a part, [N, K] in the dtype of `blank`.

    Raises:
        ShareFailed: `observe` or `take` raised in another process, which ends the pass in all; the message is its own.
        StopRequested: Another process was asked to stop. In the process itself its own exception surfaces unchanged.
    """
    seen, error = observe(parts[world.rank :: world.size]), None
    for start in range(0, len(parts), world.size):
        mine = torch.zeros_like(blank)  # [N, K]; stays zero if this process has no part left
        if error is None and start + world.rank < len(parts):
            try:
                rows = next(seen)
                mine[: len(rows)] = rows
            except Exception as caught:
                error = caught
        _agree(world, error)
        every = world.gather(mine, 'what was seen')  # [W, N, K]
        try:
            for rows, part in zip(every, parts[start : start + world.size], strict=False):
                take(rows[: len(part)])
        except Exception as caught:  # the others learn of it before the next exchange
            error = caught
    _agree(world, error)


def _agree(world: World, error: Exception | None) -> None:
    """Raises in all processes if one has an error."""
    verdict = GO if error is None else STOPPED if isinstance(error, StopRequested) else FAILED
    agreed, words = world.agree(verdict, f'{type(error).__name__}: {error}')
    if error is not None:
        raise error
    if agreed == STOPPED:
        raise StopRequested
    if agreed == FAILED:
        raise ShareFailed(words)
