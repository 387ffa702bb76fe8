"""Rows of a comparison: labels, recipes, and flags of one row or of all."""

import pytest

from dnnlib.errors import ConfigError
from ganfoundry.compare.plan import config_of
from ganfoundry.compare.rows import SMALL, parse_rows
from tests.support.recipes import own_recipes
from training.registry import RECIPES
from training.sizes import network_sizes


def test_a_setting_is_for_one_row_or_for_all():
    rows = parse_rows(
        'auto,r4=squeeze', ['r4:generator.ratio=4', 'g_opt.lr=0.001'], ['r4:--precision=fp32'], small=True
    )
    assert [(row.label, row.cfg) for row in rows] == [('auto', 'auto'), ('r4', 'squeeze')]
    assert rows[0].flags == (*SMALL['auto'], '--set=g_opt.lr=0.001')
    own = ('--set=g_opt.lr=0.001', '--set=generator.ratio=4', '--precision=fp32')
    assert rows[1].flags == (*SMALL['squeeze'], *own)


def test_what_is_for_one_row_wins_over_what_is_for_all():
    (row,) = parse_rows('squeeze', ['squeeze:r1.gamma=1', 'r1.gamma=2'], ['squeeze:--glr=0.1', '--glr=0.2'], small=True)
    cfg, _ = config_of((f'--cfg={row.cfg}', '--resolution=32', *row.flags))
    assert (cfg.r1.gamma, cfg.g_opt.lr) == (1, 0.1)


def test_all_is_every_recipe():
    rows = parse_rows('all', [], [], small=False)
    assert [row.cfg for row in rows] == RECIPES.names()
    assert {'stylegan2', 'squeeze', 'igan', 'r3gan'} <= {row.label for row in rows}


def test_every_recipe_has_a_small_form_whose_flags_it_accepts():
    rows = parse_rows(','.join(own_recipes()), [], [], small=True)
    for row in rows:
        for resolution in (32, 64):
            cfg, _ = config_of((f'--cfg={row.cfg}', f'--resolution={resolution}', *row.flags))
            assert cfg.cfg == row.cfg


def test_small_stylegan3_and_r3gan_are_no_larger_than_small_stylegan2():
    def parameters(cfg: str) -> list[int]:
        sizes = network_sizes(*config_of((f'--cfg={cfg}', '--resolution=32', *SMALL[cfg])))
        return [sizes[net].parameters for net in 'GD']

    of_G, of_D = parameters('stylegan2')
    for name in ('stylegan3-t', 'stylegan3-r', 'r3gan', 'r3gan-imagenet'):
        assert parameters(name)[0] < of_G
        assert parameters(name)[1] <= of_D


@pytest.mark.parametrize(
    ('cfgs', 'sets', 'flags', 'message'),
    [
        ('auto,squeze', [], [], "unknown --cfg 'squeze': did you mean 'squeeze'?"),
        ('auto,auto', [], [], 'a name stands there twice (auto); tell them apart with LABEL=CFG'),
        ('auto', ['squeeze:generator.ratio=4'], [], '--set squeeze:generator.ratio=4: squeeze is no row'),
        ('paper256', [], [], 'no reduced widths for paper256; give it its own'),
        ('auto', [], ['auto:mirror=1'], '--flag auto:mirror=1: expected [LABEL:]--NAME=VALUE'),
        ('../x=auto', [], [], "'../x' cannot name a row"),
        ('=auto', [], [], "'' cannot name a row"),
    ],
)
def test_a_wrong_row_is_named_with_the_way_out(monkeypatch, cfgs, sets, flags, message):
    monkeypatch.delitem(SMALL, 'paper256')
    with pytest.raises(ConfigError) as error:
        parse_rows(cfgs, sets, flags, small=True)
    assert message in str(error.value)
