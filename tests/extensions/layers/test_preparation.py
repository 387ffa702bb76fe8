"""Preparation of a network's layers for a pass: batches are counted, weights are ready, and nothing stays behind."""

from __future__ import annotations

import copy

import pytest
import torch

from extensions.layers.batch_norm import BatchNorm2d, normalized
from extensions.layers.preparation import Preparation
from extensions.layers.spectral_norm import Conv2d
from torch_utils.ops.toolchain import build
from training.networks import lowering
from training.networks.layers import LowerableBlock, set_precision


class Block(LowerableBlock):
    """Convolution and batch norm in the precision of the block."""

    def __init__(self) -> None:
        super().__init__(lowered=True)
        self.conv, self.norm = Conv2d(3, 4, 3, padding=1, sn=True), BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return normalized(self.norm, self.conv(self.lower(x)))


class Network(torch.nn.Module):
    """A block, and a layer in float32 behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.norm, self.last = Block(), BatchNorm2d(4, affine=False), Conv2d(4, 1, 1)
        self.preparation = Preparation(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with self.preparation():
            return self.last(normalized(self.norm, self.block(x).float()))


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> tuple[Network, Network]:
    """Two equal networks in bfloat16; the first one takes itself to be on a GPU."""
    torch.manual_seed(0)
    net = Network()
    set_precision(net, torch.bfloat16)
    fast = copy.deepcopy(net)
    monkeypatch.setattr(BatchNorm2d, 'is_fast', lambda norm: norm in fast.preparation.norms)
    if build.load_cpu():
        own = {id(p) for p in fast.parameters()}
        for name in ('prepares', 'normalizes'):
            monkeypatch.setattr(lowering, name, lambda weight: id(weight) in own)
    return fast, net


def test_a_copy_prepares_its_own_layers() -> None:
    net = Network()
    other = copy.deepcopy(net).preparation
    assert other.norms[0] is not net.preparation.norms[0]
    assert [layer for layer, _ in other.layers] != [layer for layer, _ in net.preparation.layers]
    assert [block is None for _, block in other.layers] == [False, True]


@pytest.mark.parametrize('mode', ['train', 'eval', 'cumulative'])
def test_prepared_passes_compute_and_move_the_same(pair: tuple[Network, Network], mode: str) -> None:
    x, results = torch.randn(5, 3, 8, 8), []
    for net in pair:
        net.train(mode != 'eval')
        if mode == 'cumulative':  # recalibration sets the momentum to None
            for norm in net.preparation.norms:
                norm.momentum = None
        for _ in range(2):
            y = net(x)
        grads = torch.autograd.grad(y.sin().sum(), list(net.parameters()))
        results.append([y, *grads, *net.buffers()])
    for a, b in zip(*results, strict=True):
        scale = max(1e-3, float(b.detach().double().abs().max()))
        torch.testing.assert_close(a, b, rtol=0, atol=0 if a.dtype == torch.int64 else 0.02 * scale)


def test_layers_count_for_themselves_outside_of_a_pass(pair: tuple[Network, Network]) -> None:
    norm = pair[0].norm
    for expected in (1, 2):
        normalized(norm, torch.randn(5, 4, 2, 2))
        assert int(norm.num_batches_tracked) == expected


def test_an_error_leaves_nothing_prepared(pair: tuple[Network, Network]) -> None:
    fast, _ = pair
    with pytest.raises(RuntimeError, match='channels'):
        fast(torch.randn(5, 2, 8, 8))
    assert not any(norm.counted for norm in fast.preparation.norms)
    assert not any(layer.ready for layer, _ in fast.preparation.layers)
