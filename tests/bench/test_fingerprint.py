"""Fingerprints of stored files: one bit, one number, one pixel that differs is found and named; provenance is not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.PngImagePlugin
import pytest
import torch
from safetensors.torch import save_file

from bench import fingerprint

STATS = {'Loss/G/loss': {'num': 4.0, 'mean': 0.6931471805599453}, 'Timing/Gmain': {'mean': 37.8}, 'nimg': 4}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small run folder."""
    run = tmp_path / 'run'
    (run / 'state').mkdir(parents=True)
    weights = {'G.weight': torch.arange(12.0).reshape(3, 4), 'G.half': torch.ones(5, dtype=torch.bfloat16)}
    save_file(weights, run / 'state' / 'tensors.safetensors', {'record': json.dumps({'nimg': 4, 'commit': 'abc'})})
    (run / 'stats.jsonl').write_text(json.dumps(STATS) + '\n')
    (run / 'config.json').write_text(json.dumps({'config': {'metrics': ['a', 'b'], 'r1': {'gamma': 1}}, 'argv': ['x']}))
    save_image(run / 'fakes.png', np.zeros([4, 6, 3], dtype=np.uint8))
    np.savez(run / 'entry.npz', header=np.array('{"version": 1}'), mean=np.arange(3.0))
    return run


def save_image(path: Path, pixels: np.ndarray, **text: str) -> None:
    info = PIL.PngImagePlugin.PngInfo()
    for key, value in text.items():
        info.add_text(key, value)
    PIL.Image.fromarray(pixels).save(path, pnginfo=info)


def changed(folder: Path, base: fingerprint.Fingerprint) -> list[str]:
    return [line.split(': ')[:2] for line in fingerprint.differences(base, fingerprint.of_folder(folder))]


def test_a_folder_equals_itself_and_every_entry_has_a_name(folder):
    base = fingerprint.of_folder(folder)
    assert fingerprint.differences(base, fingerprint.of_folder(folder)) == []
    assert base['stats.jsonl: line 1.Loss/G/loss.mean'] == '0.6931471805599453'
    assert base['config.json: config.metrics'] == '["a", "b"]'
    assert base['state/tensors.safetensors: G.weight'].startswith('F32 [3, 4] ')
    assert base['entry.npz: header.version'] == '1'


@pytest.mark.parametrize('where', [0, 7, 47])
def test_one_bit_of_a_tensor_is_found(folder, where):
    base, path = fingerprint.of_folder(folder), folder / 'state' / 'tensors.safetensors'
    data = bytearray(path.read_bytes())
    length = int.from_bytes(data[:8], 'little')
    begin, end = json.loads(data[8 : 8 + length])['G.weight']['data_offsets']
    assert end - begin == 48
    data[8 + length + begin + where] ^= 1
    path.write_bytes(data)
    assert changed(folder, base) == [['state/tensors.safetensors', 'G.weight']]


def test_dtype_and_shape_of_a_tensor_belong_to_its_bits(folder):
    base, path = fingerprint.of_folder(folder), folder / 'state' / 'tensors.safetensors'
    record = {'record': json.dumps({'nimg': 4})}
    save_file(
        {'G.weight': torch.arange(12.0).reshape(4, 3), 'G.half': torch.ones(5, dtype=torch.float16)}, path, record
    )
    assert changed(folder, base) == [
        ['state/tensors.safetensors', 'G.half'],
        ['state/tensors.safetensors', 'G.weight'],
    ]


def test_a_number_in_its_last_digit_is_found(folder):
    base = fingerprint.of_folder(folder)
    next_number = float(np.nextafter(STATS['Loss/G/loss']['mean'], 1))
    (folder / 'stats.jsonl').write_text(json.dumps(STATS | {'Loss/G/loss': {'num': 4.0, 'mean': next_number}}) + '\n')
    assert changed(folder, base) == [['stats.jsonl', 'line 1.Loss/G/loss.mean']]


def test_one_pixel_and_one_text_chunk_are_found(folder):
    base, pixels = fingerprint.of_folder(folder), np.zeros([4, 6, 3], dtype=np.uint8)
    pixels[3, 5, 2] = 1
    save_image(folder / 'fakes.png', pixels, nimg='4')
    assert changed(folder, base) == [['fakes.png', 'pixels'], ['fakes.png', 'nimg']]


def test_one_number_of_an_array_is_found(folder):
    base = fingerprint.of_folder(folder)
    np.savez(folder / 'entry.npz', header=np.array('{"version": 2}'), mean=np.array([0, 1, 2 + 1e-15]))
    assert changed(folder, base) == [['entry.npz', 'header.version'], ['entry.npz', 'mean']]


def test_a_file_that_is_missing_or_new_is_found(folder):
    base = fingerprint.of_folder(folder)
    (folder / 'fakes.png').rename(folder / 'other.bmp')
    found = fingerprint.differences(base, fingerprint.of_folder(folder))
    assert [line.split(': ')[0] for line in found] == ['fakes.png', 'fakes.png', 'other.bmp', 'other.bmp']


def test_times_provenance_and_logs_are_left_out(folder):
    base = fingerprint.of_folder(folder)
    (folder / 'stats.jsonl').write_text(json.dumps(STATS | {'Timing/Gmain': {'mean': 1.0}, 'timestamp': 5}) + '\n')
    record = json.loads((folder / 'config.json').read_text())
    (folder / 'config.json').write_text(json.dumps(record | {'argv': ['y'], 'commit': 'd', 'machine': 'm'}))
    (folder / 'log.txt').write_text('tick 0')
    save_image(folder / 'fakes.png', np.zeros([4, 6, 3], dtype=np.uint8), network_sha256='ab')
    assert fingerprint.differences(base, fingerprint.of_folder(folder)) == []


def test_paths_inside_the_folder_are_relative_to_it(folder, tmp_path):
    (folder / 'best.json').write_text(json.dumps({'file': str(folder / 'best.safetensors')}))
    base = fingerprint.of_folder(folder)
    moved = folder.rename(tmp_path / 'moved')
    (moved / 'best.json').write_text(json.dumps({'file': str(moved / 'best.safetensors')}))
    assert fingerprint.differences(base, fingerprint.of_folder(moved)) == []
    assert base['best.json: file'] == '"best.safetensors"'
