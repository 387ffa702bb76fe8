"""GLeaD: the image that G redraws, and the one that it is compared with."""

import pytest
import torch

from tests.support.guided import ON, Scorer, small
from torch_utils.ops.upfirdn2d import upsample2d
from training.build import build_networks
from training.config import GuidanceConfig
from training.data.dataset import DataConfig, ImageDataset
from training.objective.features import FeatureTap


@pytest.fixture(scope='module')
def dataset():
    return ImageDataset(DataConfig(resolution=32))


def test_glead_redraws_exactly_what_g_would_from_its_own_features(dataset):
    torch.manual_seed(0)
    G, _ = build_networks(small(dataset, glead=ON), dataset.spec)
    ws = G.mapping(torch.randn(2, 8), None)
    with FeatureTap(G).open() as of_g:
        whole = G.synthesis(ws, noise_mode='none')
    later = G.synthesis(ws, noise_mode='none', features=of_g[4])
    share = G.synthesis.b4(None, None, [ws[:, 0], ws[:, 1]], 'none')[1]  # [N, C, 4, 4]
    for _ in range(3):
        share = upsample2d(share, G.synthesis.b4.resample_filter)
    torch.testing.assert_close(later + share, whole)  # the image is a sum over blocks: what is missing is b4's share


def test_a_task_speaks_of_the_image_itself_and_d_sees_the_augmented_one(dataset):
    torch.manual_seed(0)
    scorer = Scorer(small(dataset, glead=GuidanceConfig(weight=1)), dataset.spec, dataset)
    img, c = torch.rand(2, 3, 32, 32), torch.zeros(2, 0)
    loss = scorer.summands(img, -img, None)['glead'].loss
    assert torch.equal(scorer.logits, scorer.state.D(-img, c))
    assert not torch.equal(loss, scorer.summands(-img, -img, None)['glead'].loss)
    with FeatureTap(scorer.state.D).open() as of_d:
        scorer.state.D(-img, c)
    redrawn = scorer.state.D.glead(scorer.state.G, of_d)
    assert torch.equal(loss, (redrawn - img).square().mean(dim=(1, 2, 3)))
