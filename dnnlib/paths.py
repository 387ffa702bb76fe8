"""Paths as users write them, in options, environment variables and lists of files."""

from __future__ import annotations

import os


def user_path(text: str) -> str:
    """Returns a path with a leading `~` or `~NAME` replaced by the home folder; addresses and other paths unchanged.

    No shell expands `~` in `--outdir=~/runs`. As in a shell, `~NAME` stays as it is if there is no such user. click
    takes this function as the type of an option.
    """
    return os.path.expanduser(text)
