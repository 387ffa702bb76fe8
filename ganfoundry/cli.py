"""The console script `ganfoundry NAME ...`: the same as `python NAME.py ...` for every command."""

from __future__ import annotations

import importlib

import click

from dnnlib.command import run_command
from dnnlib.registry import suggest
from ganfoundry import __version__
from ganfoundry.command_options import CONTEXT

COMMANDS = (
    'train',
    'generate',
    'style-mixing',
    'gen-video',
    'projector',
    'export',
    'inspect-network',
    'explore',
    'report',
    'compare',
    'calc-metrics',
    'log-run',
    'dataset-tool',
    'convert',
    'doctor',
)


class _Commands(click.Group):
    """Imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Fails with the nearest name if there is no such command."""
        if (name := args[0].replace('_', '-')) not in COMMANDS and not name.startswith('-'):
            ctx.fail(f"no such command '{args[0]}': {suggest(name, COMMANDS)}")
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command = importlib.import_module(f'ganfoundry.commands.{name.replace("-", "_")}').main
        assert isinstance(command, click.Command)
        return command


@click.group(
    cls=_Commands,
    context_settings=CONTEXT,
)
@click.version_option(__version__, message='%(prog)s %(version)s')
def commands() -> None:
    """Train image GANs, draw with them and measure them.

    \b
    ganfoundry train --cfg=squeeze --data=ffhq.zip
    ganfoundry generate --network=runs/00000-ffhq-squeeze --seeds=0-15
    ganfoundry calc-metrics --network=runs/00000-ffhq-squeeze --metrics=fid50k_full
    """


def main() -> None:
    """Runs the command line of this process."""
    run_command(commands)
