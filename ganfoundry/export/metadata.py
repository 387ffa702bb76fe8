"""Metadata of an exported file: what it was made of, and what its inputs and its output mean."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ganfoundry.export.options import OnnxSettings
from ganfoundry.export.public import public_record
from ganfoundry.network import Network

if TYPE_CHECKING:
    import onnx

FORMAT = 'ganfoundry-onnx-1'
UNKNOWN = 'unknown'  # identifier of the hub for weights whose license is not stated


def metadata_of(network: Network, part: str, model: onnx.ModelProto, settings: OnnxSettings) -> dict[str, str]:
    """Returns the entries of `metadata_props`.

    Args:
        network: The network.
        part: 'generator', 'mapping' or 'synthesis'.
        model: The ONNX model.
        settings: How it was exported.
    """
    inputs = {value.name: {'shape': shape_of(value), **_meaning(network, value.name)} for value in model.graph.input}
    output = model.graph.output[0]
    return {
        'format': FORMAT,
        'part': part,
        'network': network.path.name,
        'network_sha256': network.sha256,
        'nimg': str(network.snapshot.nimg),
        'license': settings.license or UNKNOWN,
        'psi': 'input' if settings.psi is None else str(settings.psi),
        'noise': settings.noise,
        'recalibrated': json.dumps(settings.recalibrated),
        'inputs': json.dumps(inputs),
        'output': json.dumps({'name': output.name, 'shape': shape_of(output), **_result(network, output.name)}),
        'record': json.dumps(public_record(network)),
    }


def shape_of(value: onnx.ValueInfoProto) -> list[int | str]:
    """Returns the shape of an input or output; the dynamic dimension is its name."""
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def _meaning(network: Network, name: str) -> dict[str, Any]:
    """Returns distribution and range of an input. Range None: unbounded."""
    if name == 'psi':
        return {'range': [0, 1], 'meaning': 'truncation: 0 draws the average image, 1 is no truncation'}
    if name == 'c':
        classes = {'classes': list(network.class_names)} if network.class_names else {}
        return {'range': [0, 1], 'meaning': 'label: 1 at the class, or shares of classes with the sum 1', **classes}
    if name == 'ws':
        return {'range': None, 'meaning': 'styles, as mapping.onnx returns them'}
    return {'range': None, 'meaning': 'independent numbers of the standard normal distribution'}


def _result(network: Network, name: str) -> dict[str, Any]:
    """Returns range and meaning of an output."""
    if name == 'ws':
        return {'range': None, 'meaning': 'styles for synthesis.onnx'}
    top = 2**network.spec.bits - 1
    pixels = f'clip(img * {top / 2} + {(top + 1) // 2}, 0, {top}), truncated to integers'
    return {'range': [-1, 1], 'clipped': False, 'pixels': pixels, 'bits': network.spec.bits}
