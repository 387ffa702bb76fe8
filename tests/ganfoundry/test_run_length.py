"""The length of a run: a short one of any --cfg begins at the full learning rates, and the plan says when they fall."""

from __future__ import annotations

import dataclasses

import pytest
from click.testing import CliRunner

from dnnlib.errors import ConfigError
from ganfoundry.commands.train import main
from ganfoundry.run_length import check_decay, decay_of_length
from tests.support.recipes import own_recipes
from tests.support.runs import make_zip
from training.config import apply_overrides
from training.interface import ImageSpec
from training.optimize.optimizers import lr_scale
from training.registry import RECIPES


@pytest.mark.parametrize('resolution', [32, 64, 256])
@pytest.mark.parametrize('cfg', own_recipes())
def test_a_short_run_begins_at_the_full_rates_and_a_decay_keeps_its_share(cfg: str, resolution: int) -> None:
    recipe = RECIPES.get(cfg)
    spec = ImageSpec(resolution=max(resolution, recipe.min_resolution), channels=3, label_dim=0, num_images=1)
    made = recipe.make(spec, 1)
    for kimg in (1, 4, 100):
        changes = {'kimg': kimg}
        short = apply_overrides(made, changes | decay_of_length(made, changes)[0])
        check_decay(short)
        assert lr_scale(0, short.kimg, short.lr_decay_kimg) == 1
        assert short.lr_decay_kimg / short.kimg == pytest.approx(made.lr_decay_kimg / made.kimg)


def test_a_decay_that_is_set_stays_and_is_refused_if_it_is_longer_than_the_run() -> None:
    cfg = RECIPES.get('gconv').make(ImageSpec(resolution=32, channels=3, label_dim=0, num_images=1), 1)
    assert decay_of_length(cfg, {'kimg': 4, 'lr_decay_kimg': '2'}) == ({}, ())
    assert decay_of_length(cfg, {}) == ({}, ())
    with pytest.raises(ConfigError, match=r'lr_decay_kimg=8: longer than the run, .* begin at 50%; at most --kimg=4'):
        check_decay(dataclasses.replace(cfg, kimg=4, lr_decay_kimg=8))


def test_the_plan_names_the_fall_and_the_note_a_way_to_the_other_choice(tmp_path) -> None:
    data = make_zip(tmp_path / 'tiny.zip', resolution=32)
    flags = [f'--data={data}', f'--outdir={tmp_path}', '--cfg=gconv', '-n', '--cmax=8', '--gpus=1']
    said = CliRunner().invoke(main, [*flags, '--kimg=4'], catch_exceptions=False).output
    assert 'learning rates: fall to 0 over the last 4 kimg' in said
    assert '--set lr_decay_kimg=0 keeps them constant' in said
    constant = CliRunner().invoke(main, [*flags, '--kimg=4', '--set=lr_decay_kimg=0'], catch_exceptions=False).output
    assert 'learning rates: fall' not in constant
    assert 'keeps them' not in constant
