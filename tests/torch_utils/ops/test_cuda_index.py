"""Tests of the CUDA kernels against the reference, thread by thread on the CPU: every index of a GPU is tried.

g++ compiles the same sources as nvcc; `launch.cuh` then calls every thread of every block in turn.
"""

from __future__ import annotations

import ctypes

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.host_kernels import load_launchers
from torch_utils.ops.bias_act import bias_act
from torch_utils.ops.toolchain import cpu_toolchain
from torch_utils.ops.upfirdn2d import upfirdn2d

pytestmark = [pytest.mark.slow, pytest.mark.skipif(cpu_toolchain.find_cxx() is None, reason='needs g++')]

SETTINGS = settings(max_examples=150, deadline=None, derandomize=True)
DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}  # DType in launch.cuh
ROUNDING = {torch.float32: 0, torch.float16: 2**-11, torch.bfloat16: 2**-8}  # relative rounding error of one value
FORMATS = {'NCHW': torch.contiguous_format, 'NHWC': torch.channels_last}

dtypes, formats = st.sampled_from(list(DTYPES)), st.sampled_from(list(FORMATS))
images = st.tuples(st.integers(0, 3), st.sampled_from([1, 2, 3, 4, 8, 12, 16, 24, 72]), st.integers(1, 11),
                   st.sampled_from([*range(1, 13), 16, 20, 24, 32, 37, 44]))  # fmt: skip
WIDE = [(2, 8, 64, 64), (1, 80, 33, 40), (3, 3, 40, 136), (1, 2, 96, 264), (600, 8, 1, 1), (2, 1, 130, 257)]
shapes = st.one_of(images, images, images, st.sampled_from(WIDE))


def fields(*names: str, of: type = ctypes.c_int64) -> list[tuple[str, type]]:
    return [(name, of) for name in names]


class Layout(ctypes.Structure):
    _fields_ = fields('outer', 'channels', 'inner')


class BiasAct(ctypes.Structure):
    _fields_ = [*fields('slope', 'gain', 'clamp', of=ctypes.c_double), ('bounded', ctypes.c_bool)]


class Axis(ctypes.Structure):
    _fields_ = fields('size', 'out', 'up', 'down', 'pad', 'taps')


class Upfirdn2d(ctypes.Structure):
    _fields_ = [*fields('planes', 'pixel'), *fields('y', 'x', of=Axis)]


class Target(ctypes.Structure):
    _fields_ = [('device', ctypes.c_int), ('stream', ctypes.c_void_p)]


@pytest.fixture(scope='module')
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The launchers of the CUDA sources of bias_act and upfirdn2d, compiled as host code without a warning."""
    launchers = ('bias_act', 'bias_act_grad', 'upfirdn2d')
    kernels = load_launchers(tmp_path_factory.mktemp('kernels'), ('bias_act', 'upfirdn2d'), launchers)
    kernels.ganfoundry_bias_act_sum_rows.restype = ctypes.c_int64
    return kernels


def pointer(x: torch.Tensor) -> ctypes.c_void_p:
    assert x.data_ptr() % 16 == 0
    return ctypes.c_void_p(x.data_ptr())


def walled(x: torch.Tensor, layout: str, wall: float) -> torch.Tensor:
    """Returns a copy of x [N, C, H, W] in the named layout, between two walls of 64 values in memory."""
    x = x.contiguous(memory_format=FORMATS[layout])
    memory = torch.full([x.numel() + 128], wall).to(x.dtype)
    return memory[64:-64].as_strided(x.shape, x.stride()).copy_(x)


def image(shape: tuple[int, ...], dtype: torch.dtype, layout: str, seed: int = 1) -> torch.Tensor:
    """Returns normal numbers between walls of NaN: a kernel that reads beyond them computes NaN."""
    return walled(torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype), layout, float('nan'))


def unwritten(shape: tuple[int, ...], dtype: torch.dtype, layout: str) -> torch.Tensor:
    """Returns NaN everywhere, which reveals values that a kernel omits. `assert_equal` checks the walls around it."""
    return walled(torch.full(shape, float('nan')).to(dtype), layout, 7)


def assert_equal(actual: torch.Tensor, expected: torch.Tensor, scale: float = 1) -> None:
    """Checks equality within the rounding of the dtype and 1e-6 of `scale`, at least the largest result."""
    if actual._base is not None:
        walls = actual._base[:64], actual._base[-64:]
        assert all((wall == 7).all() for wall in walls), 'written beyond the result'
    largest = max(float(expected.abs().max()), scale) if expected.numel() else 1.0
    smallest = 2**-25 if actual.dtype == torch.float16 else 0  # step of subnormal values
    torch.testing.assert_close(actual.double(), expected, rtol=ROUNDING[actual.dtype], atol=1e-6 * largest + smallest)


def run(kernels: ctypes.CDLL, name: str, outputs: list[torch.Tensor], *args: object) -> None:
    """Launches a kernel with its threads in order and backwards; conflicts between threads make the results differ."""
    results = []
    for device in (0, 1):
        assert getattr(kernels, f'ganfoundry_{name}')(*args, Target(device)) is None
        results.append([y.clone() for y in outputs])
    for forwards, backwards in zip(*results, strict=True):
        assert torch.equal(forwards.nan_to_num(7), backwards.nan_to_num(7))


def layout_of(x: torch.Tensor, layout: str) -> Layout:
    n, c, h, w = x.shape
    return Layout(n * h * w, c, 1) if layout == 'NHWC' else Layout(n, c, h * w)


@SETTINGS
@given(shapes, dtypes, formats, st.sampled_from([1.0, 0.2, 0.0]), st.sampled_from([None, 0.5]))
def test_bias_act_equals_the_reference(kernels, shape, dtype, layout, slope, clamp) -> None:
    x, b = image(shape, dtype, layout), torch.linspace(-1, 1, shape[1])
    y, p = unwritten(shape, dtype, layout), BiasAct(slope, 1.5, clamp or 0, clamp is not None)
    args = (pointer(x), pointer(b), pointer(y), DTYPES[dtype], layout_of(x, layout), p)
    run(kernels, 'bias_act', [y], *args)
    options = {'act': 'lrelu', 'alpha': slope, 'gain': 1.5, 'clamp': clamp, 'impl': 'ref'}
    assert_equal(y, bias_act(x.double(), b.double(), **options))


@SETTINGS
@given(shapes, dtypes, formats, st.sampled_from([1.0, 0.2, 0.0]), st.sampled_from([None, 0.5]))
def test_bias_act_grad_equals_autograd_and_sums_over_all_but_the_channels(
    kernels, shape, dtype, layout, slope, clamp
) -> None:
    x = image(shape, torch.float64, layout).requires_grad_()
    b = torch.linspace(-1, 1, shape[1], dtype=torch.float64).requires_grad_()
    expected_y = bias_act(x, b, act='lrelu', alpha=slope, gain=1.5, clamp=clamp, impl='ref')
    y, dy = walled(expected_y.detach().to(dtype), layout, float('nan')), image(shape, dtype, layout, seed=2)
    # Rounding to the dtype must not move a result across a kink of the function.
    kinks = (expected_y.abs() < 1e-6) & (slope != 0) | ((expected_y.abs() - (clamp or 0)).abs() < 4e-3)
    dy = walled(torch.where(kinks & (expected_y.abs() != clamp), 0, dy), layout, float('nan'))
    dx, p = unwritten(shape, dtype, layout), BiasAct(slope, 1.5, clamp or 0, clamp is not None)
    seen = layout_of(y, layout)
    sums = torch.full([kernels.ganfoundry_bias_act_sum_rows(DTYPES[dtype], seen), shape[1]], float('nan'))
    args = (pointer(dy), pointer(y), pointer(dx), pointer(sums), DTYPES[dtype], seen, p)
    run(kernels, 'bias_act_grad', [dx, sums], *args)
    expected_dx, expected_db = torch.autograd.grad(expected_y, [x, b], dy.double())
    assert_equal(dx, expected_dx)
    assert_equal(sums.sum(0), expected_db, scale=float(dy.abs().double().sum()))


FACTORS = [((1, 1), (1, 1)), ((2, 2), (1, 1)), ((1, 1), (2, 2))]  # (up, down) of the specialized kernels
ANY_FACTORS = [((4, 2), (1, 1)), ((1, 1), (2, 4)), ((2, 1), (1, 2)), ((2, 4), (4, 2)), ((4, 4), (4, 4))]
TAPS = [(4, 4), (4, 4), (4, 4), (4, 4), (1, 1), (3, 2), (1, 12), (12, 1), (5, 4), (32, 32)]


@st.composite
def cases(draw: st.DrawFn) -> tuple:
    """Draws shape, filter size (fh, fw), up and down as (x, y), and padding (x0, x1, y0, y1) for a non-empty result."""
    n, c, h, w = draw(shapes)
    up, down = draw(st.sampled_from(FACTORS * 2 + ANY_FACTORS))
    fh, fw = draw(st.sampled_from(TAPS))
    if fh == fw == 4 and up[0] <= 2 and down[0] <= 2 and draw(st.booleans()):  # padding of the networks
        return (n, c, h + h % down[1], w + w % down[0]), (fh, fw), up, down, (3 - down[0], 1) * 2
    padding = []
    for size, taps, factor in ((w, fw, up[0]), (h, fh, up[1])):
        before = draw(st.integers(-min(size * factor - 1, 9), 9))
        least = taps - size * factor - before
        after = draw(st.integers(max(least, -9), max(least, 9)))
        padding += [before, after]
    return (n, c, h, w), (fh, fw), up, down, tuple(padding)


@settings(SETTINGS, max_examples=200)
@given(cases(), dtypes, formats)
def test_upfirdn2d_equals_the_reference(kernels, case, dtype, layout) -> None:
    shape, taps, up, down, padding = case
    x, f = image(shape, dtype, layout), torch.randn(taps, generator=torch.Generator().manual_seed(3))
    expected = dense_upfirdn2d(x.double(), f.double(), up, down, padding)
    y = unwritten(tuple(expected.shape), dtype, layout)
    n, c, h, w = shape
    g = Upfirdn2d(*((n, c) if layout == 'NHWC' else (n * c, 1)),
                  Axis(h, y.shape[2], up[1], down[1], padding[2], taps[0]),
                  Axis(w, y.shape[3], up[0], down[0], padding[0], taps[1]))  # fmt: skip
    run(kernels, 'upfirdn2d', [y], pointer(x), pointer(f), pointer(y), DTYPES[dtype], g)
    assert_equal(y, expected, scale=float(f.abs().sum()))


def dense_upfirdn2d(x: torch.Tensor, f: torch.Tensor, up, down, padding) -> torch.Tensor:
    """Returns the definition, written out: the reference rejects some croppings with a non-empty result."""
    n, c, h, w = x.shape
    wide = x.new_zeros([n, c, h * up[1], w * up[0]])
    wide[:, :, :: up[1], :: up[0]] = x
    x0, x1, y0, y1 = padding
    wide = torch.nn.functional.pad(wide, [max(p, 0) for p in padding])
    wide = wide[:, :, max(-y0, 0) : wide.shape[2] - max(-y1, 0), max(-x0, 0) : wide.shape[3] - max(-x1, 0)]
    if n == 0:
        return x.new_zeros([0, c, (wide.shape[2] - f.shape[0]) // down[1] + 1,
                            (wide.shape[3] - f.shape[1]) // down[0] + 1])  # fmt: skip
    y = torch.nn.functional.conv2d(wide.reshape(n * c, 1, *wide.shape[2:]), f[None, None], stride=(down[1], down[0]))
    return y.reshape(n, c, *y.shape[2:])


def test_the_definition_above_is_the_reference() -> None:
    x, f = image((2, 3, 9, 12), torch.float32, 'NCHW').double(), torch.randn(4, 3).double()
    for up, down, padding in (((2, 1), (1, 2), (2, 1, 0, 3)), ((1, 1), (1, 1), (-2, 3, 1, -1))):
        reference = upfirdn2d(x, f, up, down, padding, flip_filter=True, impl='ref')
        torch.testing.assert_close(dense_upfirdn2d(x, f, up, down, padding), reference)


def test_halves_are_loaded_exactly_and_rounded_to_nearest(kernels) -> None:
    """All values of float16 pass through the kernel unchanged; float32 between them rounds as in PyTorch."""
    every = torch.arange(-(2**15), 2**15).to(torch.int16)
    layout, same = Layout(1, 1, len(every)), BiasAct(1, 1, 0, False)
    for dtype in (torch.float16, torch.bfloat16):
        x, b = every.view(dtype), torch.zeros(1)
        y = torch.empty_like(x)
        args = (pointer(x), pointer(b), pointer(y), DTYPES[dtype], layout, same, Target())
        assert kernels.ganfoundry_bias_act(*args) is None
        assert torch.equal(y.nan_to_num(7), x.nan_to_num(7))
        assert torch.equal(y.isnan(), x.isnan())
        for shift in (1 / 3, 2**-24, 3 * 2**-25, 1e-3, 60000.0):
            args = (args[0], pointer(bias := torch.tensor([shift])), *args[2:])
            assert kernels.ganfoundry_bias_act(*args) is None
            assert torch.equal(y.nan_to_num(7), (x.float() + bias).to(dtype).nan_to_num(7))
