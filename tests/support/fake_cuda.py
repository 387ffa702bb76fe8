"""One training step per --cfg on fake CUDA tensors, on a machine without a GPU.

    python -m tests.support.fake_cuda [NAME ...]
    python -m tests.support.fake_cuda auto:lecam.weight=1,gp.weight=1

Prints the planted mistakes that were caught, then one line of JSON per --cfg: {"cfg", "phases", "problem"}. A colon and
PATH=VALUE,... after a name set config fields. Fake tensors have the shapes, dtypes, memory formats and autograd of a
GPU, but no numbers. An operation on tensors of two devices raises. In a step after the first, so does every place where
the host waits for the device: reading a number, and copying without `non_blocking`.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import importlib.util
import json
import math
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from training.config import RunConfig

SOURCE = Path(__file__).with_suffix('.cpp')


def load_guard(folder: Path) -> None:
    """Builds fake_cuda.cpp in a folder and loads it; torch must not be imported yet."""
    assert 'torch' not in sys.modules, 'the guard must be loaded before torch'
    spec = importlib.util.find_spec('torch')  # does not import it
    assert spec is not None, 'PyTorch is not installed'
    assert spec.submodule_search_locations, 'PyTorch is not a package'
    torch_root, library = Path(spec.submodule_search_locations[0]), folder / 'fake_cuda.so'
    include, lib = torch_root / 'include', torch_root / 'lib'
    command = ['g++', '-O0', '-std=c++20', '-shared', '-fPIC', '-isystem', include, '-isystem',
               include / 'torch/csrc/api/include', SOURCE, '-o', library, f'-L{lib}', '-lc10', '-ltorch_cpu',
               f'-Wl,-rpath,{lib}']  # fmt: skip
    subprocess.run(command, check=True)
    ctypes.CDLL(str(library))


def make_mode() -> Any:
    """Returns a FakeTensorMode in which the CPU is real and 'cuda' is fake; where `strict` is set, waiting raises."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
    from torch.utils._pytree import tree_leaves

    aten = torch.ops.aten

    def is_real(x: Any) -> bool:
        return isinstance(x, torch.Tensor) and not isinstance(x, FakeTensor)

    class Mode(FakeTensorMode):
        def __init__(self) -> None:
            super().__init__(allow_non_fake_inputs=True)
            self.inside = False
            self.strict = False  # waiting raises

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = dict(kwargs or {})
            if self.inside:  # what a fake operation calls
                return super().__torch_dispatch__(func, types, args, kwargs)
            if kwargs.get('pin_memory'):
                kwargs['pin_memory'] = False
            leaves = tree_leaves((args, kwargs))
            fake = any(isinstance(x, FakeTensor) for x in leaves)
            target = next((x for x in leaves if isinstance(x, torch.device)), None)
            if not fake and (target is None or target.type != 'cuda'):
                return func(*args, **kwargs)
            if func is aten._local_scalar_dense.default and self.strict:
                raise RuntimeError('the host waits for a number of the device')
            if func is aten.copy_.default and is_real(args[0]):  # device to host
                self.check_copy(kwargs.get('non_blocking') or (len(args) > 2 and args[2]), 'to the host')
                return args[0].fill_(1)
            if func is aten._to_copy.default and (target is not None and is_real(args[0]) != (target.type == 'cpu')):
                self.check_copy(kwargs.get('non_blocking'), f'to {target}')
            self.inside = True
            try:
                return super().__torch_dispatch__(func, types, args, kwargs)
            finally:
                self.inside = False

        def check_copy(self, non_blocking: object, where: str) -> None:
            if self.strict and not non_blocking:
                raise RuntimeError(f'the host waits for a copy {where}')

    return Mode()


class Event:
    """Stand-in for torch.cuda.Event: everything has always happened."""

    def __init__(self, *args: object, **kwargs: object) -> None: ...
    def record(self, *args: object) -> None: ...
    def wait(self, *args: object) -> None: ...
    def query(self) -> bool:
        """Returns True: the device has no work left."""
        return True

    def synchronize(self) -> None:
        """Raises: the host would wait."""
        raise RuntimeError('the host waits for an event')

    def elapsed_time(self, other: Event) -> float:
        """Returns a duration in milliseconds."""
        return 1.0


def prepare() -> None:
    """Replaces everything that needs a driver."""
    import torch

    from metrics.detectors.lpips import LpipsAlex
    from torch_utils.ops.toolchain import build as native
    from training.objective.glead import GLeaD

    warnings.filterwarnings('ignore', message='Accessing the data pointer of FakeTensor')
    torch.set_num_threads(1)
    native.load_cuda = native.load_cpu  # schemas, shapes and gradients are those of the CPU library
    torch.cuda.Event = Event  # type: ignore[misc, assignment]
    torch.cuda.synchronize = waits  # type: ignore[assignment]
    LpipsAlex.available = classmethod(lambda cls: True)  # type: ignore[assignment, method-assign]
    GLeaD.lpips = functools.cached_property(lambda term: LpipsAlex.random(term.device))  # type: ignore[assignment]
    GLeaD.lpips.__set_name__(GLeaD, 'lpips')


def waits(*args: object) -> None:
    """Raises: the host would wait."""
    raise RuntimeError('the host waits for the device')


def config(name: str, spec: Any, narrow: Callable[[RunConfig], RunConfig]) -> RunConfig:
    """Returns the recipe with narrow networks, adaptive augmentation and bf16; `auto` has two micro-batches.

    Args:
        name: A --cfg, or 'CFG:PATH=VALUE,...' with config fields to set.
        spec: Facts of the data set.
        narrow: Function that makes the networks of a config small.
    """
    from training.augment.config import AugmentConfig
    from training.config import apply_overrides, with_precision
    from training.registry import RECIPES

    name, _, sets = name.partition(':')
    cfg = narrow(with_precision(RECIPES.get(name).make(spec, 1), 'bf16'))
    if name != 'auto':
        cfg = dataclasses.replace(cfg, batch=cfg.batch_gpu)
    kind = 'fixed' if cfg.loss.boundary is None else 'ada'  # ADA follows the sign of D
    mixing = 1.0 if cfg.style_mixing_prob > 0 else 0.0
    cfg = dataclasses.replace(cfg, aug=AugmentConfig(kind=kind, p=0.6, pipe=cfg.aug.pipe), style_mixing_prob=mixing)
    return apply_overrides(cfg, dict(item.split('=') for item in sets.split(',') if item))


def run_step(name: str) -> list[str]:
    """Runs two steps of a --cfg, the second of which has all phases. Returns the names of its phases."""
    import numpy as np
    import PIL.Image
    import torch

    from tests.contracts.test_every_cfg import narrow
    from training.build import build
    from training.data.dataset import DataConfig, ImageDataset
    from training.registry import RECIPES
    from training.step import TrainStep

    least = 64 if 'glead' in name else 16  # LPIPS sees no smaller images
    res = max(least, RECIPES.get(name.partition(':')[0]).min_resolution)
    with tempfile.TemporaryDirectory() as folder:
        for i in range(4):
            pixels = np.random.default_rng(i).integers(0, 256, [res, res, 3], dtype=np.uint8)
            PIL.Image.fromarray(pixels).save(Path(folder) / f'{i}.png')
        dataset = ImageDataset(DataConfig(path=folder), 0)
    cfg = config(name, dataset.spec, narrow)
    device = torch.device('cuda')
    img = torch.zeros([cfg.batch, 3, res, res], dtype=torch.uint8)
    c = torch.zeros([cfg.batch, 0])
    with make_mode() as mode:
        state = build(cfg, dataset.spec, device)
        step = TrainStep(cfg, state, dataset, device)
        state.step = 1  # without the phases of longer intervals, which the second step has
        step(img, c)
        mode.strict = True
        state.step = math.lcm(*(phase.interval for phase in step.phases))
        step(img, c)
    return [phase.name for phase in step.phases]


def caught() -> list[str]:
    """Returns the names of the planted mistakes that raise."""
    import torch

    mistakes: dict[str, Callable[[torch.Tensor], object]] = {
        'reads a number': lambda x: x.sum().item(),
        'copies to the host': lambda x: x.cpu(),
        'copies to the device': lambda x: torch.zeros(3).to('cuda'),
        'mixes devices': lambda x: x + torch.zeros(3),
        'none': lambda x: (x * 2).to('cpu', non_blocking=True),
    }
    found = []
    with make_mode() as mode:
        x = torch.zeros(3, device='cuda')
        mode.strict = True
        for name, mistake in mistakes.items():
            try:
                mistake(x)
            except RuntimeError:
                found.append(name)
    return found


def main(names: list[str]) -> None:
    """Prints the outcome for every named --cfg, by default for all."""
    with tempfile.TemporaryDirectory() as folder:
        load_guard(Path(folder))
    prepare()
    from training.registry import RECIPES

    print(json.dumps(caught()), flush=True)
    RECIPES.load_all()
    for name in names or RECIPES.names():
        phases, problem = [], None
        try:
            phases = run_step(name)
        except Exception:
            problem = traceback.format_exc()
        print(json.dumps({'cfg': name, 'phases': phases, 'problem': problem}), flush=True)


if __name__ == '__main__':
    main(sys.argv[1:])
