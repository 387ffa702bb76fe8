"""R20: every snapshot ever written loads, draws what it drew when it was written, and can be trained on."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganfoundry.commands import generate
from training.run.snapshot import load_snapshot
from training.run.transfer import load_source

pytestmark = pytest.mark.slow

DATA = Path(__file__).parent / 'data'
SNAPSHOTS = sorted(DATA.glob('*.safetensors'))


def test_there_is_one_of_every_form():
    assert {path.name[:2] for path in SNAPSHOTS} == {'1-', '2-', '3-'}
    assert all(path.stat().st_size <= 50_000 for path in SNAPSHOTS)


@pytest.mark.parametrize('path', SNAPSHOTS, ids=lambda path: path.stem)
def test_it_draws_what_it_drew(path, tmp_path):
    """Up to one level of 256: libraries change the order of sums."""
    args = [f'--network={path}', '--seeds=0-3', '--trunc=0.7', f'--outdir={tmp_path}', '--device=cpu']
    generate.main(args, standalone_mode=False)
    drawn = np.stack([np.asarray(Image.open(file)) for file in sorted(tmp_path.glob('*.png'))])
    with np.load(DATA / 'drawings.npz', allow_pickle=False) as drawings:
        expected = drawings[path.stem]
    assert np.abs(drawn.astype(int) - expected).max() <= 1
    assert expected.std() > 5


@pytest.mark.parametrize('path', SNAPSHOTS, ids=lambda path: path.stem)
def test_it_can_be_started_from(path):
    """--resume=FILE takes all of its tensors."""
    assert load_snapshot(path).nimg == 1056
    assert load_source(str(path)).tensors.keys() == load_snapshot(path).tensors.keys()
