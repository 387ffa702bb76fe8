"""Multiply-adds of a network's forward."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from torch_utils.ops import dispatch


def count_macs(net: torch.nn.Module, *inputs: Any, **kwargs: Any) -> int:
    """Multiply-adds of `net(*inputs, **kwargs)` in its present mode; with a batch of one, those of an image.

    What counts: convolutions, dilated and grouped ones by the taps that they have, padding included; transposed ones by
    their input; matrix products. Filters of `upfirdn2d` are the depthwise convolutions of its reference: all taps of a
    two-dimensional filter at each pixel that is kept, or, up-sampling, at each that is not an inserted zero. The native
    form factors a separable filter and needs fewer. What does not: biases, activations, normalisation, plain pooling,
    modulation, noise.

    Nothing is computed and `net` stays as it is: parameters, buffers and tensors among the arguments are replaced by
    their shapes (the meta device). A forward that looks at values cannot be counted; PyTorch's error says where.
    """
    state = {name: t.to('meta') for name, t in (*net.named_parameters(), *net.named_buffers())}
    inputs, kwargs = tree_map_only(torch.Tensor, lambda t: t.to('meta'), (inputs, kwargs))
    # FlopCounterMode knows PyTorch's operators alone, and the reference consists of them.
    with torch.device('meta'), dispatch.default('ref'), torch.no_grad(), FlopCounterMode(display=False) as counter:
        torch.func.functional_call(net, state, inputs, kwargs)
    flops: int = counter.get_total_flops()
    return flops // 2


def format_macs(macs: int) -> str:
    """'15.03 G' from 10^9 up, '479.35 M' below."""
    return f'{macs / 1e9:.2f} G' if macs >= 1e9 else f'{macs / 1e6:.2f} M'
