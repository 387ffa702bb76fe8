"""Training steps that must not wait: every recipe in both low precisions, and every other choice of a run."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore

from tests.support.fake_cuda.mode import FakeCuda
from tests.support.fake_cuda.reproducible import Reproducible
from tests.support.fake_cuda.steps import CUDA, runner
from tests.support.narrow import narrow
from tests.support.recipes import own_recipes
from torch_utils.distributed import World
from torch_utils.seeding import seed_torch
from training.augment.config import AugmentConfig
from training.augment.presets import PRESETS
from training.build import build
from training.config import TERM_FIELDS, RunConfig, apply_overrides, with_precision
from training.data.dataset import DataConfig, ImageDataset
from training.objective.losses import LOSSES
from training.registry import RECIPES
from training.step import TrainStep

LOW = ('bf16', 'fp16')
SMALL = 'dcgan'  # the recipe whose step is cheapest, for choices that do not concern the networks
ALL_TERMS = {f'{name}.{"gamma" if name in ("r1", "r2") else "weight"}': 1 for name in TERM_FIELDS}


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A few training steps of narrow networks, the last of which must not wait; lazy phases run in the first.

    Attributes:
        cfg: Name of the recipe.
        precision: 'bf16' or 'fp16'.
        sets: Config fields to set, by path.
        resolution: Smallest side of the images; a recipe that needs larger ones gets them.
        steps: Number of steps. Only a single one must not wait from the beginning.
        labels: Whether the images have labels.
        size: Number of processes.
    """

    cfg: str
    precision: str = 'bf16'
    sets: Mapping[str, object] = field(default_factory=dict)
    resolution: int = 16
    steps: int = 1
    labels: bool = False
    size: int = 1

    def config(self, dataset: ImageDataset) -> RunConfig:
        """Returns the config: one micro-batch per process, an augmentation, and style mixing in every step."""
        cfg = narrow(with_precision(RECIPES.get(self.cfg).make(dataset.spec, 1), self.precision))
        aug = AugmentConfig(kind='fixed', p=0.6, pipe=cfg.aug.pipe)
        mixing = 1.0 if cfg.style_mixing_prob > 0 else 0.0
        cfg = dataclasses.replace(
            cfg, batch=cfg.batch_gpu * self.size, gpus=self.size, aug=aug, style_mixing_prob=mixing
        )
        return apply_overrides(cfg, {path: str(value) for path, value in self.sets.items()})


def recipes() -> dict[str, Case]:
    """Returns a step of every recipe, in bfloat16 and in float16."""
    names = own_recipes()
    return {f'{name} {precision}': Case(cfg=name, precision=precision) for name in names for precision in LOW}


def variants() -> dict[str, Case]:
    """Returns steps with every augmentation, loss, term and optimizer, with micro-batches, processes and labels."""
    cases = {f'pipe {name}': Case(cfg=SMALL, sets={'aug.pipe': name}, resolution=32) for name in PRESETS}
    cases |= {kind: Case(cfg=SMALL, sets={'aug.kind': kind}) for kind in ('noaug', 'diffaug', 'apa')}
    for kind in ('ada', 'apa'):  # the controller reads in its second interval what it has copied in the first
        cases[f'{kind} adapts'] = Case(cfg=SMALL, sets={'aug.kind': kind, 'aug.interval': 1}, steps=3)
    cases |= {f'loss {name}': Case(cfg=SMALL, sets={'loss.kind': name, 'g_batch_mult': 1}) for name in LOSSES.names()}
    for precision in LOW:
        sets = ALL_TERMS | {'aug.kind': 'apa'}
        cases[f'all terms {precision}'] = Case(cfg='auto', precision=precision, sets=sets, resolution=64, steps=2)
    for kind in ('adam', 'adagrad', 'rmsprop'):
        sets = {'g_opt.kind': kind, 'd_opt.kind': kind}
        cases |= {f'{kind} {precision}': Case(cfg=SMALL, precision=precision, sets=sets, steps=2) for precision in LOW}
    cases |= {f'on_nan {kind}': Case(cfg=SMALL, sets={'on_nan': kind}) for kind in ('rollback', 'abort', 'mask')}
    micro = {'batch': 4, 'batch_gpu': 2}
    cases['micro-batches'] = Case(cfg='auto', sets=micro)
    for precision in LOW:  # the functions of graphs, which run without them
        sets = micro | {'graphs': 'auto'}
        cases[f'graphs {precision}'] = Case(cfg='auto', precision=precision, sets=sets, steps=3)
    cases['labels'] = Case(cfg='auto', labels=True, sets={'d_first': True})
    fixed = {'deterministic': True, 'aug.pipe': 'bgcfnc'}
    cases['deterministic'] = Case(cfg=SMALL, sets=fixed | micro, resolution=32)
    cases['deterministic, features move'] = Case(cfg='auto', sets=fixed | {'ggdr.weight': 1}, resolution=32)
    still = {'deterministic': True, 'aug.kind': 'noaug', 'glead.weight': 1}
    cases['deterministic, images are resized'] = Case(cfg='auto', sets=still, resolution=64, steps=2)
    for size in (2, 3):  # 3 is no power of two: every micro-batch is exchanged
        sets = {'batch': 4 * size, 'batch_gpu': 2, 'deterministic': size == 3, 'aug.kind': 'ada', 'aug.interval': 1}
        cases[f'{size} processes'] = Case(cfg=SMALL, sets=sets | {'lecam.weight': 1}, size=size, steps=2)
    return cases


def run(case: Case) -> None:
    """Runs the steps of a case. Raises what goes wrong; HostWait if the host waits in the last one."""
    deterministic = bool(case.sets.get('deterministic'))
    torch.use_deterministic_algorithms(deterministic)
    try:
        with FakeCuda(Reproducible() if deterministic else None) as mode:
            train(case, mode)
    finally:
        torch.use_deterministic_algorithms(False)


def train(case: Case, mode: FakeCuda) -> TrainStep:
    """Runs the steps of a case inside a mode, whose tensors they are. The mode remains strict."""
    least = max(case.resolution, RECIPES.get(case.cfg).min_resolution)
    dataset = ImageDataset(DataConfig(resolution=least, cond=case.labels), 0)
    cfg = case.config(dataset)
    with group(case.size) as world:
        seed_torch(0, 'test')
        step = TrainStep(cfg, build(cfg, dataset.spec, CUDA), dataset, CUDA, world)
        run_step = runner(step)
        for k in range(case.steps):
            mode.strict = k == case.steps - 1
            run_step()
    return step


@contextlib.contextmanager
def group(size: int) -> Iterator[World]:
    """Makes this process the first of several that answer without existing."""
    if size == 1:
        yield World()
        return
    dist.init_process_group('fake', rank=0, world_size=size, store=FakeStore())
    try:
        yield World(0, size)
    finally:
        dist.destroy_process_group()
