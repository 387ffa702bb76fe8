"""DINOv2 features, for FD-DINOv2: Stein et al. 2023 (arXiv:2306.04675) over Oquab et al. 2023 (arXiv:2304.07193).

The networks are those of the package transformers. Their weights come from the folder that
`--detector-path=dinov2=FOLDER` names, a folder `dinov2-large` inside the one that GANFOUNDRY_DETECTORS names, or the
Hugging Face hub and its cache; only safetensors are read. `dinov2` is the published choice, ViT-L/14; `dinov2b` and
`dinov2s` are smaller.

Letters: N batch, C image channels, H and W image height and width, D feature width.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F

from dnnlib.download import OFFLINE_VARIABLE
from dnnlib.errors import UserError
from metrics.detectors.interface import Features
from metrics.detectors.network_detector import LoadedNetwork, NetworkDetector
from metrics.detectors.vgg import normalize
from metrics.detectors.weights import detectors_folder, digest_of, named_path
from metrics.streams.images import to_rgb

INPUT_SIZE = 224
PACKAGE = 'transformers'


class DinoV2(NetworkDetector):
    """A detector whose features are the normalized class token [N, D]; no classes.

    The paper's code resizes 8-bit images with Pillow, whose result is clamped and rounded to whole gray levels; so is
    it here. transformers stretches the position embeddings to 224 px by their size, Meta's code by a ratio with an
    offset of 0.1: features, and therefore distances, may differ slightly from those of the paper's own code.
    """

    model: ClassVar[str]
    num_layers: ClassVar[int]
    num_heads: ClassVar[int]
    num_classes = 0
    preprocessing = 'v1: bicubic with antialiasing to 224, rounded, ImageNet mean and std, float32'

    @classmethod
    def available(cls) -> bool:
        """Returns whether the package is installed, and a folder or the hub's cache has the weights."""
        if importlib.util.find_spec(PACKAGE) is None:
            return False
        if isinstance(cls._place(), Path):
            return True
        hub: Any = importlib.import_module('huggingface_hub')
        return isinstance(hub.try_to_load_from_cache(cls._place(), 'model.safetensors'), str)

    @classmethod
    def make_network(cls) -> torch.nn.Module:
        """Returns the published architecture, with any weights."""
        transformers = _package(cls.name)
        config = transformers.Dinov2Config(
            hidden_size=cls.feature_dim,
            num_hidden_layers=cls.num_layers,
            num_attention_heads=cls.num_heads,
            image_size=518,
            patch_size=14,
            attn_implementation='eager',
        )
        network: torch.nn.Module = transformers.Dinov2Model(config)
        return network

    @classmethod
    def load(cls) -> LoadedNetwork:
        """Returns the network of the folder or the hub. Raises UserError if tensors are missing or it is another."""
        network = cls._read()
        if network.config.hidden_size != cls.feature_dim:
            found = f'has {network.config.hidden_size} features, {cls.name} has {cls.feature_dim}'
            raise UserError(f'{cls._place()}: another network: it {found}')
        digest = digest_of(network.state_dict())
        return LoadedNetwork(network.eval().requires_grad_(False), digest, f'facebook/{cls.model}')

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Converts uint8 [N, C, H, W] to [N, 3, 224, 224] float32."""
        x = to_rgb(images.to(self.device)).float()
        x = F.interpolate(x, size=(INPUT_SIZE, INPUT_SIZE), mode='bicubic', antialias=True).round().clamp(0, 255)
        return normalize(x)

    def features(self, x: torch.Tensor) -> Features:
        """Returns the class token [N, D] of a prepared chunk."""
        return Features(self.network(x).pooler_output, None)

    @classmethod
    def _place(cls) -> Path | str:
        """Returns a folder, else the name on the hub."""
        if (named := named_path(cls.name)) is not None:
            return named
        folder = detectors_folder()
        if folder is not None and (folder / cls.model).is_dir():
            return folder / cls.model
        return f'facebook/{cls.model}'

    @classmethod
    def _read(cls) -> Any:
        transformers, place = _package(cls.name), cls._place()
        try:
            network, report = transformers.Dinov2Model.from_pretrained(
                place,
                use_safetensors=True,
                local_files_only=isinstance(place, Path) or os.environ.get(OFFLINE_VARIABLE, '0') not in ('', '0'),
                attn_implementation='eager',  # the one attention with the same arithmetic on every device
                dtype=torch.float32,
                output_loading_info=True,
            )
        except (OSError, ValueError) as error:
            raise UserError(
                f'the weights of {cls.name} cannot be read from {place}: {error}; give {cls._hint()}'
            ) from error
        if lacking := report['missing_keys'] or report['mismatched_keys']:  # transformers would draw them at random
            some = ', '.join(map(str, sorted(lacking)[:3]))
            raise UserError(f'{place}: lacks {len(lacking)} tensors, {some} among them; give {cls._hint()}')
        return network

    @classmethod
    def _hint(cls) -> str:
        return f'--detector-path={cls.name}=FOLDER with config.json and model.safetensors of facebook/{cls.model}'


def _package(name: str) -> Any:
    """Returns the package transformers. Raises UserError, in the name of the detector, if it is not installed."""
    try:
        return importlib.import_module(PACKAGE)
    except ImportError as error:
        raise UserError(f'the detector {name} needs the package {PACKAGE}: pip install {PACKAGE}') from error


class DinoV2Large(DinoV2):
    """ViT-L/14, the network of FD-DINOv2."""

    name, model, feature_dim = 'dinov2', 'dinov2-large', 1024
    num_layers, num_heads = 24, 16


class DinoV2Base(DinoV2):
    """ViT-B/14."""

    name, model, feature_dim = 'dinov2b', 'dinov2-base', 768
    num_layers, num_heads = 12, 12


class DinoV2Small(DinoV2):
    """ViT-S/14."""

    name, model, feature_dim = 'dinov2s', 'dinov2-small', 384
    num_layers, num_heads = 12, 6
