"""Multiply-adds of a network's forward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from torch_utils.ops import dispatch


def count_macs(net: torch.nn.Module, *inputs: Any, **kwargs: Any) -> int:
    """Counts the multiply-adds of a forward pass in the network's present mode; for a batch of one, those of an image.

    Counted are convolutions (dilated and grouped ones by the taps that they have, padding included; transposed ones by
    their input) and matrix products. Filters of `upfirdn2d` count as the depthwise convolutions of its reference: all
    taps of a two-dimensional filter at each pixel that is kept or, when up-sampling, that is not an inserted zero. The
    native form factors a separable filter and needs fewer. Not counted are biases, activations, normalization, plain
    pooling, modulation and noise.

    Nothing is computed and `net` is not changed: parameters, buffers and tensor arguments are replaced by their shapes
    (the meta device). A forward pass that depends on values cannot be counted; PyTorch raises an error at its place.

    Args:
        net: The network.
        *inputs: Its arguments.
        **kwargs: Its keyword arguments.

    Returns:
        The number of multiply-adds.
    """
    state = {name: t.to('meta') for name, t in (*net.named_parameters(), *net.named_buffers())}
    inputs, kwargs = tree_map_only(torch.Tensor, lambda t: t.to('meta'), (inputs, kwargs))
    # FlopCounterMode knows PyTorch's operators only, and the reference consists of them.
    with torch.device('meta'), dispatch.default('ref'), torch.no_grad(), FlopCounterMode(display=False) as counter:
        torch.func.functional_call(net, state, inputs, kwargs)
    flops: int = counter.get_total_flops()
    return flops // 2


def format_macs(macs: int) -> str:
    """Formats a count: '15.03 G' from 10^9 on, '479.35 M' below."""
    return f'{macs / 1e9:.2f} G' if macs >= 1e9 else f'{macs / 1e6:.2f} M'
