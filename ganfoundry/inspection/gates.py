"""`--what=gates`: the gates of IF-GAN in every block, the latent branch, and what the image feeds back to it.

Park and Shin 2022, Eq. (5) to (7). Letters: N images, M channels of a gate's main feature, H and W size.
"""

from __future__ import annotations

from typing import Any

import torch

from dnnlib.errors import ConfigError
from extensions.ifgan import Fusion, IFBlock, like
from ganfoundry.inspection.drawn import Drawing, pixels, rms
from ganfoundry.inspection.finding import Finding, heat
from ganfoundry.inspection.taps import Call, instances

BRANCHES = {'image_gate': 'image', 'latent_gate': 'latent'}


def inspect_gates(drawing: Drawing) -> Finding:
    """Returns f_g of the two gates of every block, averaged over channels, and the latent feature.

    In the image branch, f_g = 1 keeps the image feature, and 0 replaces it by f_r, which reads both features. In the
    latent branch, f_g = 1 keeps the latent feature, and 1 - f_g weights what the image feature feeds back.

    Raises:
        ConfigError: If the network has no gates.
    """
    network = drawing.network
    blocks = instances(network.module, IFBlock)
    gates = {name: gate for name, gate in instances(network.module, Fusion).items() if gate.fuse == 'gate'}
    if not gates:
        raise ConfigError(
            f'--what=gates: {network.path} ({network.config.cfg}) has no gating modules; networks of --cfg=ifgan with '
            'generator.latent and generator.fuse=gate do'
        )
    images, calls = drawing.run({**gates, **blocks})
    finding = Finding(rows=[('image', pixels(images))])
    for name in sorted(blocks, key=lambda name: int(name.removeprefix('b'))):
        for attribute, branch in BRANCHES.items():
            if (where := f'{name}.{attribute}') in gates:
                add_gate(finding, where, gates[where], calls[where], f'{name.removeprefix("b")} {branch}')
        if (latent := calls[name].output[1]) is not None:
            finding.rows.append((f'{name.removeprefix("b")} latent feature', heat(rms(latent))))
    return finding


def add_gate(finding: Finding, name: str, gate: Fusion, call: Call, title: str) -> None:
    """Adds the pictures and numbers of one gate.

    Args:
        finding: The finding to add to.
        name: Name of the module.
        gate: The gating module.
        call: Its call: f_m and f_s, and its result.
        title: Beginning of the names of its rows.
    """
    f_g, fed = gate_and_feedback(gate, *call.inputs)
    with torch.no_grad():
        difference = (gate.plain(*call.inputs) - call.output).abs().max().item()
    mean = f_g.double().mean(dim=1).cpu().numpy()  # [N, H, W]
    finding.rows.append((f'{title} gate f_g', heat(mean, 0, 1)))
    if name.endswith('latent_gate'):
        finding.rows.append((f'{title} feedback', heat(rms(fed))))
    finding.facts.setdefault('gates', {})[name] = {
        'mean': float(f_g.double().mean()),
        'deviation_over_places': float(mean.std()),
        'deviation_over_channels': float(f_g.double().mean(dim=[0, 2, 3]).std(unbiased=False)),
        'feedback_rms': float(fed.double().square().mean().sqrt()),
        'difference_to_eq_7': difference,
    }
    finding.lines.append(f'{title} gate: f_g is {f_g.mean():.3f} on average.')


def gate_and_feedback(gate: Fusion, f_m: torch.Tensor, f_s: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns f_g and (1 - f_g) f_r, the second part of Eq. (7), each [N, M, H, W]."""
    with torch.no_grad():
        main: Any = like(f_m, f_s)
        f_g, f_r = gate.gates(gate.bn_m(main), gate.bn_s(f_s))
        return f_g, (1 - f_g) * f_r
