"""One pass over a stream by all processes of a run: each looks at its share, and all see what came of every part.

Rank 0 leads: it says to the others, by `World.give`, what is looked at, and they come to the same call of `in_shares`.

Letters: N items of a part, K numbers that are seen in an item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from dnnlib.errors import UserError
from dnnlib.signals import StopRequested
from torch_utils.distributed import World

GO, STOPPED, FAILED = range(3)  # what a process says before an exchange; the largest holds for all

Look = Callable[[Sequence[range]], Iterator[torch.Tensor]]  # what is seen in each of these parts, [N, K]


class PeerFailed(UserError):
    """Another process could not look at its share; the message is its own."""


def cut(num_items: int, size: int) -> list[range]:
    """Positions 0 ... num_items - 1 in parts of so many, the last one shorter."""
    return [range(start, min(start + size, num_items)) for start in range(0, num_items, size)]


def in_shares(
    world: World, parts: Sequence[range], look: Look, blank: torch.Tensor, take: Callable[[torch.Tensor], None]
) -> None:
    """Calls `take` with what was seen in each part, [N, K] as `blank` is, in the order of the parts.

    Process r of W looks at the parts r, r + W, r + 2 W, ... Every process takes all of them, and for every W the same
    bits. blank: as much as a part has at most, [N, K], on a device that the processes can exchange from.
    What look or take raise in one process ends the pass in all: there as it is, elsewhere as PeerFailed with its words,
    or as StopRequested.
    """
    seen, error = look(parts[world.rank :: world.size]), None
    for start in range(0, len(parts), world.size):
        mine = torch.zeros_like(blank)  # [N, K]; left so where there are no parts left
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
        except Exception as caught:  # the others hear of it before the next exchange
            error = caught
    _agree(world, error)


def _agree(world: World, error: Exception | None) -> None:
    """Raises in all processes where one has an error."""
    verdict = GO if error is None else STOPPED if isinstance(error, StopRequested) else FAILED
    agreed, words = world.agree(verdict, f'{type(error).__name__}: {error}')
    if error is not None:
        raise error
    if agreed == STOPPED:
        raise StopRequested
    if agreed == FAILED:
        raise PeerFailed(words)
