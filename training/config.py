"""The complete description of a run: nested frozen dataclasses in which every field has a value.

A recipe makes one from the facts of the data set; flags and `--set` change fields; `config.json` records it. Every
component has its config class in its own file; this module composes them. It is also the place from which recipes and
plug-ins import them. Units belong to names: kimg is thousands of real images shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from dnnlib import config as typed
from dnnlib.config import require
from training.augment.config import AugmentConfig
from training.data.dataset import DataConfig
from training.objective.features import GuidanceConfig
from training.objective.gp import GradientPenaltyConfig
from training.objective.lecam import LeCamConfig
from training.objective.losses import BOUNDARIES, LossConfig
from training.objective.pl import PathLengthConfig
from training.objective.r1 import R1Config
from training.objective.r2 import R2Config
from training.optimize.ema import EmaConfig
from training.optimize.guardian import GuardianConfig
from training.optimize.health import OnNan
from training.optimize.optimizers import OptimizerConfig

__all__ = [
    'AugmentConfig',
    'DataConfig',
    'EmaConfig',
    'GradientPenaltyConfig',
    'GuardianConfig',
    'GuidanceConfig',
    'LeCamConfig',
    'LossConfig',
    'OnNan',
    'OptimizerConfig',
    'PathLengthConfig',
    'R1Config',
    'R2Config',
    'RunConfig',
    'apply_overrides',
    'require',
    'with_precision',
]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """Everything that decides what a run computes and writes."""

    cfg: str  # the recipe's name
    generator: Any  # the config dataclass of a registered generator
    discriminator: Any  # the config dataclass of a registered discriminator
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    r1: R1Config = field(default_factory=R1Config)
    r2: R2Config = field(default_factory=R2Config)
    gp: GradientPenaltyConfig = field(default_factory=GradientPenaltyConfig)
    pl: PathLengthConfig = field(default_factory=PathLengthConfig)
    ggdr: GuidanceConfig = field(default_factory=GuidanceConfig)  # D predicts G's features (Lee et al. 2022)
    glead: GuidanceConfig = field(default_factory=GuidanceConfig)  # D's features let G redraw (Bai et al. 2023)
    aug: AugmentConfig = field(default_factory=AugmentConfig)
    lecam: LeCamConfig = field(default_factory=LeCamConfig)
    style_mixing_prob: float = 0.9  # of a batch taking its later ws from a second latent; needs a W space
    g_opt: OptimizerConfig = field(default_factory=OptimizerConfig)
    d_opt: OptimizerConfig = field(default_factory=OptimizerConfig)
    lr_decay_kimg: float = 0.0  # both learning rates fall linearly to zero over the last so many kimg
    n_critic: int = 1  # steps of D, each on its own real images, for one of G
    g_batch_mult: int = 1  # images in a step of G, as a multiple of the batch
    ema: EmaConfig = field(default_factory=EmaConfig)
    gpus: int = 1  # processes
    batch: int = 32  # images in one step, over all processes and micro-batches
    batch_gpu: int = 32  # images in one micro-batch: gradients of batch / (gpus * batch_gpu) rounds are averaged
    kimg: int = 25000  # length of the run
    tick: float = 4.0  # kimg between status lines
    snap: int = 50  # ticks between snapshots, sample sheets and metrics
    keep: int = 2  # training states kept besides the best one
    save_every_s: float = 600.0  # longest time between two training states, seconds, checked once a tick
    grid_images: int | None = None  # most images on a sample sheet; none fills an 8K screen
    metrics: tuple[str, ...] = ()
    metric_data: str | None = None  # folder or zip of the real images that metrics compare with; none is data.path
    precision: Literal['fp32', 'bf16', 'fp16'] = 'fp32'  # of the blocks that the networks' configs lower
    benchmark: bool = True  # whether cuDNN tries its algorithms out and keeps the fastest
    allow_tf32: bool = False  # whether float32 products may round their factors to TF32
    seed: int = 0
    deterministic: bool = False  # the same bits for 1, 2 and 4 processes: one order of every sum, reproducible kernels
    workers: int = 3  # processes that decode images, for each of `gpus`
    timeout_s: float = 600.0  # longest that nothing may move among several processes, seconds; metrics are exempt
    on_nan: OnNan = 'skip'  # what follows losses or gradients that are not finite, see recovery.py
    bad_images: Literal['error', 'skip'] = 'error'  # what follows an image that cannot be decoded, see bad_images.py
    guardian: GuardianConfig = field(default_factory=GuardianConfig)

    def __post_init__(self) -> None:
        for name in ('gpus', 'batch', 'batch_gpu', 'kimg', 'snap', 'keep', 'n_critic', 'g_batch_mult'):
            require(
                getattr(self, name) >= 1, name, getattr(self, name), f'--{name.replace("_", "-")} must be at least 1'
            )
        require(self.tick > 0, 'tick', self.tick, '--tick must be positive')
        require(self.lr_decay_kimg >= 0, 'lr_decay_kimg', self.lr_decay_kimg, 'must be non-negative')
        require(self.seed >= 0, 'seed', self.seed, '--seed must be non-negative')
        require(self.workers >= 0, 'workers', self.workers, '--workers must be non-negative')
        require(self.timeout_s > 0, 'timeout_s', self.timeout_s, '--timeout must be positive')
        require(self.save_every_s >= 0, 'save_every_s', self.save_every_s, 'must be non-negative')
        require(0 <= self.style_mixing_prob <= 1, 'style_mixing_prob', self.style_mixing_prob, 'must lie in [0, 1]')
        require(
            self.batch % (self.gpus * self.batch_gpu) == 0,
            'batch',
            self.batch,
            f'--batch must be a multiple of --gpus times --batch-gpu = {self.gpus} x {self.batch_gpu}',
        )
        require(
            self.g_batch_mult == 1 or self.loss.kind != 'relativistic',
            'g_batch_mult',
            self.g_batch_mult,
            'the relativistic loss pairs generated images with as many real ones; --set g_batch_mult=1',
        )
        require(
            not self.aug.adapts or self.loss.kind in BOUNDARIES,
            'aug.kind',
            self.aug.kind,
            f'p follows the sign of D, which has no meaning under loss.kind={self.loss.kind}; --set aug.kind=noaug, '
            'fixed or diffaug',
        )
        for name in ('ggdr', 'glead'):
            require(
                getattr(self, name).weight == 0 or self.aug.is_still,
                f'{name}.weight',
                getattr(self, name).weight,
                f'D then speaks of places in the image, which aug.kind={self.aug.kind} moves or hides; --set '
                'aug.kind=noaug, or leave colours alone to it: aug.pipe=color (ada, fixed), aug.policy=color (diffaug)',
            )
        group = getattr(self.discriminator, 'mbstd_group', 1)
        group = self.batch_gpu if group is None else min(group, self.batch_gpu)
        require(
            self.batch_gpu % group == 0,
            'batch_gpu',
            self.batch_gpu,
            f'must be a multiple of the minibatch-std group, {group} (--mbstd-group)',
        )

    @property
    def num_micro(self) -> int:
        """Micro-batches a process computes in one step."""
        return self.batch // (self.gpus * self.batch_gpu)


def apply_overrides(cfg: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """`cfg` with values by dotted path. A new `batch` without a `batch_gpu` means one micro-batch a process."""
    changes = dict(changes)
    if 'batch' in changes and 'batch_gpu' not in changes:
        gpus = typed.parse(int, changes.get('gpus', cfg.gpus), '--gpus')
        batch = typed.parse(int, changes['batch'], '--batch')
        require(batch >= 1 and batch % gpus == 0, 'batch', batch, '--batch must be at least 1 and divisible by --gpus')
        changes['batch_gpu'] = batch // gpus
    return typed.set_fields(cfg, changes)


def with_precision(cfg: RunConfig, precision: str) -> RunConfig:
    """`cfg` in another precision, its networks with it.

    float32 lowers no block; only float16 needs activations clamped (its largest number is 65504), so the other two
    drop `conv_clamp`, as StyleGAN2-ADA does under --fp32.
    """
    changes: dict[str, Any] = {} if precision == 'fp16' else {'conv_clamp': None}
    if precision == 'fp32':
        changes['num_fp16_res'] = 0
    for part in ('generator', 'discriminator'):
        network = getattr(cfg, part)
        known = {name: value for name, value in changes.items() if name in typed.fields_of(network)}
        cfg = replace(cfg, **{part: replace(network, **known)})
    return typed.set_fields(cfg, {'precision': precision})
