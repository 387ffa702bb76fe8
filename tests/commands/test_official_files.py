"""Official files of StyleGAN3 and R3GAN in generate, calc_metrics, export and train."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from dnnlib.errors import ConfigError
from ganfoundry import meter, runs
from ganfoundry.commands import export, generate, train
from ganfoundry.options import TrainFlags
from tests.conftest import ROOT
from tests.support.measured import ToyDetector, measure
from tests.support.runs import make_zip
from torch_utils.checkpoint import load_tensors
from training.build import build
from training.run.snapshot import load_snapshot
from training.run.transfer import transfer
from training.run.transfer_flags import network_flags
from training.step import TrainStep

GOLDEN = ROOT / 'tests' / 'golden'
FILES = {
    'stylegan3-t': GOLDEN / 'stylegan3_official_layout_t32.pkl',
    'stylegan3-r': GOLDEN / 'stylegan3_official_layout_r32.pkl',
    'r3gan': GOLDEN / 'r3gan_official_layout_cond.pkl',
}
every_file = pytest.mark.parametrize('cfg', FILES)


def facts(cfg: str) -> tuple[int, int]:
    """Returns the resolution and the number of classes of a file's images."""
    _, spec = load_snapshot(FILES[cfg]).config()
    return spec.resolution, spec.label_dim


def make_data(path: Path, cfg: str) -> Path:
    """Writes a data set of the images that a file draws."""
    resolution, classes = facts(cfg)
    return make_zip(path, num_images=40, resolution=resolution, classes=classes or 1)


@every_file
def test_generate_draws_pictures(tmp_path: Path, cfg: str) -> None:
    resolution, classes = facts(cfg)
    flags = [f'--network={FILES[cfg]}', '--seeds=0-1', f'--outdir={tmp_path}', '--device=cpu']
    result = CliRunner().invoke(generate.main, [*flags, *(['--class=1'] if classes else [])], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    pictures = [np.asarray(Image.open(tmp_path / f'seed000{seed}.png')) for seed in (0, 1)]
    assert [picture.shape for picture in pictures] == [(resolution, resolution, 3)] * 2
    assert not np.array_equal(*pictures)


@pytest.mark.parametrize('cfg', ['stylegan3-t', 'stylegan3-r'])
def test_stylegan3_is_measured_by_its_equivariance(capsys: pytest.CaptureFixture[str], cfg: str) -> None:
    (line,) = measure(capsys, f'--network={FILES[cfg]}', '--metrics=eqt8_int')
    assert line['results']['eqt8_int'] > 40
    assert line['snapshot_pkl'] == FILES[cfg].name


def test_r3gan_has_no_equivariance_but_a_distance(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter, 'get_detector', lambda name, device: ToyDetector())
    flags = [f'--network={FILES["r3gan"]}', f'--data={make_data(tmp_path / "data.zip", "r3gan")}']
    with pytest.raises(ConfigError, match='takes no transform of its input'):
        measure(capsys, *flags, '--metrics=eqt8_int')
    (line,) = measure(capsys, *flags, '--metrics=fd_efflite16')
    assert line['results']['fd_efflite16'] > 0


@every_file
def test_export_writes_the_weights_of_the_file(tmp_path: Path, cfg: str) -> None:
    flags = [f'--network={FILES[cfg]}', '--format=safetensors', f'--out={tmp_path / "out"}']
    result = CliRunner().invoke(export.main, flags, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    (path,) = (tmp_path / 'out').glob('*.safetensors')
    tensors, _ = load_tensors(path)
    snapshot = load_snapshot(FILES[cfg])
    own = {name.removeprefix('G_ema.'): t for name, t in snapshot.tensors.items() if name.startswith('G_ema.')}
    assert tensors.keys() == own.keys()
    assert all(torch.equal(tensors[name], own[name]) for name in own)


@every_file
def test_a_run_starts_from_the_file_and_all_of_it_fits(tmp_path: Path, cfg: str) -> None:
    flags = [f'--data={make_data(tmp_path / "data.zip", cfg)}', f'--cond={int(facts(cfg)[1] > 0)}', '--device=cpu']
    flags += [f'--resume={FILES[cfg]}', *shlex.split(network_flags(FILES[cfg]) or ''), '--batch=4', '--mbstd-group=2']
    context = train.main.make_context('train', [flag for flag in flags if cfg != 'r3gan' or 'mbstd' not in flag])
    run = runs.new_run(TrainFlags(**context.params))
    state = build(run.cfg, run.dataset.spec, torch.device('cpu'))
    networks = {name: getattr(state, name) for name in ('G', 'D', 'G_ema')}
    report = transfer(networks, run.source, lambda line: None, lambda line: None)
    assert [row['share'] for row in report['networks'].values()] == pytest.approx([1, 1, 1])
    before = {name: parameter.clone() for name, parameter in state.G.named_parameters()}
    img = torch.from_numpy(np.stack([run.dataset.image(i) for i in range(4)]))
    c = torch.from_numpy(run.dataset.labels(range(4)))
    TrainStep(run.cfg, state, run.dataset, torch.device('cpu'))(img, c)
    assert all(parameter.isfinite().all() for parameter in state.G.parameters())
    assert any(not torch.equal(parameter, before[name]) for name, parameter in state.G.named_parameters())
