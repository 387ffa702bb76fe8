"""Points of a latent space with everything that drawing them needs: latents, labels, names, and origins.

Letters: N images in a batch.
"""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from dnnlib.errors import ConfigError, DataError
from ganfoundry.class_option import Label
from ganfoundry.latent_options import LatentsFile, Seeds
from training.run.latents import Latents, Space, note_on, read_latents


class Point(NamedTuple):
    """One image to be drawn.

    Attributes:
        name: Stem of its file, such as 'seed0003' or 'me-0002'.
        origin: Text chunks of its PNG that suffice to draw it again with the same network and settings.
        space: 'z' or 'w'.
        latent: float32, z [z_dim] or w [num_ws, w_dim].
        c: Label, float32 [label_dim].
        noise_seed: Seed of random noise.
    """

    name: str
    origin: dict[str, Any]
    space: Space
    latent: torch.Tensor
    c: torch.Tensor
    noise_seed: int


class PointList:
    """Points of seeds, each made when it is asked for, and then points that are there.

    Args:
        seeds: Seeds of the first points.
        z_dim: Width of a latent.
        label: Label of the seeds.
        stored: The other points.
        noise_seed: Seed of random noise of all points; None for that of each point.
    """

    def __init__(
        self, seeds: Seeds, z_dim: int, label: Label, stored: Sequence[Point] = (), noise_seed: int | None = None
    ) -> None:
        self.seeds, self.label = seeds, label
        self.stored = [with_noise_seed(point, noise_seed) for point in stored]
        self._z_dim, self._noise_seed = z_dim, noise_seed

    def __len__(self) -> int:
        return len(self.seeds) + len(self.stored)

    def __iter__(self) -> Iterator[Point]:
        return itertools.chain(self._points_of(self.seeds), self.stored)

    def find(self, name: str) -> Point | None:
        """Returns the point of a name, None if there is none."""
        match = re.fullmatch(r'seed(\d+)', name)
        if match and int(match[1]) in self.seeds and name == name_of_seed(int(match[1])):
            return next(self._points_of([int(match[1])]))
        return next((point for point in self.stored if point.name == name), None)

    def _points_of(self, seeds: Iterable[int]) -> Iterator[Point]:
        for point in points_of_seeds(seeds, self._z_dim, self.label):
            yield with_noise_seed(point, self._noise_seed)


def name_of_seed(seed: int) -> str:
    """Returns the stem of a seed's file, as in StyleGAN2-ADA."""
    return f'seed{seed:04d}'


def z_of(seeds: Sequence[int], z_dim: int) -> torch.Tensor:
    """Returns StyleGAN2-ADA's latents of seeds, RandomState(seed).randn(1, z_dim), as float32 [N, z_dim]."""
    latents = np.concatenate([np.random.RandomState(seed).randn(1, z_dim) for seed in seeds])
    return torch.from_numpy(latents.astype(np.float32))


def points_of_seeds(seeds: Iterable[int], z_dim: int, label: Label) -> Iterator[Point]:
    """Yields the points of seeds, each when it is asked for.

    Args:
        seeds: Numbers from 0 to 2^32 - 1.
        z_dim: Width of a latent.
        label: Label of all images.
    """
    for seed in seeds:
        origin = {'seed': seed, **origin_of_label(label)}
        yield Point(name_of_seed(seed), origin, 'z', z_of([seed], z_dim)[0], label.c, seed)


def with_noise_seed(point: Point, noise_seed: int | None) -> Point:
    """Returns a point with another seed of random noise, which its PNG names; None leaves it as it is."""
    if noise_seed is None:
        return point
    return point._replace(noise_seed=noise_seed, origin={**point.origin, 'noise_seed': noise_seed})


def points_of_latents(
    latents: Latents, c: torch.Tensor, *, stem: str, indices: Iterable[int] | None = None
) -> list[Point]:
    """Returns points of latents.

    Args:
        latents: The latents.
        c: Label of all points, [1, label_dim], or labels [N, label_dim].
        stem: Beginning of their names; the index follows.
        indices: The points to return; None for all, in order.
    """
    chosen = range(len(latents.points)) if indices is None else indices
    return [
        stored_point(f'{stem}-{index:04d}', latents.space, latents.points[index], c[index if len(c) > 1 else 0], index)
        for index in chosen
    ]


def stored_point(name: str, space: Space, latent: torch.Tensor, c: torch.Tensor, noise_seed: int = 0) -> Point:
    """Returns a point whose PNG holds the latent itself.

    Args:
        name: Stem of its file.
        space: 'z' or 'w'.
        latent: z [z_dim] or w [num_ws, w_dim].
        c: Label, float32 [label_dim].
        noise_seed: Seed of random noise.
    """
    origin: dict[str, Any] = {space: encode(latent), 'noise_seed': noise_seed}
    if space == 'z' and len(c) > 0:
        origin['c'] = encode(c)
    return Point(name, origin, space, latent, c, noise_seed)


def origin_of_label(label: Label) -> dict[str, Any]:
    """Returns the text chunks of a PNG that say which label was drawn: class_idx, and the text of a blend or vector."""
    text = {} if label.class_idx is not None or not label.text else {'class': label.text}
    return {'class_idx': label.class_idx, **text, **({'class_name': label.title} if label.text else {})}


def read_points(file: LatentsFile, G: Any, label: Label | None, *, option: str = '--latents') -> list[Point]:
    """Reads the chosen points of a latents file.

    Args:
        file: The file, and the indices of the points.
        G: The network.
        label: Label of z in a file without labels; None if none is given. Styles (w) need no label.
        option: Name of the option in messages.

    Raises:
        ConfigError: Names the option and the file if it is absent, damaged or does not fit the network.
    """
    return points_of_file(file, read_file(file, G, option), G, label, option=option)


def read_file(file: LatentsFile, G: Any, option: str = '--latents') -> Latents:
    """Reads a latents file, and checks that it has the chosen indices. A ConfigError names the option."""
    try:
        latents = read_latents(file.path, G)
    except DataError as error:
        raise ConfigError(f'{option}={error}') from None
    count = len(latents.points)
    if file.indices is not None and max(file.indices) >= count:
        raise ConfigError(
            f'{option}={file.path}:{file.indices}: the file holds {count} points, with indices 0 to {count - 1}'
        )
    return latents


def points_of_file(
    file: LatentsFile, latents: Latents, G: Any, label: Label | None, *, option: str = '--latents'
) -> list[Point]:
    """Returns the chosen points of a file that has been read. Arguments and errors are those of `read_points`."""
    if latents.space == 'w':
        c = torch.zeros([1, G.c_dim])
    elif latents.c is not None:
        c = latents.c
    elif label is not None or G.c_dim == 0:
        c = torch.zeros([1, 0]) if label is None else label.c[None]
    else:
        raise ConfigError(f'{option}={file.path}: holds z without labels, and this network is conditional; add --class')
    return points_of_latents(latents, c, stem=file.path.stem, indices=file.indices)


def notes_on(latents: Sequence[Latents], network_sha256: str) -> list[str]:
    """Returns a note for every latents file that was made with another network; it names both digests."""
    return [note for part in latents if (note := note_on(part, network_sha256)) is not None]


def batched(points: Iterable[Point], size: int) -> Iterator[list[Point]]:
    """Yields points in batches of one space, each when it is asked for."""
    for _, group in itertools.groupby(points, key=lambda point: point.space):
        while batch := list(itertools.islice(group, size)):
            yield batch


def encode(values: torch.Tensor) -> str:
    """Returns float32 numbers as text, base64 of their bytes in little-endian order."""
    return base64.b64encode(values.numpy().astype('<f4').tobytes()).decode()


def decode(text: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Returns the numbers of `encode`, float32 of a shape. Raises ValueError if the text does not hold them."""
    values = np.frombuffer(base64.b64decode(text, validate=True), '<f4').astype(np.float32)
    return torch.from_numpy(values.reshape(shape))


def stack(batch: Sequence[Point]) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns latents, z [N, z_dim] or w [N, num_ws, w_dim], and labels [N, label_dim], of points of one space."""
    return torch.stack([point.latent for point in batch]), torch.stack([point.c for point in batch])


def ws_of(G: Any, batch: Sequence[Point], truncation_psi: float = 1) -> torch.Tensor:
    """Returns the styles of points, [N, num_ws, w_dim] on G's device; those of z are truncated, w is final.

    Args:
        G: A network with a W space.
        batch: Points of one space.
        truncation_psi: Truncation; 1 for none.
    """
    device = next(G.parameters()).device
    latents, c = (tensor.to(device) for tensor in stack(batch))
    if batch[0].space == 'w':
        return latents
    ws: torch.Tensor = G.mapping(latents, c, truncation_psi=truncation_psi)
    return ws
