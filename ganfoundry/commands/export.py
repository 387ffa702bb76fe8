"""`export.py` and `ganfoundry export`: the options of exports."""

from __future__ import annotations

from typing import Any

import click

from dnnlib.paths import user_path
from ganfoundry.choices import Choice
from ganfoundry.command_options import CONTEXT, network_option, plugin_option

FORMATS = ('onnx', 'html', 'safetensors', 'hub')  # the keys of ganfoundry.export.formats.FORMATS, which needs torch


@click.command(context_settings=CONTEXT)
@network_option
@click.option('--format', help='Kind of files.', type=Choice(FORMATS), required=True)
@click.option('--out', help='New folder for the files.', required=True, type=user_path, metavar='DIR')
@click.option('--opset', help='ONNX, html: version of the operators.  [default: 18]', type=click.IntRange(18, 23))
@click.option('--psi', help='ONNX, html: truncation, an input or a number.  [default: input]', metavar='input|0.7')
@click.option(
    '--noise',
    help='ONNX, html: the stored noise of the network, none, or an input.  [default: const; html: input]',
    type=Choice(['const', 'none', 'input']),
)
@click.option('--recalibrate', help='Measure batch-norm statistics again, at the truncation of --psi.', is_flag=True)
@click.option('--license', help='License of the weights, e.g. apache-2.0; needed by hub.', metavar='NAME')
@click.option('--ort', help='html: folder of the npm package onnxruntime-web.', type=user_path, metavar='DIR')
@click.option('--webgpu', help='html: add a switch for the GPU, and 4 MB.', is_flag=True)
@click.option('--onnx', help='hub: add the ONNX files.', is_flag=True)
@click.option('--push', help='hub: upload the folder to this repository of the hub.', metavar='USER/NAME')
@plugin_option
def main(**options: Any) -> None:
    """Export a trained network for other programs.

    \b
    python export.py --network=latest --format=onnx --out=exported
    python export.py --network=latest --format=html --out=page
    python export.py --network=latest --format=hub --license=cc0-1.0 --out=card
    python export.py --network=latest --format=hub --license=cc0-1.0 --out=card --push=USER/NAME

    onnx is for any runtime, and is compared with PyTorch in onnxruntime before it is written; html is one page that
    draws in a browser without a server; safetensors holds the weights alone; hub is a folder with a model card as the
    Hugging Face hub shows it. Only --push uses the network.
    """
    from ganfoundry.export.options import ExportOptions
    from ganfoundry.export.run import run_export

    run_export(ExportOptions(**options))
