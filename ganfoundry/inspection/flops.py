"""`--what=flops`: multiply-adds of G and D for one image, or the FLOPs that the GIU paper prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ganfoundry.inspection.finding import Finding
from ganfoundry.inspection.thop import count_thop
from training.build import build_networks
from training.config import RunConfig
from training.interface import ImageSpec
from training.run.snapshot import Snapshot
from training.sizes import network_sizes


def inspect_flops(snapshots: Sequence[Snapshot], rule: str) -> Finding:
    """Returns parameters and operations of G, D and both, for one image.

    Args:
        snapshots: The networks.
        rule: 'macs', multiply-adds as `torch_utils.macs` counts them, or 'thop', as the GIU paper prints them.
    """
    finding = Finding(facts={'rule': rule, 'networks': {}})
    for snapshot in snapshots:
        cfg, spec = snapshot.config()
        facts: dict[str, Any] = {'cfg': cfg.cfg}
        for name, size in network_sizes(cfg, spec).items():
            facts[name] = {'parameters': size.parameters, 'operations': size.macs}
        if rule == 'thop':
            facts['G']['operations'], facts['D']['operations'] = thop_of(cfg, spec)
        facts['both'] = {key: facts['G'][key] + facts['D'][key] for key in ('parameters', 'operations')}
        finding.facts['networks'][str(snapshot.path)] = facts
        finding.lines += [
            f'{cfg.cfg} {net}: {values["parameters"]:,} parameters, {values["operations"] / 1e6:,.2f} M '
            + ('multiply-adds' if rule == 'macs' else 'FLOPs (THOP)')
            for net, values in facts.items()
            if isinstance(values, dict)
        ]
    return finding


def thop_of(cfg: RunConfig, spec: ImageSpec) -> tuple[int, int]:
    """Returns what THOP counts in one pass of G and of D, with one image."""
    G: Any
    G, D = build_networks(cfg, spec)
    z, c = torch.zeros([1, G.z_dim]), torch.zeros([1, spec.label_dim])
    images = torch.zeros([1, spec.channels, spec.height, spec.width])
    return count_thop(G, z, c), count_thop(D, images, c)
