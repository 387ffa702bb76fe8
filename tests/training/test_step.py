"""A training step beyond StyleGAN2's own: losses, critics, batches of G, schedules, optimizers, averages."""

import dataclasses

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dnnlib.errors import ConfigError
from tests.support.gpu import no_waits
from tests.support.steps import CPU, assert_resumes, tiny, train
from training.augment.config import AugmentConfig
from training.build import build
from training.config import EmaConfig, GradientPenaltyConfig, LossConfig, OptimizerConfig, R1Config, R2Config
from training.networks.config import StyleGAN2DiscriminatorConfig, StyleGAN2GeneratorConfig
from training.objective.lecam import LeCamConfig
from training.optimize.optimizers import lr_scale
from training.recipes import auto
from training.step import TrainStep


@pytest.mark.parametrize('kind', ['cross_entropy', 'hinge', 'lsgan', 'wasserstein', 'relativistic'])
def test_every_loss_trains_and_resumes_bit_for_bit(dataset, kind):
    penalties = {'gp': GradientPenaltyConfig(weight=10), 'r2': R2Config(gamma=1), 'r1': R1Config(gamma=1, interval=2)}
    cfg = tiny(dataset, loss=LossConfig(kind=kind), **penalties)
    whole = assert_resumes(cfg, dataset, 2, 2)
    summary = whole.stats.summary()
    assert {'Loss/gradient_penalty', 'Loss/r1_penalty', 'Loss/r2_penalty', 'Loss/G/loss'} <= summary.keys()
    assert summary['Health/nonfinite_steps']['mean'] == 0


def test_d_steps_n_critic_times_for_one_of_g(dataset):
    state, step = train(tiny(dataset, n_critic=3, ema=EmaConfig(kimg=0)), dataset, 7)
    counts = {name: phase['num'] for name, phase in state.stats.summary().items() if name in ('Loss/G/loss',)}
    assert counts == {'Loss/G/loss': 3 * 4}  # steps 0, 3 and 6, four images each
    assert state.stats.summary()['Loss/D/loss']['num'] == 7 * 4
    greg = next(phase for phase in step.phases if phase.name == 'Greg')
    assert (greg.interval, greg.gain) == (3 * 4, 4)


def test_g_takes_a_multiple_of_the_batch(dataset):
    state, _ = train(tiny(dataset, g_batch_mult=2), dataset, 1)
    assert state.stats.summary()['Loss/G/loss']['num'] == 8
    assert state.stats.summary()['Loss/scores/fake']['num'] == 4
    with pytest.raises(ConfigError, match='g_batch_mult=2: the relativistic loss pairs'):
        tiny(dataset, g_batch_mult=2, loss=LossConfig(kind='relativistic'))


def test_learning_rates_fall_linearly_to_zero_at_the_end(dataset):
    assert [lr_scale(nimg, 10, 4) for nimg in (0, 6000, 7000, 9000, 10_000)] == [1, 1, 0.75, 0.25, 0]
    assert lr_scale(10**9, 10, 0) == 1
    state, _ = train(dataclasses.replace(tiny(dataset), kimg=1, lr_decay_kimg=1), dataset, 2)
    (group,) = state.opt_D.param_groups
    assert group['lr'] == pytest.approx(group['initial_lr'] * (1000 - 4) / 1000)


@pytest.mark.parametrize('kind', ['adagrad', 'rmsprop'])
def test_other_optimizers_resume_bit_for_bit(dataset, kind):
    assert_resumes(tiny(dataset, g_opt=OptimizerConfig(kind=kind), d_opt=OptimizerConfig(kind=kind)), dataset, 2, 1)


def test_gradients_lie_in_one_buffer_and_unused_parameters_have_none(dataset):
    state, step = train(tiny(dataset), dataset, 1)
    step.run_phase(
        next(p for p in step.phases if p.name == 'Dreg'), step.split(torch.zeros(4, 3, 8, 8).byte(), torch.zeros(4, 0))
    )
    flat = step.buffers['D'].flat
    held = [p.grad for p in state.D.parameters() if p.grad is not None]
    assert all(g.untyped_storage().data_ptr() == flat.untyped_storage().data_ptr() for g in held)
    assert state.D.b4.out.bias.grad is None  # R1 does not see the last bias


@pytest.mark.parametrize('kind', ['noaug', 'apa'])
def test_a_step_reads_no_tensor_back_to_the_host(dataset, kind):
    """Reading one would make a GPU's host wait. Style mixing's two draws are the host's own, and left out here."""

    class Reads(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.names = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
                self.names.append(str(func))
            return func(*args, **(kwargs or {}))

    cfg = tiny(dataset, style_mixing_prob=0, r2=R2Config(gamma=1), gp=GradientPenaltyConfig(weight=1),
               aug=AugmentConfig(kind=kind, p=0.5, interval=1), lecam=LeCamConfig(weight=1))  # fmt: skip
    state = build(cfg, dataset.spec, CPU)
    step = TrainStep(cfg, state, dataset, CPU)
    img, c = torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.zeros(4, 0)
    step(img, c)  # optimizers make their state
    state.step = 0
    with Reads() as reads:
        step(img, c)  # every phase is due
    assert reads.names == []
    assert {
        'Loss/pl_penalty',
        'Loss/r1_penalty',
        'Loss/gradient_penalty',
        'Loss/D/lecam',
    } <= state.stats.summary().keys()


@pytest.mark.gpu
@pytest.mark.parametrize('kind', ['noaug', 'ada', 'diffaug', 'apa'])
def test_on_a_gpu_the_host_never_waits_in_a_step(dataset, kind):
    """Style mixing's two draws are the host's own. The controller's copies are waited for by an event, if at all."""
    device = torch.device('cuda')
    cfg = tiny(dataset, r1=R1Config(gamma=1, interval=2), r2=R2Config(gamma=1), gp=GradientPenaltyConfig(weight=1),
               aug=AugmentConfig(kind=kind, p=0.5, interval=1), lecam=LeCamConfig(weight=1))  # fmt: skip
    step = TrainStep(cfg, build(cfg, dataset.spec, device), dataset, device)
    img, c = torch.zeros(4, 3, 8, 8, dtype=torch.uint8).pin_memory(), torch.zeros(4, 0).pin_memory()
    step(img, c)
    with no_waits():
        for _ in range(4):
            step(img, c)


@pytest.mark.parametrize('net', ['G', 'D'])
def test_the_micro_batch_of_one_network_leaves_the_gradients_of_the_other(dataset, net):
    def gradients(**sizes):
        cfg = dataclasses.replace(tiny(dataset), batch=8, **sizes)
        state = build(cfg, dataset.spec, torch.device('cpu'))
        step = TrainStep(cfg, state, dataset, torch.device('cpu'))
        split = {name: step.split(img, torch.zeros(8, 0), name) for name in ('G', 'D')}
        found = {}
        for phase in step.phases:
            step.run_phase(phase, split[phase.net])
            found[phase.name] = torch.cat(
                [p.grad.flatten() for p in getattr(state, phase.net).parameters() if p.grad is not None]
            )
            fresh = build(cfg, dataset.spec, torch.device('cpu'))  # no phase sees what another has trained
            for name in ('G', 'D'):
                getattr(state, name).load_state_dict(getattr(fresh, name).state_dict())
        return found

    img = torch.randint(0, 256, [8, 3, 8, 8], generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    large, small = gradients(batch_gpu=8), gradients(batch_gpu=4)
    mixed = gradients(batch_gpu=8, **{f'{net.lower()}_batch_gpu': 4})
    for name, found in mixed.items():
        assert torch.equal(found, (small if name.startswith(net) else large)[name])
        assert not torch.equal(small[name], large[name])


def test_steps_with_two_sizes_of_micro_batches_show_every_image_once(dataset):
    cfg = dataclasses.replace(tiny(dataset), batch=8, batch_gpu=8, g_batch_gpu=2, d_batch_gpu=4)
    state = build(cfg, dataset.spec, torch.device('cpu'))
    step = TrainStep(cfg, state, dataset, torch.device('cpu'))
    sizes = {'G': [], 'D': []}
    run_phase = step.run_phase
    step.run_phase = lambda phase, micros: (
        sizes[phase.net].append([len(micro.img) for micro in micros]), run_phase(phase, micros)
    )  # fmt: skip
    step(torch.zeros(8, 3, 8, 8, dtype=torch.uint8), torch.zeros(8, 0))
    assert sizes['G'][0] == [2, 2, 2, 2]
    assert sizes['D'][0] == [4, 4]
    assert state.nimg == 8


def test_gradient_accumulation_averages(dataset):
    """Two micro-batches of 4 give the gradient of one batch of 8 if no statistic couples samples."""
    widths = {'channel_base': 64, 'channel_max': 8, 'conv_clamp': None}
    base = dataclasses.replace(
        auto(dataset.spec, 1),
        generator=StyleGAN2GeneratorConfig(z_dim=8, w_dim=8, map_depth=1, **widths),
        discriminator=StyleGAN2DiscriminatorConfig(mbstd_channels=0, **widths),
        style_mixing_prob=0, batch=8, batch_gpu=8,
    )  # fmt: skip
    img = torch.randint(0, 256, [8, 3, 8, 8], dtype=torch.uint8)
    gradients = []
    for batch_gpu in (8, 4):
        cfg = dataclasses.replace(base, batch_gpu=batch_gpu)
        state = build(cfg, dataset.spec, torch.device('cpu'))
        step = TrainStep(cfg, state, dataset, torch.device('cpu'))
        phase = next(phase for phase in step.phases if phase.name == 'Dreg')  # R1 sees real images alone: no latents
        step.run_phase(phase, step.split(img, torch.zeros(8, 0)))
        gradients.append(torch.cat([p.grad.flatten() for p in state.D.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-7)
