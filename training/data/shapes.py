"""Which sizes of image can be trained on, and how one is split into a base and doublings.

Every network begins with a few pixels and doubles them, or halves down to them. A size is therefore a base of at least
4 pixels a side, doubled at least once: 64 x 64 is 4 x 4 doubled four times, 64 x 96 is 4 x 6, 48 x 64 is 6 x 8 doubled
three times.
"""

from __future__ import annotations

MIN_BASE = 4  # pixels of a base's shorter side
MAX_BASE = 64  # of its longer side: a longer one is a network that has hardly any depth
MIN_KEPT_SHARE = 0.9  # the share of a picture that a proposal with one doubling more should keep


def split_size(height: int, width: int) -> tuple[int, tuple[int, int]] | None:
    """(resolution, (base height, base width)) of a size in pixels, as ImageSpec has them; None for one without.

    resolution is 4 times the doublings, the side of a square that is as deep. The base is the smallest that there is.
    """
    resolution, h, w = 4, height, width
    while h % 2 == 0 and w % 2 == 0 and min(h, w) >= 2 * MIN_BASE:
        h, w, resolution = h // 2, w // 2, resolution * 2
    if resolution == 4 or min(h, w) < MIN_BASE or max(h, w) > MAX_BASE:
        return None
    return resolution, (h, w)


def nearest_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) near a picture's that `split_size` takes: what a message can propose.

    Its own where that is taken, otherwise each at most the picture's, except that no side is below 8 pixels: of all
    numbers of doublings the largest that keeps nine tenths of the picture, else the one that keeps most.
    """
    if split_size(height, width) is not None:
        return height, width
    best = (0, 0)
    doublings = 1
    while doublings == 1 or min(height, width) >> doublings >= MIN_BASE:
        size = _at_most(height, doublings), _at_most(width, doublings)
        kept, most = size[0] * size[1], best[0] * best[1]
        if kept >= MIN_KEPT_SHARE * height * width or kept > most:
            best = size
        doublings += 1
    return best


def _at_most(side: int, doublings: int) -> int:
    """The longest side no longer than `side` that is an allowed side of a base, doubled so often."""
    return min(max(side >> doublings, MIN_BASE), MAX_BASE) << doublings


def images_at_once(images: int, side: int, pixels: int) -> int:
    """How many pictures of so many pixels have those of `images` squares of this side: rounded down, at least 4.

    A power of two, which divides the batches of the recipes.
    """
    return 1 << max(images * side**2 // pixels, 4).bit_length() - 1
