"""DINOv2 features, for FD-DINOv2: Stein et al. 2023 (arXiv:2306.04675) over Oquab et al. 2023 (arXiv:2304.07193).

The networks are those of the package transformers. Their weights come from the folder that
`--detector-path=dinov2=FOLDER` names, a folder `dinov2-large` inside the one that GANFOUNDRY_DETECTORS names, or the
Hugging Face hub and its cache; only safetensors are read. `dinov2` is the published choice, ViT-L/14; `dinov2b` and
`dinov2s` are smaller.

Letters: N batch, C image channels, H and W image height and width, D feature width.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F

from dnnlib.download import OFFLINE_VARIABLE
from dnnlib.errors import UserError
from metrics.detectors.determinism import deterministic_float32
from metrics.detectors.network_detector import CPU_CHUNK, GPU_CHUNK
from metrics.detectors.table import Features
from metrics.detectors.vgg import normalise
from metrics.detectors.weights import detectors_folder, digest_of, named_path
from metrics.streams.images import as_images, to_rgb

INPUT_SIZE = 224
PACKAGE = 'transformers'


class DinoV2:
    """A detector, see `metrics.detectors.table.Detector`: the normalised class token [N, D], no classes.

    The paper's code resizes 8-bit pictures with Pillow, whose result is clamped and rounded to whole grey levels; so
    is it here. transformers stretches the position embeddings to 224 px by their size, Meta's code by a ratio with an
    offset of 0.1: features differ slightly, and so may distances, from those of the paper's own code.
    """

    name: ClassVar[str]
    model: ClassVar[str]
    feature_dim: ClassVar[int]
    num_classes = 0
    preprocessing = 'v1: bicubic with antialiasing to 224, rounded, ImageNet mean and std, float32'

    def __init__(self, device: torch.device | str = 'cpu') -> None:
        self.device = torch.device(device)
        self.chunk_size = CPU_CHUNK if self.device.type == 'cpu' else GPU_CHUNK
        network = self._load()
        if network.config.hidden_size != self.feature_dim:
            found = f'has {network.config.hidden_size} features, {self.name} has {self.feature_dim}'
            raise UserError(f'{self._place()}: another network: it {found}')
        self.digest = digest_of(network.state_dict())
        self.edition = f'facebook/{self.model}'
        self.network = network.to(self.device).eval().requires_grad_(False)

    @classmethod
    def available(cls) -> bool:
        """Whether the package is installed, and a folder or the hub's cache has the weights."""
        if importlib.util.find_spec(PACKAGE) is None:
            return False
        if isinstance(cls._place(), Path):
            return True
        hub: Any = importlib.import_module('huggingface_hub')
        return isinstance(hub.try_to_load_from_cache(cls._place(), 'model.safetensors'), str)

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor) -> Features:
        """Grey or RGB images uint8 [N, C, H, W] -> Features on the detector's device; bitwise repeatable."""
        with deterministic_float32():
            chunks = as_images(images).split(self.chunk_size)
            return Features(torch.cat([self.network(self.prepare(chunk)).pooler_output for chunk in chunks]), None)

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 [N, C, H, W] -> [N, 3, 224, 224] float32."""
        x = to_rgb(images.to(self.device)).float()
        x = F.interpolate(x, size=(INPUT_SIZE, INPUT_SIZE), mode='bicubic', antialias=True).round().clamp(0, 255)
        return normalise(x)

    @classmethod
    def _place(cls) -> Path | str:
        """A folder, else the name on the hub."""
        if (named := named_path(cls.name)) is not None:
            return named
        folder = detectors_folder()
        if folder is not None and (folder / cls.model).is_dir():
            return folder / cls.model
        return f'facebook/{cls.model}'

    @classmethod
    def _load(cls) -> Any:
        try:
            from transformers import Dinov2Model
        except ImportError as error:
            raise UserError(f'the detector {cls.name} needs the package {PACKAGE}: pip install {PACKAGE}') from error
        place = cls._place()
        try:
            network, report = Dinov2Model.from_pretrained(
                place,
                use_safetensors=True,
                local_files_only=isinstance(place, Path) or os.environ.get(OFFLINE_VARIABLE, '0') not in ('', '0'),
                attn_implementation='eager',  # the one attention that is the same arithmetic on every device
                dtype=torch.float32,
                output_loading_info=True,
            )
        except (OSError, ValueError) as error:
            raise UserError(
                f'the weights of {cls.name} cannot be had from {place}: {error}; give {cls._hint()}'
            ) from error
        if lacking := report['missing_keys'] or report['mismatched_keys']:  # transformers would draw them
            some = ', '.join(map(str, sorted(lacking)[:3]))
            raise UserError(f'{place}: lacks {len(lacking)} tensors, {some} among them; give {cls._hint()}')
        return network

    @classmethod
    def _hint(cls) -> str:
        return f'--detector-path={cls.name}=FOLDER with config.json and model.safetensors of facebook/{cls.model}'


class DinoV2Large(DinoV2):
    """ViT-L/14, the network of FD-DINOv2."""

    name, model, feature_dim = 'dinov2', 'dinov2-large', 1024


class DinoV2Base(DinoV2):
    """ViT-B/14."""

    name, model, feature_dim = 'dinov2b', 'dinov2-base', 768


class DinoV2Small(DinoV2):
    """ViT-S/14."""

    name, model, feature_dim = 'dinov2s', 'dinov2-small', 384
