"""Time limits of tests: a promise in seconds is one of a quiet machine."""

from __future__ import annotations

import os


def stretched(seconds: float) -> float:
    """Returns a limit of a quiet machine, stretched by the load of this one (processes that want a core, per core)."""
    return seconds * max(1.0, 2 * os.getloadavg()[0] / (os.cpu_count() or 1))
