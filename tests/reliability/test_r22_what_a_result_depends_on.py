"""R22: a run records what its numbers depend on; a resume under other circumstances says which have changed."""

import json
import subprocess

import numpy
import pytest
import torch

from tests.conftest import ROOT
from tests.reliability.supervisor import fingerprint

pytestmark = pytest.mark.slow


def test_the_record_holds_commit_versions_seed_and_argv(undisturbed):
    record = json.loads((undisturbed / 'config.json').read_text())
    head = subprocess.run(['git', '-C', str(ROOT), 'rev-parse', 'HEAD'], capture_output=True, text=True)
    if head.returncode == 0:
        assert record['commit'].rstrip('+') == head.stdout.strip()
    assert record['versions']['torch'] == torch.__version__
    assert record['versions']['numpy'] == numpy.__version__
    assert record['versions']['python']
    assert record['config']['seed'] == 0
    assert record['config']['g_opt']['lr'] > 0
    assert record['argv'][0] == 'train.py'
    assert '--cfg=squeeze' in record['argv']
    assert record['threads'] == 1
    assert record['plugin']['module'] == 'extensions.squeeze'
    assert len(record['plugin']['sha256']) == 64


@pytest.mark.parametrize(('field', 'value'), [('versions', {'torch': '1.0'}), ('threads', 64), ('operations', 'cuda')])
def test_a_resume_warns_of_what_has_changed(run, undisturbed, field, value):
    struck = run(plan=[('phase', 20, 'SIGTERM')])
    assert struck.launch().wait() == 143
    path = struck.folder / 'config.json'
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {field: value}))
    launch = struck.launch(f'--resume={struck.folder}')
    assert launch.wait() == 0, launch.said()
    assert f'WARNING: {field} {value} when the run began' in launch.said()
    assert launch.said().count('WARNING') == 1
    assert fingerprint(struck.folder) == fingerprint(undisturbed)
