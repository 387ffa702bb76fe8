"""Tests of the CUDA kernels of epilogue and act_fir against the reference, thread by thread on the CPU."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.host_kernels import load_launchers
from tests.torch_utils.ops.test_cuda_index import (
    DTYPES,
    ROUNDING,
    Axis,
    BiasAct,
    Upfirdn2d,
    assert_equal,
    dtypes,
    fields,
    image,
    pointer,
    run,
    unwritten,
    walled,
)
from torch_utils.ops.act_fir import act_fir
from torch_utils.ops.epilogue import synthesis_epilogue
from torch_utils.ops.toolchain import cpu_toolchain

pytestmark = [pytest.mark.slow, pytest.mark.skipif(cpu_toolchain.find_cxx() is None, reason='needs g++')]

SETTINGS = settings(max_examples=40, deadline=None, derandomize=True)
sizes = st.tuples(
    st.integers(1, 3), st.sampled_from([1, 3, 8, 16, 24, 72, 136]), st.integers(1, 20), st.integers(1, 37)
)
paddings = st.one_of(st.just((1, 1, 1, 1)), st.just((2, 2, 2, 2)), st.tuples(*[st.integers(-3, 12)] * 4))
activations = st.tuples(st.sampled_from([1.0, 0.2, 0.0]), st.sampled_from([None, 0.5]))


class EpilogueSizes(ctypes.Structure):
    _fields_ = [
        *fields('images', 'channels', 'height', 'width'), *fields('y', 'x', of=Axis), ('filtered', ctypes.c_bool)
    ]  # fmt: skip


class EpilogueTerms(ctypes.Structure):
    _fields_ = [*fields('d', 'noise', 'b', of=ctypes.c_void_p), ('noise_stride', ctypes.c_int64)]


class EpilogueTables(ctypes.Structure):
    _fields_ = fields('tiles', 'parts')


class EpilogueSums(ctypes.Structure):
    _fields_ = fields('d_table', 'b_table', 'noise_table', 'dd', 'db', 'dnoise', of=ctypes.c_void_p)


@pytest.fixture(scope='module')
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The launchers of both operations, compiled as host code without a warning."""
    launchers = ('epilogue', 'epilogue_backward', 'act_fir', 'act_fir_backward')
    kernels = load_launchers(tmp_path_factory.mktemp('kernels'), ('epilogue', 'act_fir'), launchers)
    kernels.ganfoundry_epilogue_tables.restype = EpilogueTables
    kernels.ganfoundry_act_fir_table_rows.restype = ctypes.c_int64
    return kernels


def address(x: torch.Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()


def floats(*shape: int, seed: int) -> torch.Tensor:
    """Returns normal numbers between walls of NaN, float32."""
    return image((1, 1, 1, torch.Size(shape).numel()), torch.float32, 'NCHW', seed).view(shape)


def empty(*shape: int) -> torch.Tensor:
    return unwritten((1, 1, 1, torch.Size(shape).numel()), torch.float32, 'NCHW').view(shape)


def axes(h: int, w: int, padding: tuple[int, ...]) -> tuple[Axis, Axis]:
    """Axes of a filter of 4 x 4 taps."""
    return (Axis(h, h + padding[2] + padding[3] - 3, 1, 1, padding[2], 4),
            Axis(w, w + padding[0] + padding[1] - 3, 1, 1, padding[0], 4))  # fmt: skip


@st.composite
def epilogues(draw: st.DrawFn) -> tuple[Any, ...]:
    """Draws shape, dtype, padding or None without a filter, presence of d, noise and b, and the activation."""
    shape, dtype = draw(sizes), draw(dtypes)
    padding = draw(st.one_of(st.none(), paddings))
    if padding is not None:
        packs = 4 if dtype == torch.float32 else 8
        shape = (shape[0], max(packs, shape[1] // packs * packs), *shape[2:])
        y, x = axes(*shape[2:], padding)
        assume(y.out >= 1 and x.out >= 1)
    noise = draw(st.sampled_from(['none', 'shared', 'own']))
    return shape, dtype, padding, draw(st.booleans()), noise, draw(st.booleans()), draw(activations)


@SETTINGS
@given(epilogues())
def test_epilogue_and_its_gradients_equal_the_reference(kernels, case) -> None:
    """Values, dx, and the sums for d, b and the noise, with and without a filter, for packs and for one value."""
    (n, c, h, w), dtype, padding, with_d, with_noise, with_b, (slope, clamp) = case
    y_axis, x_axis = (Axis(), Axis()) if padding is None else axes(h, w, padding)
    height, width = (h, w) if padding is None else (y_axis.out, x_axis.out)
    x, f = image((n, c, h, w), dtype, 'NHWC'), None if padding is None else floats(4, 4, seed=9)
    d = floats(n, c, seed=2) if with_d else None
    noise_shape = {'none': None, 'shared': (height, width), 'own': (n, 1, height, width)}[with_noise]
    noise = None if noise_shape is None else floats(*noise_shape, seed=3)
    b = floats(c, seed=4) if with_b else None
    options = {'act': 'lrelu', 'alpha': slope, 'gain': 1.5, 'impl': 'ref'}
    wide = [None if t is None else t.double().requires_grad_() for t in (x, d, noise, b)]
    # The launcher correlates with f, the reference convolves.
    fir = None if f is None else f.double().flip([0, 1])
    if fir is not None:
        wide_u = reference_filter(wide[0], fir, padding)
        assume(wide_u is not None)
    else:
        wide_u = wide[0]
    expected = synthesis_epilogue(wide_u, None, [0] * 4, *wide[1:], clamp=clamp, **options)
    unbounded = synthesis_epilogue(wide_u, None, [0] * 4, *wide[1:], clamp=None, **options).detach().abs()
    g = EpilogueSizes(n, c, height, width, y_axis, x_axis, padding is not None)
    terms = EpilogueTerms(address(d), address(noise), address(b), height * width if with_noise == 'own' else 0)
    act = BiasAct(slope, 1.5, clamp or 0, clamp is not None)
    y, code = unwritten((n, c, height, width), dtype, 'NHWC'), DTYPES[dtype]
    taps = None if f is None else pointer(f)
    run(kernels, 'epilogue', [y], pointer(x), taps, pointer(y), code, g, terms, act)
    scale = 16.0 if padding is not None else 4.0
    assert_equal(y, expected.detach(), scale=scale)

    # Near a jump of the derivative, rounding decides its side.
    smooth = (unbounded > 1e-4) & ((unbounded - (clamp or torch.inf)).abs() > 1e-4) | (unbounded == 0)
    dy = image((n, c, height, width), dtype, 'NHWC', seed=5)
    dy = walled(torch.where(smooth, dy, 0), 'NHWC', float('nan'))
    inputs = [t for t in wide if t is not None]
    gradients = iter(torch.autograd.grad(expected, inputs, dy.double()))
    wanted = [None if t is None else next(gradients) for t in wide]
    dx, size = unwritten((n, c, h, w), dtype, 'NHWC'), kernels.ganfoundry_epilogue_tables(code, g)
    tables = [empty(n, size.tiles, c), empty(n, size.tiles, c), empty(size.parts, n, height, width)]
    outputs = [None if t is None else empty(*t.shape) for t in (d, b, noise)]
    if noise is None:
        tables[2] = None
    sums = EpilogueSums(*(address(t) for t in (*tables, *outputs)))
    run(kernels, 'epilogue_backward', [t for t in (dx, *outputs) if t is not None], pointer(dy), pointer(x), taps,
        pointer(dx), code, g, terms, sums, act)  # fmt: skip
    # With a filter, du is rounded once more than the result.
    error = (dx.double() - wanted[0]).abs()
    largest = max(float(wanted[0].abs().max()), scale)
    assert (
        float((error - ROUNDING[dtype] * wanted[0].abs()).max())
        <= (1e-6 + (padding is not None) * ROUNDING[dtype]) * largest
    )
    total = float(dy.abs().double().sum()) * (1 + float(x.abs().max()))
    for actual, expected_sum in zip(outputs, (wanted[1], wanted[3], wanted[2]), strict=True):
        if actual is not None:
            assert_equal(actual, expected_sum, scale=total)


def reference_filter(x: torch.Tensor, fir: torch.Tensor, padding: tuple[int, ...]) -> torch.Tensor | None:
    """Returns FIR(x); None where PyTorch rejects an empty crop."""
    h, w = x.shape[2:]
    if h + min(padding[2], 0) + min(padding[3], 0) < 1 or w + min(padding[0], 0) + min(padding[1], 0) < 1:
        return None
    return synthesis_epilogue(x, fir, padding, impl='ref')


@SETTINGS
@given(sizes, dtypes, paddings, activations)
def test_act_fir_and_its_gradients_equal_the_reference(kernels, shape, dtype, padding, activation) -> None:
    packs = 4 if dtype == torch.float32 else 8
    (n, c, h, w), (slope, clamp) = shape, activation
    c = max(packs, c // packs * packs)
    y_axis, x_axis = axes(h, w, padding)
    assume(y_axis.out >= 1 and x_axis.out >= 1)
    assume(h + min(padding[2], 0) + min(padding[3], 0) >= 1 and w + min(padding[0], 0) + min(padding[1], 0) >= 1)
    x, b, f = image((n, c, h, w), dtype, 'NHWC'), floats(c, seed=2), floats(4, 4, seed=3)
    v = 1.5 * (x.double() + b.double()[:, None, None])
    # Near a jump of the derivative, rounding decides its side.
    jumps = (v.abs() < 1e-4) | ((v.abs() - (clamp or torch.inf)).abs() < 1e-4)
    jumps |= (slope * v.abs() - (clamp or torch.inf)).abs() < 1e-4
    x = walled(torch.where(jumps, 3, x), 'NHWC', float('nan'))
    wide = [x.double().requires_grad_(), b.double().requires_grad_()]
    options = {'act': 'lrelu', 'alpha': slope, 'gain': 1.5, 'clamp': clamp, 'impl': 'ref'}
    expected = act_fir(*wide, f.double().flip([0, 1]), padding, **options)
    g, code, act = Upfirdn2d(n, c, y_axis, x_axis), DTYPES[dtype], BiasAct(slope, 1.5, clamp or 0, clamp is not None)
    y = unwritten(tuple(expected.shape), dtype, 'NHWC')
    run(kernels, 'act_fir', [y], pointer(x), pointer(b), pointer(f), pointer(y), code, g, act)
    assert_equal(y, expected.detach(), scale=16.0)

    dy, dx, db = image(tuple(expected.shape), dtype, 'NHWC', seed=5), unwritten((n, c, h, w), dtype, 'NHWC'), empty(c)
    wanted = torch.autograd.grad(expected, wide, dy.double())
    back = Upfirdn2d(n, c, *(Axis(a.out, a.size, 1, 1, 3 - a.pad, 4) for a in (y_axis, x_axis)))
    table = empty(kernels.ganfoundry_act_fir_table_rows(code, back), c)
    run(kernels, 'act_fir_backward', [dx, db], pointer(dy), pointer(x), pointer(b), pointer(f), pointer(dx),
        pointer(db), pointer(table), code, back, act)  # fmt: skip
    assert_equal(dx, wanted[0], scale=16.0)
    assert_equal(db, wanted[1], scale=float(dy.abs().double().sum()) * float(f.abs().sum()))
