"""Pictures that are held in memory."""

import numpy as np

from training.data.convert.source import PixelSource


def test_pictures_in_memory_are_numbered_and_named():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    source = PixelSource('in.bin', pixels)
    assert len(source) == 2
    assert (source.name(1), source.where(1)) == ('00000001', 'in.bin: picture 1')
    assert np.array_equal(source.read(1), pixels[1])
    source.close()
    assert np.array_equal(source.read(0), pixels[0])
