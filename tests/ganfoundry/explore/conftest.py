"""Networks of the explorer's tests, and a function that draws the command line which the explorer gives."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from ganfoundry.commands import generate
from ganfoundry.explore.command_line import Machine
from ganfoundry.explore.studio import Studio, StudioOptions
from tests.conftest import ROOT
from tests.support.narrow import make_snapshot
from training.interface import ImageSpec

PEEPS = ROOT / 'examples' / 'networks' / 'peeps32.safetensors'
SPEC = ImageSpec(resolution=16, channels=3, label_dim=0, num_images=8)
LABELED = ImageSpec(resolution=16, channels=3, label_dim=3, num_images=8)


@pytest.fixture(scope='session')
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that makes a snapshot of an untrained narrow network: `narrow('dcgan', LABELED)`."""
    folder = tmp_path_factory.mktemp('narrow')

    def make(cfg: str, spec: ImageSpec = SPEC) -> Path:
        path = folder / f'{cfg}-{spec.label_dim}.safetensors'
        names = ('cat', '<script>alert(1)</script>', 'fox') if spec.label_dim else ()
        return path if path.exists() else make_snapshot(path, cfg, spec, names)

    return make


@pytest.fixture
def studio(tmp_path: Path) -> Callable[..., Studio]:
    """A function that opens networks; bookmarks go to a file of the test."""

    def open_studio(*networks: Path, latents: tuple[str, ...] = ()) -> Studio:
        options = StudioOptions(
            networks=tuple(map(str, networks)),
            latents=latents,
            bookmarks=str(tmp_path / 'latents.npz'),
            machine=Machine(device='cpu'),
        )
        return Studio(options)

    return open_studio


@pytest.fixture
def generated(tmp_path: Path) -> Callable[[str], tuple[bytes, np.ndarray]]:
    """A function that carries out a line of generate.py; returns the bytes and the pixels of its only PNG."""

    def draw(line: str) -> tuple[bytes, np.ndarray]:
        python, script, *args = shlex.split(line)
        assert (python, script) == ('python', 'generate.py')
        outdir = tmp_path / f'drawn{len(list(tmp_path.iterdir()))}'
        generate.main.main([*args, f'--outdir={outdir}'], standalone_mode=False)
        (path,) = outdir.glob('*.png')
        with PIL.Image.open(path) as picture:
            return path.read_bytes(), np.asarray(picture)

    return draw
