"""Low-pass filters of StyleGAN3: Kaiser-windowed sinc along an axis, or Kaiser-windowed jinc in two dimensions.

Karras et al. 2021, arXiv 2106.12423, appendix C.1. The filters are computed in float64. Letters: n taps, f_c cut-off,
f_s sampling rate, both in cycles per unit; m distance from the center of the filter in samples.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import j1

Array = NDArray[np.float64]


def low_pass(taps: int, cutoff: float, width: float, rate: float, radial: bool = False) -> torch.Tensor | None:
    """Designs a low-pass filter.

    Args:
        taps: Number n of taps; 1 means no filter. A radial filter needs an even number.
        cutoff: Frequency f_c at which the response is one half.
        width: Width of the transition band around the cut-off.
        rate: Sampling rate f_s.
        radial: Whether the response has the same cut-off in every direction.

    Returns:
        Float32 [n], or [n, n] if radial, with a sum of 1; None if n is 1.

    Raises:
        ValueError: If n is odd and the filter is radial.
    """
    if taps == 1:
        return None
    m: Array = np.arange(taps, dtype=np.float64) - (taps - 1) / 2
    window = kaiser_window(m, kaiser_beta(taps, width, rate))
    if radial:
        if taps % 2:
            raise ValueError(f'low_pass: a radial filter needs an even number of taps, got {taps}')
        r = np.hypot(m[:, None], m[None, :]) / rate
        f = j1(2 * math.pi * cutoff * r) / (math.pi * r) * np.outer(window, window)
    else:
        f = np.sinc(2 * cutoff * m / rate) * window
    return torch.from_numpy(f / f.sum()).float()


def kaiser_beta(taps: int, width: float, rate: float) -> float:
    """Returns the shape of the Kaiser window whose attenuation A suits a transition of this width.

    Args:
        taps: Number of taps.
        width: Width of the transition band.
        rate: Sampling rate.
    """
    attenuation = 2.285 * (taps - 1) * math.pi * width / (rate / 2) + 7.95  # A, in dB
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    if attenuation > 21:
        return 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    return 0.0


def kaiser_window(m: Array, beta: float) -> Array:
    """Returns I0(beta sqrt(1 - (m / max m)^2)) / I0(beta), [n]."""
    inside = np.sqrt(np.maximum(1 - (m / m.max()) ** 2, 0))
    window: Array = np.i0(beta * inside) / np.i0(beta)
    return window
