"""`--what=enlarge`: images four times as large, by repeated pixels and by bicubic interpolation (GIU Fig. 11).

Letters: N images, C channels, H and W image size.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from ganfoundry.inspection.drawn import Drawing, pixels
from ganfoundry.inspection.finding import Finding
from torch_utils.images import shown

FACTOR = 4


def inspect_enlarge(drawing: Drawing) -> Finding:
    """Returns the images, and the images enlarged by bicubic interpolation."""
    images, _ = drawing.run({})
    drawn = shown(pixels(images))  # [N, C, H, W]
    large = enlarged(drawn)
    height, width = drawn.shape[2:]
    rows = [(f'{width}x{height}', drawn.repeat(FACTOR, axis=2).repeat(FACTOR, axis=3)), ('bicubic x4', large)]
    return Finding(rows=rows, facts={'factor': FACTOR, 'height': height, 'width': width})


def enlarged(images: np.ndarray) -> np.ndarray:
    """Returns images enlarged by bicubic interpolation, channel by channel, uint8 [N, C, FACTOR H, FACTOR W]."""
    height, width = images.shape[2:]
    size = (width * FACTOR, height * FACTOR)
    planes = [Image.fromarray(plane) for plane in images.reshape(-1, height, width)]
    large = np.stack([np.asarray(plane.resize(size, Image.Resampling.BICUBIC)) for plane in planes])
    return large.reshape(*images.shape[:2], *large.shape[1:])
