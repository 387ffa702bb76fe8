"""`--what=kernels`: which kernels of a GConv each sample selects, and how the kernels of two samples differ.

Park and Shin, arXiv 2111.15171, Eq. (5) to (8). Letters: N samples, I and O input and output channels, k kernel size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from dnnlib.errors import ConfigError
from extensions.layers.gconv import GConv2d, GConvSynthesisLayer
from ganfoundry.inspection.drawn import Drawing
from ganfoundry.inspection.finding import Finding, heat
from ganfoundry.inspection.taps import instances

WIDTH, ROW = 512, 12  # pixels of a matrix of selections: its width, and the height of a sample


def inspect_kernels(drawing: Drawing) -> Finding:
    """Returns for every GConv a picture of S, one row per sample and one column per kernel, from dark 0 to bright 1,
    beside one of |S_a - S_b|, the difference to the first sample, from 0 to its largest value.

    Raises:
        ConfigError: If the network has no GConv.
    """
    network = drawing.network
    layers = instances(network.module, (GConv2d, GConvSynthesisLayer))
    if not layers:
        raise ConfigError(
            f'--what=kernels: {network.path} ({network.config.cfg}) has no GConv; networks of --cfg=gconv and '
            'gconv-stylegan2 do'
        )
    if len(drawing.points) < 2:
        raise ConfigError('--what=kernels: compares samples; give at least two, for instance --seeds=0-7')
    _, calls = drawing.run(layers)
    finding = Finding()
    for name, call in calls.items():
        with torch.no_grad():
            s = layers[name].selection(*call.inputs[:2]).double()  # [N, O]
            apart = distances(layers[name], s)  # [N, N]
        selected = s.cpu().numpy()
        finding.rows.append((name, np.concatenate([matrix(selected, 1), matrix(np.abs(selected - selected[0]))])))
        pairs = apart[~np.eye(len(apart), dtype=bool)]
        finding.facts.setdefault('layers', {})[name] = {
            'mean': float(selected.mean()),
            'deviation_over_kernels': float(selected.mean(axis=0).std()),
            'deviation_over_samples': float(selected.std(axis=0).mean()),
            'kernel_difference': float(pairs.mean()),
            'kernel_differences': apart.tolist(),
        }
        finding.lines.append(
            f'{name}: S is {selected.mean():.3f} on average and varies by {selected.std(axis=0).mean():.3f} between '
            f'samples; the kernels of two samples differ by {pairs.mean():.1%}.'
        )
    return finding


def distances(layer: Any, s: torch.Tensor) -> np.ndarray:
    """Returns |K_a - K_b| / |K_a| of the kernels of all pairs of samples, float64 [N, N].

    Args:
        layer: The GConv. Of a modulated one, K is the kernel before its modulation.
        s: Selections, float64 [N, O].
    """
    weight = layer.weight if isinstance(layer, GConvSynthesisLayer) else layer.conv.normalized_weight()
    k = weight.double().flatten(1)  # [O, I k k]
    gram = k @ k.T  # [O, O]
    # Eq. (6), (7): K_n = K + K Diag(S_n) W_L, here (1 + W_L Diag(S_n)) K, with the output channels first
    mix = torch.eye(len(k), dtype=k.dtype, device=k.device) + layer.combination().double() * s[:, None, :]  # [N, O, O]
    products = torch.einsum('aij,jk,bik->ab', mix, gram, mix)  # <K_a, K_b>, [N, N]
    norms = products.diagonal()  # [N]
    squares = norms[:, None] + norms[None, :] - 2 * products
    return (squares.clamp(min=0) / norms[:, None]).sqrt().cpu().numpy()


def matrix(values: np.ndarray, high: float | None = None) -> np.ndarray:
    """Returns [N, O] as a picture with one row per sample, uint8 [1, 3, N * ROW, WIDTH]; wide ones are not shortened.

    Args:
        values: The values, at least 0.
        high: The value of the brightest color, None for the largest.
    """
    picture = heat(values[None], 0, high)  # [1, 3, N, O]
    return picture.repeat(ROW, axis=2).repeat(max(1, WIDTH // values.shape[1]), axis=3)
