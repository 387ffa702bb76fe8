"""The script for a first GPU, on a machine without one."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import torch

from tests.conftest import ROOT
from tests.support.forks import environment

SCRIPT = ROOT / 'bench' / 'first_gpu.sh'


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='takes ten minutes on a GPU')
def test_without_a_gpu_every_part_says_that_it_was_skipped_and_why(tmp_path):
    env = environment() | {'OUT': str(tmp_path / 'out'), 'PYTHON': sys.executable}
    done = subprocess.run(['bash', str(SCRIPT)], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    parts = [json.loads(line) for line in (tmp_path / 'out' / 'parts.jsonl').read_text().splitlines()]
    assert [part['part'] for part in parts] == re.findall(r'^part (\w+) ', SCRIPT.read_text(), flags=re.MULTILINE)
    assert {part['outcome'] for part in parts} == {'skipped'}
    assert all('finds no GPU' in part['reason'] for part in parts)


def test_every_command_and_path_of_the_script_exists():
    text = SCRIPT.read_text()
    files = set(re.findall(r'\b(?:bench|tests)/[\w/]+\.py\b', text))
    assert len(files) >= 4
    assert [file for file in files if not (ROOT / file).exists()] == []
    commands = set(re.findall(r'first_gpu\.py ([\w-]+)', text))
    source = (ROOT / 'bench' / 'first_gpu.py').read_text()
    named = re.findall(r"@main\.command\((?:'([\w-]+)')?\)(?:\n@.*)*\ndef (\w+)", source)
    assert commands == {name or function for name, function in named}
