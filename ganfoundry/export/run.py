"""The command `export.py`: one network in one of the formats, in a new folder."""

from __future__ import annotations

from pathlib import Path

from ganfoundry.export.folder import check_free, new_folder
from ganfoundry.export.formats import FORMATS
from ganfoundry.export.options import ExportOptions
from ganfoundry.network import load


def run_export(options: ExportOptions) -> None:
    """Carries out a command line of export.py."""
    chosen = FORMATS[options.format]
    options.check()
    out = Path(options.out)
    check_free(out)
    chosen.check(options)
    network = load(options.network, device='cpu', precision='fp32', plugin=options.plugin)
    with new_folder(out) as folder:
        lines = chosen.write(network, folder, options)
    for line in lines:
        print(line)
    print(f'{out}: {network.config.cfg}, {network.spec}, as {options.format}')
