"""ONNX files of a generator, each checked against PyTorch before it gets its name.

Networks with W have three: mapping (z, c, psi -> ws), synthesis (ws, noise -> img) and generator, which joins them. All
others have the generator alone.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dnnlib.errors import ConfigError, ExportError, first_line
from dnnlib.files import atomic_path, sha256_of
from ganfoundry.export.agreement import Agreement, Runtime, agreement, cases
from ganfoundry.export.metadata import metadata_of
from ganfoundry.export.options import OPSET, OnnxSettings
from ganfoundry.export.parts import (
    Inputs,
    LatentPart,
    MappingPart,
    Noise,
    SynthesisPart,
    example_inputs,
    has_w,
    maps_of,
)
from ganfoundry.export.trace import joined, trace
from ganfoundry.network import Network

if TYPE_CHECKING:
    import onnx

MAX_BYTES = 2**31 - 2**20  # weights of a file: protobuf ends at 2 GiB
NEEDS = ('onnx', 'onnxscript', 'onnxruntime')
EXTRA = 'pip install "ganfoundry[export]"'


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxReport:
    """A written ONNX file.

    Attributes:
        path: The file.
        sha256: Its digest, in hex.
        num_bytes: Its size.
        inputs: Names of the inputs in their order.
        output: Name of the output.
        agreement: Its differences from PyTorch.
        operators: Names of the ONNX operators in it, sorted.
    """

    path: Path
    sha256: str
    num_bytes: int
    inputs: tuple[str, ...]
    output: str
    agreement: Agreement
    operators: tuple[str, ...]

    def __str__(self) -> str:
        return f'{self.path.name}: {self.num_bytes / 1e6:.1f} MB; {self.agreement}'


def export_onnx(
    network: Network,
    path: Path,
    *,
    opset: int = OPSET,
    psi: float | None = None,
    noise: Noise = 'const',
    license: str | None = None,
    recalibrated: bool = False,
) -> OnnxReport:
    """Writes a generator as one ONNX file: z, c if there are labels, psi and noise as inputs -> img float32.

    Args:
        network: The network, loaded with device 'cpu' and precision 'fp32'.
        path: The file.
        opset: Version of ONNX's standard operators, 18 or later.
        psi: Truncation; None makes it an input, a scalar.
        noise: 'const' for the stored noise, 'none', or 'input' for one input per layer with noise, [N, 1, h, w].
        license: License of the weights, for the metadata; None if it is not known.
        recalibrated: Whether the batch-norm statistics of the network were measured again, for the metadata.

    Raises:
        ConfigError: If a package is missing, or an argument does not fit the network.
        ExportError: If the network cannot be traced, or if the file draws other images; no file is left then.
    """
    settings = OnnxSettings(opset=opset, psi=psi, noise=noise, license=license, recalibrated=recalibrated)
    models = models_of(network, settings)
    return _write(network, {path: ('generator', models['generator'])}, settings)[0]


def export_parts(network: Network, folder: Path, settings: OnnxSettings) -> list[OnnxReport]:
    """Writes generator.onnx and, for a network with W, mapping.onnx and synthesis.onnx to a folder.

    Args:
        network: The network, loaded with device 'cpu' and precision 'fp32'.
        folder: The folder.
        settings: The arguments of `export_onnx`, which has the errors, too.
    """
    models = models_of(network, settings)
    return _write(network, {folder / f'{part}.onnx': (part, model) for part, model in models.items()}, settings)


def models_of(network: Network, settings: OnnxSettings) -> dict[str, onnx.ModelProto]:
    """Returns the ONNX models by part, 'generator' first. Arguments and errors are those of `export_parts`."""
    check_packages()
    psi, noise, opset = settings.psi, settings.noise, settings.opset
    _check_arguments(network, noise)
    G: Any = network.module
    inputs = example_inputs(G, psi, noise, n=2)
    try:
        if not has_w(G):
            return {'generator': trace(LatentPart(G, psi, noise).eval(), inputs, 'img', opset=opset)}
        of_mapping: Inputs = {name: inputs[name] for name in ('z', 'c', 'psi') if name in inputs}
        with torch.no_grad():
            ws = G.mapping(inputs['z'], inputs.get('c', torch.zeros([2, 0])))  # [2, L, w_dim]
        of_synthesis: Inputs = {'ws': ws, **{name: inputs[name] for name in inputs if name not in of_mapping}}
        mapping = trace(MappingPart(G, psi).eval(), of_mapping, 'ws', opset=opset)
        synthesis = trace(SynthesisPart(G, noise).eval(), of_synthesis, 'img', opset=opset)
    except ExportError as error:
        raise ExportError(f'{network.path}: {error}') from error
    return {'generator': joined(mapping, synthesis, 'ws'), 'mapping': mapping, 'synthesis': synthesis}


def check_packages(option: str = 'an ONNX file') -> None:
    """Raises ConfigError, which begins with an option, if a package of the extra `export` is not installed."""
    if missing := [name for name in NEEDS if importlib.util.find_spec(name) is None]:
        raise ConfigError(f'{option} needs {" and ".join(missing)}: {EXTRA}')


def _check_arguments(network: Network, noise: Noise) -> None:
    if network.device.type != 'cpu' or network.precision != 'fp32':
        raise ConfigError(f"{network}: load it with device='cpu', precision='fp32' for its export")
    if noise == 'input' and not maps_of(network.module):
        raise ConfigError(f'--noise=input: {network.config.cfg} has no noise in it; drop --noise')
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.module.state_dict().values())
    if size > MAX_BYTES:
        raise ConfigError(
            f'{network.path}: {size / 1e9:.1f} GB of weights, and an ONNX file holds at most 2 GB; '
            'use --format=safetensors'
        )


def _write(
    network: Network, models: Mapping[Path, tuple[str, onnx.ModelProto]], settings: OnnxSettings
) -> list[OnnxReport]:
    """Writes files under temporary names, checks all, and renames them.

    Args:
        network: The network.
        models: Part and model by file.
        settings: As in `export_parts`.
    """
    import onnx

    with contextlib.ExitStack() as stack:
        places = {}
        for path, (part, model) in models.items():
            metadata = metadata_of(network, part, model, settings)
            onnx.helper.set_model_props(model, metadata)
            places[path] = stack.enter_context(atomic_path(path))
            places[path].write_bytes(model.SerializeToString(deterministic=True))
        agreements = check_files(network, places, settings)
    return [
        OnnxReport(
            path=path,
            sha256=sha256_of(path),
            num_bytes=path.stat().st_size,
            inputs=tuple(value.name for value in model.graph.input),
            output=model.graph.output[0].name,
            agreement=agreements[path],
            operators=tuple(sorted({node.op_type for node in _nodes(model.graph)})),
        )
        for path, (_, model) in models.items()
    ]


def check_files(network: Network, places: Mapping[Path, Path], settings: OnnxSettings) -> dict[Path, Agreement]:
    """Checks ONNX files with onnx.checker and against PyTorch in onnxruntime.

    Args:
        network: The network.
        places: Where each file lies now, by its final path.
        settings: As in `export_parts`.

    Returns:
        The agreement of each file with PyTorch.

    Raises:
        ExportError: If a file is not valid, has operators that are not standard ones, or differs from PyTorch.
    """
    import onnx

    for path, place in places.items():
        model = onnx.load(place)
        if foreign := {f'{node.domain}.{node.op_type}' for node in _nodes(model.graph) if node.domain}:
            raise ExportError(f'{path.name}: operators that are no standard ones: {", ".join(sorted(foreign))}')
        try:
            onnx.checker.check_model(place, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ExportError(f'{path.name}: not valid ONNX: {first_line(error)}') from error
    runtimes = {path: Runtime(place) for path, place in places.items()}
    found: dict[Path, Agreement] = {}
    for case in cases(network.module, settings.psi, settings.noise):
        for path, runtime in runtimes.items():
            expected = case.inputs['ws'] if runtime.output == 'ws' else case.images
            new = agreement(runtime(case.inputs), expected, is_image=runtime.output == 'img')
            found[path] = found[path].joined(new) if path in found else new
    if wrong := {path: result for path, result in found.items() if not result.holds}:
        numbers = '; '.join(f'{path.name}: {result}' for path, result in wrong.items())
        raise ExportError(f'{network.path}: onnxruntime draws other images than PyTorch, no file is written: {numbers}')
    return found


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yields the nodes of a graph and of the graphs in their attributes."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)
