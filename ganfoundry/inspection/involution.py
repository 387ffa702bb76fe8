"""`--what=involution`: the kernels of a GIU module at every place, and the branches of IGAN's Inception modules.

Tian et al. 2022 (GIU-GANs), Eq. (7) to (10). Letters: N images, C channels, G groups, K side of a kernel, H and W size.
"""

from __future__ import annotations

import numpy as np
import torch

from dnnlib.errors import ConfigError
from extensions.igan import Inception
from extensions.layers.giu import GIU
from ganfoundry.inspection.drawn import Drawing, pixels, rms
from ganfoundry.inspection.finding import Finding, heat, signed
from ganfoundry.inspection.taps import Call, instances

BRANCHES = {'1': '1x1', '3': '3x3', '5': '5x5 dilated', 'p': 'pool'}


def inspect_involution(drawing: Drawing) -> Finding:
    """Returns the pictures of every GIU or Inception module of the generator.

    Raises:
        ConfigError: If the network has neither.
    """
    network = drawing.network
    modules = instances(network.module, (GIU, Inception))
    if not modules:
        raise ConfigError(
            f'--what=involution: {network.path} ({network.config.cfg}) has no GIU and no Inception module; networks of '
            '--cfg=giu and igan do'
        )
    images, calls = drawing.run(modules)
    finding = Finding(rows=[('image', pixels(images))])
    for name, call in calls.items():
        if isinstance(module := modules[name], GIU):
            add_giu(finding, name, module, call)
        else:
            add_inception(finding, name, module, call)
    return finding


def add_giu(finding: Finding, name: str, module: GIU, call: Call) -> None:
    """Adds the kernels of a GIU module: averaged over groups at every place, and their size.

    Args:
        finding: The finding to add to.
        name: Name of the module.
        module: The module.
        call: Its call.
    """
    x = call.inputs[0]  # [N, C, H, W]
    with torch.no_grad():
        gate = module.gate(x)  # [N, C, 1, 1], Eq. (7)
        weight = module.kernel(x * gate).double()  # [N, G, K K, H, W], Eq. (9)
    size = f'{x.shape[2]}x{x.shape[3]}'
    finding.rows.append((f'{size} kernels', signed(spread(weight.mean(dim=1)))))
    finding.rows.append((f'{size} size of the kernels', heat(rms(weight.flatten(1, 2)))))
    over_places = weight.std(dim=[3, 4], unbiased=False).mean()
    finding.facts.setdefault('modules', {})[name] = {
        'size': list(x.shape[2:]),
        'kernel_rms': float(weight.square().mean().sqrt()),
        'deviation_over_places': float(over_places),
        'deviation_over_images': float(weight.std(dim=0, unbiased=False).mean()),
        'gate_mean': float(gate.double().mean()),
        'gate_deviation_over_channels': float(gate.double().mean(dim=0).std(unbiased=False)),
    }
    finding.lines.append(
        f'{name} ({size}): kernels of {weight.square().mean().sqrt():.3f} (root mean square) vary by {over_places:.3f} '
        f'between places; the channel gate s is {gate.mean():.3f} on average.'
    )


def spread(kernels: torch.Tensor) -> np.ndarray:
    """Returns kernels [N, K K, H, W] as images in which each kernel is at its place, [N, H K, W K]."""
    n, taps, h, w = kernels.shape
    k = round(taps**0.5)
    return kernels.reshape(n, k, k, h, w).permute(0, 3, 1, 4, 2).reshape(n, h * k, w * k).cpu().numpy()


def add_inception(finding: Finding, name: str, module: Inception, call: Call) -> None:
    """Adds the root mean square of each branch of an Inception module, on one scale, and its share of the energy.

    Args:
        finding: The finding to add to.
        name: Name of the module.
        module: The module.
        call: Its call.
    """
    letters = ['1', '3', *(['5'] if module.conv5 is not None else []), *(['p'] if module.pool is not None else [])]
    branches = dict(zip(letters, call.output.chunk(len(letters), dim=1), strict=True))  # [N, w, H, W] each
    maps = {letter: rms(branch) for letter, branch in branches.items()}
    largest = max(float(values.max()) for values in maps.values())
    size = f'{call.output.shape[2]}x{call.output.shape[3]}'
    energy = {letter: float(branch.double().square().sum()) for letter, branch in branches.items()}
    total = sum(energy.values()) or 1.0
    for letter, values in maps.items():
        finding.rows.append((f'{size} {BRANCHES[letter]}', heat(values, 0, largest)))
    shares = {BRANCHES[letter]: value / total for letter, value in energy.items()}
    finding.facts.setdefault('modules', {})[name] = {'size': list(call.output.shape[2:]), 'energy': shares}
    words = ', '.join(f'{branch} {share:.0%}' for branch, share in shares.items())
    finding.lines.append(f'{name} ({size}): shares of the energy: {words}.')
