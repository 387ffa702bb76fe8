"""Tests of the operations against the official ones to float64's last digits, and against their definitions."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck

from tests.conftest import ROOT
from torch_utils.ops import bias_act as ba
from torch_utils.ops.bias_act import bias_act
from torch_utils.ops.conv2d_resample import conv2d_resample
from torch_utils.ops.modulated_conv2d import demodulation, modulated_conv2d
from torch_utils.ops.upfirdn2d import downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d

GOLDEN = ROOT / 'tests' / 'golden'
NUM_CASES = {'bias_act': 27, 'upfirdn2d': 7, 'modulated_conv2d': 4}


def load(name: str, case: int) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Returns the arrays and the arguments of one golden case."""
    with np.load(GOLDEN / f'{name}.npz', allow_pickle=False) as file:
        meta = json.loads(str(file['meta']))
        assert len(meta) == NUM_CASES[name]
        prefix = f'{case}.'
        arrays = {key.removeprefix(prefix): torch.from_numpy(file[key]) for key in file if key.startswith(prefix)}
        return arrays, meta[case]


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    """Checks equality to 1e-12 of the largest element."""
    assert actual.dtype == expected.dtype == torch.float64
    atol = 1e-12 * max(float(expected.detach().abs().max()), 1)
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


def rand(*shape: int, seed: int = 0, grad: bool = True) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_(grad)


@pytest.mark.parametrize('case', range(NUM_CASES['bias_act']))
def test_bias_act_reproduces_official_values_and_gradients_of_two_orders(case: int) -> None:
    t, args = load('bias_act', case)
    x, b = t['x'].requires_grad_(), t['b'].requires_grad_()
    y = bias_act(x, b, dim=1, **args)
    dx, db = torch.autograd.grad(y, [x, b], t['dy'], create_graph=True)
    close(y, t['y'])
    close(dx, t['dx'])
    close(db, t['db'])
    second = torch.autograd.grad((dx * t['v']).sum(), x, allow_unused=True)[0] if dx.requires_grad else None
    close(torch.zeros_like(x) if second is None else second, t['d2x'])


@pytest.mark.parametrize('act', list(ba.ACTIVATIONS))
def test_bias_act_is_twice_differentiable(act: str) -> None:
    x, b = rand(2, 3, 4, seed=1), rand(3, seed=2)
    with torch.no_grad():
        x.copy_(torch.where((x + b[:, None]).abs() < 0.05, x + 0.1, x))  # off the kinks

    def op(x: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return bias_act(x, b, act=act, gain=1.3, clamp=2.0)

    assert gradcheck(op, (x, b))
    assert gradgradcheck(op, (x, b))


def test_bias_act_leaves_its_input_alone_and_keeps_dtype_and_format() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.randn(2, 3, 4, 5).to(dtype).to(memory_format=torch.channels_last)
        before = x.clone()
        for b in (None, torch.zeros(3)):
            y = bias_act(x, b, act='lrelu')
            assert torch.equal(x, before)
            assert y.dtype == dtype
            assert y.is_contiguous(memory_format=torch.channels_last)


def test_bias_act_refuses_what_cannot_work() -> None:
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="unknown activation 'mish'; known are linear, relu"):
        bias_act(x, act='mish')
    with pytest.raises(ValueError, match='clamp must be at least 0'):
        bias_act(x, clamp=-1)
    with pytest.raises(ValueError, match=r'b must have shape \[3\] for dim=1, got \[2\]'):
        bias_act(x, torch.zeros(2))


@pytest.mark.parametrize('case', range(NUM_CASES['upfirdn2d']))
def test_upfirdn2d_reproduces_official_values_and_gradient(case: int) -> None:
    t, args = load('upfirdn2d', case)
    x = t['x'].requires_grad_()
    y = upfirdn2d(x, t.get('f'), **args)
    close(y, t['y'])
    close(torch.autograd.grad(y, x, t['dy'])[0], t['dx'])


def plain_upfirdn2d(x: torch.Tensor, f: torch.Tensor, up: list, down: list, pad: list) -> torch.Tensor:
    """The definition, written out: zeros after every pixel, padding, convolution, every down-th pixel."""
    n, c, h, w = x.shape
    y = x.new_zeros([n, c, h * up[1], w * up[0]])
    y[:, :, :: up[1], :: up[0]] = x
    y = F.pad(y, pad)
    y = F.conv2d(y.reshape(n * c, 1, *y.shape[2:]), f.flip([0, 1])[None, None])
    return y.reshape(n, c, *y.shape[2:])[:, :, :: down[1], :: down[0]]


@pytest.mark.parametrize('up', [[1, 1], [2, 2], [3, 1], [1, 4]])
@pytest.mark.parametrize('down', [[1, 1], [2, 2], [1, 3]])
@pytest.mark.parametrize('pad', [[0, 0, 0, 0], [2, 1, 2, 1], [5, 0, -1, 6], [-1, -2, 7, 3], [1, 4, 4, 1]])
def test_upfirdn2d_is_its_definition(up: list, down: list, pad: list) -> None:
    x, f = rand(2, 3, 7, 8), rand(4, 3, seed=1, grad=False)
    y, expected = upfirdn2d(x, f, up, down, pad), plain_upfirdn2d(x, f, up, down, pad)
    close(y, expected)
    dy = rand(*y.shape, seed=2, grad=False)
    close(torch.autograd.grad(y, x, dy)[0], torch.autograd.grad(expected, x, dy)[0])


@pytest.mark.parametrize(
    ('up', 'down', 'pad', 'size'), [(2, 1, [2, 1, 2, 1], 4), (1, 2, 1, 5), (3, 2, [4, -1, 0, 2], 4), (1, 1, [1, 2], 3)]
)
def test_upfirdn2d_is_twice_differentiable(up: int, down: int, pad: Any, size: int) -> None:
    f = setup_filter([1, 3, 3, 1]).double()
    op = lambda x: upfirdn2d(x, f, up, down, pad, gain=1.5)  # noqa: E731
    x = rand(1, 2, size, size + 1)
    assert gradcheck(op, (x,))
    assert gradgradcheck(op, (x,))


def test_separable_filter_equals_its_outer_product() -> None:
    taps = [1.0, 2, 5, 7, 3, 2, 1, 4]
    x = rand(2, 2, 12, 11)
    one, two = setup_filter(taps, gain=3), setup_filter(taps, gain=3, separable=False)
    assert one.shape == (8,)
    assert two.shape == (8, 8)
    for up, down in ((1, 1), (2, 1), (1, 2)):
        torch.testing.assert_close(
            upfirdn2d(x, one.double(), up, down, 4, gain=2),
            upfirdn2d(x, two.double(), up, down, 4, gain=2),
            rtol=1e-6,
            atol=1e-6,
        )


def test_setup_filter_normalizes_scales_flips_and_stays_2d_below_eight_taps() -> None:
    f = setup_filter([1, 3, 3, 1], gain=4)
    assert f.shape == (4, 4)
    assert f.dtype == torch.float32
    assert float(f.sum()) == 4
    assert torch.equal(setup_filter([1, 2], normalize=False, flip_filter=True), torch.tensor([[4.0, 2], [2, 1]]))
    assert setup_filter(None).tolist() == [[1]]
    with pytest.raises(ValueError, match='one or two dimensions'):
        setup_filter(torch.zeros(1, 2, 3))


def test_resampling_keeps_constants_and_sizes() -> None:
    f = setup_filter([1, 3, 3, 1])
    x = torch.full([1, 2, 8, 8], 3.0)
    for y, size in ((upsample2d(x, f), 16), (downsample2d(x, f), 4), (filter2d(x, f), 8)):
        assert y.shape[2:] == (size, size)
        torch.testing.assert_close(y[:, :, 2:-2, 2:-2], torch.full_like(y[:, :, 2:-2, 2:-2], 3.0))


def test_upfirdn2d_in_bfloat16_is_as_close_as_its_digits_allow() -> None:
    x, f = torch.randn(2, 4, 16, 16), setup_filter([1, 3, 3, 1])
    for args in ({'padding': 1}, {'up': 2, 'padding': [2, 1], 'gain': 4}, {'down': 2, 'padding': 1}):
        y = upfirdn2d(x.bfloat16(), f, **args)
        assert y.dtype == torch.bfloat16
        torch.testing.assert_close(y.float(), upfirdn2d(x, f, **args), rtol=0.02, atol=0.02)


def test_upfirdn2d_refuses_what_cannot_work() -> None:
    x = torch.zeros(1, 1, 4, 4)
    with pytest.raises(ValueError, match='nothing is left'):
        upfirdn2d(x, torch.ones(5, 5))
    with pytest.raises(ValueError, match='up must be at least 1'):
        upfirdn2d(x, None, up=0)
    with pytest.raises(ValueError, match=r'x \[N, C, H, W\]'):
        upfirdn2d(x[0], None)


@pytest.mark.parametrize('k', [1, 3])
@pytest.mark.parametrize(('up', 'down'), [(1, 1), (2, 1), (1, 2), (4, 1), (2, 2)])
@pytest.mark.parametrize('flip_weight', [True, False])
@pytest.mark.parametrize('taps', [[1, 3, 3, 1], [1, 2, 1], None])
def test_conv2d_resample_is_filter_convolve_filter(
    k: int, up: int, down: int, flip_weight: bool, taps: list | None
) -> None:
    x, w = rand(2, 3, 8, 8), rand(4, 3, k, k, seed=1)
    f = None if taps is None else setup_filter(taps).double()
    y = conv2d_resample(x, w, f, up, down, k // 2, flip_weight)
    n = 1 if taps is None else len(taps)
    p0 = k // 2 + ((n + up - 1) // 2 if up > 1 else 0) + ((n - down + 1) // 2 if down > 1 else 0)
    p1 = k // 2 + ((n - up) // 2 if up > 1 else 0) + ((n - down) // 2 if down > 1 else 0)
    z = upfirdn2d(x, f if up > 1 else None, up=up, padding=[p0, p1, p0, p1], gain=up**2)
    z = F.conv2d(z, w if flip_weight else w.flip([2, 3]))
    z = upfirdn2d(z, f if down > 1 else None, down=down)
    assert y.shape[2:] == (8 * up // down,) * 2
    close(y, z)


@pytest.mark.parametrize('case', range(NUM_CASES['modulated_conv2d']))
def test_modulated_conv2d_reproduces_official_values_and_gradients(case: int) -> None:
    t, args = load('modulated_conv2d', case)
    padding = args.pop('kh') // 2
    x, w, s = (t[name].requires_grad_() for name in 'xws')
    f = setup_filter([1, 3, 3, 1])
    y = modulated_conv2d(x, w, s, padding=padding, resample_filter=f, **args)
    close(y, t['y'])
    for actual, name in zip(torch.autograd.grad(y, [x, w, s], t['dy']), ('gx', 'gw', 'gs'), strict=True):
        close(actual, t[name])


def per_sample_kernels(x: torch.Tensor, w: torch.Tensor, s: torch.Tensor, demodulate: bool) -> torch.Tensor:
    """The definition: every sample's own kernel, normalized, Eqs. (1) and (3)."""
    kernels = w * s[:, None, :, None, None]
    if demodulate:
        kernels = kernels * (kernels.square().sum([2, 3, 4], keepdim=True) + 1e-8).rsqrt()
    return torch.cat([F.conv2d(x[i : i + 1], kernels[i], padding=w.shape[-1] // 2) for i in range(len(x))])


@pytest.mark.parametrize(('k', 'size', 'demodulate'), [(3, 5, True), (1, 6, False), (1, 3, False), (1, 3, True)])
def test_modulated_conv2d_is_a_convolution_by_each_samples_kernel(k: int, size: int, demodulate: bool) -> None:
    x, w, s = rand(2, 3, size, size), rand(4, 3, k, k, seed=1), rand(2, 3, seed=2)
    y = modulated_conv2d(x, w, s, padding=k // 2, demodulate=demodulate)
    expected = per_sample_kernels(x, w, s, demodulate)
    close(y, expected)
    for a, b in zip(*(torch.autograd.grad(v.square().sum(), [x, w, s]) for v in (y, expected)), strict=True):
        close(a, b)


@pytest.mark.parametrize(('k', 'up', 'demodulate'), [(3, 1, True), (3, 2, True), (1, 1, False)])
def test_modulated_conv2d_is_twice_differentiable(k: int, up: int, demodulate: bool) -> None:
    f = setup_filter([1, 3, 3, 1])
    size = 2 if k == 3 else 4
    x, w, s, noise = (
        rand(2, 2, size, size),
        rand(2, 2, k, k, seed=1),
        rand(2, 2, seed=2),
        rand(2, 1, size * up, size * up, seed=3),
    )

    def op(x: torch.Tensor, w: torch.Tensor, s: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return modulated_conv2d(x, w, s, noise if demodulate else None, up, 1, k // 2, f, demodulate, gain=1.4)

    inputs = (x, w, s, noise if demodulate else noise.detach())
    assert gradcheck(op, inputs)
    assert gradgradcheck(op, inputs)


def test_modulated_conv2d_adds_noise_after_demodulation_and_scales_both() -> None:
    x, w, s, noise = rand(2, 3, 4, 4), rand(5, 3, 3, 3, seed=1), rand(2, 3, seed=2), rand(4, 4, seed=3)
    for demodulate in (True, False):
        y = modulated_conv2d(x, w, s, noise, padding=1, demodulate=demodulate, gain=1.7)
        plain = modulated_conv2d(x, w, s, padding=1, demodulate=demodulate)
        close(y, 1.7 * (plain + noise))


def test_demodulation_is_the_norm_of_the_scaled_kernel() -> None:
    w, s = rand(4, 3, 3, 3), rand(2, 3, seed=1)
    scaled = w * s[:, None, :, None, None]
    close(demodulation(w, s), 1 / (scaled.square().sum([2, 3, 4]) + 1e-8).sqrt())


def test_modulated_conv2d_in_bfloat16_is_as_close_as_its_digits_allow() -> None:
    x, w, s = torch.randn(2, 16, 8, 8), torch.randn(16, 16, 3, 3), torch.randn(2, 16) + 1
    f = setup_filter([1, 3, 3, 1])
    for up in (1, 2):
        y, expected = (
            modulated_conv2d(x.to(t), w, s, up=up, padding=1, resample_filter=f)
            for t in (torch.bfloat16, torch.float32)
        )
        assert y.dtype == torch.bfloat16
        assert float((y.float() - expected).norm() / expected.norm()) < 0.02


def test_float16_does_not_overflow_however_large_weights_and_styles_are() -> None:
    x, w, s = torch.randn(2, 16, 8, 8), torch.randn(16, 16, 3, 3) * 3e3, torch.randn(2, 16) * 1e4
    y, expected = (modulated_conv2d(x.to(t), w, s, padding=1) for t in (torch.float16, torch.float32))
    assert y.dtype == torch.float16
    assert bool(y.isfinite().all())
    assert float((y.float() - expected).norm() / expected.norm()) < 0.01
