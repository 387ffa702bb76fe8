"""The parts of a generator that ONNX files hold, as modules with one dictionary of inputs.

Letters: N batch, L number of ws, C channels, H and W image height and width, h and w those of a noise map.
"""

from __future__ import annotations

from typing import Any, Literal

import torch

from training.interface import StyleGenerator

Noise = Literal['const', 'none', 'input']
Inputs = dict[str, torch.Tensor]  # in the order of the inputs of the file

NOISE_MAP = 'noise_const'  # the buffer of a layer with stored noise


class MappingPart(torch.nn.Module):
    """Mapping network with truncation: z [N, z_dim], c [N, c_dim] if there are labels, psi [] -> ws [N, L, w_dim].

    The contract of `StyleGenerator.mapping` gives the center: at psi = 0 its result is the mean of w, whatever z is.

    Args:
        G: The generator.
        psi: The truncation; None makes it an input.
    """

    center: torch.Tensor  # [1, L, w_dim]

    def __init__(self, G: Any, psi: float | None) -> None:
        super().__init__()
        self.G, self.psi = G, psi
        with torch.no_grad():
            center = G.mapping(torch.zeros([1, G.z_dim]), torch.zeros([1, G.c_dim]), truncation_psi=0)
        self.register_buffer('center', center.clone())

    def forward(self, inputs: Inputs) -> torch.Tensor:
        z = inputs['z']
        ws: torch.Tensor = self.G.mapping(z, label_of(inputs, z))
        if self.psi == 1:
            return ws
        psi = inputs['psi'] if self.psi is None else self.psi
        return torch.lerp(self.center, ws, psi)


class SynthesisPart(torch.nn.Module):
    """Synthesis network: ws [N, L, w_dim] and, with `noise` 'input', noise maps [N, 1, h, w] -> image [N, C, H, W].

    Args:
        G: The generator.
        noise: 'const', 'none' or 'input'.
    """

    def __init__(self, G: Any, noise: Noise) -> None:
        super().__init__()
        self.net, self.noise = G.synthesis, noise
        self.maps = maps_of(G.synthesis) if noise == 'input' else {}

    def forward(self, inputs: Inputs) -> torch.Tensor:
        return draw(self.net, self.noise, self.maps, inputs, inputs['ws'])


class LatentPart(torch.nn.Module):
    """Generator without W: z [N, z_dim], c [N, c_dim] if there are labels, psi [], noise maps -> image [N, C, H, W].

    Truncation scales z.

    Args:
        G: The generator.
        psi: The truncation; None makes it an input.
        noise: 'const', 'none' or 'input'.
    """

    def __init__(self, G: Any, psi: float | None, noise: Noise) -> None:
        super().__init__()
        self.net, self.psi, self.noise = G, psi, noise
        self.maps = maps_of(G) if noise == 'input' else {}

    def forward(self, inputs: Inputs) -> torch.Tensor:
        z = inputs['z']
        psi = inputs['psi'] if self.psi is None else self.psi
        return draw(self.net, self.noise, self.maps, inputs, z * psi, label_of(inputs, z))


def label_of(inputs: Inputs, z: torch.Tensor) -> torch.Tensor:
    """Returns the labels among the inputs, or [N, 0] for a network without labels."""
    return inputs['c'] if 'c' in inputs else z.new_zeros([z.shape[0], 0])


def draw(net: Any, noise: Noise, maps: dict[str, str], inputs: Inputs, *latents: torch.Tensor) -> torch.Tensor:
    """Returns the images [N, C, H, W] of a network whose stored noise the inputs may replace.

    Args:
        net: A generator or a synthesis network.
        noise: 'const', 'none' or 'input'.
        maps: Names of the buffers with noise by names of inputs; empty unless `noise` is 'input'.
        inputs: The inputs.
        *latents: Positional arguments of the network.
    """
    mode = {'noise_mode': 'none' if noise == 'none' else 'const'}
    if not maps:
        plain: torch.Tensor = net(*latents, **mode)
        return plain
    replaced = {buffer: inputs[name] for name, buffer in maps.items()}
    image: torch.Tensor = torch.func.functional_call(net, replaced, latents, mode)
    return image


def maps_of(net: torch.nn.Module) -> dict[str, str]:
    """Returns the buffers with noise of a network by the names of their inputs: 'noise_b8_conv0' for b8.conv0."""
    names = [name for name, _ in net.named_buffers() if name.split('.')[-1] == NOISE_MAP]
    return {'noise_' + name.removesuffix(f'.{NOISE_MAP}').replace('.', '_'): name for name in names}


def has_w(G: Any) -> bool:
    """Returns whether a generator has a W space, and therefore three files."""
    return isinstance(G, StyleGenerator)


def example_inputs(G: Any, psi: float | None, noise: Noise, *, n: int, seed: int = 0) -> Inputs:
    """Returns inputs of a generator's file, from a seed.

    Args:
        G: The generator.
        psi: The truncation; None adds the input psi, 1.
        noise: 'input' adds noise maps.
        n: N.
        seed: Seed of the numbers.

    Returns:
        z, c for a conditional network, psi and noise maps as far as they are inputs, all float32.
    """
    draws = torch.Generator().manual_seed(seed)
    inputs = {'z': torch.randn([n, G.z_dim], generator=draws)}
    if G.c_dim:
        inputs['c'] = torch.eye(G.c_dim)[torch.randint(G.c_dim, [n], generator=draws)]  # [N, c_dim]
    if psi is None:
        inputs['psi'] = torch.ones([])
    if noise == 'input':
        net = G.synthesis if has_w(G) else G
        for name, buffer in maps_of(net).items():
            inputs[name] = torch.randn([n, 1, *net.get_buffer(buffer).shape], generator=draws)
    return inputs
