"""Networks of a conditional run that do not use the labels, found before training begins."""

from __future__ import annotations

from typing import Any

import torch

from torch_utils.ops import dispatch
from torch_utils.seeding import seed_torch
from training.build import build_networks
from training.config import RunConfig
from training.interface import ImageSpec


def unused_labels(cfg: RunConfig, spec: ImageSpec) -> tuple[str, ...]:
    """Returns a warning for each network whose output does not depend on the labels; nothing for an unconditional run.

    On the meta device, where nothing is computed, a path of gradients from the output to the labels shows that they are
    used. Only a network without such a path is built and compared for three labels: it may use them as indices.
    """
    if spec.label_dim == 0:
        return ()
    with torch.device('meta'):
        networks = build_networks(cfg, spec)
        inputs = _inputs(spec, networks[0])
    suspects = [i for i in range(2) if not _has_path(networks[i], inputs[i], spec.label_dim)]
    if not suspects:
        return ()
    with torch.random.fork_rng(devices=[]):
        networks = build_networks(cfg, spec)
        inputs = _inputs(spec, networks[0])
        ignoring = [i for i in suspects if _ignores_labels(networks[i], inputs[i], spec.label_dim)]
    return tuple(
        f'--cond=1: the {("generator", "discriminator")[i]} of --cfg={cfg.cfg} does not use the labels, so that '
        f'classes are not learned; use c in its forward(), or train without --cond'
        for i in ignoring
    )


def _inputs(spec: ImageSpec, G: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the first argument of G, z [2, z_dim], and that of D, an image [2, C, H, W]."""
    return torch.ones([2, G.z_dim]), torch.ones([2, spec.channels, spec.height, spec.width])


def _has_path(net: Any, x: torch.Tensor, label_dim: int) -> bool:
    """Returns whether gradients flow from a network's output to the labels, all on the meta device.

    False also for a forward pass that depends on values, which that device does not have.
    """
    with torch.device('meta'), dispatch.default('ref'), torch.enable_grad():
        c = torch.ones([len(x), label_dim], requires_grad=True)
        try:
            out = net(x, c)
        except (NotImplementedError, RuntimeError):
            return False
        return out.requires_grad and torch.autograd.grad(out.sum(), c, allow_unused=True)[0] is not None


@torch.no_grad()
def _ignores_labels(net: Any, x: torch.Tensor, label_dim: int) -> bool:
    """Returns whether a network has the same output for three labels, with the same random draws."""
    outputs = []
    for index in (None, 0, -1):
        c = torch.zeros([len(x), label_dim])
        if index is not None:
            c[:, index] = 1
        seed_torch(0, 'labels')
        with dispatch.default('ref'):
            outputs.append(net(x, c))
    return all(torch.equal(output, outputs[0]) for output in outputs)
