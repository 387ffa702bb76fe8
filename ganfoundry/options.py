"""What the flags of train.py mean: the config fields that they set, what they exclude, and what they no longer do.

given: the options that stand on the command line, by name ('batch_gpu'); what is not there takes the recipe's value.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from dnnlib.config import fields_of
from dnnlib.errors import ConfigError
from metrics.spec import parse_metric, with_count
from training.config import RunConfig
from training.data.dataset import DataConfig
from training.run.transfer import OFFICIAL

# Flags that set config fields. Every other field is reached by --set.
FLAGS = {
    'gamma': ('r1.gamma',),
    'kimg': ('kimg',),
    'batch': ('batch',),
    'batch_gpu': ('batch_gpu',),
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
    'deterministic': ('deterministic',),
    'timeout': ('timeout_s',),
    'on_nan': ('on_nan',),
    'bad_images': ('bad_images',),
    'guardian': ('guardian.mode',),
}
DATA_FLAGS = {'data': 'path', 'cond': 'cond', 'subset': 'subset', 'mirror': 'mirror', 'resolution': 'resolution'}
SET_REFUSES = {
    'cfg': '--cfg',
    'data': '--data and its neighbours',
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
# StyleGAN2-ADA's settings for a run that starts from another's networks: ADA finds its strength in a fifth of the
# images, and the moving average has its full half-life from the first image on.
TRANSFER = {'aug.kimg': 100.0, 'ema.rampup': None}


def config_changes(given: dict[str, Any], cfg: RunConfig) -> dict[str, Any]:
    """Config fields by path, from the flags and from --set. cfg: what they will change."""
    check_aug(given, cfg)
    changes: dict[str, Any] = {}
    for flag, paths in FLAGS.items():
        for path in paths if flag in given else ():
            check_field(flag, path, cfg)
            changes[path] = given[flag]
    if 'nobench' in given:
        changes['benchmark'] = not given['nobench']
    if changes.get('metrics') == 'none':
        changes['metrics'] = ''
    if changes.get('metric_data', 'none') != 'none':
        changes['metric_data'] = str(Path(changes['metric_data']).absolute())
    for item in given['sets']:
        path, equals, value = item.partition('=')
        if not equals:
            raise ConfigError(f'--set {item}: expected FIELD=VALUE, for instance --set r1.gamma=2')
        if (flag := SET_REFUSES.get(path.partition('.')[0])) is not None:
            raise ConfigError(f'--set {item}: other fields follow from this one; set it by {flag}')
        changes[path] = value
    return changes


def with_fewer_images(given: dict[str, Any], cfg: RunConfig) -> RunConfig:
    """--metrics-images: no metric generates more images. One that did takes a name that says its number."""
    most = given.get('metrics_images')
    if most is None:
        return cfg
    if most < 2:
        raise ConfigError(f'--metrics-images={most}: must be at least 2; --metrics=none measures nothing')
    specs = map(parse_metric, cfg.metrics)
    names = (with_count(spec.name, most) if spec.num_fakes > most else spec.name for spec in specs)
    return replace(cfg, metrics=tuple(dict.fromkeys(names)))


def check_aug(given: dict[str, Any], cfg: RunConfig) -> None:
    """What --p, --target and --augpipe belong to. They may be said without --aug where the recipe has its kind."""
    kind = given.get('aug', cfg.aug.kind)
    if kind == 'fixed' and cfg.aug.kind != 'fixed' and 'p' not in given:
        raise ConfigError('--aug=fixed requires specifying --p')
    if 'p' in given and kind != 'fixed':
        raise ConfigError(f'--p can only be specified with --aug=fixed, not with {kind}')
    if 'target' in given and kind not in ('ada', 'apa'):
        raise ConfigError(f'--target can only be specified with --aug=ada or --aug=apa, not with {kind}')
    if 'augpipe' in given and kind not in ('ada', 'fixed'):
        raise ConfigError(f'--augpipe cannot be specified with --aug={kind}; take --aug=ada or --aug=fixed')
    for flag in ('p', 'target'):
        if flag in given and not 0 <= given[flag] <= 1:
            raise ConfigError(f'--{flag} must be between 0 and 1, not {given[flag]:g}')
    for flag in ('freezed', 'lecam'):
        if flag in given and not given[flag] >= 0:
            raise ConfigError(f'--{flag} must be non-negative, not {given[flag]:g}')


def check_field(flag: str, path: str, cfg: RunConfig) -> None:
    """Refuses a flag for a network that has no such option."""
    part, _, name = path.partition('.')
    if part not in ('generator', 'discriminator') or name in fields_of(getattr(cfg, part)):
        return
    has = f'it has {", ".join(fields_of(getattr(cfg, part))) or "none"}'
    if flag == 'freezed':
        has = "the first layers that can be frozen are those of StyleGAN2's, as in --cfg=auto or --cfg=squeeze"
    raise ConfigError(f'--{flag.replace("_", "-")}: the {part} of --cfg={cfg.cfg} has no {name}; {has}')


def notes_on(given: dict[str, Any]) -> tuple[str, ...]:
    """A line for each flag that is accepted and does not do what it did in StyleGAN2-ADA, or nothing at all here."""
    notes = []
    if given.get('nhwc'):
        notes.append('--nhwc: the networks choose the layout, StyleGAN2 channels last; the flag changes nothing')
    if given.get('freezed') and given.get('resume', 'noresume') == 'noresume':
        notes.append(f'--freezed={given["freezed"]} without --resume: the frozen layers keep their random weights')
    return tuple(notes)


def data_config(given: dict[str, Any]) -> DataConfig:
    """The data flags; paths are made absolute, so that a run resumes from any folder."""
    fields = {field: given[flag] for flag, field in DATA_FLAGS.items() if flag in given}
    if fields.get('path'):
        fields['path'] = str(Path(fields['path']).absolute())
    return DataConfig(**fields)


def wanted_precision(given: dict[str, Any]) -> str:
    """--precision, or --fp32."""
    return 'fp32' if given.get('fp32') else given.get('precision', 'auto')


def run_name(cfg: RunConfig, dataset_name: str, given: dict[str, Any]) -> str:
    """What a run folder is called, after its number. The number of GPUs after 'auto' is left out for 1."""
    data = cfg.data
    parts = [dataset_name + (str(data.resolution) if data.resolution else '')]
    parts += ['cond'] * data.cond + [f'subset{data.subset}'] * (data.subset is not None) + ['mirror'] * data.mirror
    parts += [cfg.cfg + (str(cfg.gpus) if cfg.cfg == 'auto' and cfg.gpus > 1 else '')]
    named = given | {'resume': resume_name(given.get('resume'))}
    return '-'.join(parts + [text.format(named[flag]) for flag, text in NAMED.items() if named.get(flag) is not None])


def resume_name(resume: str | None) -> str | None:
    """The part of a run's name that tells where its networks are from. Continuing leaves a name as it is."""
    if resume in (None, 'auto', 'latest'):
        return None
    return resume if resume == 'noresume' else f'resume{resume}' if resume in OFFICIAL else 'resumecustom'
