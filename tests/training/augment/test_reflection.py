"""Reflection by index: PyTorch's numbers and gradients without its nondeterministic kernel."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from training.augment import reflection
from training.augment.reflection import reflect


@pytest.fixture
def fixed_order(monkeypatch):
    """Lets the CPU compute what a GPU does under --deterministic."""
    monkeypatch.setattr(reflection, 'needs_fixed_order', lambda x: True)


@pytest.mark.parametrize('margins', [(0, 0, 0, 0), (1, 2, 3, 0), (5, 5, 3, 3), (0, 4, 0, 1)])
def test_the_form_in_a_fixed_order_has_pytorchs_numbers_and_gradients(fixed_order, margins):
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64, requires_grad=True)
    y, expected = reflect(x, margins), F.pad(x, margins, mode='reflect')
    assert torch.equal(y, expected)
    dy = torch.randn_like(expected)
    grads = [torch.autograd.grad(value, x, dy)[0] for value in (y, expected)]
    torch.testing.assert_close(*grads, rtol=0, atol=1e-12)
    assert gradcheck(lambda x: reflect(x, margins), x)
    assert gradgradcheck(lambda x: reflect(x, margins), x)


def test_pytorchs_kernel_runs_only_where_the_order_is_free(fixed_order):
    class Names(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.found = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.found.append(str(func))
            return func(*args, **(kwargs or {}))

    x = torch.randn(1, 1, 4, 4, requires_grad=True)
    with Names() as names:
        reflect(x, (1, 1, 1, 1)).sum().backward()
    assert not [name for name in names.found if 'reflection' in name]
