"""The options of export.py, and which of them belong to which format."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dnnlib.errors import ConfigError
from ganfoundry.command_options import given_options
from ganfoundry.export.parts import Noise

# Options of some formats only: their names, their spellings, and the formats.
OF_FORMATS = {
    'opset': ('--opset', ('onnx', 'hub', 'html')),
    'psi': ('--psi', ('onnx', 'hub', 'html')),
    'noise': ('--noise', ('onnx', 'hub', 'html')),
}
INPUT = 'input'


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

    def check(self) -> None:
        """Raises ConfigError for options that do not fit the format, and for numbers that are none."""
        for name, (spelling, formats) in OF_FORMATS.items():
            if self.format not in formats and given_options(self, {name: spelling}):
                raise ConfigError(f'{spelling}: --format={self.format} has no use for it; drop it')
        _ = self.fixed_psi
