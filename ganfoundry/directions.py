"""Directions in a latent space along which images change most in closed form, or along which latents vary most.

Sources: Y. Shen and B. Zhou, "Closed-Form Factorization of Latent Semantics in GANs" (SeFa), CVPR 2021, Eq. (4): the
directions are the eigenvectors of AᵀA with the largest eigenvalues, where A is the weight of the layers that read the
latent. E. Härkönen et al., "GANSpace", NeurIPS 2020, Sec. 2.1: the principal components of w.
Letters: K directions, D width of the latent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from dnnlib.errors import ConfigError
from ganfoundry.points import z_of
from training.run.latents import Space, space_of

PROBES = 8  # latents that find the layer that reads z
SAMPLES = 4096  # latents that measure the spread of W along the directions


@dataclass(frozen=True, kw_only=True, slots=True)
class Directions:
    """Directions, those with the largest effect first.

    space: 'w' or 'z'. vectors: unit vectors, float32 [K, D]. deviations: standard deviation of the latents along each
    of them, float32 [K]; 1 in z.
    """

    space: Space
    vectors: torch.Tensor
    deviations: torch.Tensor


@torch.no_grad()
def directions(G: Any, c: torch.Tensor | None = None) -> Directions:
    """Returns the directions of a generator: over all affine layers that read w, or over the first layer that reads z.

    Args:
        G: The generator.
        c: Label of the latents whose spread is measured, [1, c_dim]; none for an unconditional network.

    Raises:
        ConfigError: If no layer reads z linearly.
    """
    label = torch.zeros([1, G.c_dim]) if c is None else c
    space = space_of(G)
    A = torch.cat(weights_on_w(G)) if space == 'w' else weight_on_z(G, label)  # [rows, D]
    vectors = right_singular_vectors(A)  # [K, D]
    if space == 'z':
        return Directions(space=space, vectors=vectors, deviations=torch.ones(len(vectors)))
    return Directions(space=space, vectors=vectors, deviations=(samples_of_w(G, label) @ vectors.T).std(dim=0))


@torch.no_grad()
def principal_directions(G: Any, c: torch.Tensor | None = None) -> Directions:
    """Returns the principal components of w; the arguments are those of `directions`.

    Raises:
        ConfigError: If the generator has no W space: z has the same spread along all directions.
    """
    if space_of(G) == 'z':
        raise ConfigError(f'{type(G).__name__}: has no W space, and z varies equally in all directions; use SeFa')
    w = samples_of_w(G, torch.zeros([1, G.c_dim]) if c is None else c)
    vectors = right_singular_vectors(w - w.mean(dim=0))
    return Directions(space='w', vectors=vectors, deviations=(w @ vectors.T).std(dim=0))


def right_singular_vectors(A: torch.Tensor) -> torch.Tensor:
    """Returns the right singular vectors of a matrix [rows, D], the largest singular value first, float32 [K, D].

    Their sign is arbitrary: the largest entry of each is made positive.
    """
    vectors = torch.linalg.svd(A.double().cpu(), full_matrices=False).Vh.float()  # [K, D]
    largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    signed: torch.Tensor = vectors * largest.sign()
    return signed


def samples_of_w(G: Any, c: torch.Tensor) -> torch.Tensor:
    """Returns w of the first seeds at one label [1, c_dim], float32 [SAMPLES, D] on the CPU."""
    device = next(G.parameters()).device
    parts = [
        G.mapping(z.to(device), c.to(device).expand(len(z), -1))[:, 0].float().cpu()
        for z in z_of(range(SAMPLES), G.z_dim).split(256)
    ]
    return torch.cat(parts)


def weights_on_w(G: Any) -> list[torch.Tensor]:
    """Returns the weights of all affine layers of the synthesis network that read w, each [out, w_dim]."""
    found = [
        module.weight
        for module in G.synthesis.modules()
        if isinstance(getattr(module, 'weight', None), torch.Tensor)
        and module.weight.ndim == 2
        and module.weight.shape[1] == G.w_dim
    ]
    assert found
    return found


def weight_on_z(G: Any, c: torch.Tensor) -> torch.Tensor:
    """Returns the weight of the first layer that reads z, or z at unit length, as a matrix [rows, z_dim].

    Args:
        G: The generator.
        c: Label of the probes, [1, c_dim].

    Raises:
        ConfigError: If no linear layer or convolution reads z.
    """
    device = next(G.parameters()).device
    z = z_of(range(PROBES), G.z_dim).to(device)
    found: list[torch.Tensor] = []

    def look(module: Any, inputs: tuple[Any, ...]) -> None:
        x, matrix = inputs[0], matrix_of(module)  # [N, V] or [N, V, 1, 1], [rows, V]
        if found or not isinstance(x, torch.Tensor) or x.numel() != PROBES * matrix.shape[1]:
            return
        x = x.reshape(PROBES, -1).float()
        for first in (0, x.shape[1] - G.z_dim):  # z before or after the embedded label
            part = x[:, first : first + G.z_dim]
            if part.shape == z.shape and torch.cosine_similarity(part, z).min() > 0.999:
                found.append(matrix[:, first : first + G.z_dim])
                return

    layers = [module for module in G.modules() if matrix_of(module) is not None]
    hooks = [layer.register_forward_pre_hook(look) for layer in layers]
    try:
        G(z, c.to(device).expand(PROBES, -1), noise_mode='const')
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise ConfigError(f'{type(G).__name__}: no linear layer reads z, so it has no directions in closed form')
    return found[0]


def matrix_of(module: Any) -> Any:
    """Returns the weight of a linear layer or convolution as a matrix [rows, inputs]; None for other modules."""
    weight = getattr(module, 'weight', None)
    if not isinstance(weight, torch.Tensor) or weight.ndim not in (2, 4):
        return None
    inputs = 0 if isinstance(module, torch.nn.ConvTranspose2d) else 1  # axis of the inputs
    return weight.movedim(inputs, -1).flatten(0, -2)
