"""A feature network of the user's own: any TorchScript or ONNX file, with its input declared.

    --detector-path=clip=clip.onnx,size=224,range=0-1,mean=.48/.46/.41,std=.27/.26/.28,resize=bicubic

After that `fd_clip50k_full` and the other metrics know the name. What may follow the file (whose name holds no comma):
size: pixels of a side, required. range: `0-1` (the default), `-1-1` or `0-255`. mean, std: one number or three with
slashes, in that range. resize: `bilinear` (the default) or `bicubic`, both with antialiasing, or `tensorflow`, without
half-pixel centres. The file takes float32 [N, 3, size, size] and returns features [N, D].

A TorchScript file is a program, and running it is running its author's code: it runs only where the environment says
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
from metrics.detectors.determinism import deterministic_float32
from metrics.detectors.resize import resize_like_tensorflow
from metrics.detectors.table import Features
from metrics.streams.images import as_images, to_rgb

ALLOW_VARIABLE = 'GANFOUNDRY_ALLOW_TORCHSCRIPT'
CHUNK = 32
_RANGES = {'0-1': (0.0, 1.0), '-1-1': (-1.0, 1.0), '0-255': (0.0, 255.0)}

_declared: dict[str, tuple[Path, InputSpec]] = {}
_allowed = False


@dataclass(frozen=True, kw_only=True, slots=True)
class InputSpec:
    """How images get into the network; see the module."""

    size: int
    range: Literal['0-1', '-1-1', '0-255'] = '0-1'
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    resize: Literal['bilinear', 'bicubic', 'tensorflow'] = 'bilinear'

    def apply(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 [N, C, H, W] -> [N, 3, size, size] float32."""
        x = to_rgb(images).float()
        if self.resize == 'tensorflow':
            x = resize_like_tensorflow(x, self.size)
        else:
            x = F.interpolate(x, size=(self.size, self.size), mode=self.resize, antialias=True).clamp(0, 255)
        low, high = _RANGES[self.range]
        mean, std = (x.new_tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.std))
        return (x * ((high - low) / 255) + low - mean) / std


def declare(name: str, text: str) -> None:
    """Makes a detector known: text is `FILE,size=224,...`. ConfigError says what is wrong with it."""
    where = f'--detector-path={name}={text}'
    if not re.fullmatch(r'[a-z][a-z0-9]*', name):
        raise ConfigError(f'{where}: a name is small letters and digits and begins with a letter')
    filename, *pairs = text.split(',')
    path = Path(filename).expanduser()
    if path.suffix not in ('.pt', '.onnx'):
        raise ConfigError(f'{where}: expected a TorchScript file (.pt) or an ONNX file (.onnx)')
    if not path.is_file():
        raise ConfigError(f'{where}: there is no such file')
    _declared[name] = path, _parse_input(pairs, where)


def allow_torchscript() -> None:
    """Lets files that are programs run in this process."""
    global _allowed
    _allowed = True


def _parse_input(pairs: list[str], where: str) -> InputSpec:
    types = get_type_hints(InputSpec)
    values: dict[str, Any] = {}
    for key, separator, value in (pair.partition('=') for pair in pairs):
        if not separator or key not in types or key in values:
            raise ConfigError(f'{where}: expected each of {", ".join(types)} once as KEY=VALUE, got {key!r}')
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
    """A detector, see `metrics.detectors.table.Detector`, over the user's file; `of` makes the class of one name."""

    name: ClassVar[str]

    def __init__(self, device: torch.device | str = 'cpu') -> None:
        path, self.input = _declared[self.name]
        self.device = torch.device(device)
        self.digest = sha256_of(path)
        self.edition = f'{path.name} sha256 {self.digest}'
        self.preprocessing = f'v1: float32, {dataclasses.asdict(self.input)}'
        self.num_classes = 0
        self._run = (_load_onnx if path.suffix == '.onnx' else _load_torchscript)(path, self.device)
        self._path = path
        self.feature_dim = self._probe()

    @classmethod
    def of(cls, name: str) -> type[CustomDetector]:
        """The class of the detector that was declared under a name."""
        return type('CustomDetector', (cls,), {'name': name})

    @classmethod
    def available(cls) -> bool:
        """Whether the file is there, and may and can be run."""
        path, _ = _declared[cls.name]
        ready = importlib.util.find_spec('onnxruntime') is not None if path.suffix == '.onnx' else _may_run()
        return path.is_file() and ready

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor) -> Features:
        """Grey or RGB images uint8 [N, C, H, W] -> Features on the detector's device."""
        with deterministic_float32():
            chunks = as_images(images).split(CHUNK)
            return Features(torch.cat([self._features(chunk.to(self.device)) for chunk in chunks]), None)

    def _probe(self) -> int:
        """D, by a batch of two: a graph that was exported for one image fails here and not in the middle of a run."""
        try:
            return self(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).pooled.shape[1]
        except UserError:
            raise
        except Exception as error:  # the user's code, in a runtime with errors of its own
            size = self.input.size
            raise UserError(f'{self._path}: fails on images [2, 3, {size}, {size}]: {error}') from error

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        x = self._run(self.input.apply(images))
        if not isinstance(x, torch.Tensor) or x.ndim != 2 or len(x) != len(images) or not x.is_floating_point():
            shape = list(x.shape) if isinstance(x, torch.Tensor) else type(x).__name__
            raise UserError(f'{self._path}: expected features [{len(images)}, D] in floats, it returns {shape}')
        return x.float().to(self.device)


def _may_run() -> bool:
    return _allowed or os.environ.get(ALLOW_VARIABLE, '0') not in ('', '0')


def _load_torchscript(path: Path, device: torch.device) -> Callable[[torch.Tensor], Any]:
    if not _may_run():
        raise UserError(
            f"{path} is a TorchScript file, and running it runs its author's code; set {ALLOW_VARIABLE}=1 if you trust "
            f'it, or export it as ONNX'
        )
    try:
        return torch.jit.load(str(path), map_location=device).eval()
    except RuntimeError as error:
        raise UserError(f'{path}: not a TorchScript file that this PyTorch loads: {error}') from error


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
    except Exception as error:  # onnxruntime has a class of its own for every failure
        raise UserError(f'{path}: not an ONNX file that onnxruntime loads: {error}') from error
    if len(session.get_inputs()) != 1:
        raise UserError(f'{path}: expected one input, images; it has {len(session.get_inputs())}')
    key = session.get_inputs()[0].name
    return lambda x: torch.from_numpy(session.run(None, {key: x.cpu().numpy()})[0])
