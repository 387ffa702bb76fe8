"""A short run of an architecture whose learning rates fall learns as one with constant rates.

In all others the rates are constant: tests/ganfoundry/test_run_length.py checks those of every `--cfg`.
"""

import pytest

from dnnlib.files import read_jsonl
from tests.support.recipes import own_recipes
from tests.support.runs import call, only_run
from training.interface import ImageSpec
from training.registry import RECIPES
from training.run.run_folder import RunFolder

NARROW = {
    'gconv': ('--cmax=16', '--set=n_critic=1', '--set=g_batch_mult=1'),
    'ifgan': ('--cmax=16', '--cbase=128'),
    'traditional': ('--cmax=16', '--cbase=128'),
}
FLAGS = ('--resolution=32', '--kimg=4', '--batch=32', '--batch-gpu=32', '--tick=0.5', '--snap=100', '--metrics=none',
         '--workers=0', '--device=cpu', '--set=grid_images=4')  # fmt: skip


def falling() -> list[str]:
    """Returns the recipes whose learning rates fall."""
    spec = ImageSpec(resolution=64, channels=3, label_dim=0, num_images=1)
    return [name for name in own_recipes() if RECIPES.get(name).make(spec, 1).lr_decay_kimg > 0]


def losses_of_d(outdir, *flags) -> list[float]:
    """Returns D's mean loss of every tick of a run on the embedded drawings."""
    call(outdir, *FLAGS, *flags)
    return [line['Loss/D/loss']['mean'] for line in read_jsonl(RunFolder(only_run(outdir)).stats)]


def test_these_are_the_recipes_whose_rates_fall():
    assert falling() == sorted(NARROW)


@pytest.mark.slow
@pytest.mark.parametrize('cfg', ['gconv', 'ifgan'])  # traditional has ifgan's recipe
def test_four_kimg_move_the_loss_of_d_as_constant_rates_do(tmp_path, cfg):
    flags = (f'--cfg={cfg}', *NARROW[cfg])
    short = losses_of_d(tmp_path / 'short', *flags)
    constant = losses_of_d(tmp_path / 'constant', *flags, '--set=lr_decay_kimg=0')
    fall = constant[1] - min(constant)
    assert fall > 0.5
    assert short[1] - min(short) == pytest.approx(fall, rel=0.2)
    assert short[:5] == pytest.approx(constant[:5], rel=0.3)
