"""R1: killed at whatever moments, however often, a run ends with the bits of one that was left in peace."""

import random
import signal
import time

import pytest

from tests.reliability.conftest import SMALL
from tests.reliability.supervisor import Run, fingerprint
from tests.support.narrow import NARROW
from training.data.dataset import DataConfig, ImageDataset
from training.registry import RECIPES

pytestmark = pytest.mark.slow

RECIPES.load_all()
KILL = 'SIGKILL'
# 7 steps instead of 11 and fewer snapshots: there are many architectures.
SHORT = ('--batch=144', '--batch-gpu=72', '--tick=0.288', '--snap=3')


def test_killed_at_named_moments_and_at_random_ones(run, undisturbed):
    """In a phase, between the files of a state, before a rename, a removal, a line of records, and by the clock."""
    plan = [('phase', 2, KILL), ('flush', 4, KILL), ('line', 2, KILL), ('rename', 5, KILL), ('removal', 7, KILL),
            ('state', 2, KILL), ('snapshot', 1, KILL)]  # fmt: skip
    killed = run('--workers=2', plan=plan)
    draw = random.Random(1)
    for _ in range(2):
        launch, before = killed.launch(), killed.num_lines()
        if launch.watch(lambda before=before: killed.num_lines() != before):
            time.sleep(draw.uniform(0, 0.3))
            launch.kill(signal.SIGKILL, group=True)
        assert launch.wait() == -signal.SIGKILL
    killed.finish()
    assert killed.all_struck()
    assert fingerprint(killed.folder) == fingerprint(undisturbed)


def test_killed_while_it_measures(run, in_peace, data):
    """The metric is measured after all, once a snapshot, and the same."""
    flags = ('--metrics=kid_efflite8', '--snap=3')
    measured = in_peace('measured', (*run().flags[1:], *flags))
    killed = run(*flags, plan=[('metric', 1, KILL), ('metric', 1, KILL), ('line', 2, KILL)])
    killed.finish()
    assert killed.all_struck()
    assert fingerprint(killed.folder) == fingerprint(measured)
    lines = [folder.joinpath('metric-kid_efflite8.jsonl').read_text() for folder in (killed.folder, measured)]
    results = [[line.partition('"metric"')[0] for line in text.splitlines()] for text in lines]
    assert results[0] == results[1]
    assert len(results[0]) >= 2


def narrow_flags(name, spec):
    """Returns the flags that make a --cfg small, with a short interval for each of its regularizers."""
    cfg = RECIPES.get(name).make(spec, 1)
    flags = [f'--cfg={name}', *SMALL, *SHORT]
    for part in ('generator', 'discriminator'):
        fields = type(getattr(cfg, part)).__dataclass_fields__
        narrow = NARROW | {'channel_max': 8}
        if 'num_blocks' in fields:  # one number per stage
            num_stages = len(getattr(cfg, part).widths)
            narrow |= {'widths': (8,) * num_stages, 'num_blocks': (1,) * num_stages}
        for field, value in narrow.items():
            if field in fields:
                text = ','.join(map(str, value)) if isinstance(value, tuple) else value
                flags.append(f'--set={part}.{field}={text}')
    if 'mbstd_group' not in type(cfg.discriminator).__dataclass_fields__:
        flags.remove('--mbstd-group=4')
    if cfg.r1.interval is None:
        flags.remove('--set=r1.interval=4')
    guided = cfg.ggdr.weight > 0 or cfg.glead.weight > 0
    aug = 'ada' if cfg.loss.boundary is not None and not guided else 'noaug'
    if cfg.schedule.p is not None:  # a strength that follows a schedule needs augmentation of its own
        flags.append('--set=schedule.p=none')
    return [*flags, f'--set=aug.kind={aug}', '--set=aug.kimg=1']


@pytest.mark.parametrize('name', RECIPES.names())
def test_every_cfg(name, zygote, tmp_path, data, data32, in_peace):
    """Killed in a step and in a save."""
    path = data if RECIPES.get(name).min_resolution <= 16 else data32
    flags = (f'--data={path}', *narrow_flags(name, ImageDataset(DataConfig(path=str(path), cond=True)).spec))
    draw = random.Random(name)
    plan = [('phase', draw.randrange(4, 8), KILL), ('flush', draw.randrange(3, 12), KILL)]
    killed = Run(zygote, tmp_path / 'run', flags, plan)
    assert killed.finish() == [-signal.SIGKILL, -signal.SIGKILL, 0]
    assert fingerprint(killed.folder) == fingerprint(in_peace(f'cfg-{name}', flags))
