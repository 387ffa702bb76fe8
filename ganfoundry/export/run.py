"""The command `export.py`: one network in one of the formats, in a new folder."""

from __future__ import annotations

from pathlib import Path

import torch

from ganfoundry.drawing import measure_batch_norm
from ganfoundry.export.folder import check_free, new_folder
from ganfoundry.export.formats import FORMATS
from ganfoundry.export.options import ExportOptions, OnnxSettings
from ganfoundry.network import Network, load


def run_export(options: ExportOptions) -> None:
    """Carries out a command line of export.py."""
    chosen = FORMATS[options.format]
    options.check()
    out = Path(options.out)
    check_free(out)
    chosen.check(options)
    network = load(options.network, device='cpu', precision='fp32', plugin=options.plugin)
    if options.recalibrate:
        recalibrate(network, options.onnx_settings())
    with new_folder(out) as folder:
        lines = chosen.write(network, folder, options)
    for line in lines:
        print(line)
    print(f'{out}: {network.config.cfg}, {network.spec}, as {options.format}')
    for line in chosen.publish(out, options):
        print(line)


def recalibrate(network: Network, settings: OnnxSettings) -> None:
    """Measures the batch-norm statistics of a network again, at a fixed truncation, over all classes in turn."""
    assert settings.psi is not None
    label_dim = network.spec.label_dim
    labels = torch.eye(label_dim) if label_dim else torch.zeros([1, 0])  # [K, label_dim]
    measure_batch_norm(network.module, labels, settings.psi)
