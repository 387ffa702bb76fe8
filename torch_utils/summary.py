"""Table of the parameters and buffers of a network, per module."""

from __future__ import annotations

import torch


def count(net: torch.nn.Module) -> tuple[int, int]:
    """Returns the number of scalars in parameters and in buffers."""
    return sum(p.numel() for p in net.parameters()), sum(b.numel() for b in net.buffers())


def module_table(net: torch.nn.Module, title: str) -> str:
    """Returns a text table with a row for every module that owns tensors, and a total.

    It works on the meta device: counting needs no allocation.
    """
    rows = [(title, 'parameters', 'buffers', 'weight shape')]
    for name, module in net.named_modules():
        params = sum(p.numel() for p in module.parameters(recurse=False))
        buffers = sum(b.numel() for b in module.buffers(recurse=False))
        if params + buffers:
            weight = getattr(module, 'weight', None)
            rows.append((name or '(itself)', f'{params:,}', f'{buffers:,}', str(list(getattr(weight, 'shape', [])))))
    params, buffers = count(net)
    rows.append(('total', f'{params:,}', f'{buffers:,}', ''))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [f'{r[0]:<{widths[0]}}  {r[1]:>{widths[1]}}  {r[2]:>{widths[2]}}  {r[3]}'.rstrip() for r in rows]
    rule = '-' * max(map(len, lines))
    return '\n'.join([lines[0], rule, *lines[1:-1], rule, lines[-1]])
