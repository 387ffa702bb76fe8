"""For tests of measuring: networks that cost nothing to draw with, a detector that costs nothing to look with."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dnnlib.errors import UserError
from ganfoundry.commands import calc_metrics
from metrics.detectors.interface import Features
from metrics.streams.images import to_rgb
from training.build import build
from training.config import RunConfig
from training.data.dataset import DataConfig, ImageDataset
from training.networks.config import StyleGAN2DiscriminatorConfig, StyleGAN2GeneratorConfig
from training.recipes import auto
from training.record import to_record
from training.run.run_folder import RunFolder
from training.run.snapshot import save_snapshot

CPU = torch.device('cpu')
FD = '--metrics=fd_efflite16'


class ToyDetector:
    """A fixed random projection of what the channels look like at 4x4. images: how many it has seen."""

    name = 'efflite'
    digest = preprocessing = 'toy'
    feature_dim, num_classes = 4, 4

    def __init__(self) -> None:
        self.images = 0
        self.projection = torch.randn(3 * 4 * 4, 8, generator=torch.Generator().manual_seed(7)) / 100

    def __call__(self, images: torch.Tensor) -> Features:
        self.images += len(images)
        small = torch.nn.functional.adaptive_avg_pool2d(to_rgb(torch.as_tensor(images)).float(), 4)
        outputs = small.flatten(1) @ self.projection
        return Features(outputs[:, :4], outputs[:, 4:].softmax(dim=1))


class SquaredPixels:
    """A distance in place of LPIPS: the sum of the squared differences."""

    digest = preprocessing = 'toy'

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a - b).square().sum(dim=(1, 2, 3))


def tiny_config(data: Path, **fields) -> RunConfig:
    """Returns the config of a run on `data` with the smallest StyleGAN2."""
    dataset = ImageDataset(DataConfig(path=str(data)))
    widths = {'channel_base': 64, 'channel_max': 4, 'conv_clamp': None}
    return dataclasses.replace(
        auto(dataset.spec, 1),
        data=dataset.cfg,
        generator=StyleGAN2GeneratorConfig(z_dim=4, w_dim=4, map_depth=1, **widths),
        discriminator=StyleGAN2DiscriminatorConfig(mbstd_group=4, **widths),
        batch=4,
        batch_gpu=4,
        **fields,
    )


def make_run(path: Path, cfg: RunConfig, nimgs: tuple[int, ...]) -> RunFolder:
    """Makes a run folder with untrained snapshots, each from another seed.

    Args:
        path: The folder.
        cfg: Config of the run.
        nimgs: Numbers of images of the snapshots.
    """
    spec = ImageDataset(cfg.data).spec
    folder = RunFolder(path)
    path.mkdir()
    (path / 'config.json').write_text(json.dumps(to_record(cfg, spec)))
    for nimg in nimgs:
        state = build(dataclasses.replace(cfg, seed=nimg), spec, CPU)
        save_snapshot(folder.snapshot(nimg), state.G_ema, state.D, to_record(cfg, spec), nimg)
    return folder


def measure(capsys, *args) -> list[dict]:
    """Runs calc_metrics.py and returns the lines that it prints."""
    capsys.readouterr()
    words = [*map(str, args), '--device=cpu', '--no-cache', '--records=-']
    calc_metrics.main.main(words, standalone_mode=False)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def noise_images(path: Path, num_images: int = 20, mode: str = 'RGB') -> Path:
    """Returns a folder of random pictures of 16x16 pixels."""
    path.mkdir()
    draw = np.random.default_rng(0)
    for i in range(num_images):
        channels = len(Image.new(mode, (1, 1)).getbands())
        pixels = draw.integers(0, 256, [16, 16, channels], dtype=np.uint8)
        Image.fromarray(pixels).save(path / f'{i:03d}.png')
    return path


def refused(*args: object) -> str:
    """Returns the message with which calc_metrics.py refuses a command line."""
    with pytest.raises(UserError) as error:
        calc_metrics.main.main([*map(str, args), '--device=cpu', '--no-cache'], standalone_mode=False)
    assert '\n' not in str(error.value)
    return str(error.value)
