"""Options that the commands which draw with a network share. No module that it imports loads torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import click

from dnnlib.paths import user_path
from ganfoundry.choices import Choice

CONTEXT = {  # settings of every command
    'help_option_names': ['-h', '--help'],
    'max_content_width': 110,
    'token_normalize_func': lambda token: token.replace('_', '-'),  # --map_depth is --map-depth
}
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

network_option = click.option(
    '--network',
    help='Run folder (its best snapshot), latest, a snapshot or official .pkl, or the http(s) address of one.',
    required=True,
    type=user_path,
    metavar='FILE|URL|DIR',
)
latents_option = click.option(
    '--latents',
    help='Points of a latents file, or some of them.',
    multiple=True,
    type=user_path,
    metavar='FILE.npz[:0,2-5]',
)
plugin_option = click.option(
    '--plugin',
    help='Python file that registers the --cfg of the snapshot.',
    multiple=True,
    type=user_path,
    metavar='FILE',
)
trunc_option = click.option(
    '--trunc', 'truncation_psi', help='Truncation psi.', type=float, default=1, show_default=True
)
noise_option = click.option(
    '--noise-mode',
    help='Noise of the network: the stored one, drawn by the seed, or none.',
    type=Choice(['const', 'random', 'none']),
    default='const',
    show_default=True,
)
translate_option = click.option(
    '--translate', help='Move the picture right and down, in shares of its size (StyleGAN3).', metavar='X,Y'
)
rotate_option = click.option(
    '--rotate', help='Turn the picture counter-clockwise (StyleGAN3).', type=float, metavar='DEGREES'
)
outdir_option = click.option(
    '--outdir', help='Folder of the PNGs.', default='out', show_default=True, type=user_path, metavar='DIR'
)
overwrite_option = click.option('--overwrite', help='Replace other pictures of the same name.', is_flag=True)
batch_option = click.option('--batch', help='Images in a batch.', type=click.IntRange(1), default=8, show_default=True)
precision_option = click.option(
    '--precision',
    help='Arithmetic of the network.',
    type=Choice(['auto', 'fp32', 'bf16', 'fp16']),
    default='fp32',
    show_default=True,
)
device_option = click.option('--device', help='cpu, cuda or mps.  [default: the best available]')

host_option = click.option(
    '--host',
    help='Address to listen on; others than this machine need --allow-remote.',
    default='127.0.0.1',
    show_default=True,
)
port_option = click.option(
    '--port',
    help='Port to listen on; 0 for any free one.  [default: 8080, or the next free one]',
    type=click.IntRange(0, 65535),
)
allow_remote_option = click.option('--allow-remote', help='Let other machines connect, unencrypted.', is_flag=True)


def seeds_option(help_text: str) -> Decorator:
    """Returns the option --seeds with a help text."""
    return click.option('--seeds', help=help_text, metavar='0,3,8-15')


def class_option(help_text: str) -> Decorator:
    """Returns the option --class, the argument `class_text`, with a help text."""
    return click.option('--class', 'class_text', help=help_text, metavar='CLASS')


def given_options(options: Any, spellings: Mapping[str, str]) -> list[str]:
    """Returns the spellings of those options of a dataclass that do not have their default value, 0 included."""
    defaults = {field.name: field.default for field in fields(options)}
    return [spelling for name, spelling in spellings.items() if getattr(options, name) != defaults[name]]
