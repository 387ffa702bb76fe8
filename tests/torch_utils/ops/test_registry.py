"""Tests of the registry of operations; tests/contracts/test_every_op.py tests the registered ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from dnnlib.errors import ConfigError
from torch_utils.ops import dispatch
from torch_utils.ops.registry import OPS, Op, Sample, register_op, sample_bias, sample_tensor

CPU = torch.device('cpu')


def no_samples(device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    yield from ()


def test_a_name_is_taken_once() -> None:
    OPS.load_all()
    with pytest.raises(ConfigError, match=r"operation 'upfirdn2d' is registered twice: by torch_utils\.ops\.upfirdn2d"):
        register_op(Op('upfirdn2d', torch.add, no_samples))
    assert OPS.get('upfirdn2d').call is not torch.add


def test_bound_operations_take_inputs_in_order_and_options_by_name() -> None:
    sample = Sample(name='x', inputs={'input': torch.ones(2), 'other': torch.ones(2)}, options={'alpha': 3})
    assert Op('add', torch.add, no_samples).bind(sample)(torch.zeros(2), torch.ones(2)).tolist() == [3, 3]


def test_the_reference_is_the_function_given_for_it_or_the_default_ref() -> None:
    sample = Sample(name='x', inputs={'x': torch.zeros(1)}, options={})
    chosen = Op('choice', lambda x: x + (dispatch._default == 'ref'), no_samples)
    assert chosen.bind(sample, reference=True)(torch.zeros(1)).tolist() == [1]
    assert chosen.bind(sample)(torch.zeros(1)).tolist() == [0]
    given = Op('given', torch.sin, no_samples, reference=lambda x: x + 2)
    assert given.bind(sample, reference=True)(torch.zeros(1)).tolist() == [2]


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_sample_numbers_are_exact_and_away_from_zero(dtype: torch.dtype) -> None:
    x, b = sample_tensor([1000], CPU, dtype), sample_bias([1000], CPU, dtype)
    assert x.dtype == b.dtype == dtype
    assert torch.equal(x.double(), sample_tensor([1000], CPU, torch.float64))
    assert float((x.double() + b.double()).abs().min()) >= 1 / 8
