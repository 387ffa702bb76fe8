"""Rules by which a call of an operator on the device is counted.

- A launch is a call of an operator that reaches the device. Views, metadata, allocations and empty results are none.
  cuDNN's convolution is one; `convolution_backward` is one per gradient asked for. PyTorch's own copies inside a
  convolution, which bring an operand into its memory format, are one more each ('format copies'). `slice_backward` and
  `select_backward` are two (zeros, copy), `cat` is one per 128 tensors. A `_foreach_` or fused call is what
  `multi_tensor_apply` makes of it: at most 320 blocks of 65,536 numbers, and 110, 64, 48, 36 or 30 tensors (1 to 5
  lists). `ganfoundry::bias_act_grad`, `epilogue_backward` and `act_fir_backward` are two (kernel, sum of its partial
  sums), so is `modulation_second`; `lowered_weights` and its gradient are one per 40 weights, one more where it scales
  for float16. Casts and copies that the project's operators make inside are counted; every other operator of the
  project is one.
- Bytes are those of inputs and outputs, once each, of all launches except convolutions and matrix products; an axis of
  stride 0 counts once, and what is only written is not read. Caches are ignored.
- FLOP are those of convolutions and matrix products, two per multiplication, by the dtype of the first operand; float32
  counts as TF32 where PyTorch's switch permits it.
- Wide kernels: autograd's own second derivative of a convolution makes the gradient of the weight by a convolution
  whose kernel is a feature map, with as many FLOP as cuDNN's gradient of the weight and a fraction of its speed.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch._prims_common import suggest_memory_format
from torch.utils.flop_counter import flop_registry

from tests.support.fake_cuda.cost import Cost
from tests.support.fake_cuda.mode import Call, is_on_device

aten = torch.ops.aten

FREE = (
    'aten.detach', 'aten.alias', 'aten._unsafe_view', 'aten.lift', 'aten.empty', 'aten.new_empty', 'aten.resize_',
    'aten.set_', 'aten.is_same_size', 'aten.sym_', 'aten.unsafe_split', 'aten.is_pinned', 'aten.record_stream', 'prim',
)  # fmt: skip
WRITE_ONLY = ('aten.copy_', 'aten.fill_', 'aten.zero_', 'aten.normal_', 'aten.uniform_', 'aten.random_')
CAT_TENSORS = 128  # tensors that one kernel of `cat` takes
LIST_TENSORS = {1: 110, 2: 64, 3: 48, 4: 36, 5: 30}  # tensors in a launch of multi_tensor_apply, by number of lists
LIST_BLOCKS, BLOCK = 320, 65536
SUMMED = tuple(f'ganfoundry.{name}' for name in ('bias_act_grad', 'epilogue_backward', 'act_fir_backward'))
LOWERED = 40  # weights that one kernel of `lowered_weights` takes
SPECTRAL = 32  # weights that the kernels of `spectral_weights` take
WIDE = 16  # a kernel with more pixels per side is a feature map


def costs_of(call: Call) -> Iterator[tuple[str, Cost]]:
    """Yields the names and costs of what a call launches."""
    if call.func.is_view or call.name.startswith(FREE):
        return
    if call.outputs and all(t.numel() == 0 for t in call.outputs):
        return
    if call.func._overloadpacket in flop_registry:
        yield from _product(call)
    elif '_foreach' in call.name or '_fused' in call.name:
        yield call.name, _lists(call)
    elif call.name.startswith('ganfoundry.'):
        yield from _own(call)
    else:
        yield call.name, _plain(call)


def size_of(t: torch.Tensor) -> int:
    """Returns the bytes of a tensor; an axis of stride 0 counts once."""
    n = t.element_size()
    for size, stride in zip(t.shape, t.stride(), strict=True):
        n *= size if stride != 0 or size == 0 else 1
    return n


def multi_tensor_launches(sizes: list[int], num_lists: int) -> int:
    """Returns the launches of one `multi_tensor_apply`.

    Args:
        sizes: Numbers in each tensor.
        num_lists: Lists of such tensors, from 1 to 5.
    """
    launches = tensors = blocks = 0
    for size in sizes:
        chunks = -(-size // BLOCK)
        tensors += chunks > 0
        for chunk in range(chunks):
            blocks += 1
            last = chunk == chunks - 1
            if blocks == LIST_BLOCKS or (tensors == LIST_TENSORS[num_lists] and last):
                launches += 1
                blocks, tensors = 0, int(not last)
    return launches + (blocks > 0)


def _plain(call: Call) -> Cost:
    read, written = sum(map(size_of, call.inputs)), sum(map(size_of, call.outputs))
    if call.name.startswith(WRITE_ONLY):
        read -= size_of(call.args[0])
    if is_on_device(out := call.kwargs.get('out')):
        read -= size_of(out)
    if call.name in ('aten.slice_backward', 'aten.select_backward'):
        return Cost(2, 2 * read + written)
    launches = -(-len(call.args[0]) // CAT_TENSORS) if call.name.startswith(('aten.cat', 'aten.stack')) else 1
    return Cost(launches, read + written)


def _lists(call: Call) -> Cost:
    arguments = (*call.args, *call.kwargs.values())
    lists = [a for a in arguments if isinstance(a, (list, tuple)) and a and is_on_device(a[0])]
    num_lists = len(lists) - ('_fused' in call.name)  # the step counts of an optimizer are no list of the kernel
    num_lists += not call.func._schema.is_mutable
    first = sum(map(size_of, lists[0]))
    written = first * (3 if '_fused_adam' in call.name else 1)
    read = sum(map(size_of, call.inputs)) - (first if '_foreach_copy' in call.name else 0)
    launches = multi_tensor_launches([t.numel() for t in lists[0]], min(max(num_lists, 1), 5))
    return Cost(launches, read + written)


def _own(call: Call) -> Iterator[tuple[str, Cost]]:
    """Yields the costs of one of the project's operators, with the copies that its CUDA form makes of operands."""
    x, cost = call.args[0], Cost(1 + (call.name in SUMMED), sum(map(size_of, call.inputs + call.outputs)))
    if call.name in SUMMED:
        y = call.args[1]
        if _is_last(y) != _is_last(x) or not (_in_format(x, True) or _in_format(x, False)):
            yield 'own operators: format copies', _copy_of(x, x.element_size())
        if x.dtype != y.dtype:
            yield 'own operators: casts', _copy_of(x, y.element_size())
    elif call.name == 'ganfoundry.lowered_weights':
        weights, *_, normalize, _ = call.args
        cost.launches = -(-len(weights) // LOWERED) * (1 + normalize)
    elif call.name == 'ganfoundry.lowered_weights_backward':
        cost.launches = -(-len(call.args[2]) // LOWERED)
        for grad in call.args[0]:
            if grad is not None and not (_in_format(grad, True) or _in_format(grad, False)):
                yield 'own operators: format copies', _copy_of(grad, grad.element_size())
    elif call.name == 'ganfoundry.spectral_weights':
        weights, *_, iterate = call.args
        cost.launches = -(-len(weights) // SPECTRAL) * (4 if iterate else 2)
    elif call.name == 'ganfoundry.spectral_weights_backward':
        cost.launches = -(-len(call.args[0]) // SPECTRAL) * 2
        for grad in call.args[0]:
            if not (_in_format(grad, True) or _in_format(grad, False)):
                yield 'own operators: format copies', _copy_of(grad, grad.element_size())
    elif call.name == 'ganfoundry.modulation_second':
        cost.launches = 2
    elif call.name.startswith('ganfoundry.involution'):
        for t in call.inputs:
            if not _is_dense(t):
                yield 'own operators: format copies', _copy_of(t, t.element_size())
    elif call.name in ('ganfoundry.bias_act', 'ganfoundry.upfirdn2d'):
        if not _in_format(x, _is_last(x)):
            yield 'own operators: format copies', _copy_of(x, x.element_size())
        if call.args[1].dtype != torch.float32:
            yield 'own operators: casts', Cost(1, 2 * size_of(call.args[1]))
    yield call.name, cost


def _product(call: Call) -> Iterator[tuple[str, Cost]]:
    """Yields the costs of a convolution or a matrix product."""
    packet = call.func._overloadpacket
    is_conv = packet in (aten.convolution, aten.convolution_backward)
    flop = flop_registry[packet](*call.args, **call.kwargs, out_val=call.result)
    cost = Cost(1, product_bytes=sum(map(size_of, call.inputs + call.outputs)))
    setattr(cost, _precision(call.inputs[0].dtype, is_conv), flop)
    if packet is aten.convolution and max(call.args[1].shape[2:]) > WIDE:
        cost.wide = flop
    if packet is aten.convolution_backward:
        for_x, for_weight, for_bias = call.args[10]
        cost.launches = for_x + for_weight
        if for_bias:
            yield 'convolution: sum for the bias', Cost(1, size_of(call.args[0]))
    yield call.name, cost
    for t in _convolution_copies(call) if is_conv else ():
        yield 'convolution: format copies', _copy_of(t, t.element_size())


def _precision(dtype: torch.dtype, is_conv: bool) -> str:
    """Returns the field of `Cost` that counts a product."""
    if dtype in (torch.bfloat16, torch.float16):
        return 'low'
    switch = torch.backends.cudnn.conv if is_conv else torch.backends.cuda.matmul
    return 'tf32' if dtype == torch.float32 and switch.fp32_precision == 'tf32' else 'fp32'


def _convolution_copies(call: Call) -> list[torch.Tensor]:
    """Returns the operands that ATen's cuDNN functions bring into another memory format."""
    if call.func is aten.convolution.default:
        x, w = call.args[0], call.args[1]
        wanted = [x, w]
    else:
        g, x, w, (for_x, for_weight, _) = *call.args[:3], call.args[10]
        wanted = ([x] if for_weight else []) + [g] + ([w] if for_x else [])
    channels_last = _is_last(x) or _is_last(w)
    return [t for t in wanted if not _in_format(t, channels_last)]


def _copy_of(t: torch.Tensor, element_size: int) -> Cost:
    """Returns the cost of a copy with elements of another size."""
    return Cost(1, size_of(t) + t.numel() * element_size)


def _is_last(t: torch.Tensor) -> bool:
    return t.ndim == 4 and suggest_memory_format(t) == torch.channels_last


def _is_dense(t: torch.Tensor) -> bool:
    """Returns whether [N, C, H, W] or [N, G, K * K, H, W] is dense with its channels first or last."""
    channels_last = [0, t.ndim - 2, t.ndim - 1, *range(1, t.ndim - 2)]
    return t.is_contiguous() or t.permute(channels_last).is_contiguous()


def _in_format(t: torch.Tensor, channels_last: bool) -> bool:
    is_last = channels_last and t.ndim == 4
    return t.is_contiguous(memory_format=torch.channels_last if is_last else torch.contiguous_format)
