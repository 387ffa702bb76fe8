"""The search for settings of six generators: an equal grid for each, every setting another run, the best one chosen."""

from bench.search_six import (
    FACTORS,
    LAST_FACTOR,
    LOSSES,
    METRIC,
    NETWORKS,
    best,
    first_settings,
    label,
    last_settings,
    plan_of,
    setting_of,
    table,
)
from ganfoundry.compare.options import CompareOptions, read_rows, with_plan_file
from ganfoundry.compare.plan import config_of
from ganfoundry.compare.plan_file import plan_text
from tests.conftest import ROOT

NAMES = ['stylegan2', 'squeeze', 'ifgan', 'gconv', 'giu', 'igan']


def configs(plan):
    """Returns the config of each row of a plan file by its label."""
    rows = read_rows(*with_plan_file(CompareOptions(plan=str(plan))))
    return {row.label: config_of((f'--cfg={row.cfg}', '--resolution=32', '--batch=16', *row.flags))[0] for row in rows}


def record(metrics, collapsed=(), settings=None):
    """Returns a table.json. metrics: label -> metric; others have 900. settings: default, those of the first round."""
    rows = []
    for name in settings or first_settings():
        state = 'collapsed' if name in collapsed else 'done'
        end = {METRIC: {'mean': metrics.get(name, 900.0), 'std': None}}
        rows.append({'label': name, 'ends': end, 'diversity': 0.5, 'runs': [{'state': state}]})
    return {'rows': rows}


def test_every_network_has_the_same_grid_and_every_setting_is_another_run(tmp_path):
    first = first_settings()
    both = first | {label(name, loss, LAST_FACTOR): (name, loss, LAST_FACTOR) for name in NAMES for loss in LOSSES}
    (tmp_path / 'plan.toml').write_text(plan_text(plan_of(both, {'kimg': 10, 'metrics': [METRIC]})))
    found = configs(tmp_path / 'plan.toml')
    assert list(NETWORKS) == NAMES
    assert len(first) == len(NAMES) * len(LOSSES) * len(FACTORS)
    assert len(set(map(repr, found.values()))) == len(found) == len(both)
    for row, cfg in found.items():
        name, loss, factor = setting_of(row)
        recipe, _ = config_of((f'--cfg={name}', '--resolution=32', '--batch=16'))
        rate = config_of(('--cfg=auto', '--resolution=32'))[0].g_opt.lr if name == 'stylegan2' else recipe.g_opt.lr
        assert (name, loss, factor) == both[row]
        assert cfg.g_opt.lr == cfg.d_opt.lr == rate * factor
        assert cfg.lr_decay_kimg == 0
        assert (cfg.loss == recipe.loss) == (loss == 'own')


def test_the_last_round_takes_the_better_loss_of_each_network():
    found = last_settings(record({'giu-own-2x': 10.0, 'igan-relativistic-1x': 10.0}))
    assert set(found) == {f'{name}-{"relativistic" if name == "igan" else "own"}-4x' for name in NAMES}


def test_the_best_setting_has_the_smallest_metric_and_never_collapsed():
    metrics = {f'{name}-own-2x': 300.0 for name in NAMES} | {'giu-relativistic-2x': 10.0, 'igan-own-1x': 200.0}
    found = best(record(metrics, collapsed=('giu-relativistic-2x',)))
    assert found == {name: (name, 'own', 2) for name in NAMES} | {'igan': ('igan', 'own', 1)}


def test_the_table_has_a_line_per_network_and_loss_and_names_what_collapsed():
    first = first_settings()
    last = last_settings(record({'giu-own-1x': 123.4}))
    metrics = {'giu-own-1x': 123.4, 'giu-own-2x': 99.0}
    lines = table(record(metrics, ('giu-own-2x',), first | last)).strip().split('\n')
    assert len(lines) == 2 + len(NAMES) * len(LOSSES)
    assert lines[2 + 8] == '| `giu` | own | **123 (0.50)** | 99 (0.50), collapsed | 900 (0.50) |'
    assert lines[2 + 9] == '| `giu` | relativistic | 900 (0.50) | 900 (0.50) |  |'


def test_the_plans_of_the_long_comparison_have_settings_of_the_search(tmp_path):
    every = [(name, loss, f) for name in NAMES for loss in LOSSES for f in (*FACTORS, LAST_FACTOR)]
    (tmp_path / 'plan.toml').write_text(plan_text(plan_of({label(*s): s for s in every}, {'kimg': 60})))
    grid = list(configs(tmp_path / 'plan.toml').values())
    for plan in ('six_drawings', 'six_fashion'):
        found = configs(ROOT / 'plans' / f'{plan}.toml')
        assert list(found) == NAMES
        assert all(cfg in grid for cfg in found.values())
