"""Streams of generated images: walks between latents, and parts of a stream."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from dnnlib.errors import ConfigError, DataError
from metrics.streams.paths import EPSILON
from tests.contracts.test_every_cfg import facts, make
from tests.support.runs import make_zip
from training.data.dataset import DataConfig, ImageDataset
from training.run.sampling import generated, generated_classes, generated_paths, slerp


@pytest.fixture(scope='module')
def dataset():
    return ImageDataset(DataConfig())


def walk(G, dataset, space='z', sampling='end', num_pairs=5, seed=0, **options):
    path = {'space': space, 'sampling': sampling, 'num_pairs': num_pairs, 'seed': seed, 'epsilon': 1e-2}
    (pairs,) = generated_paths(G, dataset, [range(num_pairs)], **path, **options)
    return [ends.flatten(1).double() / 127.5 - 1 for ends in pairs.unbind(1)]


def test_a_walk_has_the_pairs_that_were_asked_for_and_is_a_function_of_the_seed(dataset):
    first = walk(LinearG(), dataset)
    assert [ends.shape for ends in first] == [(5, 8)] * 2
    assert all(torch.equal(a, b) for a, b in zip(first, walk(LinearG(), dataset), strict=True))
    assert not torch.equal(first[0], walk(LinearG(), dataset, seed=1)[0])


def test_the_latents_do_not_depend_on_the_batches(dataset):
    G = LinearStyleG()
    ends = []
    for size in (1, 2, 5):
        a, b = walk(G, dataset, 'w', 'full', num_pairs=5, batch_size=size)
        ends.append(b - a)  # the noise is that of the batch, and the same at both ends
    assert torch.allclose(ends[0], ends[1], atol=1e-5)
    assert torch.allclose(ends[0], ends[2], atol=1e-5)


def test_both_ends_share_their_noise_and_every_batch_has_its_own_while_g_keeps_its(dataset):
    G = LinearG()
    G.weight.data.zero_()
    a, b = walk(G, dataset, num_pairs=4, batch_size=2)
    assert torch.equal(a, b)
    assert torch.equal(a[0], a[1])
    assert not torch.equal(a[1], a[2])
    assert torch.equal(G.noise_const, torch.zeros(8))


def test_a_step_in_w_is_a_share_of_the_straight_line(dataset):
    G = LinearStyleG()
    for sampling in ('end', 'full'):
        a, b = walk(G, dataset, 'w', sampling, num_pairs=64, batch_size=64)
        lengths = (b - a).norm(dim=1)
        # Two latents of 8 numbers are about 4 apart, three times that in W.
        assert float(lengths.mean()) == pytest.approx(1e-2 * 3 * 3.87, rel=0.1)


@pytest.mark.parametrize('sampling', ['end', 'full'])
def test_a_step_in_z_turns_on_the_sphere_by_a_share_of_the_angle(dataset, sampling):
    G = LinearG()
    a, b = walk(G, dataset, 'z', sampling, num_pairs=200, batch_size=200)
    noise = (a.mean(dim=0) + b.mean(dim=0)) / 2  # about: the latents average out
    radius = (a - noise).norm(dim=1)
    assert float(radius.mean()) == pytest.approx(8**0.5, rel=0.05)
    assert float((b - a).norm(dim=1).mean()) == pytest.approx(1e-2 * np.pi / 2 * 8**0.5, rel=0.1)


def test_the_great_circle_goes_from_one_direction_to_the_other():
    a, b = (torch.randn(6, 8, generator=torch.Generator().manual_seed(s)).double() for s in (0, 1))
    start, half, end = (slerp(a, b, torch.full((6, 1), t).double()) for t in (0.0, 0.5, 1.0))
    unit = [v / v.norm(dim=1, keepdim=True) for v in (a, b)]
    assert torch.allclose(start, unit[0] * 8**0.5, rtol=1e-12)
    assert torch.allclose(end, unit[1] * 8**0.5, rtol=1e-12)
    assert torch.allclose(half.norm(dim=1), torch.full((6,), 8**0.5, dtype=torch.float64), rtol=1e-12)
    assert torch.allclose((half * start).sum(dim=1), (half * end).sum(dim=1), rtol=1e-10)


def test_both_ends_have_one_label_of_the_data_set():
    dataset = ImageDataset(dataclasses.replace(DataConfig(), cond=True))

    class LabelG(LinearG):
        def forward(self, z, c, *, truncation_psi=1, noise_mode='random'):
            return c[:, None, None]

    a, b = walk(LabelG(), dataset, num_pairs=20)
    assert torch.equal(a, b)
    assert torch.equal(a.sum(dim=1), torch.ones(20).double())
    assert (a.sum(dim=0) > 0).sum() > 2


@pytest.mark.parametrize(('name', 'space'), [('stylegan2', 'w'), ('stylegan2', 'z'), ('ifgan', 'z'), ('dcgan', 'z')])
def test_architectures_are_walked_through_and_left_as_they_are(dataset, name, space):
    _, G, _ = make(name, facts(32), 'bf16')
    before = {key: value.clone() for key, value in G.eval().state_dict().items()}
    path = {'space': space, 'sampling': 'full', 'num_pairs': 3, 'seed': 0, 'epsilon': EPSILON}
    for pairs in generated_paths(G, dataset, [range(2), range(2, 3)], **path):
        a, b = pairs.unbind(1)
        assert a.dtype == b.dtype == torch.float32
        assert a.shape[1:] == (3, 32, 32)
        assert a.abs().max() < 1e5
        moved = (a - b).abs().amax(dim=(1, 2, 3))
        assert (moved > 0).all()
        assert (moved < 10).all()  # pixels have 256 levels
    for key, value in G.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_w_without_a_w_space_is_refused_at_once_with_the_way_out(dataset):
    with pytest.raises(ConfigError, match='ppl_wend: LinearG has no W space; ppl_zend or ppl2_zend'):
        generated_paths(LinearG(), dataset, (), space='w', sampling='end', num_pairs=4, seed=0, epsilon=1e-4)


@pytest.mark.parametrize('parts', [[(0, 4), (4, 8), (8, 11)], [(1, 2), (5, 6), (10, 11)], [(3, 9), (9, 10)]])
def test_a_stream_has_the_same_bits_whole_and_in_parts(dataset, parts):
    _, G, _ = make('stylegan2', facts(32))
    G.eval()
    checks = []
    stream = {'num_images': 11, 'seed': 3, 'batch_size': 4}
    (whole,) = generated(G, dataset, [range(11)], **stream)
    found = generated(G, dataset, [range(*part) for part in parts], **stream, check=lambda: checks.append(1))
    for part, images in zip(parts, found, strict=True):
        assert torch.equal(images, whole[slice(*part)])
    assert len(checks) == 3  # batches drawn, each of them once


def test_pairs_have_the_same_bits_whole_and_in_parts(dataset):
    whole = walk(LinearG(), dataset, num_pairs=7)
    path = {'space': 'z', 'sampling': 'end', 'num_pairs': 7, 'seed': 0, 'epsilon': 1e-2}
    for part in (range(3), range(3, 6), range(6, 7)):
        (pairs,) = generated_paths(LinearG(), dataset, [part], **path)
        ends = [(x.flatten(1).double() / 127.5 - 1) for x in pairs.unbind(1)]
        assert all(torch.equal(a, b[part.start : part.stop]) for a, b in zip(ends, whole, strict=True))


class LinearG(torch.nn.Module):
    """One grey pixel a latent number, and noise that shows whether it is one for both ends."""

    z_dim, c_dim, img_resolution, img_channels = 8, 0, 4, 1
    noise_const: torch.Tensor

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones([]))
        self.register_buffer('noise_const', torch.zeros(8))

    def forward(self, z, c, *, truncation_psi=1, noise_mode='random'):
        assert noise_mode == 'const'
        self.last_labels = c
        return (z * self.weight + self.noise_const)[:, None, None]  # [N, 1, 1, z_dim]


class LinearStyleG(LinearG):
    w_dim, num_ws = 8, 2

    def mapping(self, z, c, *, truncation_psi=1, truncation_cutoff=None, update_w_avg=False):
        return z[:, None].repeat(1, 2, 1) * 3

    def synthesis(self, ws, *, noise_mode='random'):
        assert ws.dtype == torch.float32
        return self(ws[:, 0], torch.zeros(len(ws), 0), noise_mode=noise_mode)


@pytest.mark.parametrize('batch', [3, 4, 20])
def test_the_classes_of_generated_images_are_those_of_their_labels(tmp_path, dataset, batch):
    labeled = ImageDataset(DataConfig(path=str(make_zip(tmp_path / 'tiny.zip', num_images=12)), cond=True))
    drawn = []

    class Labels(LinearG):
        def forward(self, z, c, **rest):
            drawn.extend(c.argmax(dim=1).tolist())
            return z[:, None, None]  # [N, 1, 1, z_dim]

    list(generated(Labels(), labeled, [range(11)], num_images=11, seed=5, batch_size=batch))
    assert generated_classes(labeled, num_images=11, seed=5, batch_size=batch).tolist() == drawn
    assert generated_classes(dataset, num_images=11, seed=5, batch_size=batch) is None
    assert generated_classes(None, num_images=11, seed=5, batch_size=batch) is None


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_images_that_are_not_finite_are_refused_before_they_are_rounded(dataset, value):
    class Diverged(LinearG):
        def forward(self, z, c, **options):
            return torch.full((len(z), 1, 2, 4), value)

    G = Diverged()
    with pytest.raises(DataError, match='the network draws NaN or infinity'):
        next(iter(generated(G, dataset, [range(4)], num_images=4, seed=0, batch_size=4)))
    with pytest.raises(DataError, match='the network draws NaN or infinity'):
        walk(G, dataset)
