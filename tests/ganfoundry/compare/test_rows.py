"""Rows of a comparison: labels, recipes, and flags of one row or of all."""

import pytest

from dnnlib.errors import ConfigError
from ganfoundry.compare.rows import SMALL, parse_rows
from training.registry import RECIPES


def test_a_setting_is_for_one_row_or_for_all():
    rows = parse_rows(
        'auto,r4=squeeze', ['r4:generator.ratio=4', 'g_opt.lr=0.001'], ['r4:--precision=fp32'], small=True
    )
    assert [(row.label, row.cfg) for row in rows] == [('auto', 'auto'), ('r4', 'squeeze')]
    assert rows[0].flags == (*SMALL['auto'], '--set=g_opt.lr=0.001')
    own = ('--set=generator.ratio=4', '--set=g_opt.lr=0.001', '--precision=fp32')
    assert rows[1].flags == (*SMALL['squeeze'], *own)


def test_all_is_every_recipe():
    rows = parse_rows('all', [], [], small=False)
    assert [row.cfg for row in rows] == RECIPES.names()
    assert {'stylegan2', 'squeeze', 'igan', 'r3gan'} <= {row.label for row in rows}


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
def test_a_wrong_row_is_named_with_the_way_out(cfgs, sets, flags, message):
    with pytest.raises(ConfigError) as error:
        parse_rows(cfgs, sets, flags, small=True)
    assert message in str(error.value)
