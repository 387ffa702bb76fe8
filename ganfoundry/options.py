"""The flags of train.py: the config fields that they set, the flags that they exclude, and the flags without effect."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dnnlib.config import fields_of
from dnnlib.errors import ConfigError
from dnnlib.paths import user_path
from metrics.spec import metric_list, parse_metric, with_count
from training.config import RunConfig
from training.data.dataset import DataConfig
from training.run.transfer import OFFICIAL


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainFlags:
    """The options of train.py under their names in Python. None: not given, so that the recipe's value holds.

    `ganfoundry/commands/train.py` describes each option.
    """

    outdir: str = 'runs'
    cfg: str | None = None
    data: str | None = None
    resume: str | None = None
    freezed: int | None = None
    dry_run: bool = False
    verbose: bool = False
    plugin: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()  # 'FIELD=VALUE' of each --set
    # Data
    cond: bool | None = None
    subset: int | None = None
    mirror: bool | None = None
    resolution: int | None = None
    # Training
    gamma: float | None = None
    kimg: int | None = None
    batch: int | None = None
    batch_gpu: int | None = None
    g_batch_gpu: int | None = None
    d_batch_gpu: int | None = None
    glr: float | None = None
    dlr: float | None = None
    cbase: int | None = None
    cmax: int | None = None
    map_depth: int | None = None
    mbstd_group: int | None = None
    seed: int | None = None
    # Limited data
    aug: str | None = None
    p: float | None = None
    target: float | None = None
    augpipe: str | None = None
    lecam: float | None = None
    # Records
    metrics: str | None = None
    metric_data: str | None = None
    metrics_images: int | None = None
    detector_path: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    snap: int | None = None
    tick: float | None = None
    keep: int | None = None
    desc: str | None = None
    # Machine
    gpus: int | None = None
    graphs: str | None = None
    deterministic: bool | None = None
    max_restarts: int | None = None
    timeout: float | None = None
    precision: str | None = None
    fp32: bool | None = None
    nhwc: bool | None = None
    nobench: bool | None = None
    allow_tf32: bool | None = None
    workers: int | None = None
    device: str | None = None
    # Faults
    time_limit: str | None = None  # --for
    pause: float | None = None  # a moment of this launch, no part of the run's config
    on_nan: str | None = None
    bad_images: str | None = None
    guardian: str | None = None

    @property
    def transfers(self) -> bool:
        """Whether --resume names the networks of another run."""
        return self.resume is not None and self.resume not in NO_FILE

    @property
    def pause_nimg(self) -> int | None:
        """Number of images of --pause."""
        if self.pause is None:
            return None
        if not 0 < self.pause < math.inf:
            raise ConfigError(f'--pause={self.pause:g}: expected a number of kimg above 0, such as 250')
        return round(self.pause * 1000)

    @property
    def wanted_precision(self) -> str:
        """--precision, or --fp32."""
        return 'fp32' if self.fp32 else self.precision or 'auto'


# Flags that set config fields. Every other field is reached by --set.
FLAGS = {
    'gamma': ('r1.gamma',),
    'kimg': ('kimg',),
    'batch': ('batch',),
    'batch_gpu': ('batch_gpu',),
    'g_batch_gpu': ('g_batch_gpu',),
    'd_batch_gpu': ('d_batch_gpu',),
    'glr': ('g_opt.lr',),
    'dlr': ('d_opt.lr',),
    'cbase': ('generator.channel_base', 'discriminator.channel_base'),
    'cmax': ('generator.channel_max', 'discriminator.channel_max'),
    'map_depth': ('generator.map_depth',),
    'mbstd_group': ('discriminator.mbstd_group',),
    'freezed': ('discriminator.freezed',),
    'aug': ('aug.kind',),
    'p': ('aug.p',),
    'target': ('aug.target',),
    'augpipe': ('aug.pipe',),
    'lecam': ('lecam.weight',),
    'seed': ('seed',),
    'metrics': ('metrics',),
    'metric_data': ('metric_data',),
    'snap': ('snap',),
    'tick': ('tick',),
    'keep': ('keep',),
    'allow_tf32': ('allow_tf32',),
    'workers': ('workers',),
    'graphs': ('graphs',),
    'deterministic': ('deterministic',),
    'timeout': ('timeout_s',),
    'on_nan': ('on_nan',),
    'bad_images': ('bad_images',),
    'guardian': ('guardian.mode',),
}
DATA_FLAGS = {'data': 'path', 'cond': 'cond', 'subset': 'subset', 'mirror': 'mirror', 'resolution': 'resolution'}
SET_REFUSES = {
    'cfg': '--cfg',
    'data': '--data, --cond, --subset, --mirror or --resolution',
    'precision': '--precision',
    'gpus': '--gpus',
    'seed': '--seed',
    'deterministic': '--deterministic',
}
# Flags that a run folder's name shows if they are given, in StyleGAN2-ADA's order; --lecam and --desc are additions.
NAMED = {
    'gamma': 'gamma{:g}',
    'kimg': 'kimg{}',
    'batch': 'batch{}',
    'aug': '{}',
    'p': 'p{:g}',
    'target': 'target{:g}',
    'augpipe': '{}',
    'resume': '{}',
    'freezed': 'freezed{}',
    'lecam': 'lecam{:g}',
    'desc': '{}',
}
NO_FILE = ('noresume', 'auto', 'latest')  # values of --resume that name no file
# StyleGAN2-ADA's settings for a run that starts from the networks of another: ADA finds its strength in a fifth of the
# images, and the moving average has its full half-life from the first image. As in StyleGAN3, D's images are not
# blurred.
TRANSFER = {'aug.kimg': 100.0, 'ema.rampup': None, 'aug.blur_sigma': 0.0}


def config_changes(flags: TrainFlags, cfg: RunConfig) -> dict[str, Any]:
    """Returns config fields by path, from the flags and from --set, as changes to `cfg`."""
    check_aug(flags, cfg)
    changes: dict[str, Any] = {}
    for name, paths in FLAGS.items():
        value = getattr(flags, name)
        for path in paths if value is not None else ():
            check_field(name, path, value, cfg)
            changes[path] = value
    if flags.nobench is not None:
        changes['benchmark'] = not flags.nobench
    if 'metrics' in changes:
        changes['metrics'] = ','.join(metric_list(changes['metrics']))
    for item in flags.sets:
        path, equals, value = item.partition('=')
        if not equals:
            raise ConfigError(f'--set {item}: expected FIELD=VALUE, for instance --set r1.gamma=2')
        if (flag := SET_REFUSES.get(path.partition('.')[0])) is not None:
            raise ConfigError(f'--set {item}: other fields follow from this one; set it by {flag}')
        changes[path] = value
    if changes.get('metric_data', 'none') != 'none':
        changes['metric_data'] = str(Path(user_path(changes['metric_data'])).absolute())
    return changes


def with_fewer_images(most: int | None, cfg: RunConfig) -> RunConfig:
    """Limits the images that a metric generates to `most` (--metrics-images) and renames the metrics accordingly."""
    if most is None:
        return cfg
    if most < 2:
        raise ConfigError(f'--metrics-images={most}: must be at least 2; --metrics=none measures nothing')
    specs = map(parse_metric, cfg.metrics)
    names = (with_count(spec.name, most) if spec.num_fakes > most else spec.name for spec in specs)
    return replace(cfg, metrics=tuple(dict.fromkeys(names)))


def check_aug(flags: TrainFlags, cfg: RunConfig) -> None:
    """Refuses --p, --target and --augpipe without the --aug, or the recipe's augmentation, that they belong to."""
    kind = flags.aug or cfg.aug.kind
    if kind == 'fixed' and cfg.aug.kind != 'fixed' and flags.p is None:
        raise ConfigError('--aug=fixed requires specifying --p, for instance --p=0.2')
    if flags.p is not None and kind != 'fixed':
        raise ConfigError(f'--p can only be specified with --aug=fixed, not with {kind}')
    if flags.target is not None and kind not in ('ada', 'apa'):
        raise ConfigError(f'--target can only be specified with --aug=ada or --aug=apa, not with {kind}')
    if flags.augpipe is not None and kind not in ('ada', 'fixed'):
        raise ConfigError(f'--augpipe cannot be specified with --aug={kind}; take --aug=ada or --aug=fixed')
    for name, share in (('p', flags.p), ('target', flags.target)):
        if share is not None and not 0 <= share <= 1:
            raise ConfigError(f'--{name} must be between 0 and 1, not {share:g}')
    for name, value in (('freezed', flags.freezed), ('lecam', flags.lecam)):
        if value is not None and not value >= 0:
            raise ConfigError(f'--{name} must be non-negative, not {value:g}')


def check_field(flag: str, path: str, value: Any, cfg: RunConfig) -> None:
    """Refuses a flag for a network that has no such option. Names the field of the other network if that has it.

    Args:
        flag: Name of the flag in Python.
        path: The config field that it sets.
        value: Value of the flag.
        cfg: Config with the networks.
    """
    part, _, name = path.partition('.')
    if part not in ('generator', 'discriminator') or name in fields_of(getattr(cfg, part)):
        return
    has = f'it has {", ".join(fields_of(getattr(cfg, part))) or "none"}'
    if flag == 'freezed':
        has = "the first layers that can be frozen are those of StyleGAN2's, as in --cfg=auto or --cfg=squeeze"
    for other in FLAGS[flag]:
        net, _, field = other.partition('.')
        if net != part and field in fields_of(getattr(cfg, net)):
            has += f'; --set {other}={value} sets that of the {net}'
    raise ConfigError(f'--{flag.replace("_", "-")}: the {part} of --cfg={cfg.cfg} has no {name}; {has}')


def notes_on(flags: TrainFlags) -> tuple[str, ...]:
    """Returns a line for each given flag that has no effect here, or another one than in StyleGAN2-ADA."""
    notes = []
    if flags.nhwc:
        notes.append('--nhwc: the networks choose the layout, StyleGAN2 channels last; the flag changes nothing')
    if flags.freezed and flags.resume in (None, 'noresume'):
        notes.append(f'--freezed={flags.freezed} without --resume: the frozen layers keep their random weights')
    if flags.verbose and not flags.dry_run:
        notes.append('--verbose without --dry-run changes nothing: -n -v prints the whole plan')
    return tuple(notes)


def data_config(flags: TrainFlags) -> DataConfig:
    """Returns the data flags as a config. Paths become absolute, so that a run resumes from any folder."""
    given = {field: getattr(flags, name) for name, field in DATA_FLAGS.items()}
    fields = {field: value for field, value in given.items() if value is not None}
    if fields.get('path'):
        fields['path'] = str(Path(fields['path']).absolute())
    return DataConfig(**fields)


def folder_name(cfg: RunConfig, dataset_name: str, flags: TrainFlags) -> str:
    """Returns a run folder's name after its number. The number of GPUs follows 'auto' unless it is 1.

    Args:
        cfg: Config of the run.
        dataset_name: Name of the data set.
        flags: The command line.
    """
    data = cfg.data
    parts = [dataset_name + (str(data.resolution) if data.resolution else '')]
    if data.cond:
        parts.append('cond')
    if data.subset is not None:
        parts.append(f'subset{data.subset}')
    if data.mirror:
        parts.append('mirror')
    parts.append(cfg.cfg + (str(cfg.gpus) if cfg.cfg == 'auto' and cfg.gpus > 1 else ''))
    for name, text in NAMED.items():
        value = resume_name(flags.resume) if name == 'resume' else getattr(flags, name)
        if value is not None:
            parts.append(text.format(value))
    return '-'.join(parts)


def resume_name(resume: str | None) -> str | None:
    """Returns the part of a run's name that shows the origin of its networks; None for a run that continues."""
    if resume in (None, 'auto', 'latest'):
        return None
    return resume if resume == 'noresume' else f'resume{resume}' if resume in OFFICIAL else 'resumecustom'
