"""Official files as snapshots: the same images and logits, their record, and files of other kinds."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

import extensions.dcgan  # noqa: F401  registers the discriminator that a test names
from tests.support.official_layout import (
    dumps,
    load_D,
    official_refusal,
    one_generator_file,
)
from training.legacy.convert import load_official
from training.run.snapshot import load_generator, load_snapshot

CPU = torch.device('cpu')


@pytest.mark.parametrize('case', ['uncond', 'cond'])
@torch.no_grad()
def test_golden_files_draw_and_judge_as_they_did(golden: Path, case: str) -> None:
    marker = Path(tempfile.gettempdir(), 'PICKLE_CODE_RAN')
    assert not marker.exists()
    snapshot = load_snapshot(golden / f'official_layout_{case}.pkl')
    with np.load(golden / f'networks_skip_{case}.npz', allow_pickle=False) as file:
        t = {key: torch.from_numpy(file[key]) for key in file if key != 'meta'}
    G, D, c = load_generator(snapshot, CPU, 'fp32'), load_D(snapshot), t.get('c')
    torch.testing.assert_close(G(t['z'], c, noise_mode='const'), t['img'], rtol=0, atol=1e-4)
    torch.testing.assert_close(D(t['img'], c), t['logits'], rtol=0, atol=1e-4)
    for name, tensor in t.items():
        if name.startswith(('G.', 'D.')):
            assert torch.equal(snapshot.tensors[name.replace('G.', 'G_ema.')], tensor), name
    assert not marker.exists()


def test_the_record_says_what_the_file_was(golden: Path) -> None:
    snapshot = load_snapshot(golden / 'official_layout_cond.pkl')
    cfg, spec = snapshot.config()
    assert (spec.resolution, spec.label_dim, spec.num_images, snapshot.nimg) == (16, 5, 100, 0)
    assert (cfg.data.path, cfg.data.cond, cfg.discriminator.mbstd_group) == ('x.zip', True, 2)
    official = snapshot.record['official']
    assert official['class_names'] == {'G_ema': 'Generator', 'D': 'Discriminator'}
    assert official['sha256'].startswith('e81c58369bb1b901')
    assert set(official['source_texts_sha256'].values()) == {
        '311d7265b83b3a2883cc49dde3de64c0f3585c659afded02bdfb2a83e51baf42'
    }
    assert json.loads(json.dumps(snapshot.record)) == snapshot.record


def test_other_architectures_are_recognised_by_name(tmp_path: Path) -> None:
    path = tmp_path / 'a.pkl'
    assert 'a StyleGAN-XL generator' in official_refusal(one_generator_file(tmp_path, name='SuperresGenerator'))
    assert 'an object of the class EG3D' in official_refusal(one_generator_file(tmp_path, name='EG3D'))
    path.write_bytes(b'\x80\x04\x8c\x0adill._dill\x8c\x0a_load_type\x93\x8c\x04type\x85R.')
    assert 'this is written with dill, as StyleGAN-XL does' in official_refusal(path)
    path.write_bytes(b'\x80\x04]q\x00.')
    assert 'holds a list; expected a dict with G, D and G_ema' in official_refusal(path)
    path.write_bytes(dumps({'training_set_kwargs': None}))
    assert 'holds no generator' in official_refusal(path)


def test_the_stand_ins_of_these_tests_are_not_what_is_read(tmp_path: Path) -> None:
    """A file that this repository's own classes could not load at all: there is no such module to import."""
    assert importlib.util.find_spec('torch_utils.persistence') is None
    load_official(one_generator_file(tmp_path))
