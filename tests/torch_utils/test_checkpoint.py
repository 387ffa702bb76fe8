"""Tests of states on disk: they are complete or rejected, and a full disk loses nothing."""

import contextlib
import json
import subprocess
import sys

import pytest
import torch

from dnnlib.errors import CheckpointError
from dnnlib.files import TMP_MARK, sweep
from tests.support.mutations import MARKS, mutated
from torch_utils import checkpoint

TENSORS = {'a': torch.arange(1000.0), 'b': torch.ones(3, 4).t(), 'half': torch.ones(5, dtype=torch.bfloat16)}


@pytest.fixture
def root(tmp_path):
    """A folder with three states, at 100, 200 and 300 images."""
    for n in (100, 200, 300):
        checkpoint.save_state(tmp_path, f'{n:09d}', {**TENSORS, 'n': torch.tensor(n)}, {'nimg': n})
    return tmp_path


def damage(path, how):
    """Damages a file in one of several ways."""
    data = bytearray(path.read_bytes())
    if how == 'missing':
        return path.unlink()
    if how == 'empty':
        data = bytearray()
    elif how == 'truncated':
        data = data[: len(data) // 2]
    elif how == 'header bit':
        data[12] ^= 1
    elif how == 'last bit':
        data[-1] ^= 128
    path.write_bytes(bytes(data))


def test_what_is_saved_is_what_is_loaded(root):
    tensors, scalars = checkpoint.load_state(root / '000000200')
    assert scalars == {'nimg': 200}
    assert tensors.keys() == TENSORS.keys() | {'n'}
    for name, value in TENSORS.items():
        assert torch.equal(tensors[name], value)
        assert tensors[name].dtype == value.dtype


def test_the_same_state_is_the_same_bytes(root, tmp_path):
    again = checkpoint.save_state(tmp_path / 'again', '000000200', {**TENSORS, 'n': torch.tensor(200)}, {'nimg': 200})
    for name in (checkpoint.TENSORS, checkpoint.SCALARS, checkpoint.MANIFEST):
        assert (again / name).read_bytes() == (root / '000000200' / name).read_bytes()


@pytest.mark.parametrize('file', [checkpoint.TENSORS, checkpoint.SCALARS, checkpoint.MANIFEST])
@pytest.mark.parametrize('how', ['missing', 'empty', 'truncated', 'header bit', 'last bit'])
def test_a_damaged_state_is_named_and_the_one_before_it_is_taken(root, file, how):
    damage(root / '000000300' / file, how)
    warnings = []
    assert checkpoint.newest_state(root, warnings.append).name == '000000200'
    assert len(warnings) == 1
    assert '000000300' in warnings[0]
    assert 'falling back' in warnings[0]


def test_every_single_bit_of_a_state_is_guarded(root):
    path = root / '000000300' / checkpoint.TENSORS
    whole = path.read_bytes()
    for position in range(0, len(whole), 37):
        for bit in (1, 128):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ bit]) + whole[position + 1 :])
            with pytest.raises(CheckpointError, match='damaged'):
                checkpoint.verify_state(root / '000000300')


def test_no_whole_state_is_an_error_with_a_way_out(root, tmp_path):
    for folder in checkpoint.list_states(root):
        damage(folder / checkpoint.TENSORS, 'truncated')
    with pytest.raises(CheckpointError, match=r'3 damaged state\(s\) and no intact one; start a new run'):
        checkpoint.newest_state(root, lambda text: None)
    with pytest.raises(CheckpointError, match='no saved state'):
        checkpoint.newest_state(tmp_path / 'nowhere', lambda text: None)


def test_a_stale_temporary_folder_is_no_state_and_is_swept(root):
    (root / f'000000400{TMP_MARK}123').mkdir()
    assert [p.name for p in checkpoint.list_states(root)] == ['000000100', '000000200', '000000300']
    sweep(root)
    assert not list(root.glob(f'*{TMP_MARK}*'))


def test_pruning_keeps_the_last_and_the_protected(root):
    checkpoint.prune_states(root, keep=1, protected={'000000100'}, warn=lambda text: None)
    assert [p.name for p in checkpoint.list_states(root)] == ['000000100', '000000300']


def test_a_damaged_state_of_the_same_name_is_replaced(root):
    damage(root / '000000300' / checkpoint.TENSORS, 'truncated')
    checkpoint.save_state(root, '000000300', TENSORS, {'nimg': 300})
    checkpoint.verify_state(root / '000000300')


FULL_DISK = """
import resource, sys, torch
from pathlib import Path
from torch_utils import checkpoint
root = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    checkpoint.save_state(root, '000000400', {'big': torch.zeros(100_000)}, {})
except checkpoint.WriteErrors as error:
    print('refused', type(error).__name__)
"""


@pytest.mark.slow
def test_a_full_disk_leaves_what_was_there(root):
    done = subprocess.run([sys.executable, '-c', FULL_DISK, str(root)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith('refused')
    assert sorted(p.name for p in root.iterdir()) == ['000000100', '000000200', '000000300']
    assert checkpoint.newest_state(root, lambda text: None).name == '000000300'


def test_equal_tensors_and_metadata_are_equal_bytes(tmp_path):
    tensors = {'b': torch.arange(3), 'a': torch.ones(2, dtype=torch.bfloat16)}
    metadata = {'record': '{"a": "ä\\"\\n\U0001f600"}', **{f'key {n}': 'value' for n in range(9)}}
    for name, order in (('a', list(metadata)), ('b', sorted(metadata))):
        checkpoint.save_tensors(tmp_path / name, tensors, {key: metadata[key] for key in order})
    one, two = (path.read_bytes() for path in tmp_path.iterdir())
    assert one == two
    for path in tmp_path.iterdir():
        loaded, read = checkpoint.load_tensors(path)
        assert read == metadata
        assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)


def test_a_single_file_that_is_no_safetensors_is_named(tmp_path):
    path = tmp_path / 'x.safetensors'
    path.write_bytes(json.dumps({'not': 'one'}).encode())
    with pytest.raises(CheckpointError, match=r'x\.safetensors: not a complete safetensors file'):
        checkpoint.load_tensors(path)
    with pytest.raises(CheckpointError, match='no such file'):
        checkpoint.load_tensors(tmp_path / 'absent.safetensors')


def header_file(path, header, data=b''):
    """Writes a safetensors file with this header, bytes or JSON."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, 'little') + text + data)
    return path


@pytest.mark.parametrize(
    'header',
    [
        b'',
        b'[]',
        b'{"a": 1}',
        b'{"a": {}, "a": {}}',
        b'{"a": {"dtype": "F32", "shape": [4611686018427387904, 4], "data_offsets": [0, 0]}}',
        b'{"a": {"dtype": "F32", "shape": "x", "data_offsets": [0, 0]}}',
        b'{"a": {"dtype": 7, "shape": [], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [], "data_offsets": [0, 9999]}}',
        b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [4, 0]}}',
        b'{"__metadata__": {"a": ' + b'[' * 3000 + b'}}',
    ],
)
def test_a_header_that_is_damaged_or_asks_for_too_much_is_refused(tmp_path, header):
    with pytest.raises(CheckpointError, match=r'a\.safetensors'):
        checkpoint.load_tensors(header_file(tmp_path / 'a.safetensors', header))


def test_a_header_of_many_empty_tensors_is_refused_before_one_is_made(tmp_path):
    entry = {'dtype': 'F32', 'shape': [0], 'data_offsets': [0, 0]}
    with pytest.raises(CheckpointError, match='100000 tensors, more than 65536'):
        checkpoint.load_tensors(header_file(tmp_path / 'a.safetensors', {f't{i}': entry for i in range(100_000)}))


@pytest.mark.parametrize('tensors', [{}, {'a': torch.zeros(2)}], ids=['no tensor', 'a tensor'])
@pytest.mark.parametrize('metadata', [{}, {'x': 'y'}], ids=['no metadata', 'metadata'])
def test_a_file_without_tensors_or_metadata_is_read_back(tmp_path, tensors, metadata):
    checkpoint.save_tensors(tmp_path / 'a.safetensors', tensors, metadata)
    found, texts = checkpoint.load_tensors(tmp_path / 'a.safetensors')
    assert (list(found), texts) == (list(tensors), metadata)


def test_2000_mutations_of_a_file_are_read_or_refused(tmp_path):
    path = tmp_path / 'a.safetensors'
    checkpoint.save_tensors(path, {'a': torch.zeros(3), 'b': torch.zeros([2, 2], dtype=torch.int64)}, {'x': 'y'})
    whole = path.read_bytes()
    pieces = [*MARKS, b',', b'F16', b'BOOL', b'F4', b'F8_E4M3', b'C64', b'\xff', b'0']
    for case in range(2000):
        path.write_bytes(mutated(whole, case, pieces))
        with contextlib.suppress(CheckpointError):
            checkpoint.load_tensors(path)
