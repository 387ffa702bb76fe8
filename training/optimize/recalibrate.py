"""Batch-norm statistics of averaged weights.

The moving average of G has weights that never saw a batch, and running statistics that belong to other weights. They
are measured again before images are drawn.

Letters: N images in a batch.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

BATCHES = 50  # number of batches whose statistics are averaged


def batch_norms(net: torch.nn.Module) -> list[torch.nn.modules.batchnorm._BatchNorm]:
    """Returns the batch-norm layers of `net` that keep running statistics."""
    layers = (m for m in net.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm))
    return [layer for layer in layers if layer.track_running_stats]


@torch.no_grad()
def recalibrate(
    G: torch.nn.Module,
    latents: Iterable[tuple[torch.Tensor, torch.Tensor]],  # z [N, z_dim] and c [N, label_dim]
    truncation_psi: float = 1,
) -> None:
    """Sets every running statistic of `G` to its mean over the batches; weights and other buffers do not change.

    Args:
        G: Generator; modified in place.
        latents: Latents and labels of the batches.
        truncation_psi: Truncation with which images will be drawn.
    """
    layers = batch_norms(G)
    modes = {module: module.training for module in G.modules()}
    momenta = [layer.momentum for layer in layers]
    G.eval()  # disables dropout and the power iterations of spectral norms
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # None selects PyTorch's cumulative mean
        layer.train()
    for z, c in latents:
        G(z, c, truncation_psi=truncation_psi)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    for module, mode in modes.items():
        module.training = mode
