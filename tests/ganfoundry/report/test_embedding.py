"""Pictures within a page."""

from __future__ import annotations

import base64
import io

import numpy as np
import PIL.Image

from ganfoundry.report.embedding import data_uri, webp


def test_an_address_holds_the_picture_itself_with_its_transparency():
    pixels = np.zeros([8, 12, 4], dtype=np.uint8)
    pixels[:, :6] = (255, 0, 0, 255)
    uri = data_uri(webp(PIL.Image.fromarray(pixels)))
    kind, _, text = uri.partition(';base64,')
    with PIL.Image.open(io.BytesIO(base64.b64decode(text))) as picture:
        assert (kind, picture.format, picture.size, picture.mode) == ('data:image/webp', 'WEBP', (12, 8), 'RGBA')
        assert picture.getpixel((11, 0))[3] == 0
