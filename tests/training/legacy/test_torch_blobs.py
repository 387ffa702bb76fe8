"""Tensors in official files: every type and layout, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import extensions.dcgan  # noqa: F401  registers the discriminator that a test names
from tests.support import hostile_pickles as hostile
from tests.support.official_layout import (
    dumps,
)
from training.legacy.reader import read_network_pickle


@pytest.mark.parametrize('dtype', [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
def test_tensors_of_every_type_and_layout_come_out_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    x = (torch.arange(60).reshape(3, 4, 5) % 7).to(dtype)
    views = {'x': x, 'transposed': x.permute(2, 0, 1), 'part': x[1:, ::2, 3:], 'scalar': x[2, 1, 1]}
    path = tmp_path / 'a.pkl'
    path.write_bytes(dumps(views))
    for name, tensor in read_network_pickle(path).items():
        assert tensor.dtype == dtype
        assert torch.equal(tensor, views[name])
        assert tensor.is_contiguous()


def test_a_tensor_of_a_gpu_is_read_to_the_cpu(tmp_path: Path) -> None:
    path = tmp_path / 'a.pkl'
    content = np.float32(0.5).tobytes()
    path.write_bytes(hostile.network(hostile.tensor(payload=hostile.blob(device='cuda:3', content=content))))
    assert torch.equal(read_network_pickle(path)['G_ema'], torch.tensor([0.5]))
