"""Path length: what LPIPS sees, which steps count, and the walks through generators; single images of a stream."""

import dataclasses

import numpy as np
import pytest
import torch

from dnnlib.errors import ConfigError, DataError
from metrics.lpips import Lpips
from metrics.ppl import EPSILON, path_length, prepare, step_lengths
from tests.test_generators import facts, make
from training.dataset import DataConfig, ImageDataset
from training.sampling import generated_at, generated_batches, path_batches, slerp


class SquaredPixels:
    digest = preprocessing = 'toy'

    def distance(self, a, b):
        return (a - b).square().sum(dim=(1, 2, 3)).float()


# ---- what LPIPS sees


def test_the_crop_is_where_a_face_is():
    image = torch.arange(16.0 * 16).view(1, 1, 16, 16)
    assert torch.equal(prepare(image, crop=True), image[:, :, 6:14, 4:12].expand(-1, 3, -1, -1))
    assert torch.equal(prepare(image, crop=False), image.expand(-1, 3, -1, -1))


@pytest.mark.parametrize(
    ('size', 'crop', 'expected'),
    [
        ((256, 256), False, (256, 256)),
        ((512, 512), False, (256, 256)),
        ((1024, 1024), False, (256, 256)),
        ((1024, 1024), True, (128, 128)),
        ((256, 256), True, (128, 128)),
        ((512, 768), False, (256, 384)),
        ((300, 500), False, (300, 500)),
    ],
)
def test_images_above_256_are_averaged_in_boxes(size, crop, expected):
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)) * 255
    seen = prepare(image, crop=crop)
    assert seen.shape[2:] == expected
    if not crop:
        assert float(seen.mean()) == pytest.approx(float(image.mean()), rel=1e-5)
        factor = size[0] // expected[0]
        assert float(seen[0, 1, 2, 3]) == pytest.approx(
            float(image[0, 1, 2 * factor : 3 * factor, 3 * factor : 4 * factor].mean()), rel=1e-5
        )


# ---- lengths


def test_a_length_is_the_distance_over_the_squared_step():
    a, b = torch.rand(11, 3, 8, 8), torch.rand(11, 3, 8, 8)
    found = step_lengths(iter([(a[:6], b[:6]), (a[6:], b[6:])]), SquaredPixels(), crop=False, num_pairs=9)
    expected = (a - b).square().sum(dim=(1, 2, 3)).double()[:9] / 1e-8
    assert found.dtype == torch.float64
    assert torch.allclose(found, expected, rtol=1e-6)


def test_pairs_that_end_early_are_an_error():
    with pytest.raises(DataError, match='ended after 2 of 3'):
        step_lengths(iter([(torch.zeros(2, 3, 8, 8),) * 2]), SquaredPixels(), crop=False, num_pairs=3)


def test_the_mean_leaves_out_what_is_beyond_the_percentiles():
    lengths = torch.arange(1000.0).double()[torch.randperm(1000, generator=torch.Generator().manual_seed(0))]
    lengths[lengths == 999] = 1e9
    # numpy's 'lower' and 'higher': rank 9.99 is 9, rank 989.01 is 990, and both belong.
    assert path_length(lengths) == pytest.approx(np.mean(np.arange(9, 991)), rel=1e-12)
    assert path_length(torch.tensor([3.0]).double()) == 3


def test_lpips_serves_as_it_is():
    network = Lpips.random()
    a = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 255
    lengths = step_lengths(iter([(a, a + 1)]), network, crop=False, num_pairs=2)
    assert torch.equal(lengths, network.distance(*(x.expand(-1, 3, -1, -1) for x in (a, a + 1))).double() / EPSILON**2)


# ---- walks


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


@pytest.fixture(scope='module')
def dataset():
    return ImageDataset(DataConfig())


def walk(G, dataset, space='z', sampling='end', num_pairs=5, seed=0, **options):
    pairs = list(path_batches(G, dataset, space, sampling, num_pairs, seed, epsilon=1e-2, **options))
    return [torch.cat(ends).flatten(1).double() / 127.5 - 1 for ends in zip(*pairs, strict=True)]


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
    for a, b in path_batches(G, dataset, space, 'full', 3, 0, epsilon=EPSILON):
        assert a.dtype == b.dtype == torch.float32
        assert a.shape[1:] == (3, 32, 32)
        assert a.abs().max() < 1e5
        moved = (a - b).abs().amax(dim=(1, 2, 3))
        assert (moved > 0).all()
        assert (moved < 10).all()  # of 255
    for key, value in G.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_w_without_a_w_space_is_refused_at_once_with_the_way_out(dataset):
    with pytest.raises(ConfigError, match='ppl_wend: LinearG has no W space; ppl_zend or ppl2_zend'):
        path_batches(LinearG(), dataset, 'w', 'end', 4, 0, epsilon=1e-4)


def test_single_images_of_a_stream_are_drawn_again_to_the_bit(dataset):
    _, G, _ = make('stylegan2', facts(32))
    G.eval()
    stream = torch.cat(list(generated_batches(G, dataset, 11, 3, 4)))
    found = generated_at(G, dataset, [10, 0, 5], 11, 3, 4)
    assert set(found) == {10, 0, 5}
    for position, image in found.items():
        assert torch.equal(image, stream[position])
