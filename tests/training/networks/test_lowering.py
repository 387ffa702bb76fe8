"""Tests of weights that are prepared once per pass: networks compute the same, with the same gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch

from tests.support.operations import rand
from torch_utils.ops import dispatch
from torch_utils.ops.lowered_weights import lower_weights
from torch_utils.ops.modulated_conv2d import modulated_conv2d
from torch_utils.ops.modulation import modulation
from torch_utils.ops.toolchain import build
from torch_utils.ops.upfirdn2d import setup_filter
from training.interface import ImageSpec
from training.networks import lowering
from training.networks.layers import Conv2d, set_precision
from training.networks.lowering import prepared
from training.networks.stylegan2 import (
    StyleGAN2Discriminator,
    StyleGAN2DiscriminatorConfig,
    StyleGAN2Generator,
    StyleGAN2GeneratorConfig,
)

pytestmark = pytest.mark.skipif(not build.load_cpu(), reason='no native operations')
SPEC = ImageSpec(resolution=16, channels=3, label_dim=2, num_images=4)
NARROW = {'channel_base': 128, 'channel_max': 16}


def generator() -> StyleGAN2Generator:
    torch.manual_seed(0)
    return StyleGAN2Generator(StyleGAN2GeneratorConfig(**NARROW, z_dim=8, w_dim=8, num_fp16_res=1), SPEC)


def discriminator(architecture: str) -> StyleGAN2Discriminator:
    torch.manual_seed(0)
    cfg = StyleGAN2DiscriminatorConfig(**NARROW, architecture=architecture, mbstd_group=2, num_fp16_res=1, freezed=1)
    return StyleGAN2Discriminator(cfg, SPEC)


def path_lengths(G: StyleGAN2Generator) -> torch.Tensor:
    """Returns a loss of the first and second derivatives of G."""
    torch.manual_seed(1)
    ws = G.mapping(torch.randn(4, 8), torch.eye(2).repeat(2, 1))
    img = G.synthesis(ws, noise_mode='const')
    (grad,) = torch.autograd.grad((img * torch.randn_like(img)).sum(), ws, create_graph=True)
    return grad.square().sum() + img.square().mean()


def r1(D: StyleGAN2Discriminator) -> torch.Tensor:
    """Returns a loss of the first and second derivatives of D."""
    torch.manual_seed(1)
    img = torch.randn(4, 3, 16, 16).requires_grad_()
    logits = D(img, torch.eye(2).repeat(2, 1))
    (grad,) = torch.autograd.grad(logits.sum(), img, create_graph=True)
    return grad.square().sum() + logits.square().mean()


def loss_and_gradients(net: torch.nn.Module, loss: Callable[..., torch.Tensor]) -> list[torch.Tensor]:
    value = loss(net)
    return [value.detach(), *torch.autograd.grad(value, [p for p in net.parameters() if p.requires_grad])]


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
@pytest.mark.parametrize(
    ('make', 'loss'),
    [
        (generator, path_lengths),
        (lambda: discriminator('resnet'), r1),
        (lambda: discriminator('skip'), r1),
    ],
    ids=['G', 'D resnet', 'D skip'],
)
def test_prepared_weights_change_no_loss_and_no_gradient(
    make: Callable[[], torch.nn.Module],
    loss: Callable[..., torch.Tensor],
    dtype: torch.dtype,
    tolerance: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = make()
    set_precision(net, dtype)
    monkeypatch.setattr(lowering, 'prepares', lambda weight: False)
    expected = loss_and_gradients(net, loss)
    monkeypatch.setattr(lowering, 'prepares', lambda weight: True)
    found = loss_and_gradients(copy.deepcopy(net), loss)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * max(float(b.abs().max()), 1e-3))


def test_nothing_stays_ready_after_a_pass_not_even_after_an_error() -> None:
    layer = Conv2d(2, 3, 3)
    with prepared(layer.requests(torch.float32)):
        assert set(layer.ready) == {'weight', 'bias'}
    assert layer.ready == {}
    with pytest.raises(RuntimeError, match='channels'), prepared(layer.requests(torch.float32)):
        layer(torch.randn(1, 5, 4, 4))  # the layer has two input channels
    assert layer.ready == {}


def test_a_layer_computes_the_same_with_and_without_prepared_weights() -> None:
    layer, x = Conv2d(2, 3, 3), torch.randn(1, 2, 4, 4)
    expected = layer(x, gain=0.5)
    with dispatch.default('ref'), prepared(layer.requests(torch.float32, gain=0.5)):
        assert layer.ready == {}, 'the reference prepares nothing'
    with prepared(layer.requests(torch.float32, gain=0.5)):
        assert set(layer.ready) == {'weight', 'bias'}
        torch.testing.assert_close(layer(x, gain=0.5), expected)


def test_layers_in_float64_keep_their_precision() -> None:
    layer, x = Conv2d(2, 3, 3).double(), torch.randn(1, 2, 4, 4).double()
    with prepared(layer.requests(torch.float32)):
        assert layer.ready == {}
        assert layer(x).dtype == torch.float64


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('squares', [True, False])
def test_the_kernels_of_a_cpu_equal_the_reference(dtype: torch.dtype, squares: bool) -> None:
    """Values bit for bit, and gradients of values, of squares and of both, for every form of a weight."""
    shapes = [[5, 4, 3, 3], [3, 7, 1, 1], [2, 3, 4, 2], [0, 2, 3, 3]] + ([] if squares else [[6, 5], [9]])
    gains = [0.3 + i for i in range(len(shapes))]
    results = []
    for impl in ('cpu', 'ref'):
        weights = [rand(*shape, seed=i).float().requires_grad_() for i, shape in enumerate(shapes)]
        lowered = lower_weights(weights, gains, dtype, squares=squares, impl=impl)
        found: list[torch.Tensor] = [result.weight for result in lowered]
        terms = [result.weight.float().sin().sum() for i, result in enumerate(lowered) if i != 1]
        if squares:
            sums = [result.squares for result in lowered]
            terms += [q.square().sum() for i, q in enumerate(sums) if i != 0 and q is not None]
            torch.testing.assert_close(
                sums, [(w * g).square().sum([2, 3]) for w, g in zip(weights, gains, strict=True)]
            )
        first = torch.autograd.grad(sum(terms), weights, create_graph=True, allow_unused=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first if g is not None), weights, allow_unused=True)
        results.append((found, first, second))
        if impl == 'cpu':
            assert all(w.is_contiguous(memory_format=torch.channels_last) for w in found if w.ndim == 4)
    (found, *grads), (expected, *expected_grads) = results
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)
    for of_order, expected_of_order in zip(grads, expected_grads, strict=True):
        for a, b in zip(of_order, expected_of_order, strict=True):
            torch.testing.assert_close(*(torch.zeros(()) if t is None else t for t in (a, b)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('up', [1, 2])
def test_lowered_weights_and_modulation_are_the_demodulated_convolution(up: int) -> None:
    x, w, s = rand(2, 3, 4, 4), rand(5, 3, 3, 3, seed=1), rand(2, 3, seed=2)
    f = setup_filter([1, 3, 3, 1])

    def run(lowers: bool) -> list[torch.Tensor]:
        inputs = [t.clone().requires_grad_() for t in (x, w, s)]
        lowered = None
        if lowers:
            lowered = lower_weights([inputs[1]], [1], torch.float64, normalize=True, squares=True, impl='cpu')[0]
        y = modulated_conv2d(
            inputs[0], inputs[1], inputs[2], up=up, padding=1, resample_filter=f, lowered=lowered, act='lrelu'
        )
        (ds,) = torch.autograd.grad(y.square().sum(), inputs[2], create_graph=True)
        return [y, ds, *torch.autograd.grad(ds.square().sum(), inputs)]

    for a, b in zip(run(True), run(False), strict=True):
        atol = 1e-5 * float(b.detach().abs().max())  # eps has another weight
        torch.testing.assert_close(a, b, rtol=1e-5, atol=atol)


@pytest.mark.parametrize('normalize', [True, False])
def test_second_derivatives_of_the_modulation_are_those_of_its_definition(normalize: bool) -> None:
    def run(impl: str) -> list[torch.Tensor]:
        s, q = rand(3, 4, seed=1).requires_grad_(), rand(5, 4, seed=2).square().requires_grad_()
        low, d = modulation(s, q, torch.float64, normalize, impl=impl)
        first = torch.autograd.grad((low.sin() @ d.sum(dim=0)[:4].cos()).sum() + d.square().sum(), [s, q],
                                    create_graph=True)  # fmt: skip
        return [*first, *torch.autograd.grad(sum(g.sin().sum() for g in first), [s, q])]

    for a, b in zip(run('cpu'), run('ref'), strict=True):
        torch.testing.assert_close(a, b)
