"""inspect_network.py: every --what writes its files, equal for two runs; options that have no effect are refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from dnnlib.errors import ConfigError
from ganfoundry.commands.inspect_network import main
from tests.conftest import ROOT
from tests.support.narrow import make_snapshot
from tests.support.stored import make_set
from training.interface import ImageSpec

PEEPS = ROOT / 'examples' / 'networks' / 'peeps32.safetensors'
SPEC = ImageSpec(resolution=32, channels=3, label_dim=2, num_images=8)


def inspect(*flags: str) -> str:
    result = CliRunner().invoke(main, list(flags), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope='module')
def conditional(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('net') / 'giu.safetensors'
    return make_snapshot(path, 'giu', SPEC, classes=('cat', 'dog'))


def test_a_picture_is_drawn_twice_with_equal_bytes_and_not_over_another(tmp_path: Path) -> None:
    flags = (f'--network={PEEPS}', '--what=blocks', f'--outdir={tmp_path}')
    said = inspect(*flags, '--seeds=0,1')
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(first) == {'blocks.png', 'blocks.json'}
    assert 'Eq. (7)' in said
    inspect(*flags, '--seeds=0,1')
    assert first == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ConfigError, match=r'blocks\.png: exists and is another picture'):
        inspect(*flags, '--seeds=2,3')
    inspect(*flags, '--seeds=2,3', '--overwrite')
    assert json.loads((tmp_path / 'blocks.json').read_text())['seeds'] == '2,3'


def test_a_conditional_network_draws_a_class_by_name(tmp_path: Path, conditional: Path) -> None:
    inspect(f'--network={conditional}', '--what=involution', '--class=dog', '--seeds=0-2', f'--outdir={tmp_path}')
    assert json.loads((tmp_path / 'involution.json').read_text())['class'] == '1'


def test_features_of_a_network_without_labels_and_flops_of_several(tmp_path: Path, conditional: Path) -> None:
    data = make_set(tmp_path / 'set', (3, 32, 32), n=3)
    network = make_snapshot(tmp_path / 'dcgan.safetensors', 'dcgan', dataclasses.replace(SPEC, label_dim=0))
    inspect(f'--network={network}', '--what=features', f'--data={data}', '--images=2', f'--outdir={tmp_path}')
    assert json.loads((tmp_path / 'features.json').read_text())['data'] == 'set'  # no path of the machine
    assert (tmp_path / 'features.png').exists()
    said = inspect(
        f'--network={PEEPS}', f'--network={conditional}', '--what=flops', '--rule=thop', f'--outdir={tmp_path}'
    )
    assert 'giu both:' in said
    assert not (tmp_path / 'flops.png').exists()


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (('--what=flops', '--seeds=0'), r'--seeds: --what=flops does not use it'),
        (('--what=blocks', '--rule=macs'), r'--rule: --what=blocks does not use it'),
        (('--what=enlarge', f'--network={PEEPS}'), r'takes one network, not 2'),
        (('--what=blocks', '--trunc=nan'), r'--trunc=nan: expected a finite number'),
        (('--what=blocks', '--seeds=0-99'), r'100 images; one sheet shows at most 64'),
        (('--what=losses',), r'is not a folder; name the folder of a run'),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path: Path, flags: tuple, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        inspect(f'--network={PEEPS}', *flags, f'--outdir={tmp_path / "out"}')
    assert not (tmp_path / 'out').exists()
