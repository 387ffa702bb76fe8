"""Plans: flags that follow from the budget, costs, and the moments of snapshots."""

from dataclasses import replace

import pytest

from dnnlib.errors import ConfigError
from ganfoundry.compare.plan import Plan, budget_flags, check_plan, config_of, row_costs, run_flags
from ganfoundry.compare.rows import parse_rows
from training.interface import ImageSpec
from training.registry import RECIPES, Recipe

SPEC = ImageSpec(resolution=32, channels=3, label_dim=0, num_images=1)
ROWS = parse_rows('narrow=squeeze,wide=squeeze', [], ['narrow:--cbase=128', 'wide:--cbase=512'], small=False)
PLAN = Plan(rows=ROWS, seeds=(3, 4), kimg=20, batch=16, metrics=('fd_efflite2k', 'kid_efflite2k'),
            shared=('--resolution=32', '--device=cpu'))  # fmt: skip


def test_schedules_of_a_recipe_are_scaled_to_the_budget(monkeypatch):
    plain = RECIPES.get('paper256')
    assert budget_flags('paper256', SPEC, 20) == ('--set=ema.rampup=0.05',)
    assert budget_flags('auto', SPEC, 20) == ()
    assert budget_flags('r3gan', SPEC, 20) == ('--set=schedule.kimg=20', '--set=schedule.ema_kimg=5')
    decaying = Recipe(
        name='x', paper='x', make=lambda spec, n: replace(plain.make(spec, n), kimg=9600, lr_decay_kimg=1600.0)
    )
    monkeypatch.setattr(RECIPES, 'get', lambda name: decaying)
    assert budget_flags('x', SPEC, 60) == ('--set=lr_decay_kimg=10', '--set=ema.rampup=0.05')


def test_the_flags_of_a_run_make_its_config():
    cfg, _ = config_of(run_flags(replace(PLAN, images=500), ROWS[1], 4, SPEC, 20))
    assert (cfg.cfg, cfg.kimg, cfg.batch, cfg.seed, cfg.tick, cfg.snap) == ('squeeze', 20, 16, 4, 1.25, 2)
    assert cfg.metrics == ('fd_efflite500', 'kid_efflite500')
    assert cfg.generator.channel_base == 512


def test_equal_multiply_adds_give_the_wider_row_fewer_images():
    kimg = row_costs(PLAN, SPEC)
    assert {cost.kimg for cost in kimg.values()} == {20}
    costs = row_costs(replace(PLAN, budget='macs', kimg=1000), SPEC)
    assert costs['narrow'].kimg == 1000
    assert costs['wide'].config.kimg == costs['wide'].kimg < 600
    totals = [cost.kimg * cost.macs for cost in costs.values()]
    assert totals[0] == pytest.approx(totals[1], rel=0.01)
    bad = replace(PLAN, budget='macs', rows=(replace(ROWS[0], flags=('--set=generator.channel_max=0',)), ROWS[1]))
    with pytest.raises(ConfigError, match='the first row sets the budget, and narrow cannot be trained'):
        row_costs(bad, SPEC)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'budget': 'hours'}, '--budget=hours and --hours=H belong together'),
        ({'hours': 2.0}, '--budget=hours and --hours=H belong together'),
        ({'halving': 'noise', 'metrics': ()}, '--halving decides by a metric'),
        ({'halving': 'strict', 'budget': 'hours', 'hours': 1.0}, '--halving needs runs of a known length'),
        ({'halving': 'strict', 'measurements': 6}, '--measurements=6: --halving decides at a quarter'),
        ({'halving': 'noise', 'seeds': (0,)}, 'which one seed never shows; name --seeds'),
    ],
)
def test_settings_that_exclude_each_other_are_refused(changes, message):
    check_plan(PLAN)
    with pytest.raises(ConfigError, match=message):
        check_plan(replace(PLAN, **changes))
