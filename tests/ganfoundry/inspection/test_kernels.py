"""Kernels: S is the one of Eq. (5), and the difference of two samples is that of the kernels of Eq. (6) and (7)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from dnnlib.errors import ConfigError
from ganfoundry.inspection.kernels import distances, inspect_kernels


def test_differences_are_those_of_explicit_kernels(drawing_of) -> None:
    drawing = drawing_of('gconv')
    layer = drawing.network.module.blocks[0].conv1
    _, calls = drawing.run({'layer': layer})
    x, v = (tensor.double() for tensor in calls['layer'].inputs)
    k = layer.conv.normalized_weight().double()  # [O, I, 3, 3]
    w_s, w_l = layer.select.weight.double(), layer.combination().double()
    kernels, selections = [], []
    for n in range(len(x)):  # Eq. (5) to (7), one output channel at a time
        s = torch.sigmoid(w_s @ torch.cat([x[n].mean(dim=[1, 2]), v[n]]))
        selections.append(s)
        kernels.append(torch.stack([k[o] + sum(w_l[o, j] * s[j] * k[j] for j in range(len(k))) for o in range(len(k))]))
    expected = [[float((a - b).norm() / a.norm()) for b in kernels] for a in kernels]
    np.testing.assert_allclose(distances(layer, torch.stack(selections)), expected, rtol=1e-6, atol=1e-7)
    facts = inspect_kernels(drawing).facts['layers']['blocks.0.conv1']
    assert facts['mean'] == pytest.approx(float(torch.stack(selections).mean()), rel=1e-5)
    assert facts['kernel_difference'] == pytest.approx(np.array(expected)[~np.eye(3, dtype=bool)].mean(), rel=1e-4)


def test_every_gconv_has_a_row(drawing_of) -> None:
    found = inspect_kernels(drawing_of('gconv-stylegan2'))
    assert [name for name, _ in found.rows] == list(found.facts['layers'])
    assert len(found.rows) == 7  # two in each block but the first


def test_one_sample_and_a_network_without_gconv_are_refused(drawing_of) -> None:
    drawing = drawing_of('gconv')
    with pytest.raises(ConfigError, match=r'at least two, for instance --seeds=0-7'):
        inspect_kernels(dataclasses.replace(drawing, points=drawing.points[:1]))
    with pytest.raises(ConfigError, match=r'\(giu\) has no GConv; networks of --cfg=gconv'):
        inspect_kernels(drawing_of('giu'))
