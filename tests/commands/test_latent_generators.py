"""Generators without a W space, from training to drawing: an average with batch norm, truncation, clear refusals."""

import numpy as np
import PIL.Image
import pytest
import torch

from dnnlib.errors import ConfigError, UserError
from ganfoundry.commands import generate
from ganfoundry.drawing import measure_batch_norm
from tests.support.runs import SHORT, call, make_zip, only_run
from training.build import build_networks
from training.config import apply_overrides
from training.interface import ImageSpec
from training.optimize.recalibrate import batch_norms, recalibrate
from training.registry import RECIPES
from training.run.snapshot import load_generator, load_snapshot

CPU = torch.device('cpu')
NARROW = ('--cbase=192', '--cmax=16', '--set=generator.z_dim=8')


@pytest.fixture(scope='module')
def snapshots(tmp_path_factory):
    """The first and the last snapshot of a run with IF-GAN: batch norm, and an average of weights."""
    folder = tmp_path_factory.mktemp('latent')
    data = make_zip(folder / 'tiny.zip', resolution=32)
    call(folder / 'runs', f'--data={data}', '--cfg=ifgan', '--kimg=1', *SHORT, *NARROW, '--snap=1000')
    return sorted(only_run(folder / 'runs').glob('network-snapshot-*.safetensors'))


def draw(snapshot, outdir, *flags):
    generate.main.main([f'--network={snapshot}', '--seeds=0-3', f'--outdir={outdir}', '--device=cpu', *flags],
                       standalone_mode=False)  # fmt: skip
    return np.stack([np.asarray(PIL.Image.open(path)) for path in sorted(outdir.glob('*.png'))]).astype(float)


@pytest.mark.slow
def test_a_snapshot_holds_the_statistics_of_its_averaged_weights(snapshots):
    """Measured again, the running means hardly move; those that G left in its own buffers would."""
    G = load_generator(load_snapshot(snapshots[-1]), CPU, 'fp32')
    stored = [layer.running_mean.clone() for layer in batch_norms(G)]
    torch.manual_seed(5)
    z = torch.randn(50, 8, G.z_dim)
    recalibrate(G, ((batch, torch.zeros(8, 0)) for batch in z))
    for before, layer in zip(stored, batch_norms(G), strict=True):
        spread = layer.running_var.sqrt()
        assert ((before - layer.running_mean).abs() < 0.25 * spread + 1e-3).all()


@pytest.mark.slow
def test_truncation_scales_the_latent_and_statistics_can_follow(tmp_path, snapshots):
    full, truncated = draw(snapshots[-1], tmp_path / 'a'), draw(snapshots[-1], tmp_path / 'b', '--trunc=0.5')
    again = draw(snapshots[-1], tmp_path / 'c', '--trunc=0.5', '--recalibrate')
    assert np.abs(full - truncated).mean() > 0.5
    assert np.abs(again - truncated).mean() > 0.5
    zero = draw(snapshots[-1], tmp_path / 'd', '--trunc=0')
    assert (zero == zero[:1]).all()


def test_recalibration_of_a_network_without_batch_norm_is_refused(tmp_path):
    class Plain:
        c_dim = 0

        def modules(self):
            return []

    with pytest.raises(UserError, match='--recalibrate: this network has no batch normalization; drop the flag'):
        measure_batch_norm(Plain(), torch.zeros(1, 0), 1)


@pytest.mark.parametrize('name', ['ifgan', 'gconv', 'giu', 'igan', 'lsgan'])
@pytest.mark.parametrize(
    ('field', 'message'),
    [
        ('pl.weight', 'path length regularization needs a generator with a W space'),
        ('style_mixing_prob', 'style mixing needs a generator with a W space'),
        ('glead.weight', 'shows no features|needs a generator with a W space'),
        ('ggdr.weight', 'shows no features'),
    ],
)
def test_what_needs_a_w_space_or_features_is_refused_by_name(name, field, message):
    spec = ImageSpec(resolution=32, channels=3, label_dim=0, num_images=8)
    cfg = apply_overrides(RECIPES.get(name).make(spec, 1), {field: '1'})
    name_of_term = field.partition('.')[0]
    with torch.device('meta'), pytest.raises(ConfigError, match=f'{name_of_term}.*({message}).*--set {field}=0'):
        build_networks(cfg, spec)


def test_an_option_of_another_architecture_is_refused_with_the_known_ones():
    spec = ImageSpec(resolution=32, channels=3, label_dim=0, num_images=8)
    with pytest.raises(ConfigError, match=r"'generator\.ratio' is not a config field.*known: .*attention"):
        apply_overrides(RECIPES.get('gconv').make(spec, 1), {'generator.ratio': '4'})
