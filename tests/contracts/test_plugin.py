"""A new architecture is one file outside the repository: the README's own example trains, resumes and draws."""

import json
import re

import pytest

from tests.conftest import ROOT
from tests.support.runs import FEW_STEPS, SHORT, call, last_state, make_zip, only_run

pytestmark = pytest.mark.slow


@pytest.fixture
def plugin(tmp_path):
    readme = (ROOT / 'README.md').read_text()
    (code,) = re.findall(r'```python\n# ring\.py\n(.*?)```', readme, flags=re.DOTALL)
    path = tmp_path / 'ring.py'
    path.write_text(code)
    return path


def test_a_plugin_file_trains_resumes_and_draws(tmp_path, plugin):
    data = make_zip(tmp_path / 'tiny.zip')
    flags = [
        f'--plugin={plugin}',
        '--cfg=ring',
        f'--data={data}',
        '--kimg=1',
        '--set=generator.width=32',
        *SHORT,
        *FEW_STEPS,
    ]
    call(tmp_path / 'runs', *flags)
    run = only_run(tmp_path / 'runs')
    record = json.loads((run / 'config.json').read_text())
    assert record['config']['generator'] == {'kind': 'ring', 'z_dim': 64, 'width': 32}
    assert record['plugin']['file'] == str(plugin)

    done = call(tmp_path / 'runs', f'--resume={run}', f'--plugin={plugin}', '--kimg=2', '--snap=1000')
    assert 'continuing from' in done.stdout
    assert last_state(run)[1]['nimg'] == 2000

    snapshot = run / 'network-snapshot-000002.safetensors'
    out = tmp_path / 'out'
    call(out, f'--network={snapshot}', f'--plugin={plugin}', '--grid=2x2', f'--outdir={out}', script='generate.py')
    assert (out / 'grid-seeds0-3.png').exists()

    without = call(out, f'--network={snapshot}', '--grid=2x2', f'--outdir={out}', script='generate.py', check=False)
    assert without.returncode == 2
    assert '--plugin=FILE' in without.stderr
    assert 'ring.py' in without.stderr


def test_a_generator_without_w_space_refuses_what_needs_one(tmp_path, plugin):
    data = make_zip(tmp_path / 'tiny.zip')
    flags = [f'--plugin={plugin}', '--cfg=ring', f'--data={data}', '--set', 'pl.weight=2']
    refused = call(tmp_path / 'runs', *flags, check=False)
    assert refused.returncode == 2
    assert 'path length regularization needs a generator with a W space, and Ring has none' in refused.stderr
    assert not (tmp_path / 'runs').exists()


def test_an_error_inside_a_plugin_keeps_its_traceback(tmp_path):
    broken = tmp_path / 'broken.py'
    broken.write_text('import no_such_module_anywhere\n')
    done = call(tmp_path / 'runs', f'--plugin={broken}', '--cfg=ring', check=False)
    assert done.returncode == 1
    assert "No module named 'no_such_module_anywhere'" in done.stderr
    assert 'broken.py' in done.stderr
