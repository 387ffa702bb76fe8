"""A training step beyond StyleGAN2's own: losses, critics, batches of G, schedules, optimisers, averages."""

import copy
import dataclasses

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dnnlib.errors import ConfigError
from tests.support.steps import CPU, assert_resumes, tiny, train
from training.augment.config import AugmentConfig
from training.build import build
from training.config import EmaConfig, GradientPenaltyConfig, LossConfig, OptimizerConfig, R1Config, R2Config
from training.data.dataset import DataConfig, ImageDataset
from training.objective.lecam import LeCamConfig
from training.optimize.optimizers import lr_scale, make_optimizer, step_unless
from training.optimize.recalibrate import batch_norms, recalibrate
from training.step import TrainStep


@pytest.fixture(scope='module')
def dataset():
    return ImageDataset(DataConfig(resolution=8))


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
    assert counts == {'Loss/G/loss': 3 * 4}  # at steps 0, 3 and 6, four images each
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


@pytest.mark.parametrize('kind', ['adam', 'adagrad', 'rmsprop'])
def test_every_optimiser_steps_as_pytorchs_own_and_leaves_a_step_out(kind):
    net = torch.nn.Linear(3, 2)
    other = copy.deepcopy(net)
    ours = make_optimizer(net, OptimizerConfig(kind=kind, lr=0.01, beta1=0.5, beta2=0.9), None)
    theirs = {
        'adam': lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.5, 0.9)),
        'adagrad': lambda p: torch.optim.Adagrad(p, lr=0.01, eps=1e-8),
        'rmsprop': lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.9),
    }[kind](other.parameters())
    for value in (1.0, -0.3, 0.02):
        for module in (net, other):
            for p in module.parameters():
                p.grad = torch.full_like(p, value)
        step_unless(ours, torch.tensor(False), scale=1)
        theirs.step()
    torch.testing.assert_close(net.state_dict(), other.state_dict())
    before = copy.deepcopy((net.state_dict(), ours.state_dict()))
    net.weight.grad[0, 0] = float('nan')
    step_unless(ours, torch.tensor(True), scale=1)
    assert net.state_dict().keys() == before[0].keys()
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[0][name]), name
    for index, slots in ours.state_dict()['state'].items():
        assert all(torch.equal(slots[slot], before[1]['state'][index][slot]) for slot in slots)


@pytest.mark.parametrize('kind', ['adagrad', 'rmsprop'])
def test_other_optimisers_resume_bit_for_bit(dataset, kind):
    assert_resumes(tiny(dataset, g_opt=OptimizerConfig(kind=kind), d_opt=OptimizerConfig(kind=kind)), dataset, 2, 1)


class Normalised(torch.nn.Module):
    """z -> BN(W z), enough of a generator to measure statistics of."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(4, 3, bias=False)
        self.bn = torch.nn.BatchNorm1d(3)
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, z, c, truncation_psi=1):
        return self.dropout(self.bn(self.fc(z * truncation_psi)))


def test_recalibrated_statistics_are_those_of_the_weights():
    G = Normalised().train()
    G.bn.running_mean.fill_(99)
    torch.manual_seed(0)
    batches = [(torch.randn(64, 4), torch.zeros(64, 0)) for _ in range(50)]
    recalibrate(G, batches)
    y = torch.stack([G.fc(z) for z, _ in batches])  # [batches, N, 3]
    torch.testing.assert_close(G.bn.running_mean, y.mean(dim=(0, 1)))
    torch.testing.assert_close(G.bn.running_var, y.var(dim=1).mean(dim=0))
    assert G.bn.momentum == 0.1
    assert all(module.training for module in G.modules())
    assert batch_norms(G) == [G.bn]


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
    step(img, c)  # optimisers make their state
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
    torch.cuda.set_sync_debug_mode('error')
    try:
        for _ in range(4):
            step(img, c)
    finally:
        torch.cuda.set_sync_debug_mode('default')
