"""Generated images for training: labels, style mixing, ws."""

import pytest
import torch

from tests.support.steps import CPU, tiny
from training.build import build
from training.data.dataset import DataConfig, ImageDataset
from training.fakes import Fakes


def make(dataset, **changes):
    cfg = tiny(dataset, **changes)
    return Fakes(cfg, build(cfg, dataset.spec, CPU), dataset, CPU)


def test_labels_are_a_function_of_purpose_position_and_micro_batch(dataset):
    labelled = ImageDataset(DataConfig(resolution=8, cond=True))
    fakes = make(labelled)
    first = fakes.labels(0, 32, 'Gmain')
    assert first.shape == (32, labelled.spec.label_dim)
    assert torch.equal(first, fakes.labels(0, 32, 'Gmain'))
    assert not torch.equal(first, fakes.labels(0, 32, 'Dmain'))
    assert not torch.equal(first, fakes.labels(1, 32, 'Gmain'))
    fakes.state.nimg = 4
    assert not torch.equal(first, fakes.labels(0, 32, 'Gmain'))
    assert make(dataset).labels(0, 3, 'Gmain').shape == (3, 0)


@pytest.mark.parametrize('probability', [0.0, 1.0])
def test_a_batch_mixes_two_latents_at_one_crossover(dataset, probability):
    fakes = make(dataset, style_mixing_prob=probability)
    torch.manual_seed(0)
    z, c = fakes.latents(0, 3, 'Gmain')
    ws, plain = fakes.ws(z, c), fakes.state.G.mapping(z, c)
    same = [bool(torch.equal(ws[:, k], plain[:, k])) for k in range(ws.shape[1])]
    assert same[0]
    assert same == sorted(same, reverse=True)
    assert all(same) == (probability == 0)


def test_images_come_with_their_ws(dataset):
    fakes = make(dataset)
    torch.manual_seed(0)
    img, ws = fakes.draw(*fakes.latents(0, 2, 'Gmain'))
    assert torch.equal(img, fakes.state.G.synthesis(ws))
    fakes.has_w_space = False
    assert fakes.draw(*fakes.latents(0, 2, 'Gmain'))[1] is None
