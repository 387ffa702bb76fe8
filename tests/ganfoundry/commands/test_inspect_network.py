"""The options of inspect_network.py: the help names every kind of picture."""

from __future__ import annotations

from click.testing import CliRunner

from ganfoundry.commands.inspect_network import main
from ganfoundry.inspect_network import DRAWN


def test_the_help_names_every_what() -> None:
    said = CliRunner().invoke(main, ['--help']).output
    assert all(f'{what}:' in said for what in (*DRAWN, 'losses', 'features', 'flops'))


def test_an_unknown_what_is_answered_with_the_nearest_one() -> None:
    result = CliRunner().invoke(main, ['--network=x', '--what=block'])
    assert result.exit_code == 2
    assert 'blocks' in result.output
