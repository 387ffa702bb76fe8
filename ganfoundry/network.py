"""A trained generator as a Python object: drawing with it, and loading it.

Letters: N images in a batch, C channels, H and W image size.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dnnlib.errors import ConfigError
from dnnlib.files import sha256_of
from dnnlib.paths import user_path
from dnnlib.registry import load_file
from ganfoundry.class_option import Label, parse_class
from ganfoundry.drawing import Drawn, check_finite, draw_points, image_info, make_outdir, save_image
from ganfoundry.latent_options import MAX_SEED, LatentsFile, Seeds, parse_latents
from ganfoundry.pictures import check_names_free, text_of
from ganfoundry.points import Point, PointList, points_of_latents, points_of_seeds, read_file, z_of
from torch_utils.devices import pick_device, prepare
from training.build import DTYPES, resolve_precision
from training.record import class_names
from training.run.latents import Latents, Space, check_points, spaces_of
from training.run.open_network import open_network
from training.run.snapshot import Snapshot, load_generator

PRECISIONS = ('auto', *DTYPES)


class Network:
    """A trained generator. Made by `load`.

    Attributes:
        module: The generator, a `torch.nn.Module` in evaluation mode without gradients of its parameters.
        spec: The facts of the images that it draws (`ImageSpec`): height, width, channels, bits, label_dim.
        path: The file that it was read from.
        device: The device that it computes on.
        precision: 'fp32', 'bf16' or 'fp16'.
        class_names: Names of the classes by their numbers; empty if they are not known.
    """

    def __init__(self, snapshot: Snapshot, module: Any, precision: str) -> None:
        self.module, self.precision = module, precision
        self.config, self.spec = snapshot.config()
        self.path = snapshot.path
        self.class_names = class_names(snapshot.record, self.spec.label_dim)
        self.snapshot = Snapshot(path=snapshot.path, tensors={}, record=snapshot.record, nimg=snapshot.nimg)

    def __repr__(self) -> str:
        return f'Network({str(self.path)!r}: {self.config.cfg}, {self.spec.width}x{self.spec.height}, {self.device})'

    @property
    def device(self) -> torch.device:
        """The device that the network computes on."""
        device: torch.device = next(self.module.parameters()).device
        return device

    @property
    def spaces(self) -> tuple[str, ...]:
        """The latent spaces: 'w', 'w+' and 'z', or 'z' for a network without a W space."""
        return spaces_of(self.module)

    @functools.cached_property
    def sha256(self) -> str:
        """The digest of the network's file, in hex."""
        return sha256_of(self.path)

    def __call__(self, z: torch.Tensor, c: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        """Runs the network's forward.

        Args:
            z: Latents, float32 [N, z_dim].
            c: Labels, float32 [N, label_dim]; not needed if label_dim is 0.
            **kwargs: `truncation_psi` (1) and `noise_mode` ('const', 'random' or 'none').

        Returns:
            Images, float32 [N, C, H, W], nominally in [-1, 1], not clipped.

        Raises:
            ConfigError: If a conditional network gets no labels.
        """
        if c is None and self.spec.label_dim > 0:
            raise ConfigError(f'c is needed: this network is conditional, with labels [N, {self.spec.label_dim}]')
        labels = torch.zeros([len(z), 0]) if c is None else c
        images: torch.Tensor = self.module(z.to(self.device), labels.to(self.device), **kwargs)
        return images

    def latents(self, seeds: Iterable[int]) -> torch.Tensor:
        """Returns the latents of seeds as in StyleGAN2-ADA, float32 [N, z_dim] on the CPU."""
        return z_of(checked_seeds(seeds), self.module.z_dim)

    def images(
        self,
        seeds: Iterable[int],
        *,
        psi: float = 1,
        class_idx: int | str | None = None,
        noise_mode: str = 'const',
        batch: int = 8,
    ) -> np.ndarray:
        """Draws the images of seeds, bit for bit those of generate.py.

        Args:
            seeds: Numbers from 0 to 2^32 - 1.
            psi: Truncation; 1 for none.
            class_idx: Class of all images, a number or a text as --class takes it; needed by a conditional network.
            noise_mode: 'const', 'random' (a function of the seed) or 'none'.
            batch: Number of images that the network draws at a time.

        Returns:
            uint8 [N, H, W, C], or uint16 for a network of 16-bit images.

        Raises:
            ConfigError: Names the argument that does not fit the network.
        """
        points = points_of_seeds(checked_seeds(seeds), self.module.z_dim, self._label(class_idx))
        return channels_last(self._drawn(points, psi, noise_mode, batch))

    def draw(
        self,
        latents: torch.Tensor | np.ndarray | str | Path,
        *,
        c: torch.Tensor | None = None,
        psi: float = 1,
        noise_mode: str = 'const',
        batch: int = 8,
    ) -> np.ndarray:
        """Draws the images of latents.

        Args:
            latents: Z [N, z_dim], or w [N, num_ws, w_dim] for a network with a W space; or a latents file, such as
                'me.npz' or 'me.npz:0,2-5'.
            c: Labels [1, label_dim] or [N, label_dim], for z; by default those of the file, or none.
            psi: Truncation of z; w is final.
            noise_mode: 'const', 'random' or 'none'.
            batch: Number of images that the network draws at a time.

        Returns:
            uint8 [N, H, W, C], or uint16 for a network of 16-bit images.

        Raises:
            ConfigError: If a conditional network gets no labels.
            DataError: If the latents do not fit the network.
        """
        points = self._points(latents, c)
        return channels_last(self._drawn(points, psi, noise_mode, batch))

    def save(
        self,
        outdir: str | Path,
        seeds: Iterable[int],
        *,
        psi: float = 1,
        class_idx: int | str | None = None,
        noise_mode: str = 'const',
        batch: int = 8,
        overwrite: bool = False,
    ) -> list[Path]:
        """Writes the images of seeds as generate.py does, one PNG per seed with its origin as text.

        Args:
            outdir: Folder of the PNGs, created if need be.
            seeds: Numbers from 0 to 2^32 - 1.
            psi: Truncation; 1 for none.
            class_idx: Class of all images, a number or a text as --class takes it; needed by a conditional network.
            noise_mode: 'const', 'random' or 'none'.
            batch: Number of images that the network draws at a time.
            overwrite: Whether to replace other pictures of the same name.

        Returns:
            The paths, in the order of the seeds, each once.

        Raises:
            ConfigError: If another picture has the name of one of these.
        """
        chosen = Seeds(range(seed, seed + 1) for seed in dict.fromkeys(checked_seeds(seeds)))
        points = PointList(chosen, self.module.z_dim, self._label(class_idx))
        info = self.info(truncation_psi=psi, noise_mode=noise_mode)
        folder = make_outdir(user_path(str(outdir)))
        if not overwrite:
            check_names_free(folder, points, info)
        paths = []
        for drawn in self._drawn(points, psi, noise_mode, batch):
            paths.append(folder / f'{drawn.point.name}.png')
            save_image(drawn.image, paths[-1], {**info, **text_of(drawn)})
        return paths

    def info(
        self, *, truncation_psi: float = 1, noise_mode: str = 'const', recalibrate: bool = False
    ) -> dict[str, Any]:
        """Returns the text chunks of a PNG that all images of one command share.

        Args:
            truncation_psi: Truncation of the images.
            noise_mode: 'const', 'random' or 'none'.
            recalibrate: Whether batch-norm statistics were measured again.
        """
        settings = {'truncation_psi': truncation_psi, 'noise_mode': noise_mode, 'recalibrate': recalibrate}
        return image_info(self.snapshot, self.sha256, precision=self.precision, **settings)

    def _label(self, class_idx: int | str | None) -> Label:
        return parse_class(class_idx, self.spec.label_dim, self.class_names, 'class_idx')

    def _drawn(self, points: Iterable[Point], psi: float, noise_mode: str, batch: int) -> Iterator[Drawn]:
        check_finite(psi, 'psi')
        how: dict[str, Any] = {'truncation_psi': psi, 'noise_mode': noise_mode, 'bits': self.spec.bits}
        return draw_points(self.module, points, batch=batch, **how)

    def _points(self, latents: torch.Tensor | np.ndarray | str | Path, c: torch.Tensor | None) -> list[Point]:
        file = LatentsFile(path=Path('latents'))
        if isinstance(latents, Path):
            file = LatentsFile(path=Path(user_path(str(latents))))
        elif isinstance(latents, str):
            files = parse_latents([latents], 'latents')
            if len(files) > 1:
                raise ConfigError(f'latents={latents}: expected one file')
            file = files[0]
        if isinstance(latents, str | Path):
            found = read_file(file, self.module, 'latents')
        else:
            points = torch.as_tensor(latents).detach().cpu()
            space: Space = 'z' if points.ndim == 2 else 'w'
            check_points('latents', space, points, self.module)
            found = Latents(space=space, points=points.float())
        labels = found.c if c is None else torch.as_tensor(c).detach().cpu().float()
        if labels is None:
            if found.space == 'z' and self.spec.label_dim > 0:
                raise ConfigError(f'c is needed: this network is conditional, with labels [N, {self.spec.label_dim}]')
            labels = torch.zeros([1, self.spec.label_dim])
        return points_of_latents(found, labels, stem=file.path.stem, indices=file.indices)


def load(
    where: str | Path,
    *,
    device: str = 'auto',
    precision: str = 'fp32',
    plugin: str | Path | Iterable[str | Path] = (),
) -> Network:
    """Loads a trained generator. On a GPU, float32 is IEEE float32 from then on in this process, without TF32.

    Args:
        where: A run folder (its best snapshot, or the newest if none is known as the best), a snapshot, an official
            .pkl (read as data, nothing in it is executed), an exported folder, or the http(s) address of a file.
        device: 'cpu', 'cuda', 'mps', or 'auto' for the best available.
        precision: 'fp32', 'bf16', 'fp16', or 'auto' for the fastest safe one on the device.
        plugin: Python files that register the network's architecture, unless they are imported already.

    Raises:
        CheckpointError: Names the file if it is absent, damaged, or not a network.
        ConfigError: If the machine does not have the device.
        DownloadError: Names the address if it cannot be fetched.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f'precision={precision}: choose one of {", ".join(PRECISIONS)}')
    for path in [plugin] if isinstance(plugin, str | Path) else plugin:
        load_file(path)
    chosen = pick_device(None if device == 'auto' else device, kinds=('cpu', 'cuda', 'mps'))
    prepare(chosen)
    snapshot = open_network(where)
    precision = resolve_precision(precision, chosen)
    return Network(snapshot, load_generator(snapshot, chosen, precision), precision)


def checked_seeds(seeds: Iterable[int]) -> list[int]:
    """Returns seeds as a list. Raises ConfigError if there are none, or if one is out of range."""
    if not isinstance(seeds, Iterable) or isinstance(seeds, str):
        raise ConfigError(f'seeds={seeds!r}: expected several numbers, such as range(16) or [3, 7]')
    chosen = [int(seed) for seed in seeds]
    if not chosen:
        raise ConfigError('seeds is empty; give at least one, such as range(16)')
    for seed in (min(chosen), max(chosen)):
        if not 0 <= seed <= MAX_SEED:
            raise ConfigError(f'seeds: {seed} is not in 0 to {MAX_SEED}')
    return chosen


def channels_last(drawn: Iterable[Drawn]) -> np.ndarray:
    """Returns images [C, H, W] as one array [N, H, W, C]."""
    return np.stack([image.image.transpose(1, 2, 0) for image in drawn])
