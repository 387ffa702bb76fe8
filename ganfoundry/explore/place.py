"""The point of a view: seeds or a stored point, their plane, steps along directions, and styles of another latent.

Letters: L number of ws, D width of the latent; A, B, C the corners of the plane.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from dnnlib.errors import ConfigError
from ganfoundry.class_option import Label, parse_class
from ganfoundry.directions import Directions
from ganfoundry.explore.view import Step, View
from ganfoundry.latent_options import LatentsFile, Seeds
from ganfoundry.network import Network
from ganfoundry.points import Point, points_of_file, points_of_seeds, stored_point, with_noise_seed, ws_of
from training.run.latents import Latents, check_points, space_of

KINDS = ('sefa', 'pca')
FindDirections = Callable[[str, Label], Directions]  # a kind of KINDS, and the label of the latents


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """A stored point. file: where it was read. latents: content of the file. index: its place there."""

    file: LatentsFile
    latents: Latents
    index: int

    @property
    def name(self) -> str:
        """Its name in the page."""
        return f'{self.file.path.stem}-{self.index:04d}'

    def point(self, G: Any, label: Label | None) -> Point:
        """Returns the point for a network, which may be another one than the file was read for."""
        where = f'{self.file.path}:{self.index}'
        check_points(where, self.latents.space, self.latents.points[self.index][None], G)
        one = LatentsFile(path=self.file.path, indices=Seeds([range(self.index, self.index + 1)]))
        (point,) = points_of_file(one, self.latents, G, label)
        return point


def label_of(view: View, network: Network) -> Label:
    """Returns the label of a view, the first class by default. ConfigError if the network does not have the class."""
    text = view.class_text or ('0' if network.module.c_dim > 0 else None)
    return parse_class(text, network.module.c_dim, network.class_names)


def first_of(view: View, network: Network, starts: Mapping[str, Start]) -> Point:
    """Returns the point A.

    Args:
        view: The view.
        network: The network.
        starts: The stored points by name.

    Raises:
        ConfigError: If there is no such stored point, or if it does not fit the network.
    """
    label = label_of(view, network)
    if view.start:
        if view.start not in starts:
            raise ConfigError(f'start={view.start[:60]}: no stored point of this server; --latents=FILE.npz names some')
        return starts[view.start].point(network.module, label if label.text else None)
    return next(points_of_seeds([view.seed], network.module.z_dim, label))


@torch.no_grad()
def point_of(view: View, network: Network, starts: Mapping[str, Start], find: FindDirections) -> Point:
    """Returns the point of a view: A itself, with the origin of its seed, or a point that stores its latent.

    Args:
        view: The view.
        network: The network.
        starts: The stored points by name.
        find: Returns the directions of the network.

    Raises:
        ConfigError: If the network does not have what the view asks for.
    """
    first = with_noise_seed(first_of(view, network, starts), view.noise_seed)
    if not view.moved:
        return first
    G, label = network.module, label_of(view, network)
    others = points_of_seeds([view.seed2, view.seed3], G.z_dim, label)
    corners = [first, *(point._replace(c=first.c) if first.space == 'z' else point for point in others)]
    if space_of(G) == 'z':
        if view.styles:
            raise ConfigError(f'{network.config.cfg} has no W space to mix styles in')
        z = moved(on_sphere([point.latent for point in corners], *view.offset), view, find, label)
        return stored_point('view', 'z', z, first.c, first.noise_seed)
    a, b, c = (ws_of(G, [point], view.psi)[0].float().cpu() for point in corners)  # [L, D]
    ws = moved(on_plane(a, b, c, *view.offset), view, find, label)
    if view.styles:
        if max(view.styles) >= len(ws):
            raise ConfigError(f'styles: this network has num_ws = {len(ws)}, with indices 0 to {len(ws) - 1}')
        (other,) = points_of_seeds([view.mix], G.z_dim, label)
        ws[list(view.styles)] = ws_of(G, [other], view.psi)[0].float().cpu()[list(view.styles)]
    return stored_point('view', 'w', ws, torch.zeros(G.c_dim), first.noise_seed)


@torch.no_grad()
def in_file_space(point: Point, network: Network, psi: float) -> Point:
    """Returns a point as a latents file of the explorer holds it: in W, truncated, if the network has W.

    Args:
        point: The point.
        network: The network.
        psi: Truncation of z.
    """
    if point.space == 'w' or space_of(network.module) == 'z':
        return point
    ws = ws_of(network.module, [point], psi)[0].float().cpu()
    return stored_point(point.name, 'w', ws, torch.zeros(network.module.c_dim), point.noise_seed)


def on_plane(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, x: float, y: float) -> torch.Tensor:
    """Returns a + x (b - a) + y (c - a).

    Args:
        a: Corner A, of any shape.
        b: Corner B.
        c: Corner C.
        x: Share of B - A.
        y: Share of C - A.
    """
    return a + x * (b - a) + y * (c - a)


def on_sphere(corners: list[torch.Tensor], x: float, y: float) -> torch.Tensor:
    """Returns a point between three latents whose length is that of latents of training, as in films.

    Args:
        corners: a, b, c, each [D].
        x: Share of b.
        y: Share of c.
    """
    a, b, c = (corner.double() for corner in corners)
    direction = on_plane(a / a.norm(), b / b.norm(), c / c.norm(), x, y)
    length = on_plane(a.norm().log(), b.norm().log(), c.norm().log(), x, y).exp()
    latent: torch.Tensor = direction / direction.norm().clamp_min(1e-12) * length
    return latent.float()


def moved(latent: torch.Tensor, view: View, find: FindDirections, label: Label) -> torch.Tensor:
    """Returns a latent, [D] or [L, D], after the steps of a view.

    Args:
        latent: The latent.
        view: The view.
        find: Returns the directions of the network.
        label: The label.

    Raises:
        ConfigError: If there is no such direction.
    """
    steps: dict[str, tuple[Step, ...]] = {'sefa': view.sefa, 'pca': view.pca}
    for kind in KINDS:
        if not steps[kind]:
            continue
        found = find(kind, label)
        for step in steps[kind]:
            if step.index >= len(found.vectors):
                raise ConfigError(f'{kind}={step.index}: this network has directions 0 to {len(found.vectors) - 1}')
            latent = latent + step.deviations * (found.vectors[step.index] * found.deviations[step.index])
    return latent
