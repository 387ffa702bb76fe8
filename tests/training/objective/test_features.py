"""Features that terms read: taps, resolutions, and networks that have none."""

import pytest
import torch

from dnnlib.errors import ConfigError
from tests.support.guided import ON, small
from training.build import build_networks
from training.config import GLeaDConfig, GuidanceConfig
from training.data.dataset import DataConfig, ImageDataset
from training.objective.features import Decoder, FeatureTap, check_features


@pytest.fixture(scope='module')
def dataset():
    return ImageDataset(DataConfig(resolution=32))


def test_taps_are_closed_again(dataset):
    _, D = build_networks(small(dataset, ggdr=ON), dataset.spec)
    tap = FeatureTap(D)
    with tap.open() as features:
        D(torch.zeros(2, 3, 32, 32), None)
    before = dict(features)
    D(torch.ones(2, 3, 32, 32), None)
    assert features == before
    assert all(not block._forward_hooks for block in tap.blocks.values())


@pytest.mark.parametrize(('field', 'config'), [('ggdr', GuidanceConfig), ('glead', GLeaDConfig)])
def test_a_resolution_without_features_is_refused(dataset, field, config):
    with pytest.raises(ConfigError, match=rf'{field}\.resolution=64: features are at 4, 8, 16'):
        build_networks(small(dataset, **{field: config(weight=1, resolution=64)}), dataset.spec)


def test_a_network_that_shows_no_features_is_refused(dataset):
    G, D = build_networks(small(dataset), dataset.spec)
    with pytest.raises(ConfigError, match=r'ggdr: this generator shows no features.*--set ggdr\.weight=0'):
        check_features('ggdr', torch.nn.Identity(), D)
    with pytest.raises(ConfigError, match='ggdr: this discriminator shows no features'):
        check_features('ggdr', G, torch.nn.Identity())
    check_features('ggdr', G, D)


def test_the_decoder_equals_a_slow_transcription():
    """1x1 convolutions after StyleGAN2's upsampling, each on the result so far and D's features at half the size."""
    torch.manual_seed(0)
    channels = {4: 5, 8: 4, 16: 3}
    decoder = Decoder(channels, 16, 6, act='lrelu')
    features = {res: torch.randn(2, c, res, res) for res, c in channels.items()}
    taps = torch.tensor([1.0, 3, 3, 1], dtype=torch.float64)
    kernel = (taps[:, None] * taps / taps.sum() ** 2 * 4)[None, None]

    def up(x):
        n, c, h, w = x.shape
        wide = x.new_zeros(n, c, 2 * h, 2 * w)
        wide[:, :, ::2, ::2] = x
        wide = torch.nn.functional.pad(wide, [2, 1, 2, 1])
        return torch.nn.functional.conv2d(wide.flatten(0, 1)[:, None], kernel).view(n, c, 2 * h, 2 * w)

    def layer(conv, x, slope):
        weight = conv.weight.double()[:, :, 0, 0] / x.shape[1] ** 0.5
        y = torch.einsum('oi,nihw->nohw', weight, up(x)) + conv.bias.double()[:, None, None]
        return torch.where(y > 0, y, slope * y) * (2**0.5 if slope < 1 else 1)

    with torch.no_grad():
        for conv in (decoder.conv8, decoder.conv16):
            conv.bias.normal_()
        x = layer(decoder.conv8, features[4].double(), 0.2)
        expected = layer(decoder.conv16, torch.cat([x, features[8].double()], dim=1), 1)
        found = decoder(features)
    assert found.shape == (2, 6, 16, 16)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_a_decoder_of_4x4_is_refused():
    with pytest.raises(ConfigError, match="resolution=4: the decoder of D's features begins at 8"):
        Decoder({4: 5, 8: 4}, 4, 6, act='linear')
