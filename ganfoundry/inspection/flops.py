"""`--what=flops`: multiply-adds of G and D for one image, or the FLOPs that the GIU paper prints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ganfoundry.inspection.finding import Finding
from ganfoundry.inspection.thop import count_thop
from torch_utils.macs import count_macs
from torch_utils.summary import count
from training.build import build_networks
from training.run.snapshot import Snapshot

RULES: dict[str, Callable[..., int]] = {'macs': count_macs, 'thop': count_thop}


def inspect_flops(snapshots: Sequence[Snapshot], rule: str) -> Finding:
    """Returns parameters and operations of G, D and both, for one image.

    Args:
        snapshots: The networks.
        rule: 'macs', multiply-adds as `torch_utils.macs` counts them, or 'thop', as the GIU paper prints them.
    """
    finding = Finding(facts={'rule': rule, 'networks': {}})
    for snapshot in snapshots:
        cfg, spec = snapshot.config()
        G: Any
        G, D = build_networks(cfg, spec)
        z, c = torch.zeros([1, G.z_dim]), torch.zeros([1, spec.label_dim])
        images = torch.zeros([1, spec.channels, spec.height, spec.width])
        facts: dict[str, Any] = {
            'cfg': cfg.cfg,
            'G': {'parameters': count(G)[0], 'operations': RULES[rule](G, z, c)},
            'D': {'parameters': count(D)[0], 'operations': RULES[rule](D, images, c)},
        }
        facts['both'] = {key: facts['G'][key] + facts['D'][key] for key in ('parameters', 'operations')}
        finding.facts['networks'][str(snapshot.path)] = facts
        finding.lines += [
            f'{cfg.cfg} {net}: {values["parameters"]:,} parameters, {values["operations"] / 1e6:,.2f} M '
            + ('multiply-adds' if rule == 'macs' else 'FLOPs (THOP)')
            for net, values in facts.items()
            if isinstance(values, dict)
        ]
    return finding
