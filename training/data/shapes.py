"""Image sizes that can be trained on, and their division into a base and doublings.

Every network begins with a few pixels and doubles them, or halves down to them. A size is therefore a base, whose sides
have at least 4 pixels, doubled at least once: 64 x 64 is 4 x 4 doubled four times, 64 x 96 is 4 x 6 doubled four times,
48 x 64 is 6 x 8 doubled three times.
"""

from __future__ import annotations

MIN_BASE = 4  # pixels of the shorter side of a base
MAX_BASE = 64  # pixels of the longer side; networks for larger bases would have hardly any depth
MIN_KEPT_SHARE = 0.9  # share of the picture's pixels that a proposal with one more doubling should keep


def split_size(height: int, width: int) -> tuple[int, tuple[int, int]] | None:
    """Returns (resolution, (base height, base width)) of a size in pixels, as in ImageSpec; None if there is no base.

    The resolution is 4 doubled as often as the base, the side of the square of the same depth. The base is the smallest
    possible one.
    """
    resolution, h, w = 4, height, width
    while h % 2 == 0 and w % 2 == 0 and min(h, w) >= 2 * MIN_BASE:
        h, w, resolution = h // 2, w // 2, resolution * 2
    if resolution == 4 or min(h, w) < MIN_BASE or max(h, w) > MAX_BASE:
        return None
    return resolution, (h, w)


def nearest_size(height: int, width: int) -> tuple[int, int]:
    """Returns (height, width) near those of a picture that `split_size` accepts, as a proposal for messages.

    The picture's own size is returned if it is accepted. Otherwise each side is at most the picture's, except that no
    side is below 8 pixels: of all numbers of doublings, the largest that keeps nine tenths of the picture, or else the
    one that keeps most.
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
    """Returns the longest side of at most `side` pixels that is an allowed base after `doublings` doublings."""
    return min(max(side >> doublings, MIN_BASE), MAX_BASE) << doublings


def images_at_once(images: int, side: int, pixels: int) -> int:
    """Returns the number of pictures with as many pixels as a number of squares, rounded down to a power of two.

    A power of two divides the batches of the recipes.

    Args:
        images: Number of squares.
        side: Side of the squares in pixels.
        pixels: Pixels per picture.

    Returns:
        Number of pictures, at least 4.
    """
    return 1 << max(images * side**2 // pixels, 4).bit_length() - 1
