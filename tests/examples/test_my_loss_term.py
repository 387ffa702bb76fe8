"""A loss term in one file outside the repository: it trains, resumes, draws and is recorded through --plugin."""

import json
import shutil

import pytest
import torch

from dnnlib.registry import load_file
from tests.conftest import ROOT
from tests.support.runs import FEW_STEPS, TINY, call, last_state, losses, make_zip, only_run
from training.objective.term import Scored

EXAMPLE = ROOT / 'examples' / 'my_loss_term.py'


@pytest.mark.slow
def test_a_term_outside_the_repository_trains_resumes_and_is_recorded(tmp_path):
    plugin = shutil.copy(EXAMPLE, tmp_path / 'mine.py')
    data = make_zip(tmp_path / 'tiny.zip', resolution=8)
    flags = [f'--plugin={plugin}', '--set=bcr.weight=3', f'--data={data}', *TINY, *FEW_STEPS]

    call(tmp_path / 'whole', *flags, '--kimg=2')
    whole = only_run(tmp_path / 'whole')
    record = json.loads((whole / 'config.json').read_text())
    assert record['config']['bcr'] == {'weight': 3.0, 'shift': 0.125}
    assert [entry['file'] for entry in record['plugins']] == [str(plugin)]
    assert all('Loss/D/bcr' in line for line in losses(whole))
    assert 'bcr' not in last_state(whole)[1]  # a term without memory has no state

    call(tmp_path / 'parts', *flags, '--kimg=1')
    parts = only_run(tmp_path / 'parts')
    done = call(tmp_path / 'parts', f'--resume={parts}', f'--plugin={plugin}', '--kimg=2')
    assert 'continuing from' in done.stdout
    assert last_state(parts)[0] == last_state(whole)[0]

    snapshot, out = whole / 'network-snapshot-000002.safetensors', tmp_path / 'out'
    draw = [f'--network={snapshot}', '--grid=2x2', f'--outdir={out}']
    call(out, *draw, f'--plugin={plugin}', script='generate.py')
    assert (out / 'grid-seeds0-3.png').exists()
    without = call(out, *draw, script='generate.py', check=False)
    assert without.returncode == 2
    assert str(plugin) in without.stderr
    assert '--plugin=FILE' in without.stderr
    unknown = call(tmp_path / 'none', *flags, '--set=bcrr.weight=1', '-n', check=False)
    assert unknown.returncode == 2
    assert "'bcrr' is not a config field; did you mean 'bcr'?" in unknown.stderr


LOSS = """
from torch.nn.functional import softplus

from training.objective.losses import register_loss


@register_loss('softened')
class Softened:
    boundary = 0.0

    def generator(self, fake_logits):
        return softplus(-fake_logits / 2)

    def discriminator_fake(self, fake_logits):
        return softplus(fake_logits / 2)

    def discriminator_real(self, real_logits):
        return softplus(-real_logits / 2)
"""


@pytest.mark.slow
def test_a_loss_outside_the_repository_trains_resumes_and_is_recorded(tmp_path):
    plugin = tmp_path / 'softened.py'
    plugin.write_text(LOSS)
    data = make_zip(tmp_path / 'tiny.zip', resolution=8)
    flags = [f'--plugin={plugin}', '--set=loss.kind=softened', f'--data={data}', *TINY, *FEW_STEPS]

    call(tmp_path / 'whole', *flags, '--kimg=2')
    whole = only_run(tmp_path / 'whole')
    record = json.loads((whole / 'config.json').read_text())
    assert record['config']['loss'] == {'kind': 'softened', 'labels': 'drawn'}
    assert [entry['file'] for entry in record['plugins']] == [str(plugin)]
    assert last_state(whole)[1]['controller']['p'] >= 0  # ADA follows a loss with a boundary

    call(tmp_path / 'parts', *flags, '--kimg=1')
    parts = only_run(tmp_path / 'parts')
    call(tmp_path / 'parts', f'--resume={parts}', f'--plugin={plugin}', '--kimg=2')
    assert last_state(parts)[0] == last_state(whole)[0]
    without = call(tmp_path / 'parts', f'--resume={parts}', '--kimg=3', check=False)
    assert without.returncode == 2
    assert "unknown loss.kind 'softened'" in without.stderr
    assert str(plugin) in without.stderr


def test_copies_are_flipped_and_moved_by_whole_pixels():
    module = load_file(EXAMPLE)
    img = torch.arange(64, dtype=torch.float32).view(1, 1, 8, 8).expand(40, -1, -1, -1)
    torch.manual_seed(0)
    changed = module.change(img, 0.125)
    assert changed.shape == img.shape
    inner = {tuple(copy[0, 1:-1, 1:-1].flatten().tolist()) for copy in changed}
    expected = {
        tuple(source[1 + y : 7 + y, 1 + x : 7 + x].flatten().tolist())
        for source in (img[0, 0], img[0, 0].flip(1))
        for y in (-1, 0, 1)
        for x in (-1, 0, 1)
    }
    assert inner <= expected
    assert len(inner) > 12
    assert torch.equal(module.change(img[:1], 0.0).sum(), img[0].sum())


def test_the_loss_is_the_squared_difference_of_the_two_logits():
    module = load_file(EXAMPLE)
    term = module.Consistency(
        module.ConsistencyConfig(weight=2), None, lambda img, c: img.sum() * c, torch.device('cpu')
    )
    img, c, logits = torch.ones(3, 1, 8, 8), torch.ones(3, 1), torch.full([3, 1], 60.0)
    fields = {'img': img, 'seen': img, 'c': c, 'generated': True, 'nimg': 0}
    summand = term.on_logits(Scored(logits=logits, **fields))
    assert torch.equal(summand.loss, 2 * (60 - logits.new_full([3, 1], 192.0)).square())
