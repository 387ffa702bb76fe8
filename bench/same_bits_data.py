"""Data of bench/same_bits.py: data sets, pictures, a plug-in, a detector, weights of LPIPS, states of version 1."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image

DATA_VERSION = 3  # raise it if `make_data` writes something else: kept results of the base depend on it
STATES = Path(__file__).resolve().parent.parent / 'tests' / 'reliability' / 'data' / 'states'
PLUGIN = '''
"""A plug-in outside the repository, as README's ring.py."""
from dataclasses import dataclass, replace

import torch

from training.recipes import auto
from training.registry import register_generator, register_recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class RingConfig:
    z_dim: int = 8
    width: int = 16


@register_generator('ring', config=RingConfig)
class Ring(torch.nn.Module):
    def __init__(self, config, spec):
        super().__init__()
        self.z_dim, self.c_dim = config.z_dim, spec.label_dim
        self.img_resolution, self.img_channels = spec.resolution, spec.channels
        self.shape = [spec.channels, spec.height, spec.width]
        self.body = torch.nn.Sequential(
            torch.nn.Linear(config.z_dim, config.width),
            torch.nn.ReLU(),
            torch.nn.Linear(config.width, spec.channels * spec.pixels),
        )

    def forward(self, z, c, *, truncation_psi=1, noise_mode='random'):
        return self.body(z * truncation_psi).reshape(-1, *self.shape)


@register_recipe('ring', paper='mine')
def ring(facts, num_gpus):
    cfg = auto(facts, num_gpus)
    return replace(
        cfg, cfg='ring', generator=RingConfig(), pl=replace(cfg.pl, weight=0, interval=None), style_mixing_prob=0
    )
'''


def make_data(folder: Path) -> None:
    """Writes the data of all cases, the same bits at every call, unless they are there."""
    if (folder / 'done').exists():
        return
    (folder / 'pictures').mkdir(parents=True, exist_ok=True)
    draw = np.random.RandomState(0)
    write_zip(folder / 'small.zip', draw, np.uint8)
    write_zip(folder / 'other.zip', draw, np.uint8)
    write_zip(folder / 'deep.zip', draw, np.uint16)
    for number, (mode, kind) in enumerate([('RGB', 'png'), ('L', 'png'), ('RGBA', 'png'), ('RGB', 'jpg')] * 2):
        channels = len(mode)
        pixels = draw.randint(0, 256, [40 + number, 64, channels], dtype=np.uint8)
        path = folder / 'pictures' / f'class{number % 2}' / f'{number}.{kind}'
        path.parent.mkdir(exist_ok=True)
        PIL.Image.fromarray(pixels[..., 0] if channels == 1 else pixels, mode).save(path)
    shutil.copytree(STATES, folder / 'states', dirs_exist_ok=True)
    (folder / 'ring.py').write_text(PLUGIN)
    write_toy(folder / 'toy.pt')
    write_lpips(folder / 'lpips.safetensors', draw)
    (folder / 'done').touch()


def write_zip(path: Path, draw: np.random.RandomState, dtype: type) -> None:
    """Writes a labeled data set of 48 images of 32x32.

    Args:
        path: New zip.
        draw: Source of the pixels.
        dtype: uint8 writes PNG, uint16 writes .npy.
    """
    with zipfile.ZipFile(path, 'w') as archive:
        labels = []
        for number in range(48):
            pixels = draw.randint(0, np.iinfo(dtype).max + 1, [32, 32, 3]).astype(dtype)
            pixels[8:24, 8:24, number % 3] //= 4
            name = f'00000/img{number:08d}.{"png" if dtype is np.uint8 else "npy"}'
            with archive.open(zipfile.ZipInfo(name), 'w') as file:
                if dtype is np.uint8:
                    PIL.Image.fromarray(pixels).save(file, 'PNG')
                else:
                    np.lib.format.write_array(file, pixels)
            labels.append([name, number % 3])
        archive.writestr(zipfile.ZipInfo('dataset.json'), json.dumps({'labels': labels}))


def write_toy(path: Path) -> None:
    """Writes a detector as TorchScript: a random projection of 4x4 averages, and a square."""
    import torch

    class Toy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            draw = torch.Generator().manual_seed(0)
            self.register_buffer('weight', torch.randn([48, 12], generator=draw))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.adaptive_avg_pool2d(x, 4).flatten(1).matmul(self.weight).square()

    torch.jit.save(torch.jit.trace(Toy(), torch.rand(2, 3, 32, 32)), path)


def write_lpips(path: Path, draw: np.random.RandomState) -> None:
    """Writes random weights for LPIPS in the form in which the detectors' cache keeps the published ones."""
    from safetensors.numpy import save_file

    widths = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
    places = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # convolutions in the published VGG16
    tensors = {}
    for place, below, width in zip(places, widths, widths[1:], strict=False):
        scale = (2 / (9 * below)) ** 0.5
        tensors[f'features.{place}.weight'] = draw.randn(width, below, 3, 3).astype(np.float32) * np.float32(scale)
        tensors[f'features.{place}.bias'] = draw.randn(width).astype(np.float32) * np.float32(0.1)
    for number, width in enumerate((64, 128, 256, 512, 512)):
        tensors[f'heads.{number}'] = np.abs(draw.randn(width)).astype(np.float32)
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f'{name} torch.float32 {list(tensor.shape)}\n'.encode())
        digest.update(tensor.tobytes())
    source = '2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d'  # sha256 of the published file
    header = {'name': 'lpips', 'source': 'vgg16.ckpt', 'source_sha256': source, 'digest': digest.hexdigest()}
    save_file(tensors, path, header)
