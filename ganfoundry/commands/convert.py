"""`ganfoundry convert`, also `python -m training.legacy`: the options of converting networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dnnlib.paths import user_path
from ganfoundry.command_options import CONTEXT


def _path(text: str) -> Path:
    return Path(user_path(text))


@click.command(context_settings=CONTEXT)
@click.argument('file', type=_path)
@click.option('--out', help='Write FILE as a snapshot, and a JSON report, to a folder.', type=_path, metavar='DIR')
@click.option('--inspect', 'look', help='Print what FILE holds, even if its kind is unknown.', is_flag=True)
@click.option('--export', 'target', help='Write snapshot FILE as a state dict under official names.',
              type=_path, metavar='FILE')  # fmt: skip
def main(**options: Any) -> None:
    """Convert an official network pickle. Nothing in it is executed.

    \b
    ganfoundry convert ffhq.pkl --out=converted
    ganfoundry convert unknown.pkl --inspect
    ganfoundry convert network-snapshot-025000.safetensors --export=stylegan2-ada.safetensors
    """
    from ganfoundry.convert import run_conversion

    run_conversion(**options)
