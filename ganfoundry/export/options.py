"""The options of export.py, and which of them belong to which format."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from dnnlib.errors import ConfigError
from ganfoundry.command_options import given_options
from ganfoundry.export.parts import Noise
from ganfoundry.export.web_runtime import Kind

# Options of some formats only: their names, their spellings, and the formats.
OF_FORMATS = {
    'opset': ('--opset', ('onnx', 'hub', 'html')),
    'psi': ('--psi', ('onnx', 'hub', 'html')),
    'noise': ('--noise', ('onnx', 'hub', 'html')),
    'ort': ('--ort', ('html',)),
    'webgpu': ('--webgpu', ('html',)),
    'onnx': ('--onnx', ('hub',)),
    'push': ('--push', ('hub',)),
    'recalibrate': ('--recalibrate', ('onnx', 'html')),
}
INPUT = 'input'
OPSET = 18
LICENSE = re.compile(r'[a-z0-9][a-z0-9.+-]{0,49}')  # identifiers of the hub


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxSettings:
    """How ONNX files are made.

    Attributes:
        opset: Version of ONNX's standard operators.
        psi: Truncation; None makes it an input.
        noise: 'const', 'none', or 'input'.
        license: License of the weights; None if it is not known.
        recalibrated: Whether the batch-norm statistics of the network were measured again.
    """

    opset: int = OPSET
    psi: float | None = None
    noise: Noise = 'const'
    license: str | None = None
    recalibrated: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportOptions:
    """The options of export.py under their names in Python; `ganfoundry/commands/export.py` describes each."""

    network: str
    format: str
    out: str
    opset: int | None = None
    psi: str | None = None
    noise: Noise | None = None
    license: str | None = None
    ort: str | None = None
    webgpu: bool = False
    onnx: bool = False
    push: str | None = None
    recalibrate: bool = False
    plugin: tuple[str, ...] = ()

    @property
    def fixed_psi(self) -> float | None:
        """The truncation; None if it is an input. Raises ConfigError for a text that is no finite number."""
        if self.psi in (None, INPUT):
            return None
        try:
            psi = float(str(self.psi))
        except ValueError:
            psi = math.nan
        if not math.isfinite(psi):
            raise ConfigError(f'--psi={self.psi}: expected input, or a finite number such as 0.7')
        return psi

    @property
    def runtime_kind(self) -> Kind:
        """The kind of the page's runtime."""
        return 'webgpu' if self.webgpu else 'wasm'

    def onnx_settings(self) -> OnnxSettings:
        """Returns how ONNX files are made."""
        return OnnxSettings(
            opset=OPSET if self.opset is None else self.opset,
            psi=self.fixed_psi,
            noise=self.noise or 'const',
            license=self.license,
            recalibrated=self.recalibrate,
        )

    def check(self) -> None:
        """Raises ConfigError for options that do not fit the format, and for numbers that are none."""
        psi = self.fixed_psi
        for name, (spelling, formats) in OF_FORMATS.items():
            if self.format not in formats and given_options(self, {name: spelling}):
                raise ConfigError(f'{spelling}: --format={self.format} has no use for it; drop it')
        of_onnx = given_options(self, {name: OF_FORMATS[name][0] for name in ('opset', 'psi', 'noise')})
        if self.format == 'hub' and of_onnx and not self.onnx:
            raise ConfigError(f'{", ".join(of_onnx)}: concerns the ONNX files of the folder; add --onnx')
        if self.license is not None and LICENSE.fullmatch(self.license) is None:
            raise ConfigError(
                f'--license={self.license}: expected an identifier such as apache-2.0, cc-by-nc-4.0, other or unknown'
            )
        if self.recalibrate and psi is None:
            raise ConfigError('--recalibrate measures at one truncation; add --psi, for instance --psi=0.7')
