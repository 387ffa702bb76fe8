"""Outlines of pickles of any kind, of which nothing is executed."""

from __future__ import annotations

from pathlib import Path

import torch
from click.testing import CliRunner

import extensions.dcgan  # noqa: F401  registers the discriminator that a test names
from tests.support.official_layout import (
    dumps,
)
from training.legacy.__main__ import main
from training.legacy.inspect import inspect


def run(*args: str) -> str:
    """Returns the output of `python -m training.legacy`."""
    result = CliRunner().invoke(main, list(args), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_inspect_shows_files_of_any_kind_and_runs_nothing(tmp_path: Path) -> None:
    path = tmp_path / 'foreign.pkl'
    weights = torch.arange(6.0).reshape(2, 3)
    inner = dumps({'weight': weights, 'dtype': torch.float32, 'steps': [1, 2]})[2:-1]
    path.write_bytes(b'\x80\x04\x8c\x0eR3GAN.Networks\x8c\x09Generator\x93)\x81' + inner[9:] + b'b.')
    lines = '\n'.join(inspect(path))
    assert (
        lines
        == 'R3GAN.Networks.Generator\n  weight: tensor [2, 3] float32\n  dtype: the name torch.float32\n  steps: [1, 2]'
    )
    path.write_bytes(b'\x80\x02cos\nsystem\n' + b'X\x05\0\0\0touch\x85R.')
    assert run(str(path), '--inspect') == "os.system\n  args: ('touch',)\n"
