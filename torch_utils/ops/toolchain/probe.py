"""Versions of command-line tools, from their own answers. This module does not import PyTorch."""

from __future__ import annotations

import subprocess

PROBE_TIMEOUT_S = 20


def first_line(command: list[str], containing: str = '') -> str | None:
    """Returns the first line of output with the text; None if the command is absent, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return next((line for line in done.stdout.splitlines() if containing in line), '').strip()
