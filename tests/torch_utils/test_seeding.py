"""Tests of seeds: a draw is a function of seed, purpose and position."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from torch_utils.seeding import derive, numpy_generator, seed_torch


def test_a_draw_is_a_function_of_seed_purpose_and_position():
    draws = {(s, p, n): numpy_generator(s, p, n).random() for s in (0, 1) for p in ('a', 'b') for n in (0, 1)}
    assert len(set(draws.values())) == 8
    seed_torch(3, 'x', 5)
    first = torch.randn(4)
    torch.randn(100)
    seed_torch(3, 'x', 5)
    assert torch.equal(torch.randn(4), first)


@pytest.mark.slow
def test_seeds_are_the_same_in_every_process():
    code = 'from torch_utils.seeding import derive; print(derive(1, "noise", 7).generate_state(2).tolist())'
    seen = {
        subprocess.run([sys.executable, '-c', code], env={'PYTHONHASHSEED': h}, capture_output=True, text=True).stdout
        for h in ('0', '1')
    }
    assert seen == {f'{derive(1, "noise", 7).generate_state(2).tolist()}\n'}
