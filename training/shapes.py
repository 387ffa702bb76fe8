"""Which sizes of image can be trained on, and how one is split into a base and doublings.

Every network begins with a few pixels and doubles them, or halves down to them. A size is therefore a base of at least
4 pixels a side, doubled at least once: 64 x 64 is 4 x 4 doubled four times, 64 x 96 is 4 x 6, 48 x 64 is 6 x 8 doubled
three times.
"""

from __future__ import annotations

SMALLEST = 4  # pixels of a base's shorter side
LARGEST_BASE = 64  # of its longer side: a longer one is a network that has hardly any depth


def split_size(height: int, width: int) -> tuple[int, tuple[int, int]] | None:
    """(resolution, (base height, base width)) of a size in pixels, as ImageSpec has them; None for one without.

    resolution is 4 times the doublings, the side of a square that is as deep.
    """
    resolution, h, w = 4, height, width
    while h % 2 == 0 and w % 2 == 0 and min(h, w) >= 2 * SMALLEST:
        h, w, resolution = h // 2, w // 2, resolution * 2
    if resolution == 4 or min(h, w) < SMALLEST or max(h, w) > LARGEST_BASE:
        return None
    return resolution, (h, w)


def nearest_size(height: int, width: int) -> tuple[int, int]:
    """The size with a small base that keeps most of a picture: what a message can propose. Each at most the picture."""
    step = 4  # of a side: a multiple of it that is as deep as the picture allows
    while min(height, width) >= 8 * step:
        step *= 2
    return max(height // step, 1) * step, max(width // step, 1) * step
