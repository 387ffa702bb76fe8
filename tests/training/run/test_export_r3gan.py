"""Export of R3GAN's networks: the official names, tensors and arguments of an official file come back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from dnnlib.errors import CheckpointError
from training.legacy.reader import read_network_pickle, state_dict
from training.run.export import export
from training.run.snapshot import load_snapshot


def test_an_official_file_comes_back_under_its_names(tmp_path: Path, golden: Path) -> None:
    source = golden / 'r3gan_official_layout_cond.pkl'
    export(load_snapshot(source), tmp_path / 'a.safetensors')
    content = read_network_pickle(source)
    with safe_open(tmp_path / 'a.safetensors', framework='pt') as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        header = file.metadata()
    expected = {
        f'{net}.{name}': tensor for net in ('G_ema', 'G', 'D') for name, tensor in state_dict(content[net], net).items()
    }
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert json.loads(header['G_kwargs']) == {
        'ConditionEmbeddingDimension': 12, 'NoiseDimension': 12, 'WidthPerStage': [16, 12, 8],
        'CardinalityPerStage': [4, 3, 2], 'BlocksPerStage': [1, 2, 1], 'ExpansionFactor': 2, 'FP16Stages': [-1],
    }  # fmt: skip
    assert json.loads(header['D_kwargs'])['FP16Stages'] == [0]
    assert header['format'] == 'r3gan-state-dict'


def test_images_that_official_networks_cannot_draw_are_refused(tmp_path: Path, golden: Path) -> None:
    snapshot = load_snapshot(golden / 'r3gan_official_layout_cond.pkl')
    record = json.loads(json.dumps(snapshot.record))
    record['facts']['channels'] = 1
    tensors = {
        name: tensor[:1]
        if name.endswith('to_rgb.weight')
        else tensor[:, :1]
        if name.endswith('from_rgb.weight')
        else tensor
        for name, tensor in snapshot.tensors.items()
    }
    with pytest.raises(CheckpointError, match='draws 1 channels; official R3GAN networks draw 3'):
        export(replace(snapshot, record=record, tensors=tensors), tmp_path / 'a.safetensors')
