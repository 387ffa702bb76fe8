"""FLOPs as THOP 0.0.31 prints them, the counter behind the tables of GIU-GANs.

They are not multiply-adds: a transposed convolution is counted on the grid of its output, a bias as one operation per
value, batch normalization as two, leaky ReLU as one; functions that are no module count nothing. In the authors' code,
a channel gate begins with a pooling module, and RBN consists of two poolings.
"""

from __future__ import annotations

from typing import Any

import torch

from extensions.layers.giu import ChannelGate
from extensions.layers.rbn import RBN


def count_thop(net: torch.nn.Module, *inputs: Any) -> int:
    """Returns what THOP 0.0.31 counts in one pass of a network in evaluation mode.

    Args:
        net: The network; its mode is kept.
        *inputs: Its arguments, with one image.
    """
    total = 0

    def add(module: torch.nn.Module, arguments: tuple[Any, ...], out: Any) -> None:
        nonlocal total
        total += operations(module, arguments, out)

    inside_rbn = {module.bn for module in net.modules() if isinstance(module, RBN)}
    handles = [module.register_forward_hook(add) for module in net.modules() if module not in inside_rbn]
    training = net.training
    net.eval()
    try:
        with torch.no_grad():
            net(*inputs)
    finally:
        net.train(training)
        for handle in handles:
            handle.remove()
    return total


def operations(module: torch.nn.Module, arguments: tuple[Any, ...], out: Any) -> int:
    """Returns the operations of one call of one module, without those of its submodules."""
    if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
        taps = module.kernel_size[0] * module.kernel_size[1]
        return int(out.numel() * (module.in_channels * taps + (module.bias is not None)))
    if isinstance(module, torch.nn.Linear):
        return int(out.numel() * module.in_features)
    if isinstance(module, torch.nn.BatchNorm2d):
        return int(2 * out.numel())
    if isinstance(module, torch.nn.LeakyReLU):
        return int(out.numel())
    if isinstance(module, ChannelGate):
        return _pooling(arguments[0])
    if isinstance(module, RBN):
        return 2 * _pooling(arguments[0])
    return 0


def _pooling(x: torch.Tensor) -> int:
    """Returns the operations of a pooling of [N, C, H, W] to one value per channel."""
    return int(x.shape[1] * (x[0, 0].numel() + 1))
