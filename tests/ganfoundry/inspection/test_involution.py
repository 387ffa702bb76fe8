"""Involution: kernels are at their places and give the module's output; branches of an Inception module share it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dnnlib.errors import ConfigError
from extensions.layers.giu import GIU
from ganfoundry.inspection.finding import Finding
from ganfoundry.inspection.involution import add_giu, inspect_involution, spread
from ganfoundry.inspection.taps import instances


def test_the_kernels_of_the_picture_give_the_output(drawing_of) -> None:
    """Eq. (10) by loops with the kernels of Eq. (9)."""
    drawing = drawing_of('giu')
    ((name, module),) = instances(drawing.network.module, GIU).items()
    _, calls = drawing.run({name: module})
    x, out = calls[name].inputs[0].double(), calls[name].output.double()
    with torch.no_grad():
        weight = module.kernel((x * module.gate(x.float()).double()).float()).double()  # [N, G, K K, H, W]
    n, c, h, w = x.shape
    groups, k = weight.shape[1], round(weight.shape[2] ** 0.5)
    padded = torch.nn.functional.pad(x, [k // 2] * 4)
    expected = torch.zeros_like(x)
    for ch in range(c):
        for i in range(h):
            for j in range(w):
                near = padded[:, ch, i : i + k, j : j + k].reshape(n, -1)
                expected[:, ch, i, j] = (near * weight[:, ch * groups // c, :, i, j]).sum(dim=1)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
    finding = Finding()
    add_giu(finding, name, module, calls[name])
    assert finding.facts['modules'][name]['kernel_rms'] == pytest.approx(weight.square().mean().sqrt().item(), rel=1e-5)
    assert finding.rows[0][1].shape == (n, 3, h * k, w * k)


def test_each_kernel_is_at_its_place() -> None:
    kernels = torch.arange(2 * 9 * 2 * 3).reshape(2, 9, 2, 3).double()
    picture = spread(kernels)
    for i in range(2):
        for j in range(3):
            expected = kernels[1, :, i, j].reshape(3, 3).numpy()
            np.testing.assert_array_equal(picture[1, 3 * i : 3 * i + 3, 3 * j : 3 * j + 3], expected)


def test_the_energies_of_branches_are_those_of_the_output(drawing_of) -> None:
    drawing = drawing_of('igan')
    found = inspect_involution(drawing)
    for name, facts in found.facts['modules'].items():
        module = drawing.network.module.get_submodule(name)
        _, calls = drawing.run({'module': module, 'one': module.conv1})
        total = calls['module'].output.double().square().sum()
        share = float(calls['one'].output.double().square().sum() / total)
        assert facts['energy']['1x1'] == pytest.approx(share, rel=1e-6)
        assert sum(facts['energy'].values()) == pytest.approx(1)
        assert list(facts['energy']) == ['1x1', '3x3', '5x5 dilated', 'pool']
    assert len(found.rows) == 1 + 4 * len(found.facts['modules'])


def test_a_network_without_such_modules_is_refused(drawing_of) -> None:
    with pytest.raises(ConfigError, match=r'\(squeeze\) has no GIU and no Inception module'):
        inspect_involution(drawing_of('squeeze'))
