"""Discriminator: frozen layers, memory formats."""

from __future__ import annotations

import pytest
import torch

from tests.support.networks import tiny_D


@pytest.mark.parametrize(
    ('freezed', 'frozen'), [(0, []), (2, ['fromrgb', 'conv0']), (4, ['fromrgb', 'conv0', 'conv1', 'skip'])]
)
def test_freezed_turns_the_first_layers_into_buffers_of_the_same_name(freezed: int, frozen: list[str]) -> None:
    D, plain = tiny_D(freezed=freezed), tiny_D()
    assert D.state_dict().keys() == plain.state_dict().keys()
    missing = {name for name, _ in plain.named_parameters()} - {name for name, _ in D.named_parameters()}
    assert {name.split('.')[1] for name in missing} == set(frozen)
    assert all(name.startswith('b16.') for name in missing)
    D.load_state_dict(plain.state_dict(), strict=True)
    D(torch.randn(4, 1, 16, 16), None).sum().backward()


def test_any_memory_format_gives_the_same_logits() -> None:
    D, img = tiny_D(), torch.randn(4, 1, 16, 16)
    assert torch.equal(D(img, None), D(img.to(memory_format=torch.channels_last), None))
