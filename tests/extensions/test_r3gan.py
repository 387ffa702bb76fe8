"""R3GAN: the official networks' images, logits, losses and gradients; the published presets; a training step."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dnnlib.errors import ConfigError
from extensions.r3gan import R3GANDiscriminatorConfig, R3GANGeneratorConfig, r3gan, r3gan_imagenet
from tests.support.narrow import narrow
from tests.support.r3gan import Golden
from torch_utils.summary import count
from training.augment.presets import PRESETS
from training.build import build, build_networks
from training.config import RunConfig
from training.data.dataset import DataConfig, ImageDataset
from training.interface import ImageSpec
from training.networks.layers import set_precision
from training.objective.losses import Relativistic
from training.objective.r1 import gradient_summand, r1_penalty
from training.run.export_r3gan import arguments_of, official_tensors
from training.step import TrainStep

CASES = ('uncond', 'cond')
PUBLISHED = {
    'CIFAR10': (r3gan, 32, 10), 'FFHQ-64': (r3gan, 64, 0), 'FFHQ-256': (r3gan, 256, 0),
    'ImageNet-32': (r3gan_imagenet, 32, 1000), 'ImageNet-64': (r3gan_imagenet, 64, 1000),
}  # fmt: skip


def facts(resolution: int, label_dim: int = 0) -> ImageSpec:
    return ImageSpec(resolution=resolution, channels=3, label_dim=label_dim, num_images=64)


def close(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    """Asserts that the largest difference is within a share of the largest entry."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize('case', CASES)
@torch.no_grad()
def test_images_features_and_logits_are_the_official_ones(golden: Path, case: str) -> None:
    g = Golden(golden, case)
    outputs: dict[str, torch.Tensor] = {}
    for name, net in (('G', g.G), ('D', g.D)):
        for i, stage in enumerate(net.stages):
            stage.register_forward_hook(
                lambda module, args, output, key=f'act.{name}.{i}': outputs.update({key: output})
            )
    close(g.G(g.t['z'], g.c), g.t['img'], 1e-5)
    close(g.D(g.t['real'], g.c)[:, 0], g.t['logits_real'], 1e-5)
    close(g.D(g.t['img'], g.c)[:, 0], g.t['logits_fake'], 1e-5)  # the golden features of D are of these images
    assert len(outputs) == 2 * len(g.meta['G']['WidthPerStage'])
    for key, output in outputs.items():
        close(output[:1, :1], g.t[key], 1e-5)


@pytest.mark.parametrize('case', CASES)
def test_the_loss_of_d_and_its_gradients_are_the_official_ones(golden: Path, case: str) -> None:
    g, loss = Golden(golden, case), Relativistic()
    fake, real = (g.t[name].clone().requires_grad_(True) for name in ('img', 'real'))
    fake_logits, real_logits = g.D(fake, g.c), g.D(real, g.c)
    adversarial = loss.discriminator_pairs(fake_logits, real_logits)
    r1, r2 = r1_penalty(real, real_logits), r1_penalty(fake, fake_logits)
    for name, found in (('r1', r1), ('r2', r2), ('D_relativistic', real_logits - fake_logits)):
        close(found.detach().view(4), g.t[name], 1e-5)
    penalties = [gradient_summand('r', g.meta['gamma'], penalty).mean() for penalty in (r1, r2)]
    (adversarial.mean() + sum(penalties)).backward()
    expected = g.of('D', 'grad_D.')
    assert {name for name, _ in g.D.named_parameters()} == expected.keys()
    for name, parameter in g.D.named_parameters():
        close(parameter.grad, expected[name], 1e-5)


@pytest.mark.parametrize('case', CASES)
def test_the_loss_of_g_and_its_gradients_are_the_official_ones(golden: Path, case: str) -> None:
    g = Golden(golden, case)
    loss = Relativistic().generator_pairs(g.D(g.G(g.t['z'], g.c), g.c), g.D(g.t['real'], g.c).detach())
    close(loss.detach()[:, 0], g.t['G_loss'], 1e-5)
    loss.mean().backward()
    expected = g.of('G', 'grad_G.')
    assert {name for name, _ in g.G.named_parameters()} == expected.keys()
    for name, parameter in g.G.named_parameters():
        close(parameter.grad, expected[name], 1e-5)


@pytest.mark.parametrize('case', CASES)
@torch.no_grad()
def test_the_stages_that_the_official_networks_lower_give_their_bfloat16_images(golden: Path, case: str) -> None:
    g = Golden(golden, case)
    assert (g.meta['bf16_stages_G'], g.meta['bf16_stages_D']) == ([-1, -2], [1, 0])
    for net in (g.G, g.D):
        set_precision(net, torch.bfloat16)
    img = g.G(g.t['z'], g.c)
    assert img.dtype == torch.float32
    assert (img - g.t['img_bf16']).abs().max() < 0.01  # one step of bfloat16 at 1 to 2
    assert (g.D(g.t['img_bf16'], g.c)[:, 0] - g.t['logits_fake_bf16']).abs().max() < 1e-3
    assert (g.D(g.t['real'], g.c)[:, 0] - g.t['logits_real_bf16']).abs().max() < 1e-3


@pytest.mark.parametrize('name', PUBLISHED)
def test_presets_are_the_published_ones(golden: Path, name: str) -> None:
    published = json.loads((golden / 'r3gan_presets.json').read_text())[name]
    recipe, resolution, label_dim = PUBLISHED[name]
    spec = facts(resolution, label_dim)
    cfg = recipe(spec, published['num_gpus'])
    with torch.device('meta'):
        networks = dict(zip('GD', build_networks(cfg, spec), strict=True))
    for net, config in (('G', cfg.generator), ('D', cfg.discriminator)):
        assert arguments_of(net, config, spec) == published[f'{net}_kwargs']
        assert count(networks[net])[0] == published['parameters'][net]
        tensors = official_tensors(networks[net].state_dict(), net, config)
        shapes = {key: list(tensor.shape) for key, tensor in tensors.items()}
        assert shapes == published[f'{net}_state_dict']
    assert (cfg.batch, cfg.batch_gpu, cfg.gpus) == (
        published['batch_size'],
        published['d_batch_gpu'],
        published['num_gpus'],
    )
    assert {key: getattr(PRESETS[cfg.aug.pipe], key) for key in published['augment']} == published['augment']
    assert schedules(cfg) == {
        key: pytest.approx((row['base_value'], row['final_value'], row['total_nimg']))
        for key, row in published['schedules'].items()
    }


def schedules(cfg: RunConfig) -> dict[str, tuple[float, float, float]]:
    """Returns start, end and length of every schedule by the official name; the half-life in images."""
    final, nimg = cfg.schedule, cfg.schedule.kimg * 1000
    assert (cfg.g_opt, cfg.r1.gamma) == (cfg.d_opt, cfg.r2.gamma)
    return {
        'lr_scheduler': (cfg.g_opt.lr, final.lr, nimg),
        'beta2_scheduler': (cfg.g_opt.beta2, final.beta2, nimg),
        'gamma_scheduler': (cfg.r1.gamma, final.gamma, nimg),
        'ema_scheduler': (cfg.ema.kimg * 1000, final.ema_kimg * 1000, nimg),
        'aug_scheduler': (cfg.aug.p, final.p, nimg),
    }


def test_gamma_between_the_presets_follows_a_power_law() -> None:
    gammas = [r3gan(facts(res), 1).r1.gamma for res in (16, 32, 64, 128, 256)]
    assert gammas == pytest.approx([0.05, 0.05, 2, np.sqrt(2 * 150), 150])
    assert [r3gan_imagenet(facts(res), 1).r1.gamma for res in (32, 64, 128)] == [0.5, 1, 2]


@pytest.mark.parametrize('config', [R3GANGeneratorConfig, R3GANDiscriminatorConfig])
@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'widths': (8, 0, 8, 8)}, r'widths=\(8, 0, 8, 8\): every stage'),
        ({'num_blocks': (1,)}, r'num_blocks=\(1,\): one number per stage: 4'),
        ({'widths': (9,), 'num_blocks': (1,)}, 'group_channels=16: must divide the 18 channels'),
    ],
)
def test_sizes_that_do_not_fit_are_refused_by_name(config: type, fields: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**fields)


def test_a_config_of_another_resolution_is_refused() -> None:
    cfg = r3gan(facts(32), 1)
    with pytest.raises(ConfigError, match='images of 64x64 have 5 stages'):
        build_networks(cfg, facts(64))


# ---- training


@pytest.fixture(scope='module')
def dataset() -> ImageDataset:
    return ImageDataset(DataConfig(resolution=32, cond=True))


def small(dataset: ImageDataset) -> RunConfig:
    """Returns a narrow run with a large learning rate."""
    cfg = narrow(r3gan(dataset.spec, 1))
    optimizer = replace(cfg.g_opt, lr=0.01)
    return replace(cfg, g_opt=optimizer, d_opt=optimizer, batch=8, batch_gpu=8, schedule=replace(cfg.schedule, lr=None))


def batch(dataset: ImageDataset, start: int, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns images and labels from a position on."""
    images = np.stack([dataset.image(i) for i in range(start, start + n)])
    return torch.from_numpy(images), torch.from_numpy(dataset.labels(np.arange(start, start + n)))


def test_d_is_trained_before_g_on_real_images_of_its_own(dataset: ImageDataset) -> None:
    cfg = small(dataset)
    state = build(cfg, dataset.spec, torch.device('cpu'))
    step = TrainStep(cfg, state, dataset, torch.device('cpu'))
    seen: list[tuple[str, torch.Tensor, torch.Tensor]] = []
    labels: list[torch.Tensor] = []
    current = ['']
    run_phase = step.run_phase
    step.run_phase = lambda phase, micros: (current.append(phase.net), run_phase(phase, micros))[1]
    state.D.register_forward_pre_hook(lambda module, args: seen.append((current[-1], *args)))
    state.G.register_forward_pre_hook(lambda module, args: labels.append(args[1]))
    (img, c), (img_G, c_G) = batch(dataset, 0, 8), batch(dataset, 8, 8)
    step(img, c, (img_G, c_G))
    assert [net for net, *_ in seen] == ['D', 'D', 'G', 'G']  # one pass each: the penalties share those of D's loss
    (_, _, fake_c), (_, real, real_c), (_, _, g_c), (_, real_G, _) = seen
    assert torch.equal(real, img / 127.5 - 1)  # p is 0 in the first step
    assert torch.equal(real_G, img_G / 127.5 - 1)
    assert torch.equal(fake_c, real_c)
    assert torch.equal(real_c, c)
    assert torch.equal(g_c, c_G)
    assert [torch.equal(*pair) for pair in zip(labels, (c, c_G), strict=True)] == [True, True]
    for key, value in state.G.state_dict().items():
        assert torch.equal(state.G_ema.state_dict()[key], value)  # half-life 0
    assert state.nimg == 8
    assert state.data_position == 16


def test_the_losses_move(dataset: ImageDataset) -> None:
    cfg = small(dataset)
    state = build(cfg, dataset.spec, torch.device('cpu'))
    step = TrainStep(cfg, state, dataset, torch.device('cpu'))
    means = []
    for _ in range(5):
        state.stats = type(state.stats)()
        for start in range(0, 32, 8):
            step(*batch(dataset, start, 8), batch(dataset, start + 32, 8))
        means.append({name: row['mean'] for name, row in state.stats.summary().items()})
    start = np.log(2)  # the loss of equal logits
    assert means[0]['Loss/D/loss'] == pytest.approx(start, abs=0.05)
    assert min(row['Loss/D/loss'] for row in means) < start - 0.05  # D distinguishes the images
    assert max(row['Loss/G/loss'] for row in means) > start + 0.1
    for name in ('Loss/r1_penalty', 'Loss/r2_penalty'):
        assert means[-1][name] > means[0][name] > 0
    assert all(row['Health/nonfinite_steps'] == 0 for row in means)
