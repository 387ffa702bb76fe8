"""The format safetensors: G_ema alone, in `model.safetensors`."""

from __future__ import annotations

import json
from pathlib import Path

from ganfoundry.export.metadata import UNKNOWN
from ganfoundry.export.options import ExportOptions
from ganfoundry.export.public import public_record
from ganfoundry.network import Network
from training.run.export import official_generator
from training.run.open_network import EXPORTED
from training.run.snapshot import write_generator

OFFICIAL, OWN = 'stylegan2-ada-pytorch', 'ganfoundry'  # naming of the tensors, the entry 'names' of the header


def write_weights(network: Network, folder: Path, license: str | None) -> str:
    """Writes `model.safetensors` to a folder and returns a line about it.

    The tensors have the names of the generator's own state dict. For StyleGAN2 these are the official ones, and the
    header has the arguments of the official class, `G_kwargs`.

    Args:
        network: The network.
        folder: The folder.
        license: License of the weights; None if it is not known.
    """
    arguments = official_generator(network.config, network.spec)
    names = OWN if arguments is None else OFFICIAL
    further = {'names': names, 'license': license or UNKNOWN, 'network_sha256': network.sha256}
    if arguments is not None:
        further['G_kwargs'] = json.dumps(arguments)
    path = folder / EXPORTED
    tensors = network.module.state_dict()
    write_generator(path, tensors, public_record(network), network.snapshot.nimg, further)
    return f'{path.name}: {path.stat().st_size / 1e6:.1f} MB; {len(tensors)} tensors under the names of {names}'


def write_safetensors(network: Network, folder: Path, options: ExportOptions) -> list[str]:
    """Writes the files of --format=safetensors to a folder and returns lines about them."""
    return [write_weights(network, folder, options.license)]
