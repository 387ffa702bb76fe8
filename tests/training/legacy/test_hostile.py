"""No file runs anything, takes more memory than its size warrants, or ends in an error that is not ours."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dnnlib.errors import UnsafeModelFile
from tests.support.hostile_pickles import CORPUS, network, text
from tests.support.official_layout import G_KWARGS, WIDTHS, dumps, persistent
from tests.support.r3gan import official_classes
from training.legacy.convert import load_official
from training.legacy.inspect import inspect


def audit(task: str, folder: Path, root: Path) -> dict[str, Any]:
    """Returns the output of `tests.support.legacy_audit`, which runs in the parent of a folder.

    Args:
        task: What to audit.
        folder: Folder of files; a canary would appear in its parent.
        root: Root of the repository.
    """
    env = {**os.environ, 'PYTHONPATH': str(root), 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, '-W', 'error', '-m', 'tests.support.legacy_audit', task, str(folder)]
    done = subprocess.run(command, cwd=folder.parent, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result['forbidden'] == []
    assert not (folder.parent / 'PWNED').exists()
    assert not Path(tempfile.gettempdir(), 'PICKLE_CODE_RAN').exists()
    return result


@pytest.mark.parametrize('name', CORPUS)
def test_hostile_files_end_in_our_own_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / 'a.pkl'
    path.write_bytes(CORPUS[name])
    with pytest.raises(UnsafeModelFile) as caught:
        load_official(path)
    message = str(caught.value)
    assert message.startswith(f'{path}: ')
    assert '\n' not in message
    assert message.isascii()
    assert len(message) < 500 + len(str(path))


def test_hostile_files_can_be_looked_into(tmp_path: Path) -> None:
    path = tmp_path / 'a.pkl'
    shown = 0
    for data in CORPUS.values():
        path.write_bytes(data)
        with contextlib.suppress(UnsafeModelFile):
            lines = list(inspect(path))
            assert max(map(len, lines)) < 400
            assert all(line.isascii() and line.isprintable() for line in lines)
            shown += 1
    assert shown > 20  # whatever is only a call of something unknown


@pytest.mark.slow
def test_nothing_that_a_file_says_is_done(tmp_path: Path, golden: Path, root: Path) -> None:
    """Golden files, whose source text writes a file when run, and the hostile ones, all under an audit hook."""
    folder = tmp_path / 'files'
    folder.mkdir()
    golden_files = ['official_layout_uncond.pkl', 'official_layout_cond.pkl', 'r3gan_official_layout_cond.pkl']
    golden_files += ['stylegan3_official_layout_t32.pkl', 'stylegan3_official_layout_r32.pkl']
    for name in golden_files:
        shutil.copy(golden / name, folder)
    for i, data in enumerate(CORPUS.values()):
        (folder / f'{i:03d}.pkl').write_bytes(data)
    assert len(CORPUS) >= 25
    result = audit('files', folder, root)
    assert [result['outcomes'].pop(name) for name in golden_files] == ['read'] * 5
    assert set(result['outcomes'].values()) == {'UnsafeModelFile'}
    assert result['slowest_s'] < 5


def small_files() -> dict[str, bytes]:
    """Files of every official layout, so small that ten thousand of them are read in a minute."""
    G = torch.nn.Sequential(torch.nn.Linear(32, 16))
    stub = persistent(G, 'Generator', {**G_KWARGS, 'synthesis_kwargs': dict(WIDTHS)}, num_ws=np.int64(3))
    content = {'training_set_kwargs': {'path': 'x.zip', 'max_size': 9}, 'G_ema': stub, 'D': None}
    arrays = {
        'a': np.arange(600, dtype='f4').reshape(20, 30),
        'b': [np.float64(1), np.ones(3, 'u1'), {1, 2}, b'x', -1e9],
    }
    with official_classes() as make:
        part = make('Networks.Convolution', Layer=torch.nn.Linear(32, 16), DataType=torch.bfloat16)
        r3gan = pickle.dumps({'cur_nimg': 8, 'G_ema': make('Generator', Model=part)}, 4)
    files = {'torch3.pkl': dumps(content, 3), 'torch4.pkl': dumps(content, 4), 'numpy.pkl': dumps(arrays, 2)}
    return files | {'r3gan.pkl': r3gan}


@pytest.mark.slow
def test_ten_thousand_damaged_files_are_read_or_refused(tmp_path: Path, golden: Path, root: Path) -> None:
    folder = tmp_path / 'files'
    folder.mkdir()
    for name in ('official_layout_uncond.pkl', 'official_layout_cond.pkl', 'r3gan_official_layout_cond.pkl'):
        shutil.copy(golden / name, folder)
    for name, data in small_files().items():
        (folder / name).write_bytes(data)
    result = audit('mutants', folder, root)
    assert set(result['outcomes']) == {'read', 'UnsafeModelFile'}
    assert sum(result['outcomes'].values()) == 10_000
    assert min(result['outcomes'].values()) > 500  # the damage is neither harmless nor always fatal
    assert set(result['converted']) <= {'CheckpointError', 'UnsafeModelFile'}
    assert result['slowest_s'] < 1
    assert result['grown_bytes'] < 64 * 2**20


def many(opcode: bytes, count: int) -> bytes:
    """Returns a file of `count` objects in a list."""
    return network(b'](' + opcode * count + b'e')


@pytest.mark.slow
def test_memory_is_bounded_by_the_size_of_the_file(tmp_path: Path, root: Path) -> None:
    folder = tmp_path / 'files'
    folder.mkdir()
    big = torch.nn.Linear(4096, 2048)  # 32 MB
    files = {
        'sets.pkl': many(b'\x8f', 290_000),
        'dicts.pkl': many(b'}NNs', 290_000),
        'tuples.pkl': many(b'NNN\x87', 290_000),
        'text.pkl': many(text('ab'), 290_000),
        'wide text.pkl': many(text('\U0001f600' + 'a' * 100_000), 80),
        'memo.pkl': many(b'}\x94', 290_000),
        'numbers.pkl': many(b'G' + struct.pack('>d', 0.1), 290_000),
        'honest.pkl': dumps({'G_ema': persistent(big, 'Generator', G_KWARGS)}),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    grown = audit('memory', folder, root)['grown']
    assert grown['honest.pkl'][0] == 'read'
    for name, (_, size, growth) in grown.items():
        assert growth <= 2 * size + 64 * 2**20, name
