"""GConv is its equations, in every form; BigBN, GLU, CBAM and spectral normalisation are theirs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from extensions.gconv import Attention, BigGLU
from extensions.layers.gconv import GConv2d, VConv2d, recombine
from extensions.layers.spectral_norm import Conv2d, Linear


def largest(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).detach().abs().max())


# ---- the layer


def double_layer(
    c_in: int = 4, c_out: int = 5, k: int = 3, up: int = 1, c_dim: int = 3
) -> tuple[GConv2d, torch.Tensor, torch.Tensor]:
    """Returns a layer, features on both sides of the rule for the form by their size, and v = [z, one-hot]."""
    torch.manual_seed(0)
    layer = GConv2d(c_in, c_out, k, v_dim=6 + c_dim, up=up).double()
    torch.nn.init.normal_(layer.conv.bias)
    x = torch.randn(3, c_in, 5, 3, dtype=torch.float64, requires_grad=True)
    onehot = F.one_hot(torch.arange(3) % max(c_dim, 1), max(c_dim, 1)).double()[:, :c_dim]
    v = torch.cat([torch.randn(3, 6, dtype=torch.float64), onehot], dim=1).requires_grad_(True)
    return layer, x, v


def kernels(layer: GConv2d, x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Returns Eq. (5) to (7): a kernel K + K Diag(S) W_L for every sample, [N, O, I, k, k]."""
    s = torch.sigmoid(torch.cat([x.mean([2, 3]), v], dim=1) @ layer.select.weight.t())  # [N, O]
    w_l = layer.combine.weight[:, :, 0, 0]  # [O, O], from the second to the first
    K = layer.conv.weight
    return K + torch.einsum('po,no,oikl->npikl', w_l, s, K)


def by_kernels(layer: GConv2d, x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Convolves X with every sample's own kernel, as one grouped convolution."""
    n = x.shape[0]
    k = kernels(layer, x, v)  # [N, O, I, k, k]
    if layer.up == 2:
        x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    x = x.flatten(0, 1)[None]  # [1, N I, H, W]
    y = F.conv2d(x, k.flatten(0, 1), padding=k.shape[-1] // 2, groups=n)
    return y.reshape(n, -1, *y.shape[2:]) + layer.conv.bias[:, None, None]


@pytest.mark.parametrize('c_dim', [0, 3])
@pytest.mark.parametrize(('k', 'up', 'c_out'), [(3, 1, 5), (3, 1, 20), (3, 2, 5), (3, 2, 70), (1, 1, 5), (1, 1, 20)])
def test_the_layer_is_a_convolution_with_a_kernel_for_every_sample(k: int, up: int, c_out: int, c_dim: int) -> None:
    layer, x, v = double_layer(k=k, up=up, c_out=c_out, c_dim=c_dim)
    inputs = [x, v, *layer.parameters()]
    fast, slow = layer(x, v), by_kernels(layer, x, v)
    assert largest(fast, slow) < 1e-12
    direction = torch.randn_like(fast)
    for a, b in zip(
        torch.autograd.grad(fast, inputs, direction), torch.autograd.grad(slow, inputs, direction), strict=True
    ):
        assert largest(a, b) < 1e-12 * max(float(b.abs().max()), 1)
        assert float(a.abs().max()) > 0


def test_the_layer_is_the_papers_matrices() -> None:
    """Eq. (5) to (7) letter by letter: K [o, n] with o = m k_h k_w, X as rows of patches, one sample after another."""
    layer, x, v = double_layer()
    m, n = 4, 5
    K = layer.conv.weight.reshape(n, m * 9).t()  # [o, n]
    W_s, W_L = layer.select.weight.t(), layer.combine.weight[:, :, 0, 0].t()  # [m + d_z, n], [n, n]
    expected = []
    for sample, z in zip(x, v, strict=True):
        x_m = sample.mean([1, 2])  # [m]
        S = torch.sigmoid(torch.cat([x_m, z])[None] @ W_s)  # [1, n], Eq. (5)
        K_selected = torch.stack([S[0, i] * K[:, i] for i in range(n)], dim=1)  # [o, n]
        K_hat = K_selected @ W_L  # [o, n], Eq. (6)
        X = F.unfold(sample[None], 3, padding=1)[0].t()  # [h w, o]
        Y = X @ K + X @ K_hat  # [h w, n], Eq. (7)
        expected.append(Y.t().reshape(n, *sample.shape[1:]) + layer.conv.bias[:, None, None])
    assert largest(layer(x, v), torch.stack(expected)) < 1e-12


@pytest.mark.parametrize('with_bias', [False, True])
def test_both_forms_are_one_map_and_the_smaller_matrix_decides(with_bias: bool) -> None:
    torch.manual_seed(0)
    for channels, named in ((17, 'diagram'), (16, 'bmm')):  # 4x4 pixels
        y, s = torch.randn(2, channels, 4, 4, dtype=torch.float64), torch.rand(2, channels, dtype=torch.float64)
        w_l, bias = torch.randn(channels, channels, dtype=torch.float64), torch.randn(channels, dtype=torch.float64)
        results = {form: recombine(y, s, w_l, bias if with_bias else None, form) for form in ('diagram', 'bmm')}
        assert largest(results['diagram'], results['bmm']) < 1e-12
        assert not torch.equal(results['diagram'], results['bmm'])
        assert torch.equal(recombine(y, s, w_l, bias if with_bias else None), results[named])


@pytest.mark.parametrize('c_out', [5, 20])
def test_without_w_l_it_is_the_convolution(c_out: int) -> None:
    layer, x, v = double_layer(c_out=c_out)
    plain = VConv2d(4, c_out).double()
    plain.load_state_dict({key: p for key, p in layer.state_dict().items() if key.startswith('conv.')})
    torch.nn.init.zeros_(layer.combine.weight)
    assert largest(layer(x, v), plain(x, v)) < 1e-14


@torch.no_grad()
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_the_layer_keeps_dtype_and_takes_any_memory_format(memory_format: torch.memory_format) -> None:
    torch.manual_seed(0)
    layer, v = GConv2d(8, 16, v_dim=4), torch.randn(2, 4)
    x = torch.randn(2, 8, 8, 8).to(memory_format=memory_format)
    full, low = layer(x, v), layer(x.bfloat16(), v)
    assert low.dtype == torch.bfloat16
    assert 0 < float((low - full).norm() / full.norm()) < 0.01


# ---- normalisation


def test_glu_gates_one_affine_map_by_another() -> None:
    torch.manual_seed(0)
    act = BigGLU(4, 6, lambda i, o: Linear(i, o, bias=False))
    x, v = torch.randn(5, 4, 3, 2), torch.randn(5, 6)
    y = F.batch_norm(x, None, None, training=True)
    (g1, g2), (b1, b2) = ((layer(v)[:, :, None, None].chunk(2, dim=1)) for layer in (act.gain, act.shift))
    assert largest(act(x, v), (y * (1 + g1) + b1) * torch.sigmoid(y * (1 + g2) + b2)) < 1e-5


@pytest.mark.parametrize('spatial', [False, True])
def test_attention_is_cbams(spatial: bool) -> None:
    torch.manual_seed(0)
    attention = Attention(32, spatial=spatial, linear=Linear, conv=Conv2d).double()
    x = torch.randn(2, 32, 4, 4, dtype=torch.float64)
    first, _, second = attention.mlp
    assert first.weight.shape == (2, 32)

    def mlp(vector: torch.Tensor) -> torch.Tensor:
        return second.weight @ torch.relu(first.weight @ vector + first.bias) + second.bias

    for sample, result in zip(x, attention(x), strict=True):
        scale = torch.sigmoid(mlp(sample.mean([1, 2])) + mlp(sample.amax([1, 2])))
        y = sample * scale[:, None, None]
        if spatial:
            maps = torch.stack([y.mean(0), y.amax(0)])[None]
            y = y * torch.sigmoid(F.conv2d(maps, attention.spatial.weight, attention.spatial.bias, padding=3)).squeeze(
                0
            )
        assert largest(result, y) < 1e-12
