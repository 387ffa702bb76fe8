"""Detectors over the user's own network: any TorchScript or ONNX file, with its input declared.

    --detector-path=clip=clip.onnx,size=224,range=0-1,mean=.48/.46/.41,std=.27/.26/.28,resize=bicubic

Names such as `fd_clip50k_full` then refer to it. The file takes float32 [N, 3, size, size] and returns features [N, D].
Its name must not contain a comma; these options follow it:

    size          side of the input in pixels, required
    range         `0-1` (the default), `-1-1` or `0-255`
    mean, std     one number or three with slashes, in that range
    resize        `bilinear` (the default) or `bicubic`, both with antialiasing, or `tensorflow`, without half-pixel
                  centers

Running a TorchScript file means running its author's code, so it is run only if the environment has
GANFOUNDRY_ALLOW_TORCHSCRIPT=1 or after `allow_torchscript()`. ONNX needs the package onnxruntime.

Letters: N batch, C image channels, H and W image height and width, D feature width.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args, get_type_hints

import torch
import torch.nn.functional as F

from dnnlib.errors import ConfigError, UserError
from dnnlib.files import sha256_of
from dnnlib.paths import user_path
from dnnlib.registry import suggest
from dnnlib.trust import distrust
from metrics.detectors.interface import Features
from metrics.detectors.resize import resize_like_tensorflow
from metrics.streams.images import as_images, to_rgb
from torch_utils.devices import deterministic_float32

ALLOW_VARIABLE = 'GANFOUNDRY_ALLOW_TORCHSCRIPT'
CHUNK = 32
_RANGES = {'0-1': (0.0, 1.0), '-1-1': (-1.0, 1.0), '0-255': (0.0, 255.0)}

_allowed = False


@dataclass(frozen=True, kw_only=True, slots=True)
class InputSpec:
    """Preparation of images for the network; see the module."""

    size: int
    range: Literal['0-1', '-1-1', '0-255'] = '0-1'
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    resize: Literal['bilinear', 'bicubic', 'tensorflow'] = 'bilinear'

    def apply(self, images: torch.Tensor) -> torch.Tensor:
        """Converts images uint8 [N, C, H, W] to [N, 3, size, size] float32."""
        x = to_rgb(images).float()
        if self.resize == 'tensorflow':
            x = resize_like_tensorflow(x, self.size)
        else:
            x = F.interpolate(x, size=(self.size, self.size), mode=self.resize, antialias=True).clamp(0, 255)
        low, high = _RANGES[self.range]
        mean, std = (x.new_tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.std))
        return (x * ((high - low) / 255) + low - mean) / std


def declare(name: str, text: str) -> type[CustomDetector]:
    """Makes the class of a detector from `FILE,size=224,...`. Raises ConfigError for options that cannot work."""
    where = f'--detector-path={name}={text}'
    if not re.fullmatch(r'[a-z][a-z0-9]*', name):
        raise ConfigError(f'{where}: a name is lower-case letters and digits and begins with a letter')
    filename, *pairs = text.split(',')
    path = Path(user_path(filename))
    if path.suffix not in ('.pt', '.onnx'):
        raise ConfigError(f'{where}: expected a TorchScript file (.pt) or an ONNX file (.onnx)')
    if not path.is_file():
        raise ConfigError(f'{where}: there is no such file')
    return type(
        'DeclaredDetector', (CustomDetector,), {'name': name, 'path': path, 'input': _parse_input(pairs, where)}
    )


def allow_torchscript() -> None:
    """Permits TorchScript files, which are programs, in this process."""
    global _allowed
    _allowed = True


def _parse_input(pairs: list[str], where: str) -> InputSpec:
    types = get_type_hints(InputSpec)
    values: dict[str, Any] = {}
    for key, separator, value in (pair.partition('=') for pair in pairs):
        if not separator or key not in types or key in values:
            meant = '' if key in types else f'; {suggest(key, types)}'
            raise ConfigError(f'{where}: expected each of {", ".join(types)} once as KEY=VALUE, got {key!r}{meant}')
        try:
            values[key] = _parse_value(key, value, get_args(types[key]))
        except ValueError as error:
            raise ConfigError(f'{where}: {key}={value}: {error}') from None
    if 'size' not in values:
        raise ConfigError(f'{where}: the input size is missing: size=224')
    return InputSpec(**values)


def _parse_value(key: str, value: str, choices: tuple[Any, ...]) -> Any:
    if key == 'size':
        if not value.isdecimal() or not 1 <= int(value) <= 4096:
            raise ValueError('expected pixels, 1 to 4096')
        return int(value)
    if key in ('mean', 'std'):
        numbers = tuple(map(float, value.split('/')))
        if (
            len(numbers) not in (1, 3)
            or not all(-1e6 < n < 1e6 for n in numbers)
            or (key == 'std' and min(numbers) <= 0)
        ):
            raise ValueError('expected one number, or three with slashes; std is positive')
        return numbers
    if value not in choices:
        raise ValueError(f'expected {" or ".join(choices)}')
    return value


class CustomDetector:
    """A detector, see `metrics.detectors.interface.Detector`, over the user's file. `declare` makes subclasses.

    Attributes:
        path: The file.
        input: Preparation of images.
    """

    name: ClassVar[str]
    path: ClassVar[Path]
    input: ClassVar[InputSpec]

    def __init__(self, device: torch.device | str = 'cpu') -> None:
        self.device = torch.device(device)
        self.digest = sha256_of(self.path)
        self.edition = f'{self.path.name} sha256 {self.digest}'
        self.preprocessing = f'v1: float32, {dataclasses.asdict(self.input)}'
        self.num_classes = 0
        self._run = (_load_onnx if self.path.suffix == '.onnx' else _load_torchscript)(self.path, self.device)
        self.feature_dim = self._probe()

    @classmethod
    def available(cls) -> bool:
        """Returns whether the file exists, and is allowed and able to run."""
        ready = importlib.util.find_spec('onnxruntime') is not None if cls.path.suffix == '.onnx' else _may_run()
        return cls.path.is_file() and ready

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor) -> Features:
        """Returns the features of images uint8 [N, C, H, W], on the detector's device."""
        with deterministic_float32():
            chunks = as_images(images).split(CHUNK)
            return Features(torch.cat([self._features(chunk.to(self.device)) for chunk in chunks]), None)

    def _probe(self) -> int:
        """Returns D, from a batch of two: a graph exported for one image fails here, not in the middle of a run."""
        try:
            return self(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).pooled.shape[1]
        except UserError:
            raise
        except Exception as error:  # the user's code, in a runtime with its own exceptions
            size = self.input.size
            raise UserError(f'{self.path}: fails on images [2, 3, {size}, {size}]: {error}') from error

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        x = self._run(self.input.apply(images))
        if not isinstance(x, torch.Tensor) or x.ndim != 2 or len(x) != len(images) or not x.is_floating_point():
            shape = list(x.shape) if isinstance(x, torch.Tensor) else type(x).__name__
            raise UserError(f'{self.path}: expected features [{len(images)}, D] in floats, it returns {shape}')
        return x.float().to(self.device)


def _may_run() -> bool:
    return _allowed or os.environ.get(ALLOW_VARIABLE, '0') not in ('', '0')


def _load_torchscript(path: Path, device: torch.device) -> Callable[[torch.Tensor], Any]:
    if not _may_run():
        raise UserError(
            f"{path} is a TorchScript file, and running it runs its author's code; set {ALLOW_VARIABLE}=1 if you trust "
            f'it, or export it as ONNX'
        )
    if (reason := distrust(path)) is not None:
        raise UserError(
            f'{path}: not loaded, a TorchScript file is a program, and somebody else can replace this one: {reason}; '
            'copy it to a folder of your own'
        )
    try:
        module: Callable[[torch.Tensor], Any] = torch.jit.load(str(path), map_location=device).eval()
    except RuntimeError as error:
        raise UserError(f'{path}: not a TorchScript file that this PyTorch loads: {error}') from error
    return module


def _load_onnx(path: Path, device: torch.device) -> Callable[[torch.Tensor], Any]:
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(f'{path} needs the package onnxruntime: pip install onnxruntime') from error
    providers = ['CPUExecutionProvider']
    if device.type == 'cuda' and 'CUDAExecutionProvider' in onnxruntime.get_available_providers():
        providers.insert(0, 'CUDAExecutionProvider')
    try:
        session = onnxruntime.InferenceSession(str(path), providers=providers)
    except Exception as error:  # onnxruntime has a class per failure
        raise UserError(f'{path}: not an ONNX file that onnxruntime loads: {error}') from error
    if len(session.get_inputs()) != 1:
        raise UserError(f'{path}: expected one input, images; it has {len(session.get_inputs())}')
    key = session.get_inputs()[0].name

    def run(x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(session.run(None, {key: x.cpu().numpy()})[0])

    return run
