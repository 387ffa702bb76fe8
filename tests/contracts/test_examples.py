"""The examples run as they are, outside the repository."""

import json
import shutil

import pytest

from dnnlib.registry import load_file
from tests.conftest import ROOT
from tests.support.runs import FEW_STEPS, SHORT, call, last_state, make_zip, only_run
from training.interface import Generator, ImageSpec
from training.registry import GENERATORS, RECIPES, architecture_of

EXAMPLES = ROOT / 'examples'


@pytest.mark.slow
def test_the_generator_trains_resumes_and_draws_from_another_folder(tmp_path):
    data = make_zip(tmp_path / 'tiny.zip')
    plugin = shutil.copy(EXAMPLES / 'my_generator.py', tmp_path)
    flags = [f'--plugin={plugin}', '--cfg=mine', f'--data={data}', '--cond=1', '--kimg=1', *SHORT, *FEW_STEPS]
    call(tmp_path / 'runs', *flags, '--set=generator.width=32')
    run = only_run(tmp_path / 'runs')
    record = json.loads((run / 'config.json').read_text())
    assert record['config']['generator'] == {'kind': 'mine', 'z_dim': 64, 'width': 32, 'depth': 3}
    assert record['plugin']['file'] == str(plugin)
    call(tmp_path / 'runs', f'--resume={run}', f'--plugin={plugin}', '--kimg=2', '--snap=1000')
    assert last_state(run)[1]['nimg'] == 2000
    call(run, f'--network={run}', f'--plugin={plugin}', '--grid=2x2', '--class=1', f'--outdir={tmp_path / "out"}',
         script='generate.py')  # fmt: skip
    assert (tmp_path / 'out' / 'grid-seeds0-3-class_1.png').exists()


def test_the_generator_meets_its_contract():
    load_file(EXAMPLES / 'my_generator.py')
    spec = ImageSpec(resolution=32, channels=3, label_dim=4, num_images=8, base=(4, 6))
    cfg = RECIPES.get('mine').make(spec, 1)
    G = architecture_of(GENERATORS, cfg.generator).build(cfg.generator, spec)
    assert isinstance(G, Generator)
