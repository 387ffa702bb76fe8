"""Plan files: what they give, and what they refuse by the name of the entry."""

import contextlib
import json
import random
import tomllib

import pytest

from dnnlib.errors import ConfigError
from ganfoundry.compare.options import CompareOptions, read_rows, with_plan_file
from ganfoundry.compare.plan import config_of
from ganfoundry.compare.plan_file import plan_text, read_plan_file
from ganfoundry.compare.rows import PaperNumber
from tests.conftest import ROOT

GOOD = """
data = "art.zip"
kimg = 30
seeds = [0, 1, 5]
metrics = ["fd_efflite2k", "kid_efflite2k"]
images = 500
budget = "macs"
halving = "strict"
set = {"r1.gamma" = 0.5, mirror = true, widths = [16, 8]}

[rows.squeeze]
flags = ["--cbase=512"]
set = ["generator.ratio=4"]
paper = {metric = "fid50k_full", value = 4.9, source = "Table 2"}

[rows.narrow]
cfg = "squeeze"
"""


def written(tmp_path, text):
    path = tmp_path / 'plan.toml'
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_plan_gives_options_and_rows(tmp_path):
    options, (squeeze, narrow) = read_plan_file(written(tmp_path, GOOD))
    assert options == {
        'data': 'art.zip',
        'kimg': 30,
        'seeds': '0,1,5',
        'metric': 'fd_efflite2k,kid_efflite2k',
        'images': 500,
        'budget': 'macs',
        'halving': 'strict',
        'sets': ('r1.gamma=0.5', 'mirror=true', 'widths=16,8'),
    }
    assert squeeze.flags == ('--cbase=512', '--set=generator.ratio=4')
    assert squeeze.paper == (PaperNumber(metric='fid50k_full', value=4.9, source='Table 2'),)
    assert (narrow.label, narrow.cfg, narrow.flags, narrow.paper) == ('narrow', 'squeeze', (), ())


def test_the_command_line_wins_over_a_row_and_a_row_over_its_file(tmp_path):
    plan = written(tmp_path, 'flags = ["--glr=0.1", "--dlr=0.1"]\n[rows.squeeze]\nflags = ["--glr=0.2"]\n[rows.auto]')
    given = CompareOptions(plan=str(plan), flags=('--dlr=0.3', 'auto:--dlr=0.4'), small=True)
    rates = {}
    for row in read_rows(*with_plan_file(given)):
        cfg, _ = config_of((f'--cfg={row.cfg}', '--resolution=32', *row.flags))
        rates[row.label] = (cfg.g_opt.lr, cfg.d_opt.lr)
    assert rates == {'squeeze': (0.2, 0.3), 'auto': (0.1, 0.4)}


def test_the_flags_of_a_file_are_for_the_rows_of_cfgs_too(tmp_path):
    plan = written(tmp_path, 'flags = ["--glr=0.1"]\n[rows.squeeze]')
    (row,) = read_rows(*with_plan_file(CompareOptions(plan=str(plan), cfgs='auto')))
    assert (row.cfg, row.flags) == ('auto', ('--glr=0.1',))


@pytest.mark.parametrize('where', ['file', 'command line'])
def test_a_row_may_have_a_cfg_of_a_plug_in(tmp_path, where):
    plugin = str(ROOT / 'examples/my_generator.py')
    entry = f'plugin = {json.dumps(plugin)}\n' if where == 'file' else ''
    given = CompareOptions(
        plan=str(written(tmp_path, entry + '[rows.mine]\nset = {"generator.width" = 32}')),
        plugin=(plugin,) if where == 'command line' else (),
    )
    options, rows = with_plan_file(given)
    (row,) = read_rows(options, rows)
    assert options.plugin == (plugin,)
    assert config_of((f'--cfg={row.cfg}', '--resolution=32', *row.flags))[0].generator.width == 32


def test_a_missing_plug_in_of_a_plan_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r'no such file: .*absent\.py'):
        read_plan_file(written(tmp_path, 'plugin = ["absent.py"]\n[rows.squeeze]'))


def test_the_plans_of_the_repository_can_be_read():
    plans = sorted((ROOT / 'plans').glob('*.toml'))
    assert plans
    for path in plans:
        assert read_plan_file(path)[1]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('kimg = "many"', "kimg: expected a whole number, not 'many'"),
        ('kimg = true', 'kimg: expected a whole number, not True'),
        ('kimg = 0', 'kimg=0: must be at least 1'),
        ('hours = -1', 'hours=-1: must be at least 0'),
        ('kimgs = 3', "unknown entry 'kimgs': did you mean 'kimg'?"),
        ('seeds = ["a"]', "seeds: expected a whole number, not 'a'"),
        ('metrics = [3]', 'metrics: expected a text, not 3'),
        ('budget = "time"', "budget='time': expected kimg or hours or macs"),
        ('set = {a = {b = 1}}', 'set: expected a text or a whole number or a number'),
        ('rows = 3', 'rows: expected a table, not 3'),
        ('[rows]\na = 1', 'rows.a: expected a table, not 1'),
        ('[rows.a]\ncfgs = "x"', "rows.a: unknown entry 'cfgs': did you mean 'cfg'?"),
        ('[rows.a]\nflags = ["mirror=1"]', "rows.a.flags: 'mirror=1': expected --NAME=VALUE"),
        ('[rows.a]\ncfg = "auto"\npaper = {value = 1}', 'rows.a.paper: expected {metric ='),
        ('[rows.squeze]', "unknown --cfg 'squeze': did you mean 'squeeze'?"),
        ('[rows."a/b"]\ncfg = "auto"', "'a/b' cannot name a row"),
        ('kimg = ', 'is not TOML'),
        (b'\xff\xfe', 'is not TOML'),
        (b'#' * 1_100_000, 'has more than 1 MB; it is no plan'),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, text, message):
    with pytest.raises(ConfigError) as error:
        read_plan_file(written(tmp_path, text))
    assert '--plan=' in str(error.value)
    assert message in str(error.value)


def test_a_missing_plan_and_a_folder_are_refused_in_words(tmp_path):
    for path in (tmp_path / 'none.toml', tmp_path):
        with pytest.raises(ConfigError, match='cannot be read'):
            read_plan_file(path)


def test_damaged_plans_raise_no_other_error(tmp_path):
    draw = random.Random(0)
    for _ in range(500):
        text = bytearray(GOOD.encode())
        for _ in range(draw.randint(1, 4)):
            text[draw.randrange(len(text))] = draw.randrange(256)
        with contextlib.suppress(ConfigError):
            read_plan_file(written(tmp_path, bytes(text)))


AWKWARD = [
    '',
    ' ',
    '"',
    "'",
    '\\',
    '\\u0041',
    'a\nb',
    '\r\n',
    '\t\b\f\0\x1b\x7f\x85',
    '"""',
    'größe',
    '\u2028',
    '😀',
    '#',
    'a.b',
    'a = 1',
]


@pytest.mark.parametrize('text', AWKWARD)
def test_what_is_written_is_read_back_with_any_text(text):
    content = {
        'data': text,
        'flags': [text, f'--desc={text}'],
        'set': {text: text, f'r1.{text}': [text]},
        'rows': {text or 'a': {'cfg': text, 'paper': [{'metric': text, 'value': 1.5, 'source': text}]}, 'b': {}},
    }
    assert tomllib.loads(plan_text(content).encode().decode()) == content


def test_every_character_is_read_back():
    text = ''.join(map(chr, [*range(0xD800), *range(0xE000, 0x11000), 0x1F600, 0x10FFFF]))
    assert tomllib.loads(plan_text({text: text})) == {text: text}


def test_numbers_booleans_and_empty_values_are_read_back():
    values = [
        0,
        -3,
        10**18,
        0.1,
        1e-05,
        1e16,
        -2.5e300,
        float('inf'),
        True,
        False,
        [],
        {},
        [[], [{}]],
        {'a': {'b': [1]}},
    ]
    found = tomllib.loads(plan_text({'set': values}))['set']
    assert list(map(repr, found)) == list(map(repr, values))


def test_a_written_plan_gives_the_same_options_and_rows(tmp_path):
    for path in sorted((ROOT / 'plans').glob('*.toml')):
        text = plan_text(tomllib.loads(path.read_text(encoding='utf-8')))
        assert read_plan_file(written(tmp_path, text)) == read_plan_file(path)


def test_a_text_that_is_not_utf_8_is_refused_by_its_name():
    with pytest.raises(ConfigError, match=r"'caf\\udce9' cannot be part of a plan file, which is UTF-8"):
        plan_text({'data': 'caf\udce9'})
