"""Command line of compare.py: what it refuses before it makes anything, and its dry run."""

import pytest

from dnnlib.errors import UserError
from ganfoundry.commands import compare
from tests.support.races import NARROW


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        ([], '--cfgs is needed, for instance --cfgs=squeeze,stylegan2; or a --plan with rows'),
        (['--cfgs=auto,squeze'], "unknown --cfg 'squeze': did you mean 'squeeze'?"),
        (['--cfgs=auto', '--seeds=0-x'], '--seeds=0-x: expected numbers and ranges such as 0,3,8-15'),
        (['--cfgs=auto', '--seeds=0-20000'], '20001 runs, and at most 10000 are made'),
        (['--cfgs=auto', '--metric=fd_eflite2k'], 'unknown metric'),
        (['--cfgs=auto', '--data=none.zip'], 'none.zip'),
        (['--cfgs=auto', '--halving'], 'which one seed never shows; name --seeds'),
        (['--cfgs=auto', '--budget=hours'], '--budget=hours and --hours=H belong together'),
        (['--plan=none.toml'], '--plan=none.toml: cannot be read'),
    ],
)
def test_a_wrong_option_is_named_with_the_way_out(flags, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        compare.main.main([*flags, '--out=out'], standalone_mode=False)
    assert message in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_prints_rows_commands_and_cost(tmp_path, monkeypatch, capsys):
    (tmp_path / 'plan.toml').write_text(
        'kimg = 3\n[rows.one]\ncfg = "squeeze"\n[rows.bad]\ncfg = "squeeze"\nset = ["r1.gama=1"]'
    )
    monkeypatch.chdir(tmp_path)
    flags = ['--plan=plan.toml', '--seeds=5,6', '--halving', '--resolution=16', '--device=cpu', '--out=o', '--dry-run']
    compare.main.main([*flags, *NARROW, '--set=generator.map_depth=1'], standalone_mode=False)
    output = capsys.readouterr().out
    assert 'Runs: 2 rows x 2 seeds' in output
    assert 'one: 3 kimg, ' in output
    assert 'M multiply-adds per image' in output
    assert 'bad: train.py refuses its flags' in output
    assert '--cfg=squeeze --kimg=3 --batch=16' in output
    assert '--seed=6' in output
    assert '--pause=0.784' in output
    assert [path.name for path in tmp_path.iterdir()] == ['plan.toml']
