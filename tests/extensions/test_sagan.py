"""Self-attention is its equations and starts as the identity."""

from __future__ import annotations

import pytest
import torch

from dnnlib.errors import ConfigError
from extensions.sagan import SAGANGenerator, SAGANGeneratorConfig, SelfAttention
from tests.extensions.test_giu import SMALL, spec
from torch_utils.seeding import seed_torch


def test_attention_is_its_equations_and_begins_as_the_identity() -> None:
    seed_torch(0, 'test')
    module = SelfAttention(16).double()
    x = torch.randn(2, 16, 3, 4, dtype=torch.float64)
    assert torch.equal(module(x), x)
    torch.nn.init.constant_(module.gamma, 0.5)
    expected = x.clone().flatten(2)
    for n in range(2):
        q, k, v = (conv(x[n : n + 1])[0].flatten(1) for conv in (module.query, module.key, module.value))
        for i in range(12):
            beta = torch.exp(q[:, i] @ k)
            expected[n, :, i] += 0.5 * (v * (beta / beta.sum())).sum(dim=1)
    assert (module(x) - expected.reshape(x.shape)).abs().max() < 1e-12


def test_attention_refuses_stages_and_widths_that_it_cannot_have() -> None:
    with pytest.raises(ConfigError, match=r'attention=\[64\]: the stages of these images are 4, 8, 16'):
        SAGANGenerator(SAGANGeneratorConfig(attention=(64,), **SMALL), spec())
    with pytest.raises(ConfigError, match='channels=4: self-attention needs a multiple of 8'):
        SAGANGenerator(SAGANGeneratorConfig(attention=(16,), **SMALL), spec())
