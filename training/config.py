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
from dnnlib.errors import ConfigError
from dnnlib.registry import suggest
from training.augment.config import AugmentConfig
from training.data.dataset import DataConfig
from training.objective.features import GuidanceConfig
from training.objective.glead import GLeaDConfig
from training.objective.gp import GradientPenaltyConfig
from training.objective.lecam import LeCamConfig
from training.objective.losses import LossConfig
from training.objective.pl import PathLengthConfig
from training.objective.r1 import R1Config
from training.objective.r2 import R2Config
from training.objective.term import TERMS, TermConfig
from training.optimize.ema import EmaConfig
from training.optimize.guardian import GuardianConfig
from training.optimize.health import OnNan
from training.optimize.optimizers import OptimizerConfig
from training.optimize.schedule import ScheduleConfig

__all__ = [
    'FIELDS',
    'TERM_FIELDS',
    'AugmentConfig',
    'DataConfig',
    'EmaConfig',
    'GLeaDConfig',
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
    'ScheduleConfig',
    'apply_overrides',
    'differences',
    'leaves_of',
    'require',
    'with_precision',
]

# Fields of RunConfig that are terms, in the order in which they run.
TERM_FIELDS = ('r1', 'r2', 'gp', 'pl', 'ggdr', 'glead', 'lecam')
MAX_DEPTH = 64  # layers, blocks or entries that one field of a network's config may ask for
MAX_WIDTH = 2**20  # channels and other sizes


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """Everything that decides what a run computes and writes.

    Seven loss and regularization terms are fields; the configs of all others are in `terms`, by name. Both kinds are
    addressed and recorded in the same way: `--set r1.gamma=1`, `--set myterm.weight=1`.
    """

    cfg: str  # name of the recipe
    generator: Any  # config dataclass of a registered generator
    discriminator: Any  # config dataclass of a registered discriminator
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    r1: R1Config = field(default_factory=R1Config)
    r2: R2Config = field(default_factory=R2Config)
    gp: GradientPenaltyConfig = field(default_factory=GradientPenaltyConfig)
    pl: PathLengthConfig = field(default_factory=PathLengthConfig)
    ggdr: GuidanceConfig = field(default_factory=GuidanceConfig)  # D predicts G's features (Lee et al. 2022)
    glead: GLeaDConfig = field(default_factory=GLeaDConfig)  # D's features let G redraw (Bai et al. 2023)
    aug: AugmentConfig = field(default_factory=AugmentConfig)
    lecam: LeCamConfig = field(default_factory=LeCamConfig)
    style_mixing_prob: float = 0.9  # probability that a batch mixes two latents; needs a W space
    g_opt: OptimizerConfig = field(default_factory=OptimizerConfig)
    d_opt: OptimizerConfig = field(default_factory=OptimizerConfig)
    lr_decay_kimg: float = 0.0  # both learning rates fall linearly to zero over the last kimg, this many
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    d_first: bool = False  # whether a step trains D before G
    fresh_reals: bool = False  # whether G's pairs take real images of their own: a step reads two batches of data
    n_critic: int = 1  # steps of D, each on its own real images, per step of G
    g_batch_mult: int = 1  # images in a step of G, as a multiple of the batch
    ema: EmaConfig = field(default_factory=EmaConfig)
    gpus: int = 1  # processes
    batch: int = 32  # images in one step, over all processes and micro-batches
    batch_gpu: int = 32  # images in one micro-batch; gradients of batch / (gpus * batch_gpu) rounds are averaged
    g_batch_gpu: int | None = None  # the same in the phases of G; None: batch_gpu
    d_batch_gpu: int | None = None  # the same in the phases of D; None: batch_gpu
    kimg: int = 25000  # length of the run
    tick: float = 4.0  # kimg between status lines
    snap: int = 50  # ticks between snapshots, sample sheets and metrics
    keep: int = 2  # training states kept besides the best one
    save_every_s: float = 600.0  # longest time between two training states, seconds, checked once per tick
    grid_images: int | None = None  # most images on a sample sheet; None fills an 8K screen
    metrics: tuple[str, ...] = ()
    metric_data: str | None = None  # folder or zip of the real images that metrics compare with; None: data.path
    precision: Literal['fp32', 'bf16', 'fp16'] = 'fp32'  # precision of the blocks that the networks' configs lower
    benchmark: bool = True  # whether cuDNN tries its algorithms and keeps the fastest
    allow_tf32: bool = False  # whether float32 products on a GPU round their factors to TF32
    seed: int = 0
    graphs: Literal['off', 'auto'] = 'off'  # whether passes of the networks are CUDA graphs where they can, graphs.py
    deterministic: bool = False  # bit-identical for 1, 2 and 4 processes (fixed summation order, reproducible kernels)
    workers: int = 3  # processes that decode images, per process of the run
    timeout_s: float = 600.0  # longest time without progress, seconds; metrics are exempt; one process only if given
    on_nan: OnNan = 'skip'  # reaction to losses or gradients that are not finite, see run/recovery.py
    bad_images: Literal['error', 'skip'] = 'error'  # reaction to an image that cannot be decoded, see bad_images.py
    data_check: Literal['listing', 'content', 'off'] = 'listing'  # how a resume knows the run's data, data/identity.py
    guardian: GuardianConfig = field(default_factory=GuardianConfig)
    terms: Mapping[str, TermConfig] = field(default_factory=dict)  # configs of further terms, by name

    def __post_init__(self) -> None:
        object.__setattr__(self, 'terms', dict(sorted(self.terms.items())))
        self._check_ranges()
        self._check_networks()
        self._check_batches()
        self._check_loss()
        self.schedule.check(self)
        for name in self.terms:
            kind, expected = type(self.terms[name]), _term_config(name)
            require(kind is expected, name, kind.__name__, f'a config of the class {expected.__name__}')
        for name, settings in self.all_terms().items():
            if settings.active:
                settings.check(name, self)

    def all_terms(self) -> dict[str, TermConfig]:
        """Returns the configs of all terms by name, fields and others, in the order in which terms run."""
        return {name: getattr(self, name) for name in TERM_FIELDS} | dict(self.terms)

    def micro_size(self, net: str) -> int:
        """Returns the number of images in a micro-batch of the phases of a network, 'G' or 'D'."""
        own = self.g_batch_gpu if net == 'G' else self.d_batch_gpu
        return self.batch_gpu if own is None else own

    def num_micro(self, net: str) -> int:
        """Returns the number of micro-batches of a network, 'G' or 'D', that a process computes per step."""
        return self.batch // (self.gpus * self.micro_size(net))

    @property
    def batches_per_step(self) -> int:
        """The number of batches of real images that a step reads."""
        return 2 if self.fresh_reals else 1

    def _check_ranges(self) -> None:
        for name in ('gpus', 'batch', 'batch_gpu', 'kimg', 'snap', 'keep', 'n_critic', 'g_batch_mult'):
            require(
                getattr(self, name) >= 1, name, getattr(self, name), f'--{name.replace("_", "-")} must be at least 1'
            )
        for name in ('g_batch_gpu', 'd_batch_gpu'):
            value = getattr(self, name)
            require(value is None or value >= 1, name, value, f'--{name.replace("_", "-")} must be at least 1')
        require(self.tick > 0, 'tick', self.tick, '--tick must be positive')
        require(self.lr_decay_kimg >= 0, 'lr_decay_kimg', self.lr_decay_kimg, 'must be non-negative')
        require(self.seed >= 0, 'seed', self.seed, '--seed must be non-negative')
        require(self.workers >= 0, 'workers', self.workers, '--workers must be non-negative')
        require(self.timeout_s > 0, 'timeout_s', self.timeout_s, '--timeout must be positive')
        require(self.save_every_s >= 0, 'save_every_s', self.save_every_s, 'must be non-negative')
        require(0 <= self.style_mixing_prob <= 1, 'style_mixing_prob', self.style_mixing_prob, 'must lie in [0, 1]')

    def _check_networks(self) -> None:
        """Refuses sizes that no network has, before anything is built: a layer takes time even without weights."""
        for part in ('generator', 'discriminator'):
            for path, value in typed.flatten(getattr(self, part), f'{part}.').items():
                most = MAX_DEPTH if path.endswith('_depth') or '.num_' in path else MAX_WIDTH
                numbers = value if isinstance(value, tuple) else (value,)
                require(len(numbers) <= MAX_DEPTH, path, f'{len(numbers)} values', f'at most {MAX_DEPTH} values')
                for number in numbers:
                    ok = not isinstance(number, int) or 0 <= number <= most
                    require(ok, path, number, f'must lie between 0 and {most}')

    def _check_batches(self) -> None:
        for name in ('batch_gpu', 'g_batch_gpu', 'd_batch_gpu'):
            size = getattr(self, name)
            if size is None:
                continue
            require(
                self.batch % (self.gpus * size) == 0,
                'batch',
                self.batch,
                f'--batch must be a multiple of --gpus times --{name.replace("_", "-")} = {self.gpus} x {size}',
            )
            group = getattr(self.discriminator, 'mbstd_group', 1)
            group = size if group is None else min(group, size)
            require(
                size % group == 0, name, size, f'must be a multiple of the minibatch-std group, {group} (--mbstd-group)'
            )

    def _check_loss(self) -> None:
        require(
            self.g_batch_mult == 1 or not self.loss.paired,
            'g_batch_mult',
            self.g_batch_mult,
            f'the {self.loss.kind} loss pairs generated images with as many real ones; --set g_batch_mult=1',
        )
        require(
            self.g_batch_mult == 1 or self.loss.labels == 'drawn',
            'g_batch_mult',
            self.g_batch_mult,
            'loss.labels=paired gives every generated image the label of a real one; --set g_batch_mult=1',
        )
        require(
            self.loss.paired or not self.fresh_reals,
            'fresh_reals',
            self.fresh_reals,
            f'the {self.loss.kind} loss of G sees no real images; --set fresh_reals=false',
        )
        require(
            not self.aug.adapts or self.loss.boundary is not None,
            'aug.kind',
            self.aug.kind,
            f'p follows the sign of D, which has no meaning under loss.kind={self.loss.kind}; --set aug.kind=noaug, '
            'fixed or diffaug',
        )


FIELDS = tuple(name for name in RunConfig.__dataclass_fields__ if name != 'terms')


def _term_config(name: str) -> type[TermConfig]:
    """Returns the config class of a term that is not a field of RunConfig. ConfigError if there is no such term."""
    if name not in TERMS.names():
        TERMS.load_all()
    names = [known for known in TERMS.names() if known not in FIELDS]
    if name not in names:
        raise ConfigError(
            f"'{name}' is not a config field; {suggest(name, [*FIELDS, *names])}; terms of a plug-in need --plugin=FILE"
        )
    return TERMS.get(name).config


def _check_term_names() -> None:
    """Raises ConfigError if a plug-in has registered a term under the name of another field, where no flag finds it."""
    for name in TERMS.names():
        if name in FIELDS and name not in TERM_FIELDS:
            raise ConfigError(f"the term '{name}' of {TERMS.module_of(name)} has the name of a config field; rename it")


def leaves_of(cfg: RunConfig) -> dict[str, Any]:
    """Returns every leaf of a config by its path, as `--set` takes it."""
    leaves = {path: value for path, value in typed.flatten(cfg).items() if path != 'terms'}
    for name, settings in cfg.terms.items():
        leaves |= typed.flatten(settings, f'{name}.')
    return leaves


def differences(old: RunConfig, new: RunConfig) -> list[tuple[str, Any, Any]]:
    """Returns path, old value and new value of every leaf that differs. A term without entry has the value None."""
    before, after = leaves_of(old), leaves_of(new)
    paths = dict.fromkeys([*after, *before])
    return [(path, before.get(path), after.get(path)) for path in paths if before.get(path) != after.get(path)]


def apply_overrides(cfg: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """Returns `cfg` with other values, by path. A path that begins with the name of a term may add that term.

    A new `batch` without a `batch_gpu` means one micro-batch per process.
    """
    _check_term_names()
    changes = dict(changes)
    if 'batch' in changes and 'batch_gpu' not in changes:
        gpus = typed.parse(int, changes.get('gpus', cfg.gpus), '--gpus')
        batch = typed.parse(int, changes['batch'], '--batch')
        require(batch >= 1 and batch % gpus == 0, 'batch', batch, '--batch must be at least 1 and divisible by --gpus')
        changes['batch_gpu'] = batch // gpus
    terms: dict[str, dict[str, Any]] = {}
    for path in [path for path in changes if path.partition('.')[0] not in FIELDS]:
        name, _, inner = path.partition('.')
        _check_not_inner(cfg, path)
        terms.setdefault(name, {})[inner] = changes.pop(path)
    if terms:
        changes['terms'] = dict(cfg.terms) | {name: _changed_term(cfg, name, inner) for name, inner in terms.items()}
    return typed.set_fields(cfg, changes)


def _check_not_inner(cfg: RunConfig, path: str) -> None:
    """Raises ConfigError, which names the whole path, for a field without the part that it belongs to."""
    whole = [leaf for leaf in leaves_of(cfg) if leaf.endswith(f'.{path}')]
    if whole and path not in TERMS.names():
        raise ConfigError(f"'{path}' is not a config field; did you mean {' or '.join(map(repr, whole))}?")


def _changed_term(cfg: RunConfig, name: str, changes: Mapping[str, Any]) -> TermConfig:
    """Returns the config of a term with other values.

    Args:
        cfg: Config of the run, which may have no entry of the term yet.
        name: Name of the term.
        changes: Values by path within the term's config.
    """
    settings = cfg.terms[name] if name in cfg.terms else _term_config(name)()
    if '' in changes:
        raise ConfigError(f"'{name}' has fields, change one of them: {', '.join(typed.fields_of(settings))}")
    return typed.set_fields(settings, changes, f'{name}.')


def with_precision(cfg: RunConfig, precision: str) -> RunConfig:
    """Returns `cfg` in another precision, with its networks adapted.

    float32 lowers no block; only float16 needs activations clamped (its largest number is 65504), so that the other two
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
