"""FLOPs: sums over G and D, by both rules; GIU's printed number is found again."""

from __future__ import annotations

import pytest

from ganfoundry.inspection.flops import inspect_flops
from tests.support.narrow import make_snapshot
from training.interface import ImageSpec
from training.record import to_record
from training.registry import RECIPES
from training.run.snapshot import Snapshot, load_snapshot

SPEC = ImageSpec(resolution=32, channels=3, label_dim=0, num_images=1)


def test_thop_gives_the_number_of_the_paper(tmp_path) -> None:
    """Table 2 of GIU-GANs: 97.23 M FLOPs; these networks have 97.21 M."""
    cfg = RECIPES.get('giu').make(SPEC, 1)
    snapshot = Snapshot(path=tmp_path / 'giu.safetensors', tensors={}, record=to_record(cfg, SPEC), nimg=0)
    facts = inspect_flops([snapshot], 'thop').facts['networks'][str(snapshot.path)]
    assert facts['both'] == {'parameters': 1_916_260, 'operations': pytest.approx(97.21306e6, abs=5)}


def test_multiply_adds_are_those_of_both_networks(tmp_path) -> None:
    snapshot = load_snapshot(make_snapshot(tmp_path / 'a.safetensors', 'squeeze', SPEC))
    found = inspect_flops([snapshot], 'macs')
    facts = found.facts['networks'][str(snapshot.path)]
    assert facts['both']['operations'] == facts['G']['operations'] + facts['D']['operations'] > 1000
    assert len(found.lines) == 3
    assert 'multiply-adds' in found.lines[0]
