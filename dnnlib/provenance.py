"""Provenance of a result: the commit of the code, library versions, machine, command line."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from dnnlib.addresses import public_word


def environment(libraries: tuple[str, ...]) -> dict[str, Any]:
    """Returns the record of a run. Libraries that are not installed and the secrets of addresses are left out."""
    versions = {'python': platform.python_version()}
    for name in libraries:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {'versions': versions, 'commit': git_commit(), 'machine': platform.platform(), 'argv': public_argv()}


def public_argv() -> list[str]:
    """Returns the words of the command line as records hold them: addresses without their secrets."""
    return [public_word(word) for word in sys.argv]


def git_commit() -> str | None:
    """Returns the checkout's commit, with '+' if tracked files are changed; None without a checkout or git."""
    root = Path(__file__).resolve().parent.parent

    def git(*args: str) -> str:
        return subprocess.run(
            ['git', '-C', str(root), *args], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git('rev-parse', 'HEAD') + ('+' if git('status', '--porcelain', '--untracked-files=no') else '')
    except (OSError, subprocess.CalledProcessError):
        return None
