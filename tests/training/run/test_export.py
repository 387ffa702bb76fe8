"""Export: official names exist for StyleGAN2 networks only."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import extensions.dcgan  # noqa: F401  registers the discriminator that a test names
from dnnlib.errors import CheckpointError
from training.run.export import export
from training.run.snapshot import load_snapshot


def test_export_names_what_has_no_official_name(tmp_path: Path, golden: Path) -> None:
    snapshot = load_snapshot(golden / 'official_layout_uncond.pkl')
    record = json.loads(json.dumps(snapshot.record))
    record['config']['discriminator'] = {'kind': 'dcgan'}
    with pytest.raises(CheckpointError, match='only networks of StyleGAN2 and of R3GAN have official names'):
        export(replace(snapshot, record=record), tmp_path / 'a.safetensors')
    record = json.loads(json.dumps(snapshot.record))
    record['facts']['base'] = [4, 6]
    with pytest.raises(CheckpointError, match='official networks draw squares only'):
        export(replace(snapshot, record=record), tmp_path / 'a.safetensors')
