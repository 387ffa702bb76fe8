"""The contract of every operation in `torch_utils.ops.registry.OPS`; registering one enrolls it here.

The reference is plain PyTorch; the fast form is the one that `impl='auto'` takes on this machine. Tests marked `gpu`
run on a CUDA device, and on the CPU by tests/support/host_kernels.py.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import torch_utils.ops
from torch_utils.ops import dispatch
from torch_utils.ops.registry import OPS, Op, Sample
from torch_utils.ops.toolchain import build

OPS.load_all()
DEVICE = 'cuda'  # device of the tests marked gpu; tests/support/host_kernels.py sets another
CPU = torch.device('cpu')
CUDA_REGISTRATIONS = ''.join(path.read_text(encoding='utf-8') for path in sorted(build.CSRC.rglob('*_cuda.cpp')))
WITH_CUDA_KERNELS = [
    name for name in OPS.names() if any(f'm.impl("{own}"' in CUDA_REGISTRATIONS for own in OPS.get(name).operators)
]
# Operators that run inside the gradients of others, for some types only: their own files test them.
BELOW_AUTOGRAD = {'conv2d_weight_gradient'}
WITHOUT_OPERATION = {'dispatch', 'registry', 'toolchain'}
FORMATS = (torch.contiguous_format, torch.channels_last)
# Relative to the largest number. A kernel rounds once, a composition of operations at every step.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5, torch.float16: 1e-2, torch.bfloat16: 4e-2}
needs_kernels = pytest.mark.skipif(not build.load_cpu(), reason=f'no native operations: {build.load_cpu().problem}')
# PyTorch's own warnings: torch.compile on a Function, and opcheck on the gradient of what a backward computes.
pytestmark = [
    pytest.mark.filterwarnings('ignore:.*should not be instantiated:DeprecationWarning'),
    pytest.mark.filterwarnings('ignore:The .grad attribute of a Tensor that is not a leaf'),
]

every_op = pytest.mark.parametrize('op', [OPS.get(name) for name in OPS.names()], ids=OPS.names())
every_sample = pytest.mark.parametrize(
    ('op', 'sample'),
    [
        pytest.param(OPS.get(name), sample.name, id=f'{name}-{sample.name}')
        for name in OPS.names()
        for sample in OPS.get(name).samples(CPU, torch.float64)
    ],
)


def find(op: Op, name: str, device: torch.device | str, dtype: torch.dtype) -> Sample:
    """Returns a sample by its name.

    Args:
        op: The operation.
        name: Name of the sample.
        device: Device of its tensors.
        dtype: Dtype of its tensors.
    """
    return next(sample for sample in op.samples(torch.device(device), dtype) if sample.name == name)


def leaves(
    tensors: Iterable[torch.Tensor], dtype: torch.dtype | None = None, memory_format: torch.memory_format = FORMATS[0]
) -> list[torch.Tensor]:
    """Copies tensors as leaves that require a gradient.

    Args:
        tensors: The tensors.
        dtype: Dtype of the copies; None: that of each tensor.
        memory_format: Memory format of the images, which have four axes.
    """
    copies = []
    for t in tensors:
        copy = t.detach().to(dtype or t.dtype).clone(memory_format=memory_format if t.ndim == 4 else FORMATS[0])
        copies.append(copy.requires_grad_())
    return copies


def assert_close(actual: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype, scale: float = 1) -> None:
    assert actual.shape == expected.shape
    if expected.numel():
        atol = TOLERANCE[dtype] * max(float(expected.detach().abs().max()), scale)
        torch.testing.assert_close(actual.double(), expected.double(), rtol=0, atol=atol)


def compare(op: Op, name: str, device: str, dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    """Checks values and gradients of the fast form against the reference in float64.

    Args:
        op: The operation.
        name: Name of the sample.
        device: Device of its tensors.
        dtype: Dtype of the fast form.
        memory_format: Memory format of its images.
    """
    sample = find(op, name, device, dtype)
    inputs = leaves(sample.inputs.values(), memory_format=memory_format)
    wide = leaves(sample.inputs.values(), torch.float64)
    y, expected = op.bind(sample)(*inputs), op.bind(sample, reference=True)(*wide)
    assert y.dtype == inputs[0].dtype == dtype
    assert_close(y, expected, dtype)
    if dtype in (torch.float16, torch.bfloat16):  # rounding decides the side on which a derivative jumps
        return
    dy = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).to(device)
    wanted = torch.autograd.grad(expected, wide, dy, retain_graph=True)
    again = torch.autograd.grad(expected, wide, dy, create_graph=True)
    for create_graph in (False, True):  # each may have a kernel of its own
        grads = torch.autograd.grad(y, inputs, dy.to(dtype), retain_graph=True, create_graph=create_graph)
        for t, g, w in zip(inputs, grads, wanted, strict=True):
            assert g.dtype == t.dtype
            assert_close(g, w, dtype, scale=float(dy.norm()))  # a sum is as exact as its summands are large
    for a, w in zip(again, wanted, strict=True):
        assert_close(a, w, torch.float64, scale=float(dy.norm()))


class Recorder(TorchDispatchMode):
    """Calls of the project's own operators, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == 'ganfoundry':
            self.calls.append((func, args))
        return func(*args, **(kwargs or {}))


class CompositeRecorder(TorchFunctionMode):
    """Calls of the project's operators that autograd takes apart into PyTorch's, which no dispatch mode sees."""

    def __init__(self, calls: list[tuple[Any, tuple[Any, ...]]]) -> None:
        super().__init__()
        self.calls = calls

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if isinstance(func, torch._ops.OpOverloadPacket) and str(func).startswith('ganfoundry.'):
            name = str(func).replace('.', '::')
            if torch._C._dispatch_has_kernel_for_dispatch_key(name, 'CompositeImplicitAutograd'):
                self.calls.append((func.default, args))
        return func(*args, **(kwargs or {}))


def calls_of(op: Op, device: str, dtype: torch.dtype) -> dict[Any, tuple[Any, tuple[Any, ...]]]:
    """Records the calls of the operation's own operators by its samples, forward and backward.

    Args:
        op: The operation.
        device: Device of the samples.
        dtype: Dtype of the samples.

    Returns:
        Operator and arguments of the calls, those of equal form once.
    """
    calls: dict[Any, tuple[Any, tuple[Any, ...]]] = {}
    for sample in op.samples(torch.device(device), dtype):
        for memory_format in FORMATS:
            inputs = leaves(sample.inputs.values(), memory_format=memory_format)
            with Recorder() as recorder, CompositeRecorder(recorder.calls):
                y = op.bind(sample)(*inputs)
                for create_graph in (False, True):
                    ones = torch.ones_like(y)
                    grads = torch.autograd.grad(y, inputs, ones, retain_graph=True, create_graph=create_graph)
                    if op.orders >= 2 and (again := [g for g in grads if g.requires_grad]):
                        torch.autograd.grad(again, inputs, [torch.ones_like(g) for g in again], allow_unused=True)
            for func, args in recorder.calls:
                form = [t.ndim if isinstance(t, torch.Tensor) else t is None for t in args]
                tensors = [t for t in tree_leaves(args) if isinstance(t, torch.Tensor)]
                if func._opname in op.operators and tensors[0].numel() > 0:
                    calls.setdefault((func, memory_format, *form), (func, args))
    return calls


def check_operators(op: Op, device: str, dtype: torch.dtype) -> None:
    """Runs PyTorch's own checker on every operator: schema, fake kernel, autograd, tracing with dynamic shapes.

    Args:
        op: The operation.
        device: Device of the samples.
        dtype: Dtype of the samples.
    """
    calls = calls_of(op, device, dtype)
    assert {func._opname for func, _ in calls.values()} == set(op.operators), 'the samples reach every operator'
    for func, args in calls.values():
        filters = {i for i, argument in enumerate(func._schema.arguments) if argument.name in ('f', 'fu', 'fd')}
        leaf = [
            t.detach().clone().requires_grad_(t.is_floating_point() and i not in filters)
            if isinstance(t, torch.Tensor)
            else t
            for i, t in enumerate(args)
        ]
        assert set(torch.library.opcheck(func, tuple(leaf)).values()) == {'SUCCESS'}, func


def test_every_module_of_operations_registers_one() -> None:
    modules = {info.name for info in pkgutil.iter_modules(torch_utils.ops.__path__)} - WITHOUT_OPERATION
    assert {OPS.module_of(name) for name in OPS.names()} == {f'torch_utils.ops.{name}' for name in modules}
    for name in OPS.names():
        assert importlib.import_module(OPS.module_of(name)).__doc__


@needs_kernels
def test_every_native_operator_belongs_to_an_operation() -> None:
    known = {
        name.partition('::')[2] for name in torch._C._dispatch_get_all_op_names() if name.startswith('ganfoundry::')
    }
    listed = [operator for name in OPS.names() for operator in OPS.get(name).operators]
    assert sorted([*listed, *BELOW_AUTOGRAD]) == sorted(known)


@every_op
def test_samples_have_names_and_an_empty_batch(op: Op) -> None:
    samples = list(op.samples(CPU, torch.float64))
    assert len({sample.name for sample in samples}) == len(samples) >= 2
    assert any(next(iter(sample.inputs.values())).shape[0] == 0 for sample in samples)


@every_sample
@pytest.mark.parametrize('form', ['fast', 'reference'])
def test_gradients_are_those_of_finite_differences(op: Op, sample: str, form: str) -> None:
    found = find(op, sample, CPU, torch.float64)
    run, inputs = op.bind(found, reference=form == 'reference'), leaves(found.inputs.values())
    if not all(t.numel() for t in inputs):
        check_empty(run, inputs)
        return
    assert gradcheck(run, inputs)
    if op.orders >= 2:
        assert gradgradcheck(run, inputs)


def check_empty(run: Callable[..., torch.Tensor], inputs: list[torch.Tensor]) -> None:
    """Checks that an empty batch stays empty, and that its gradients of two orders have the shapes of the inputs."""
    y = run(*inputs)
    assert y.shape[0] == y.numel() == 0
    first = torch.autograd.grad(y.square().sum(), inputs, create_graph=True)
    assert [g.shape for g in first] == [t.shape for t in inputs]
    assert all(bool((g == 0).all()) for g in first)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs, allow_unused=True)
    assert all(g is None or g.shape == t.shape for g, t in zip(second, inputs, strict=True))


@every_sample
@pytest.mark.parametrize('memory_format', FORMATS, ids=['NCHW', 'NHWC'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float64], ids=['fp32', 'bf16', 'fp64'])
def test_the_fast_form_is_the_reference_in_every_dtype_and_memory_format(
    op: Op, sample: str, dtype: torch.dtype, memory_format: torch.memory_format
) -> None:
    compare(op, sample, 'cpu', dtype, memory_format)


@needs_kernels
@every_op
def test_operators_are_registered_as_compile_and_export_need(op: Op) -> None:
    check_operators(op, 'cpu', torch.float64)


@every_op
def test_compiled_and_exported_graphs_have_no_break_and_the_same_numbers(op: Op) -> None:
    torch.compiler.reset()
    sample = next(iter(op.samples(CPU, torch.float32)))
    run, inputs = op.bind(sample), leaves(sample.inputs.values(), memory_format=torch.channels_last)

    class Layer(torch.nn.Module):
        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            return run(inputs[0] * 2, *inputs[1:])

    eager = Layer()(*inputs)
    grads = torch.autograd.grad(eager.square().sum(), inputs)
    for dynamic in (False, True):
        compiled = torch.compile(Layer(), backend='aot_eager', fullgraph=True, dynamic=dynamic)(*inputs)
        torch.testing.assert_close(compiled, eager, rtol=1e-6, atol=1e-6)
        for g, w in zip(torch.autograd.grad(compiled.square().sum(), inputs), grads, strict=True):
            torch.testing.assert_close(g, w, rtol=1e-5, atol=1e-5)
    exported = torch.export.export(Layer(), tuple(t.detach() for t in inputs))
    torch.testing.assert_close(exported.module()(*inputs), eager, rtol=1e-6, atol=1e-6)
    assert [n.target for n in exported.graph.nodes if 'ganfoundry' in str(n.target)] == []  # runs without this package


@pytest.mark.gpu
@every_sample
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16], ids=['fp32', 'fp16', 'bf16'])
def test_the_form_for_cuda_is_the_reference(op: Op, sample: str, dtype: torch.dtype) -> None:
    for memory_format in FORMATS:
        compare(op, sample, DEVICE, dtype, memory_format)


@pytest.mark.gpu
@pytest.mark.parametrize('op', [OPS.get(name) for name in WITH_CUDA_KERNELS], ids=WITH_CUDA_KERNELS)
def test_operators_for_cuda_are_registered_as_compile_and_export_need(op: Op) -> None:
    dispatch.pick('cuda', torch.zeros(1, device=DEVICE))  # loads them
    check_operators(op, DEVICE, torch.float32)


@every_op
def test_workloads_run_on_feature_maps(op: Op) -> None:
    assert op.workloads is not None
    names = []
    for sample in op.workloads([2, 16, 8, 8], CPU, torch.float32):
        y = op.bind(sample)(*sample.inputs.values())
        assert y.shape[0] == 2
        names.append(sample.name)
    assert len(set(names)) == len(names) >= 1
