"""The runtime of pages, found once."""

from __future__ import annotations

import pytest

from ganfoundry.export.web_runtime import WebRuntime
from tests.support.web_pages import web_runtime_or_skip


@pytest.fixture(scope='session')
def web_runtime() -> WebRuntime:
    """The files of onnxruntime-web; skips, or fails where a browser is required."""
    return web_runtime_or_skip()
