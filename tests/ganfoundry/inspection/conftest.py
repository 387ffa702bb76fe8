"""Drawings with narrow untrained networks, one per architecture."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ganfoundry.class_option import NO_LABEL
from ganfoundry.inspection.drawn import Drawing
from ganfoundry.network import load
from ganfoundry.points import points_of_seeds
from tests.support.narrow import make_snapshot
from training.interface import ImageSpec

SPEC = ImageSpec(resolution=32, channels=3, label_dim=0, num_images=8)


@pytest.fixture(scope='package')
def drawing_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Drawing]:
    """Returns a function from a --cfg to a drawing of three images by a narrow network, which is made once."""
    folder = tmp_path_factory.mktemp('networks')
    made: dict[str, Drawing] = {}

    def drawing(cfg: str) -> Drawing:
        if cfg not in made:
            network = load(make_snapshot(folder / f'{cfg}.safetensors', cfg, SPEC), device='cpu')
            made[cfg] = Drawing(network=network, points=list(points_of_seeds(range(3), network.module.z_dim, NO_LABEL)))
        return made[cfg]

    return drawing
