"""Reduction of gradients, buffers and statistics over micro-batches and processes.

A step has M micro-batches for any number W of processes; process r computes micro-batches r M / W to (r + 1) M / W.
Every micro-batch starts from the buffers as they were at the beginning of the phase, and the phase ends with the mean
of the results. A micro-batch therefore does not depend on the process that computes it or on the order.

Letters: P numbers with a gradient, B numbers in buffers that moved, L parts held by a process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from torch_utils.distributed import World

CONSTANT = ('noise_const', 'resample_filter')  # buffers that no phase moves
CHUNK = 2**22  # gradient entries gathered at a time; W or M times as many are held in memory


def tree_sum(begin: int, end: int, leaf: Callable[[int], torch.Tensor]) -> torch.Tensor:
    """Returns leaf(begin) + ... + leaf(end - 1), summed as a balanced binary tree.

    If W = 2^k divides the number of leaves, each of W equal parts is a subtree, so that the parts can be summed
    separately and their sums form a tree again. At most log2(end - begin) + 1 leaves are held at a time.

    Args:
        begin: index of the first leaf.
        end: index after the last leaf.
        leaf: returns the tensor of an index; called in ascending order. The tensors are modified in place.
    """
    if end - begin == 1:
        return leaf(begin)
    middle = begin + (end - begin) // 2
    left = tree_sum(begin, middle, leaf)
    return left.add_(tree_sum(middle, end, leaf))


def sum_in_order(world: World, num_micro: int, leaf: Callable[[int], torch.Tensor]) -> torch.Tensor:
    """Returns the sum [P] over the leaves of all processes, bit-identical for every W.

    If W is not a power of two, the tree has no subtree per process: every leaf is exchanged, which needs the memory of
    M leaves.

    Args:
        world: the processes.
        num_micro: number of leaves of this process.
        leaf: returns the leaf [P] of an index, 0 to num_micro - 1.
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
    """Buffers that the forward passes of a phase modify.

    These are the running mean of w, batch-norm statistics, singular vectors of spectral norms, the mean path length,
    and the buffers of plug-ins. Their mean is computed in float64 over the micro-batches in order, and is therefore
    bit-identical for every W. Running statistics move once per phase, by the mean over the micro-batches. A buffer that
    all micro-batches change in the same way, such as a singular vector, keeps exactly that value.

    Args:
        nets: the networks of the phase.
        others: further tensors that the phase modifies.
    """

    def __init__(self, nets: Iterable[torch.nn.Module], others: Iterable[torch.Tensor]) -> None:
        nets = tuple(nets)
        buffers = [(name, buffer) for net in nets for name, buffer in net.named_buffers()]
        constant = [name.rpartition('.')[2] in CONSTANT for name, _ in buffers]
        # A list, because G and D may have buffers of one name.
        self._constants = [(name, b, b._version) for (name, b), stays in zip(buffers, constant, strict=True) if stays]
        tensors = [b for (_, b), stays in zip(buffers, constant, strict=True) if not stays] + list(others)
        self.tensors = sorted(tensors, key=lambda tensor: tensor.dtype != torch.float32)  # most in one piece
        # PyTorch modifies these without increasing autograd's version counter.
        norms = [m for net in nets for m in net.modules() if isinstance(m, torch.nn.modules.batchnorm._NormBase)]
        self._statistics = {id(buffer) for norm in norms if norm.training for buffer in norm.buffers()}
        self._versions = [tensor._version for tensor in self.tensors]
        self._start = [torch.empty_like(tensor) for tensor in self.tensors]
        _copy(self._start, self.tensors)
        self._rows: list[torch.Tensor] = []  # [B] of each micro-batch so far

    def begin_micro(self) -> None:
        """Restores the buffers of the beginning of the phase; called before every micro-batch."""
        moved = self._moved()
        _copy([tensor for tensor, _ in moved], [start for _, start in moved])

    def end_micro(self) -> None:
        """Records the buffers; called after every micro-batch."""
        single, others = _by_dtype([tensor for tensor, _ in self._moved()])
        parts = [torch.cat([tensor.flatten() for tensor in single]).double()] if single else []
        parts += [tensor.flatten().double() for tensor in others]
        self._rows.append(torch.cat(parts) if parts else self._start[0].new_zeros([0]).double())

    def finish(self, world: World) -> None:
        """Sets the buffers to their mean over all micro-batches of all processes.

        Raises:
            RuntimeError: If a buffer has moved whose name promises that it does not.
        """
        for name, buffer, version in self._constants:
            if buffer._version != version:
                raise RuntimeError(f'{name}: a pass changed this buffer; buffers called {" or ".join(CONSTANT)} stay')
        rows = torch.stack(self._rows)  # [L, B]
        if rows.shape[1] == 0:
            return
        mean = world.gather(rows, 'the buffers').flatten(0, 1).mean(dim=0)  # [B]
        moved = [tensor for tensor, _ in self._moved()]
        single, others = _by_dtype(moved)
        sizes = [tensor.numel() for tensor in moved]
        _copy(single, list(mean.float().split(sizes))[: len(single)])
        for tensor, value in zip(others, mean.split(sizes)[len(single) :], strict=True):
            tensor.copy_((value if tensor.is_floating_point() else value.round()).view_as(tensor))

    @property
    def size(self) -> int:
        """Number B of recorded values, known after the first micro-batch."""
        return len(self._rows[0])

    def _moved(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Returns each buffer that has changed since the phase began, with its initial value."""
        return [
            (tensor, start)
            for tensor, start, version in zip(self.tensors, self._start, self._versions, strict=True)
            if tensor._version != version or id(tensor) in self._statistics
        ]


def _by_dtype(tensors: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Returns the tensors in float32, and the others."""
    single = [tensor for tensor in tensors if tensor.dtype == torch.float32]
    return single, [tensor for tensor in tensors if tensor.dtype != torch.float32]


def _copy(targets: list[torch.Tensor], sources: list[torch.Tensor]) -> None:
    """Copies each source, of as many numbers, into its target; those of one dtype take one launch."""
    if targets:
        views = [source.view_as(target) for target, source in zip(targets, sources, strict=True)]
        torch._foreach_copy_(targets, views)
