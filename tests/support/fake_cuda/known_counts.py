"""Small computations on fake CUDA tensors whose costs are known by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from tests.support.fake_cuda.counter import Counter
from tests.support.fake_cuda.mode import FakeCuda
from tests.support.fake_cuda.steps import CUDA
from torch_utils.devices import gpu_products
from torch_utils.ops.bias_act import bias_act
from torch_utils.ops.involution import involution
from torch_utils.ops.spectral_weights import spectral_weights


def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Returns zeros on the device."""
    return torch.zeros(shape, device=CUDA, dtype=dtype)


def channels_last(*shape: int) -> torch.Tensor:
    """Returns bfloat16 zeros on the device in NHWC."""
    return zeros(*shape, dtype=torch.bfloat16).to(memory_format=torch.channels_last)


def second_derivative() -> None:
    """Differentiates a convolution of F.conv2d twice: the gradient of its weight has a feature map for a kernel."""
    x, w = zeros(2, 4, 32, 32).requires_grad_(), zeros(8, 4, 3, 3).requires_grad_()
    (dx,) = torch.autograd.grad(F.conv2d(x, w, padding=1).sum(), x, create_graph=True)
    dx.square().sum().backward()


def normalize(weights: Sequence[torch.Tensor], us: Sequence[torch.Tensor]) -> torch.Tensor:
    """Returns the first of several weights, spectrally normalized after a power iteration."""
    n = len(weights)
    return spectral_weights(weights, us, [0] * n, [torch.float32] * n, iterate=True)[0].weight


def prepare() -> dict[str, torch.Tensor]:
    """Returns operands, whose making is not counted."""
    w, u = zeros(16, 4, 3, 3).requires_grad_(), zeros(16)
    return {
        'x': zeros(4, 8),
        'w': w,
        'u': u,
        'normalized': normalize([w], [u]),
        'low': channels_last(2, 4, 8, 8),
        'weight': zeros(16, 4, 3, 3, dtype=torch.bfloat16),
        'weight_last': channels_last(16, 4, 3, 3),
        'bias': zeros(4),
        'kernels': channels_last(2, 18, 8, 8).unflatten(1, (2, 9)),
    }


# Name -> computation, and the fields of its cost. [4, 8] float32 are 128 bytes.
KNOWN: dict[str, tuple[Callable[[dict[str, torch.Tensor]], object], dict[str, float]]] = {
    'a sum reads two tensors and writes one': (lambda t: t['x'] + t['x'], {'launches': 1, 'bytes': 384}),
    'a view is free': (lambda t: t['x'].t().unsqueeze(0).detach(), {'launches': 0}),
    'a copy into another order': (lambda t: t['x'].t().reshape(32), {'launches': 1, 'bytes': 256}),
    'an allocation is free': (lambda t: torch.empty_like(t['x']), {'launches': 0}),
    'an empty result is free': (lambda t: t['x'][:0] + 1, {'launches': 0}),
    'an expanded axis counts once': (lambda t: t['x'][:, :1].expand(4, 8) + t['x'], {'launches': 1, 'bytes': 272}),
    'a fill only writes': (lambda t: t['x'].fill_(1), {'launches': 1, 'bytes': 128}),
    'cat takes 128 tensors': (lambda t: torch.cat([t['x']] * 129), {'launches': 2}),
    'a list operation takes 110 tensors': (lambda t: torch._foreach_add_([t['x']] * 111, 1.0), {'launches': 2}),
    'a product of float32': (lambda t: t['x'] @ t['x'].t(), {'launches': 1, 'bytes': 0, 'fp32': 2 * 4 * 8 * 4}),
    'a convolution': (
        lambda t: F.conv2d(t['low'], t['weight_last'], padding=1),
        {'launches': 1, 'bytes': 0, 'low': 2 * (2 * 16 * 8 * 8) * (4 * 9), 'wide': 0},
    ),
    'a convolution that brings its weight into NHWC': (
        lambda t: F.conv2d(t['low'], t['weight'], padding=1),
        {'launches': 2, 'bytes': 2 * 2 * 16 * 4 * 9},
    ),
    'a second derivative has a wide kernel': (
        lambda t: second_derivative(),
        {'wide': 2 * (2 * 8 * 32 * 32) * (4 * 9)},
    ),
    'one of our operators': (lambda t: bias_act(t['low'], t['bias'], act='lrelu'), {'launches': 1, 'bytes': 2064}),
    'an involution of tensors in NHWC copies nothing': (
        lambda t: involution(t['low'], t['kernels']),
        {'launches': 1, 'bytes': 2 * (512 + 2304 + 512)},
    ),
    'an involution copies an operand with gaps': (
        lambda t: involution(t['low'][..., ::2], t['kernels'][..., :4]),
        {'launches': 3},
    ),
    'normalizing 33 weights takes two runs of four kernels': (
        lambda t: normalize([t['w']] * 33, [t['u']] * 33),
        {'launches': 8},
    ),
    'the gradients of normalized weights take two kernels': (
        lambda t: torch.autograd.grad(t['normalized'], t['w'], t['w']),
        {'launches': 2, 'bytes': 3 * 2304 + 64 + 148},
    ),
    'a copy to the host': (lambda t: t['x'].to('cpu', non_blocking=True), {'launches': 1, 'copies': 1, 'waits': 0}),
    'a copy that waits': (lambda t: t['x'].cpu(), {'launches': 1, 'copies': 1, 'waits': 1}),
}


def check(name: str) -> None:
    """Counts a computation. Raises AssertionError if a field of its cost is not the known one."""
    computation, known = KNOWN[name]
    counter = Counter()
    for product in gpu_products():
        product.fp32_precision = 'ieee'
    with FakeCuda(counter):
        operands = prepare()
        counter.clear()
        computation(operands)
    cost = counter.phases['rest']
    assert {field: getattr(cost, field) for field in known} == known, cost
