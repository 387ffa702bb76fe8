"""Checks that numbers are finite, at the places where features, statistics and results enter and leave.

A comparison with NaN is False, `max(0.0, nan)` is 0.0, and a percentile hides an infinity: a number that is not finite
must not reach an estimator, which could turn it into a good score.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from dnnlib.errors import DataError
from metrics.streams.shares import Observer


def check_finite(name: str, *tensors: torch.Tensor) -> None:
    """Raises DataError that begins with `name` unless every number of the tensors is finite."""
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        raise DataError(f'{name}: not all numbers are finite (NaN or infinity); no metric is defined for them')


def finite_rows(observe: Observer, source: str, network: str) -> Observer:
    """Returns an observer that checks its rows, once per part.

    Args:
        observe: The observer to check.
        source: Name of the stream, for the error message.
        network: Name of the network that observes, for the error message.

    Returns:
        The same observer; it raises DataError, which names the image, for a row that is not finite.
    """

    def checked(parts: Sequence[range]) -> Iterator[torch.Tensor]:
        for part, rows in zip(parts, observe(parts), strict=False):  # [N, K]; a shorter stream names itself
            finite = rows.isfinite().all(dim=1)  # [N]
            if not bool(finite.all()):
                first = part.start + int((~finite).nonzero()[0])
                raise DataError(
                    f'{source}: {network} returns NaN or infinity for number {first} (counted from 0); the weights of '
                    f'{network} or that image are damaged'
                )
            yield rows

    return checked
