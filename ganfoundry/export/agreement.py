"""Agreement of ONNX files with PyTorch: both draw the same inputs, and their differences are counted.

Letters: N batch, L number of ws.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ganfoundry.export.parts import Inputs, Noise, example_inputs, has_w, maps_of
from torch_utils.images import to_uint8

BATCHES = (1, 2, 3, 7)
PSIS = (0.0, 0.7, 1.0)
TOLERANCE = 1e-4  # largest allowed difference, relative to the largest value if that exceeds 1
BYTE_SHARE = 1e-3  # share of places at which the bytes of two images may differ, by 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """Differences between an ONNX file and PyTorch over all cases.

    Attributes:
        largest: Largest difference of two values, as a multiple of max(1, largest value of the case).
        places: Number of bytes that were compared; 0 for ws.
        unequal: Number of bytes that differ.
        widest: Largest difference of two bytes.
    """

    largest: float
    places: int = 0
    unequal: int = 0
    widest: int = 0

    @property
    def holds(self) -> bool:
        """Whether the file may be used in place of PyTorch."""
        return self.largest <= TOLERANCE and self.widest <= 1 and self.unequal <= BYTE_SHARE * self.places

    def __str__(self) -> str:
        text = f'largest difference {self.largest:.1e} (allowed {TOLERANCE:g})'
        if not self.places:
            return text
        return f'{text}, {self.unequal} of {self.places} bytes differ, by at most {self.widest} (allowed 0.1 % by 1)'

    def joined(self, other: Agreement) -> Agreement:
        """Returns the agreement over the cases of both."""
        return Agreement(
            largest=max(self.largest, other.largest),
            places=self.places + other.places,
            unequal=self.unequal + other.unequal,
            widest=max(self.widest, other.widest),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One batch of inputs of all parts, and what PyTorch makes of them: float32 images and, with W, ws."""

    inputs: Inputs
    images: torch.Tensor  # [N, C, H, W]


def cases(G: Any, psi: float | None, noise: Noise) -> Iterator[Case]:
    """Yields the batches of `BATCHES` at every psi of `PSIS`, or at the fixed one; `inputs` holds ws if there are any.

    Args:
        G: The generator; it draws with the operations that generate.py uses.
        psi: The truncation; None for all.
        noise: 'const', 'none' or 'input'.
    """
    for n in BATCHES:
        for value in PSIS if psi is None else (psi,):
            inputs = example_inputs(G, psi, noise, n=n, seed=n)
            if psi is None:
                inputs['psi'] = torch.tensor(value)
            c = inputs.get('c', torch.zeros([n, 0]))
            with torch.no_grad():
                if has_w(G):
                    inputs['ws'] = G.mapping(inputs['z'], c, truncation_psi=value)  # [N, L, w_dim]
                yield Case(inputs=inputs, images=_images(G, inputs, c, value, noise))


def _images(G: Any, inputs: Inputs, c: torch.Tensor, psi: float, noise: Noise) -> torch.Tensor:
    """Returns what the generator draws, float32 [N, C, H, W]; `cases` has the arguments."""
    net, prefix = (G.synthesis, 'synthesis.') if has_w(G) else (G, '')
    replaced = {f'{prefix}{buffer}': inputs[name] for name, buffer in maps_of(net).items() if name in inputs}
    mode = 'none' if noise == 'none' else 'const'
    images: torch.Tensor = torch.func.functional_call(
        G, replaced, (inputs['z'], c), {'truncation_psi': psi, 'noise_mode': mode}
    )
    return images


def agreement(found: torch.Tensor, expected: torch.Tensor, *, is_image: bool) -> Agreement:
    """Compares one batch of results.

    Args:
        found: What the ONNX file returned, float32.
        expected: What PyTorch returned.
        is_image: Whether bytes are compared, too. Images of 16 bits are compared as images of 8 bits.
    """
    if found.shape != expected.shape or not found.isfinite().all():
        return Agreement(largest=float('inf'))
    scale = max(1.0, float(expected.abs().max()))
    largest = float((found - expected).abs().max()) / scale
    if not is_image:
        return Agreement(largest=largest)
    gaps = (to_uint8(found).int() - to_uint8(expected).int()).abs()
    return Agreement(largest=largest, places=gaps.numel(), unequal=int((gaps > 0).sum()), widest=int(gaps.max()))


class Runtime:
    """An ONNX file in onnxruntime, on the CPU.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        self._session = onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
        self.inputs = [value.name for value in self._session.get_inputs()]
        self.output = self._session.get_outputs()[0].name

    def __call__(self, inputs: Inputs) -> torch.Tensor:
        """Returns the output; inputs of other parts are passed over."""
        feeds = {name: inputs[name].numpy() for name in self.inputs}
        return torch.from_numpy(self._session.run([self.output], feeds)[0])
