"""Pictures as part of a page: WebP within the text."""

from __future__ import annotations

import base64
import io

import PIL.Image

QUALITY = 80
METHOD = 4  # of WebP, 0 to 6: slower and smaller


def webp(picture: PIL.Image.Image, quality: int = QUALITY) -> bytes:
    """Returns a picture as WebP, with its transparency if it has any."""
    data = io.BytesIO()
    picture.save(data, 'WEBP', quality=quality, method=METHOD)
    return data.getvalue()


def data_uri(data: bytes, media_type: str = 'image/webp') -> str:
    """Returns the address that holds a file itself."""
    return f'data:{media_type};base64,{base64.b64encode(data).decode()}'
