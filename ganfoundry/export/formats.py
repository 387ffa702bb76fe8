"""The formats of export.py by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ganfoundry.export.hub import check_hub, push_hub, write_hub
from ganfoundry.export.onnx_file import check_packages, export_onnx, export_parts
from ganfoundry.export.options import ExportOptions
from ganfoundry.export.web_page import content_of, noise_maps, write_page
from ganfoundry.export.web_runtime import find_runtime, read_runtime
from ganfoundry.export.weights import write_safetensors
from ganfoundry.network import Network


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """A format.

    Attributes:
        write: Writes the files of a network to a folder and returns lines about them to print.
        check: Raises ConfigError for options and packages that do not suffice; called before the network is read.
        publish: Receives the finished folder and returns lines to print.
    """

    write: Callable[[Network, Path, ExportOptions], list[str]]
    check: Callable[[ExportOptions], None] = lambda options: None
    publish: Callable[[Path, ExportOptions], list[str]] = lambda folder, options: []


def check_onnx(options: ExportOptions) -> None:
    """Raises ConfigError if a package that --format=onnx needs is not installed."""
    check_packages('--format=onnx')


def write_onnx(network: Network, folder: Path, options: ExportOptions) -> list[str]:
    """Writes generator.onnx and, for a network with W, mapping.onnx and synthesis.onnx."""
    return [str(report) for report in export_parts(network, folder, options.onnx_settings())]


def check_html(options: ExportOptions) -> None:
    """Raises ConfigError if a package that --format=html needs, or its runtime, is not installed."""
    check_packages('--format=html')
    find_runtime(options.ort, options.runtime_kind)


def write_html(network: Network, folder: Path, options: ExportOptions) -> list[str]:
    """Writes generator.html. Noise is an input of its model by default, if the network has any."""
    settings = options.onnx_settings()
    if options.noise is None and noise_maps(network.module):
        settings = dataclasses.replace(settings, noise='input')
    model = folder / 'generator.onnx'
    report = export_onnx(network, model, **dataclasses.asdict(settings))
    content = content_of(network, model.read_bytes(), settings, webgpu=options.webgpu)
    model.unlink()
    page, kind = folder / 'generator.html', options.runtime_kind
    write_page(page, content, read_runtime(find_runtime(options.ort, kind), kind))
    return [f'{page.name}: {page.stat().st_size / 1e6:.1f} MB; {report.agreement}']


FORMATS = {
    'onnx': Format(write=write_onnx, check=check_onnx),
    'html': Format(write=write_html, check=check_html),
    'safetensors': Format(write=write_safetensors),
    'hub': Format(write=write_hub, check=check_hub, publish=push_hub),
}
