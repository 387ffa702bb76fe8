"""Starting points of a projection: the nearest of a few samples, the mean, or the latents of a file.

Letters: N images in a batch, K samples drawn at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dnnlib.errors import ConfigError, DataError
from dnnlib.log import print_note
from ganfoundry.network import Network
from ganfoundry.projection.perceptual import Distance
from ganfoundry.projection.settings import NAMED_STARTS, Settings
from ganfoundry.projection.spaces import Coordinates, Drawer, Statistics, points_of
from torch_utils.seeding import numpy_generator
from training.run.latents import note_on, read_latents

NUM_CANDIDATES, AT_ONCE = 256, 8


class Start(NamedTuple):
    """Points [N, ...] of a space, and the labels that they were drawn with, [N, label_dim]."""

    points: torch.Tensor
    c: torch.Tensor


@torch.no_grad()
def nearest(drawer: Drawer, targets: torch.Tensor, c: torch.Tensor | None, distance: Distance, seed: int) -> Start:
    """Returns for every target the nearest of 256 samples.

    Args:
        drawer: Generator and space.
        targets: Images [N, C, H, W] in [-1, 1].
        c: Label of all samples [1, label_dim]; None: samples of all classes, so that the nearest one has the label.
        distance: The distance.
        seed: Seed of the samples. All targets have the same ones, so that each is as if it were alone.
    """
    least = [float('inf')] * len(targets)
    points: list[torch.Tensor] = [targets] * len(targets)
    labels = list(points)
    embedded_targets = [distance.embed(target) for target in targets.split(1)]
    for z, label in _samples(drawer.G, c, seed, targets.device):
        found = z if drawer.space == 'z' else points_of(drawer.space, drawer.G.mapping(z, label))
        images = drawer(found, label)
        embedded = distance.embed(images)
        for i, target in enumerate(targets.split(1)):
            values = distance.total(distance.parts(images, embedded, target, embedded_targets[i]))  # [K]
            best = int(values.argmin())
            if float(values[best]) < least[i]:
                least[i], points[i], labels[i] = float(values[best]), found[best], label[best]
    return Start(torch.stack(points), torch.stack(labels))


def _samples(
    G: Any, c: torch.Tensor | None, seed: int, device: torch.device
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yields z [K, z_dim] and labels [K, label_dim]. Without a label the classes take turns, each at least once."""
    draw = numpy_generator(seed, 'projection samples')
    turns = None if c is not None else torch.eye(G.c_dim)
    count = NUM_CANDIDATES if turns is None else max(NUM_CANDIDATES, G.c_dim)
    for start in range(0, count, AT_ONCE):
        z = torch.from_numpy(draw.standard_normal([AT_ONCE, G.z_dim])).float().to(device)
        if turns is not None:
            label = turns[torch.arange(start, start + AT_ONCE) % G.c_dim].to(device)
        else:
            assert c is not None
            label = c.to(device).expand(AT_ONCE, -1)
        yield z, label


def mean_of(space: Coordinates, statistics: Sequence[Statistics], G: Any) -> torch.Tensor:
    """Returns the mean of a space for each of N images, [N, ...].

    Args:
        space: 'w', 'w+', or 'z' of a generator without W.
        statistics: Of w for the label of each image, or of z for a generator without W.
        G: The generator.
    """
    mean = torch.stack([of.mean for of in statistics])  # [N, D]
    return mean.unsqueeze(1).repeat(1, G.num_ws, 1) if space == 'w+' else mean


def initial_points(settings: Settings, num_images: int, network: Network) -> torch.Tensor | None:
    """Returns the latents of the file of --init as points [N, ...] of the space; None if the start is no file.

    A note says if they were made with another network.

    Args:
        settings: Space and start.
        num_images: N.
        network: The network.

    Raises:
        ConfigError: If the file does not fit.
    """
    path, space = settings.start, settings.coordinates
    if path in NAMED_STARTS:
        return None
    try:
        latents = read_latents(Path(path), network.module)
    except DataError as error:
        raise ConfigError(f'--init={error}') from None
    if (note := note_on(latents, network.sha256)) is not None:
        print_note(note)
    if (latents.space == 'z') != (space == 'z'):
        others = 'z' if latents.space == 'z' else 'w or w+'
        raise ConfigError(f'--init={path}: holds {latents.space}; --space={others} continues from it')
    if len(latents.points) not in (1, num_images):
        raise ConfigError(f'--init={path}: holds {len(latents.points)} latents; expected 1, or one per target')
    points = latents.points if space == 'z' else points_of(space, latents.points)
    return points.expand(num_images, *points.shape[1:]).clone()
