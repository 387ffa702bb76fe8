"""Cases of bench/same_bits.py: command lines that every commit understands.

Images of 32x32, narrow networks, two micro-batches of two images, lazy regularization in every second step. A training
run is stopped after four steps unless its case says otherwise. Step 1 ends tick 0, and three more steps end tick 1; a
state, a snapshot and a sheet are written at the end of each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STOPPED = 143  # exit code of a run that SIGTERM has ended
END = 16  # images of four steps
# A run folder is 'runs/00000-...'; the last match in the folder of the case replaces the pattern: the newest snapshot.
SNAPSHOT = 'runs/00000-*/network-snapshot-000000*.safetensors'
OTHER = 'runs/00001-*/network-snapshot-000000*.safetensors'

COMMON = (
    '--outdir=runs', '--resolution=32', '--batch=4', '--batch-gpu=2', '--kimg=1', '--tick=0.012', '--snap=1',
    '--metrics=none', '--workers=0', '--device=cpu', '--set=grid_images=4',
)  # fmt: skip
NARROW = {
    'channel_base': '256', 'channel_max': '24', 'channel_min': '8', 'z_dim': '16', 'w_dim': '20', 'map_depth': '2',
    'group_channels': '4', 'se_ratio': '4', 'start_channels': '24', 'widths': '8,4', 'stem': '16', 'tail': '8',
    'mbstd_group': '2',
}  # fmt: skip
LOSSES = ('logistic', 'cross_entropy', 'hinge', 'lsgan', 'wasserstein', 'relativistic')
METRICS = ('fd_{}24_full', 'fd_{}24', 'kid_{}24_full', 'pr_{}24_full', 'dc_{}24_full', 'mem_{}24_full')


@dataclass(frozen=True)
class Step:
    """One command line.

    script: file in the root of a tree. stop_at: images of the state at which a run is stopped; 0 lets it end by itself.
    env: variables of this command line alone.
    """

    script: str
    argv: tuple[str, ...]
    stop_at: int = 0
    env: dict[str, str] = field(default_factory=dict)

    @property
    def code(self) -> int:
        """The exit code without a failure."""
        return STOPPED if self.stop_at else 0

    def words(self, folder: Path) -> list[str]:
        """Returns the command line in the folder of the case, with patterns of paths replaced."""
        words = []
        for word in self.argv:
            option, equals, value = word.rpartition('=')
            if '*' in value and (found := sorted(folder.glob(value))):
                value = found[-1].relative_to(folder).as_posix()
            words.append(f'{option}{equals}{value}')
        return words


@dataclass(frozen=True)
class Case:
    """Command lines that run one after another in a folder of their own, and are compared as a whole.

    start: folder that is copied into it as `run` before the first, if any.
    """

    name: str
    steps: tuple[Step, ...]
    start: str | None = None


def train(*flags: str, stop_at: int = END, **env: str) -> Step:
    """Returns the command line of a short training run."""
    return Step('train.py', (*COMMON, *flags), stop_at, env)


def narrow(record: dict[str, Any]) -> tuple[str, ...]:
    """Returns the flags that make the networks of a config narrow, and its lazy regularization frequent."""
    flags = []
    for part in ('generator', 'discriminator'):
        flags += [f'--set={part}.{name}={value}' for name, value in NARROW.items() if name in record[part]]
    flags += [f'--set={term}.interval=2' for term in ('r1', 'pl') if record[term]['interval'] is not None]
    return tuple(flags)


def all_cases(records: dict[str, dict[str, Any]], data: Path) -> list[Case]:
    """Returns the cases.

    Args:
        records: Config of every --cfg, by name.
        data: Folder that `make_data` of bench/same_bits_data.py has filled.
    """
    widths = {name: (f'--cfg={name}', *narrow(record)) for name, record in records.items()}
    auto = (*widths['auto'], '--precision=fp32')
    plain = (*auto, '--aug=noaug')
    return [
        *(
            Case(f'cfg/{name}-{precision}', (train(*flags, f'--precision={precision}'),))
            for name, flags in widths.items()
            for precision in ('fp32', 'bf16')
        ),
        *(Case(f'loss/{loss}', (train(*plain, f'--set=loss.kind={loss}'),)) for loss in LOSSES),
        *(Case(f'term/{name}', (train(*plain, *flags),)) for name, flags in TERMS.items()),
        *(Case(f'aug/{name}', (train(*auto, *flags),)) for name, flags in AUGMENTATIONS.items()),
        *(Case(f'run/{name}', (train(*auto, *flags),)) for name, flags in RUNS.items()),
        *longer_runs(auto, widths, data),
        *(Case(f'state/{name}', (RESUME,), f'{data}/states/{name}') for name in ('ada-lecam', 'fp16', 'guardian')),
        *drawings(auto, widths),
        *measurements(auto, data),
        *conversions(data),
    ]


TERMS = {
    'none': ('--set=r1.gamma=0', '--set=pl.weight=0'),
    'eager': ('--set=r1.interval=none', '--set=pl.interval=none'),
    'r2': ('--set=r2.gamma=0.5',),
    'gp': ('--set=gp.weight=10', '--set=loss.kind=wasserstein', '--set=r1.gamma=0'),
    'ggdr': ('--set=ggdr.weight=10',),
    'glead': ('--set=glead.weight=1',),
    'lecam': ('--lecam=0.3', '--set=lecam.decay=0.5'),
    'all': ('--set=r2.gamma=0.5', '--set=gp.weight=1', '--set=ggdr.weight=10', '--set=glead.weight=1', '--lecam=0.3'),
}
AUGMENTATIONS = {
    'ada': ('--aug=ada', '--set=aug.p=0.5', '--set=aug.kimg=0.2', '--set=aug.interval=1'),
    'apa': ('--aug=apa', '--set=aug.p=0.5', '--set=aug.kimg=0.2', '--set=aug.interval=1'),
    'diffaug': ('--aug=diffaug',),
    'fixed': ('--aug=fixed', '--p=0.7', '--augpipe=bgcfnc'),
    'color-guided': ('--aug=fixed', '--p=0.7', '--augpipe=color', '--set=ggdr.weight=10', '--set=glead.weight=1'),
}
RUNS = {
    'fp16': ('--precision=fp16',),
    'adagrad': ('--set=g_opt.kind=adagrad', '--set=d_opt.kind=adagrad'),
    'rmsprop': ('--set=g_opt.kind=rmsprop', '--set=d_opt.kind=rmsprop'),
    'critic': ('--set=n_critic=2', '--set=g_batch_mult=2'),
    'cond-mirror': ('--cond=1', '--mirror=1', '--subset=50', '--seed=3'),
    'workers': ('--workers=2',),
    'deterministic': ('--deterministic=1',),
    'mask': ('--on-nan=mask', '--glr=1e30'),
    'skip-images': ('--bad-images=skip',),
    'decay': ('--set=lr_decay_kimg=1', '--set=ema.rampup=none'),
}
# From a state of version 1 to the end of its run, see tests/reliability/data/README.md.
RESUME = Step('train.py', ('--resume=run', '--metrics=none', '--device=cpu'))


def longer_runs(auto: tuple[str, ...], widths: dict[str, tuple[str, ...]], data: Path) -> list[Case]:
    """Returns the cases of several command lines, of several processes, of metrics during training, of plug-ins.

    Args:
        auto: Flags of the narrow `auto` in float32.
        widths: Flags of every narrow --cfg, by name.
        data: Folder of the data.
    """
    toy = f'--detector-path=toy={data}/toy.pt,size=32'
    alike = ('--guardian=rollback', '--set=guardian.diversity=1', '--snap=1', f'--data={data}/small.zip')
    no_compiler = {'PATH': '/nonexistent', 'GANFOUNDRY_CACHE': 'cache'}
    return [
        Case('run/resume', (train(*auto), train('--resume=latest', stop_at=2 * END - 4))),
        Case('run/transfer', (train(*auto), train(*auto, f'--resume={SNAPSHOT}', '--freezed=2'))),
        Case('run/guardian', (train(*auto, *alike, toy, '--metrics=fd_toy16,is_efflite20', stop_at=52),)),
        Case('run/plugin', (train(f'--plugin={data}/ring.py', '--cfg=ring', '--set=discriminator.channel_max=8'),)),
        Case('run/whole', (train(*auto, '--batch=252', '--batch-gpu=126', stop_at=0),)),
        Case('run/processes', (train(*auto, '--batch=504', '--batch-gpu=126', '--gpus=2', stop_at=0),)),
        Case('run/reference', (train(*auto, '--aug=fixed', '--p=0.7', '--augpipe=bgcfnc', **no_compiler),)),
        Case('run/reference-squeeze', (train(*widths['squeeze'], '--precision=bf16', **no_compiler),)),
        Case('run/deep-color', (train(*auto, f'--data={data}/deep.zip'),)),
    ]


def drawings(auto: tuple[str, ...], widths: dict[str, tuple[str, ...]]) -> list[Case]:
    """Returns the cases of generate.py, each with the training of its network."""

    def draw(*flags: str) -> Step:
        return Step('generate.py', (f'--network={SNAPSHOT}', '--device=cpu', *flags))

    both = (draw('--seeds=0-3', '--trunc=0.7'), draw('--grid=3x2', '--outdir=sheet', '--noise-mode=random'))
    return [
        Case('draw/auto', (train(*auto), *both, draw('--seeds=5', '--precision=bf16', '--outdir=low'))),
        Case('draw/squeeze', (train(*widths['squeeze']), *both)),
        Case('draw/class', (train(*auto, '--cond=1'), draw('--seeds=0-3', '--class=1', '--trunc=0.5'))),
        Case('draw/dcgan', (train(*widths['dcgan']), *both, draw('--seeds=0-3', '--recalibrate', '--outdir=new'))),
    ]


def measurements(auto: tuple[str, ...], data: Path) -> list[Case]:
    """Returns the cases of calc_metrics.py, each with the training of its network.

    efflite is the offline detector. toy is a TorchScript file. The weights of LPIPS are random: the published ones are
    not on every machine.
    """

    def measure(metrics: str, *flags: str) -> Step:
        return Step('calc_metrics.py', (f'--metrics={metrics}', f'--data={data}/small.zip', '--device=cpu', *flags))

    network = f'--network={SNAPSHOT}'
    toy = f'--detector-path=toy={data}/toy.pt,size=32'
    of_efflite = ','.join([*(name.format('efflite') for name in METRICS), 'is_efflite24'])
    of_toy = ','.join(name.format('toy') for name in METRICS)
    lpips = f'--detector-path=lpips={data}/lpips.safetensors'
    paths = 'ppl_zfull4,ppl_zend4,ppl_wfull4,ppl_wend4,ppl2_wend4'
    images = f'--images={data}/other.zip'
    return [
        Case('metric/efflite', (train(*auto), measure(of_efflite, network))),
        Case('metric/seeds', (train(*auto), measure(of_toy, network, toy, '--seeds=2', '--mirror=1'))),
        Case('metric/images', (measure(f'{of_efflite},{of_toy}', images, toy, '--bootstrap=4'),)),
        Case(
            'metric/two', (train(*auto), train(*auto, '--seed=1'), measure(of_toy, SNAPSHOT, OTHER, toy, '--records=-'))
        ),
        Case('metric/processes', (train(*auto), measure(of_toy, network, toy, '--gpus=2'))),
        Case('metric/paths', (train(*auto), measure(paths, network, lpips))),
    ]


def conversions(data: Path) -> list[Case]:
    """Returns the cases of dataset_tool.py."""

    def convert(*flags: str) -> Case:
        return Step('dataset_tool.py', (f'--source={data}/pictures', '--workers=1', *flags))

    return [
        Case('convert/crop', (convert('--dest=crop.zip', '--resolution=32x32', '--transform=center-crop'),)),
        Case('convert/pad', (convert('--dest=pad', '--resolution=48x32', '--transform=pad', '--labels=folders'),)),
        Case('convert/deep', (convert('--dest=deep.zip', '--resolution=32x32', '--bits=16', '--alpha=keep'),)),
    ]
