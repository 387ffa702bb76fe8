"""`explore.py` and `ganfoundry explore`: the options of the explorer."""

from __future__ import annotations

from typing import Any

import click

from dnnlib.paths import user_path
from ganfoundry.command_options import (
    CONTEXT,
    allow_remote_option,
    device_option,
    host_option,
    latents_option,
    network_option,
    plugin_option,
    port_option,
    precision_option,
)


@click.command(context_settings=CONTEXT)
@network_option
@click.option(
    '--compare',
    help='Another network, drawn next to the first one with the same settings.',
    type=user_path,
    metavar='FILE|URL|DIR',
)
@latents_option
@click.option(
    '--bookmarks',
    help='Latents file to which the page adds bookmarks.',
    default='latents.npz',
    show_default=True,
    type=user_path,
    metavar='FILE.npz',
)
@port_option
@host_option
@allow_remote_option
@precision_option
@plugin_option
@device_option
def main(**options: Any) -> None:
    """Explore a trained network in a browser.

    \b
    python explore.py --network=runs/00003-ffhq256-squeeze
    python explore.py --network=latest --compare=examples/networks/peeps32.safetensors
    python explore.py --network=latest --latents=out/projected_w.npz

    Prints the address of the page, which holds a token, and opens no window. From another computer, the printed ssh
    line makes the same address work there. With a run folder, the page has a slider over the snapshots. Ctrl-C ends
    the server.
    """
    from ganfoundry.explore.run import ExploreOptions, run_explore

    run_explore(ExploreOptions(**options))
