"""`--what=features`: the first principal component of a discriminator's hidden layers on real images (GIU Fig. 10).

Letters: N images, C features of a layer, H and W its size, M networks.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch

from dnnlib.errors import ConfigError
from ganfoundry.inspection.drawn import pixels
from ganfoundry.inspection.finding import Finding, signed
from ganfoundry.inspection.taps import tapped
from training.data.dataset import ImageDataset
from training.run.snapshot import Snapshot, load_discriminator


def inspect_features(snapshots: Sequence[Snapshot], reals: ImageDataset, count: int, device: torch.device) -> Finding:
    """Returns, for every size of features of every discriminator, the projection on its first principal component.

    The component is that of all places of all images. Its sign is chosen so that its largest entry is positive.

    Args:
        snapshots: The networks; images and labels of the data must fit all of them.
        reals: The real images.
        count: Number of images: the first ones of the data set.
        device: The device to compute on.

    Raises:
        ConfigError: If a snapshot has no discriminator.
    """
    chosen = range(min(count, len(reals)))
    images = torch.stack([torch.from_numpy(reals.image(index)) for index in chosen])  # [N, C, H, W]
    labels = torch.from_numpy(reals.labels(list(chosen)))  # [N, label_dim]
    levels = torch.iinfo(images.dtype).max / 2
    inputs = (images.float() / levels - 1).to(device)
    finding = Finding(rows=[('real images', pixels(inputs))])
    for number, snapshot in enumerate(snapshots, start=1):
        cfg, spec = snapshot.config()
        name = f'{number} {cfg.cfg}' if len(snapshots) > 1 else cfg.cfg
        D = load_discriminator(snapshot, device, 'fp32')
        c = labels[:, : spec.label_dim].float().to(device)
        sizes = {spec.size_at(2**k) for k in range(2, spec.resolution.bit_length())}
        layers = {}
        for (height, width), features in hidden_layers(D, inputs, c, sizes).items():
            component, share = first_component(features)
            finding.rows.append((f'{name} {height}x{width}', signed(component)))
            layers[f'{height}x{width}'] = {'features': features.shape[1], 'share_of_variance': share}
        finding.facts.setdefault('networks', {})[name] = layers
        finding.lines.append(
            f'{name} ({snapshot.path.name}): share of the variance along the first component: '
            + ', '.join(f'{value["share_of_variance"]:.0%} at {size}' for size, value in layers.items())
        )
    return finding


def hidden_layers(
    D: torch.nn.Module, images: torch.Tensor, c: torch.Tensor, sizes: Collection[tuple[int, ...]]
) -> dict[tuple[int, int], torch.Tensor]:
    """Returns the last features of a discriminator at every size, the largest first.

    Args:
        D: The discriminator.
        images: [N, C, H, W] in [-1, 1].
        c: Labels, [N, label_dim].
        sizes: Heights and widths of stages; layers of other sizes are steps within a layer, such as padded ones.

    Returns:
        Features by (height, width), float32 [N, C, height, width].
    """
    with torch.no_grad(), tapped(dict(D.named_modules())) as calls:
        D(images, c)
    found: dict[tuple[int, int], torch.Tensor] = {}
    for call in calls.values():  # in the order in which the modules ended
        output: Any = call.output[0] if isinstance(call.output, tuple) else call.output
        if isinstance(output, torch.Tensor) and output.ndim == 4 and tuple(output.shape[2:]) in sizes:
            found[output.shape[2], output.shape[3]] = output.float()
    return dict(sorted(found.items(), reverse=True))


def first_component(features: torch.Tensor) -> tuple[np.ndarray, float]:
    """Returns the projection of features on their first principal component, and its share of the variance.

    Args:
        features: [N, C, H, W].

    Returns:
        Projections, float64 [N, H, W], and the share from 0 to 1 (0 if all features are equal).
    """
    n, c, h, w = features.shape
    rows = features.double().permute(0, 2, 3, 1).reshape(-1, c)  # [N H W, C]
    rows = rows - rows.mean(dim=0)
    values, vectors = torch.linalg.eigh(rows.T @ rows)  # ascending
    axis = vectors[:, -1]
    axis = axis * axis[axis.abs().argmax()].sign()
    total = values.clamp(min=0).sum().item()
    share = values[-1].item() / total if total else 0.0
    return (rows @ axis).reshape(n, h, w).cpu().numpy(), share


def check_images(reals: ImageDataset, snapshots: Sequence[Snapshot]) -> None:
    """Raises ConfigError if a network sees images of another size, other channels or other labels than the data's."""
    for snapshot in snapshots:
        _, spec = snapshot.config()
        found, wanted = reals.spec, (spec.height, spec.width, spec.channels)
        if (found.height, found.width, found.channels) != wanted:
            raise ConfigError(
                f'--what=features: {snapshot.path} sees images of {spec.width}x{spec.height} with {spec.channels} '
                f'channels, and {reals.cfg.source} has {found.width}x{found.height} with {found.channels}; '
                'give --data of that kind'
            )
        if found.label_dim < spec.label_dim:
            raise ConfigError(
                f'--what=features: {snapshot.path} sees labels of {spec.label_dim} entries, and '
                f'{reals.cfg.source} has {found.label_dim}; give --data with the labels of its training'
            )
