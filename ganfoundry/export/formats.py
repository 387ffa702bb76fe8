"""The formats of export.py by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ganfoundry.export.onnx_file import OPSET, check_packages, export_parts
from ganfoundry.export.options import ExportOptions
from ganfoundry.network import Network


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """A format.

    Attributes:
        write: Writes the files of a network to a folder and returns lines about them to print.
        check: Raises ConfigError for options and packages that do not suffice; called before the network is read.
    """

    write: Callable[[Network, Path, ExportOptions], list[str]]
    check: Callable[[ExportOptions], None] = lambda options: None


def check_onnx(options: ExportOptions) -> None:
    """Raises ConfigError if a package that --format=onnx needs is not installed."""
    check_packages()


def write_onnx(network: Network, folder: Path, options: ExportOptions) -> list[str]:
    """Writes generator.onnx and, for a network with W, mapping.onnx and synthesis.onnx."""
    reports = export_parts(
        network,
        folder,
        opset=options.opset or OPSET,
        psi=options.fixed_psi,
        noise=options.noise or 'const',
        license=options.license,
    )
    return [str(report) for report in reports]


FORMATS = {'onnx': Format(write=write_onnx, check=check_onnx)}
