"""Parts of a Content-Security-Policy."""

from __future__ import annotations

import base64
import hashlib


def digest_source(text: str) -> str:
    """Returns the source that allows an inline script or style with this text, with the quotes that belong to it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
