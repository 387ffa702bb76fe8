"""A network's record as exported files hold it: without the folders and the name of the machine that trained it."""

from __future__ import annotations

import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from dnnlib.addresses import public_word
from ganfoundry.network import Network

OF_THE_MACHINE = ('machine', 'launch', 'run_id')  # entries of a record that are left out
NAMES = 'classes'  # the entry that stays as it is: a name of a class may look like a path
# A path that leaves the current folder, alone or after '--option='.
_PATH = re.compile(r'(?P<option>--?[\w.-]+=)?(?P<path>(?:/|~|\.\.?[/\\]|\\\\|[A-Za-z]:[/\\]).*)', re.DOTALL)


def public_record(network: Network) -> dict[str, Any]:
    """Returns the record of a network for publication: config, facts, classes, versions, commit, command line.

    A text that is a path outside of the current folder keeps its last part; addresses lose their secrets.
    """
    record = {name: value for name, value in network.snapshot.record.items() if name not in OF_THE_MACHINE}
    return {name: value if name == NAMES else _without_folders(value) for name, value in record.items()}


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_folders(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_folders(inner) for inner in value]
    return last_part(public_word(value)) if isinstance(value, str) else value


def last_part(text: str) -> str:
    """Returns a text in which a path outside of the current folder is only its last part."""
    found = _PATH.fullmatch(text)
    if found is None:
        return text
    path = found['path']
    return (found['option'] or '') + (PureWindowsPath(path).name if '\\' in path else PurePosixPath(path).name)
