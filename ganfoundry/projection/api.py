"""Projection from Python, exported by ganfoundry/__init__.py."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from dnnlib.paths import user_path
from ganfoundry.network import Network
from ganfoundry.projection.perceptual import LpipsDistance, choose_perceptual
from ganfoundry.projection.project import Projection, project_batch
from ganfoundry.projection.settings import Settings, check_settings
from ganfoundry.projection.spaces import check_space
from ganfoundry.projection.starts import initial_points
from ganfoundry.projection.targets import Fit, fit_target, label_of, read_target


def project(
    G: Network,
    image: str | Path | np.ndarray,
    *,
    space: str | None = None,
    num_steps: int = 300,
    method: str = 'direct',
    init: str | Path | None = None,
    mse: float | None = None,
    class_idx: int | str | None = None,
    fit: Fit = 'crop',
    seed: int = 0,
    tune_steps: int = 100,
    max_drift: float = 0.05,
) -> Projection:
    """Finds the latents with which a network draws an image, bit for bit as projector.py does.

    Args:
        G: The network.
        image: The path of an image, or pixels, uint8 or uint16 [H, W, C].
        space: 'w', 'w+', 'z', or 'pti' for w and a tuning of the network; by default w, or z without W.
        num_steps: Number of steps.
        method: 'direct', or 'stylegan2' for Appendix D of its paper.
        init: 'nearest', 'mean' or the path of a latents file; by default that of the method.
        mse: Weight of the mean squared error; by default that of the method.
        class_idx: Class, a number or a text as --class takes it, 'auto' for that of the nearest sample; needed by a
            conditional network.
        fit: 'crop', 'pad' or 'stretch'.
        seed: Seed of every random draw.
        tune_steps: Number of steps of the tuning of 'pti'.
        max_drift: Mean perceptual distance by which that tuning may change other images.

    Returns:
        The result: `latents` for `G.draw`, `image` uint8 or uint16 [H, W, C], `perceptual`, `psnr`, `from_mean`,
        `curve`. After 'pti', `G` is the tuned generator, a `torch.nn.Module`.

    Raises:
        ConfigError: Names the setting that is wrong or does not fit the network.
        DataError: If the image cannot be read.
    """
    settings = Settings(
        space=check_space(space, G.module),
        method=method,
        num_steps=num_steps,
        init=None if init is None else user_path(str(init)),
        mse=mse,
        seed=seed,
        tune_steps=tune_steps,
        max_drift=max_drift,
    )
    check_settings(settings, G.module)
    label = label_of(class_idx, G, 'class_idx')
    if isinstance(image, np.ndarray):
        target = fit_target(image, 'image', 'image', G.spec, fit)
    else:
        path = Path(user_path(str(image)))
        target = read_target(path, path.stem, G.spec, fit)
    initial = initial_points(settings, 1, G)
    perceptual, line = choose_perceptual(G.device)
    if not isinstance(perceptual, LpipsDistance):
        warnings.warn(line, stacklevel=2)
    (found,) = project_batch(G.module, [target], label, settings, perceptual, initial=initial)
    return found
