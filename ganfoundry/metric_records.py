"""Records of calc_metrics.py: lines of JSON on stdout or in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dnnlib.errors import ConfigError
from dnnlib.files import append_line

STDOUT = '-'
COMPARISON = 'comparison.jsonl'  # default file of two networks that are compared


class MetricRecords:
    """Destination of the records of a command.

    Args:
        where: File to which lines are appended, '-' for stdout.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        if where != STDOUT and not Path(where).parent.is_dir():
            raise ConfigError(f'--records={where}: there is no folder {Path(where).parent}')
        if where != STDOUT and Path(where).is_dir():
            raise ConfigError(f'--records={where}: is a folder; name a file')

    @property
    def on_stdout(self) -> bool:
        """Whether the lines are printed."""
        return self.where == STDOUT

    def write(self, record: dict[str, Any]) -> None:
        """Writes one record. If the file cannot be written, it is printed, so that no measurement is lost."""
        text = json.dumps(record, allow_nan=False)
        if not self.on_stdout:
            try:
                append_line(Path(self.where), text)
                return
            except OSError:
                pass
        print(text, flush=True)
