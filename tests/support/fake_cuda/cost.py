"""Costs of work on a GPU: launches, bytes, operations in floating point, copies and waits."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Cost:
    """A sum of costs.

    Attributes:
        launches: Kernels and copies.
        bytes: Bytes read and written outside convolutions and matrix products.
        product_bytes: Bytes read and written by convolutions and matrix products.
        low: FLOP of products in float16 and bfloat16.
        tf32: FLOP of products of float32 that may use TF32.
        fp32: FLOP of products in float32 and wider.
        wide: FLOP, contained in the above, of convolutions whose kernel is a feature map.
        copies: Copies between host and device.
        waits: Copies that the host waits for.
    """

    launches: float = 0.0
    bytes: float = 0.0
    product_bytes: float = 0.0
    low: float = 0.0
    tf32: float = 0.0
    fp32: float = 0.0
    wide: float = 0.0
    copies: float = 0.0
    waits: float = 0.0

    def add(self, other: Cost, times: float = 1.0) -> None:
        """Adds another cost `times` times."""
        for field in dataclasses.fields(self):
            setattr(self, field.name, getattr(self, field.name) + times * getattr(other, field.name))

    def record(self) -> dict[str, Any]:
        """Returns the values for JSON: launches, copies and waits with one digit, the rest as integers."""
        values = dataclasses.asdict(self)
        return {
            name: round(x, 1) if name in ('launches', 'copies', 'waits') else round(x) for name, x in values.items()
        }
