"""The contract of every `--cfg`. Registering a recipe enrols it here, with and without labels."""

import copy
import dataclasses
import json
import re

import numpy as np
import pytest
import torch

from dnnlib.errors import ConfigError
from tests.support.narrow import narrow
from torch_utils.seeding import seed_torch
from torch_utils.summary import count
from training.build import build, build_networks
from training.config import RunConfig, with_precision
from training.data.dataset import DataConfig, ImageDataset
from training.interface import Discriminator, Generator, ImageSpec, StyleGenerator
from training.networks.layers import set_precision
from training.record import from_record, to_record
from training.registry import RECIPES
from training.step import TrainStep

RECIPES.load_all()
NAMES = RECIPES.names()
CPU = torch.device('cpu')
# Parameters that cannot get a gradient, by --cfg; they are there because the paper counts them.
BEFORE_BN = r'conv\.bias|kernel\.reduce\.bias'  # BN subtracts what a bias in front of it adds
BEFORE_SOFTMAX = r'key\.bias'  # it adds the same to all logits of a row, which softmax ignores
DEAD = {
    name: re.compile(rf'G\.b\d+\..*({BEFORE_BN})|D\..*kernel\.reduce\.bias|.*{BEFORE_SOFTMAX}')
    for name in ('giu', 'giu-norbn', 'giu-nogiu', 'giu-base', 'wgan-gp', 'wgan-gp+2', 'wgan-gp+3', 'sngan', 'sagan')
} | {
    'gconv': re.compile(r'G\.blocks\.(\d+\.conv0|2\.conv1|2\.skip)\.conv\.bias'),
    'lsgan': re.compile(r'G\.b\d+\.conv\.bias'),
    'ifgan': re.compile(r'G\.b\d+\.(conv[01]\.conv|skip|image_gate\.out|latent_gate\.out)\.bias'),
    'traditional': re.compile(r'G\.b\d+\.(conv[01]\.conv|skip)\.bias'),
}


def facts(resolution: int, label_dim: int = 0, channels: int = 3) -> ImageSpec:
    return ImageSpec(resolution=resolution, channels=channels, label_dim=label_dim, num_images=64)


def make(name: str, spec: ImageSpec, precision: str = 'fp32') -> tuple[RunConfig, torch.nn.Module, torch.nn.Module]:
    cfg = with_precision(narrow(RECIPES.get(name).make(spec, 1)), precision)
    seed_torch(0, 'test')
    G, D = build_networks(cfg, spec)
    return cfg, G, D


def inputs(G: torch.nn.Module, n: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    draw = np.random.RandomState(1)
    c = np.eye(G.c_dim)[draw.randint(G.c_dim, size=n)] if G.c_dim else np.zeros([n, 0])
    return torch.from_numpy(draw.randn(n, G.z_dim)).float(), torch.from_numpy(c).float()


@pytest.mark.parametrize('label_dim', [0, 3])
@pytest.mark.parametrize(('resolution', 'channels'), [(16, 3), (32, 1), (64, 3)])
@pytest.mark.parametrize('name', NAMES)
def test_it_draws_and_scores_images_of_the_data(name, resolution, channels, label_dim):
    spec = facts(max(resolution, RECIPES.get(name).min_resolution), label_dim, channels)
    _, G, D = make(name, spec)
    assert isinstance(G, Generator)
    assert isinstance(D, Discriminator)
    z, c = inputs(G)
    for mode in ('random', 'const', 'none'):
        img = G(z, c, noise_mode=mode)
        assert img.shape == (4, channels, spec.resolution, spec.resolution)
        assert img.dtype == torch.float32
        assert img.isfinite().all()
    logits = D(img, c)
    assert logits.shape == (4, 1)
    assert logits.dtype == torch.float32
    assert (G.z_dim, G.c_dim, G.img_resolution, G.img_channels) == (z.shape[1], label_dim, spec.resolution, channels)
    if isinstance(G, StyleGenerator):
        assert G.mapping(z, c).shape == (4, G.num_ws, G.w_dim)
    if label_dim:
        other = c.roll(1, dims=1)
        assert not torch.allclose(G(z, c, noise_mode='none'), G(z, other, noise_mode='none'))
        assert not torch.allclose(D(img, c), D(img, other))


@pytest.mark.parametrize(('base', 'channels', 'label_dim'), [((4, 6), 3, 0), ((6, 4), 4, 0), ((5, 7), 1, 3)])
@pytest.mark.parametrize('name', NAMES)
def test_it_draws_and_scores_images_that_are_not_square(name, base, channels, label_dim):
    res = max(16, RECIPES.get(name).min_resolution)
    spec = dataclasses.replace(facts(res, label_dim, channels), base=base)
    _, G, D = make(name, spec)
    z, c = inputs(G)
    img = G(z, c)
    assert img.shape == (4, channels, base[0] * res // 4, base[1] * res // 4) == (4, channels, spec.height, spec.width)
    logits = D(img, c)
    assert logits.shape == (4, 1)
    logits.sum().backward()
    first, *others = [parameter.grad for net in (G, D) for parameter in net.parameters()]
    assert first.abs().sum() > 0  # through all of D and all of G
    assert all(grad.isfinite().all() for grad in (first, *others) if grad is not None)


@pytest.mark.parametrize('label_dim', [0, 3])
@pytest.mark.parametrize('name', NAMES)
def test_gradients_of_first_and_second_order_reach_every_parameter(name, label_dim):
    _, G, D = make(name, facts(32, label_dim))
    for parameter in (*G.parameters(), *D.parameters()):  # strengths begin at zero, and so does what follows them
        if parameter.ndim == 0:
            torch.nn.init.constant_(parameter, 0.1)
        elif parameter.ndim == 4 and not parameter.any():  # the last convolution of a branch
            torch.nn.init.normal_(parameter, std=0.1)
    z, c = inputs(G)
    img = G(z, c)
    D(img, c).sum().backward()
    for net_name, net in (('G', G), ('D', D)):
        grads = {f'{net_name}.{key}': p.grad for key, p in net.named_parameters()}
        size = {key: 0.0 if grad is None else float(grad.abs().max()) for key, grad in grads.items()}
        largest = max(size.values())
        declared = {key for key in size if name in DEAD and DEAD[name].fullmatch(key)}
        assert {key for key in size if size[key] <= 1e-6 * largest} <= declared
        assert [key for key in declared if size[key] > 1e-4 * largest] == []  # more than rounding
    real = img.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(D(real, c).sum(), real, create_graph=True)
    second = torch.autograd.grad(gradient.square().sum(), list(D.parameters()), allow_unused=True)
    assert sum(g.abs().sum() for g in second if g is not None) > 0
    assert all(g.isfinite().all() for g in second if g is not None)


@pytest.mark.parametrize('name', NAMES)
def test_the_same_seed_draws_the_same_bits(name):
    _, G, _ = make(name, facts(32))
    _, again, _ = make(name, facts(32))
    z, c = inputs(G)
    images = []
    for net in (G.eval(), again.eval(), G):  # spectral norm moves at every call in training
        seed_torch(7, 'noise')
        images.append(net(z, c, noise_mode='random'))
    assert torch.equal(images[0], images[1])
    assert torch.equal(images[0], images[2])


@pytest.mark.parametrize('name', NAMES)
def test_weights_and_config_rebuild_the_networks(name):
    spec = facts(32, 3)
    cfg, G, D = make(name, spec)
    again_cfg, again_spec = from_record(json.loads(json.dumps(to_record(cfg, spec))))
    assert (again_cfg, again_spec) == (cfg, spec)
    seed_torch(1, 'other weights')
    G2, D2 = build_networks(again_cfg, again_spec)
    G2.load_state_dict(G.state_dict())
    D2.load_state_dict(D.state_dict())
    z, c = inputs(G)
    img = G(z, c, noise_mode='const')
    assert torch.equal(G2(z, c, noise_mode='const'), img)
    logits = []
    for net in (D, D2):
        seed_torch(7, 'dropout')
        logits.append(net(img, c))
    assert torch.equal(logits[0], logits[1])


@pytest.mark.parametrize('name', NAMES)
def test_truncation_is_the_identity_at_one_and_collapses_at_zero(name):
    _, G, _ = make(name, facts(32))
    G.eval()
    z, c = inputs(G)
    full = G(z, c, truncation_psi=1, noise_mode='const')
    assert torch.equal(full, G(z, c, noise_mode='const'))
    none = G(z, c, truncation_psi=0, noise_mode='const')
    assert torch.allclose(none, none[:1].expand_as(none), atol=1e-5)


@pytest.mark.parametrize('name', NAMES)
def test_bfloat16_stays_close_to_float32(name):
    _, G, D = make(name, facts(32), 'bf16')
    G.eval()
    D.eval()
    z, c = inputs(G, 8)
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        set_precision(G, dtype)
        set_precision(D, dtype)
        seed_torch(7, 'dropout')
        results.append(
            (
                G(z, c, noise_mode='const'),
                D(torch.sin(z.sum() + torch.arange(8 * 3 * 32 * 32)).reshape(8, 3, 32, 32), c),
            )
        )
    for low, full in zip(results[1], results[0], strict=True):
        assert not torch.equal(low, full)
        assert (low - full).square().mean() < 1e-3 * full.square().mean() + 1e-5


@pytest.mark.parametrize('name', NAMES)
def test_the_generator_exports(name):
    _, G, _ = make(name, facts(32))
    z, c = inputs(G)
    G.eval().requires_grad_(False)
    program = torch.export.export(G, (z, c), {'noise_mode': 'const'})
    assert {str(n.target) for n in program.graph.nodes if 'ganfoundry' in str(n.target)} == set()  # for any runtime
    assert torch.allclose(program.module()(z, c, noise_mode='const'), G(z, c, noise_mode='const'), atol=1e-5)


@pytest.mark.parametrize('name', NAMES)
def test_three_steps_equal_two_and_a_resumed_one(name):
    dataset = ImageDataset(DataConfig(resolution=32, cond=True))
    cfg = narrow(RECIPES.get(name).make(dataset.spec, 1))
    batches = [dataset_batch(dataset, start, cfg.batch) for start in range(0, 12, 4)]

    def trained(num_steps, tensors=None, scalars=None):
        state = build(cfg, dataset.spec, CPU)
        if tensors:
            state.load(tensors, scalars, where='test')
        step = TrainStep(cfg, state, dataset, CPU)
        for img, c in batches[state.step : state.step + num_steps]:
            step(img, c)
        return state

    whole = trained(3)
    half = trained(2)
    assert half.nimg == 8
    resumed = trained(1, copy.deepcopy(half.tensors()), json.loads(json.dumps(half.scalars())))
    assert resumed.scalars() == whole.scalars()
    assert resumed.tensors().keys() == whole.tensors().keys()
    for key, value in whole.tensors().items():
        assert torch.equal(resumed.tensors()[key], value), key
    fresh = build(cfg, dataset.spec, CPU).G.state_dict()
    moved = [key for key, value in whole.G.state_dict().items() if not torch.equal(value, fresh[key])]
    assert len(moved) > len(fresh) // 3
    assert whole.stats.summary()['Health/nonfinite_steps']['mean'] == 0


def dataset_batch(dataset, start, n):
    images = np.stack([dataset.image(i) for i in range(start, start + n)])
    return torch.from_numpy(images), torch.from_numpy(dataset.labels(np.arange(start, start + n)))


def test_parameter_counts_are_the_golden_ones(golden):
    """tests/golden/parameters.json: [G, D] of each --cfg by resolution. A new --cfg adds its row."""
    table = json.loads((golden / 'parameters.json').read_text())
    assert sorted(table) == sorted(NAMES)
    for name, row in table.items():
        for resolution, expected in row.items():
            spec = facts(int(resolution))
            with torch.device('meta'):
                G, D = build_networks(RECIPES.get(name).make(spec, 1), spec)
            assert [count(G)[0], count(D)[0]] == expected, f'{name} at {resolution}'


@pytest.mark.parametrize('name', NAMES)
def test_images_that_are_too_small_are_refused_by_size(name):
    spec = facts(4)
    with pytest.raises(ConfigError, match='4'):
        build_networks(RECIPES.get(name).make(spec, 1), spec)
