"""What the micro-batches of a phase leave behind, brought together over all of them and all processes.

A step has M micro-batches whatever the number W of processes; process r computes those from r M / W to (r + 1) M / W.
Every micro-batch begins with the buffers as they were when the phase began, and they end as the mean of what the
micro-batches made of them. So no micro-batch knows which process computed it, or after which other.

Letters: P numbers with a gradient, B numbers in buffers that moved, L parts that a process holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from torch_utils.distributed import World

CHUNK = 2**22  # numbers of a gradient gathered at a time: W or M times as many are held


def tree_sum(begin: int, end: int, leaf: Callable[[int], torch.Tensor]) -> torch.Tensor:
    """leaf(begin) + ... + leaf(end - 1), added pairwise, halves before wholes; leaves are taken in order, and changed.

    Where W = 2^k divides the number of leaves, each of W equal parts is a branch of the tree: its sum can be had
    apart, and the tree goes on over the sums. At most log2(end - begin) + 1 leaves are held at a time.
    """
    if end - begin == 1:
        return leaf(begin)
    middle = begin + (end - begin) // 2
    left = tree_sum(begin, middle, leaf)
    return left.add_(tree_sum(middle, end, leaf))


def sum_in_order(world: World, num_micro: int, leaf: Callable[[int], torch.Tensor]) -> torch.Tensor:
    """The sum [P] over all processes of this one's leaves [P], `num_micro` of them, with the same bits for every W.

    A number of processes that is no power of two cuts the tree inside its branches: then every leaf is exchanged, not
    the processes' sums alone, and M leaves' memory is needed.
    """
    whole = world.size & (world.size - 1) == 0
    parts = [tree_sum(0, num_micro, leaf)] if whole else [leaf(k) for k in range(num_micro)]
    if world.size == 1:
        return parts[0]
    total = torch.empty_like(parts[0])
    for begin in range(0, len(total), CHUNK):
        chunk = torch.stack([part[begin : begin + CHUNK] for part in parts])  # [L, CHUNK]
        rows = world.gather(chunk, 'the gradients').flatten(0, 1)  # [W L, CHUNK]
        total[begin : begin + CHUNK] = tree_sum(0, len(rows), rows.__getitem__)
    return total


class MovingBuffers:
    """The buffers that the forward passes of one phase move: running means of w, batch-norm statistics, singular
    vectors of spectral norms, the mean path length, and whatever a plug-in keeps so.

    The mean is taken in float64 over rows in the order of micro-batches: the same bits for every W, and where all
    micro-batches moved a buffer alike, as they do singular vectors, just that value. Running statistics move once a
    phase, not once a micro-batch, by the mean of the micro-batches' own.
    """

    def __init__(self, nets: Iterable[torch.nn.Module], others: Iterable[torch.Tensor]) -> None:
        """Call it as the phase begins."""
        nets = tuple(nets)
        self.tensors = [buffer for net in nets for buffer in net.buffers()] + list(others)
        # PyTorch moves these without telling autograd's version counter.
        norms = [m for net in nets for m in net.modules() if isinstance(m, torch.nn.modules.batchnorm._NormBase)]
        self._statistics = {id(buffer) for norm in norms if norm.training for buffer in norm.buffers()}
        self._versions = [tensor._version for tensor in self.tensors]
        self._start = [tensor.clone() for tensor in self.tensors]
        self._rows: list[torch.Tensor] = []  # [B] of each micro-batch so far

    def begin_micro(self) -> None:
        """Before a micro-batch: everything is as when the phase began."""
        for tensor, start in self._moved():
            tensor.copy_(start)

    def end_micro(self) -> None:
        """After a micro-batch: remembers what it has made of the buffers."""
        moved = [tensor.flatten().double() for tensor, _ in self._moved()]
        self._rows.append(torch.cat(moved) if moved else self._start[0].new_zeros([0]).double())

    def finish(self, world: World) -> None:
        """The mean over all micro-batches of all processes takes its place."""
        rows = torch.stack(self._rows)  # [L, B]
        if rows.shape[1] == 0:
            return
        mean = world.gather(rows, 'the buffers').flatten(0, 1).mean(dim=0)  # [B]
        moved = [tensor for tensor, _ in self._moved()]
        for tensor, value in zip(moved, mean.split([t.numel() for t in moved]), strict=True):
            tensor.copy_((value if tensor.is_floating_point() else value.round()).view_as(tensor))

    @property
    def size(self) -> int:
        """B, known after the first micro-batch."""
        return len(self._rows[0])

    def _moved(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Each buffer that has moved since the phase began, and what it was then."""
        return [
            (tensor, start)
            for tensor, start, version in zip(self.tensors, self._start, self._versions, strict=True)
            if tensor._version != version or id(tensor) in self._statistics
        ]
