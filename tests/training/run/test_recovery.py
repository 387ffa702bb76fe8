"""Promise R7: what is not finite changes nothing, is counted, and is answered as --on-nan says."""

import json

import pytest
import torch

from dnnlib.errors import UserError
from tests.support.faulty_runs import Run, poison
from tests.support.steps import CPU, assert_same, tiny
from torch_utils import checkpoint
from torch_utils.stats import Collector
from training.build import build
from training.config import OptimizerConfig, R1Config
from training.data.dataset import DataConfig, ImageDataset
from training.objective.losses import LOSSES
from training.optimize.health import NONFINITE, OVERFLOW, Undo, guarded_step
from training.optimize.loss_scale import FIRST, INTERVAL, LossScale
from training.optimize.optimizers import GradientBuffer, make_optimizer
from training.step import TrainStep

BAD = [float('nan'), float('inf')]


@pytest.fixture(scope='module')
def dataset():
    return ImageDataset(DataConfig(resolution=8))


def batch():
    return torch.full([4, 3, 8, 8], 99, dtype=torch.uint8), torch.zeros(4, 0)


def tensors_of(state):
    return {name: value.clone() for name, value in state.tensors().items()}


# ---- found, and kept from doing harm


@pytest.mark.parametrize('value', BAD)
def test_losses_that_are_not_finite_change_nothing_though_every_gradient_is_finite(dataset, monkeypatch, value):
    cfg = tiny(dataset, r1=R1Config(gamma=0))
    state = build(cfg, dataset.spec, CPU)
    step = TrainStep(cfg, state, dataset, CPU)
    step(*batch())
    before, loss = tensors_of(state), LOSSES['logistic']
    for name in ('generator', 'discriminator_real'):
        original = getattr(loss, name)
        monkeypatch.setattr(loss, name, lambda self, logits, f=original: f(self, logits) + value)
    state.stats = Collector()
    for phase in step.phases:
        if phase.name in ('Gmain', 'Dmain'):
            step.run_phase(phase, step.split(*batch()))
    assert all(p.grad is None or p.grad.isfinite().all() for p in state.D.parameters())
    assert all(torch.equal(value, before[name]) for name, value in tensors_of(state).items())
    assert state.stats.summary()[NONFINITE] == {'num': 2, 'mean': 1.0, 'std': 0.0}


@pytest.mark.parametrize('value', BAD)
def test_a_gradient_that_is_not_finite_changes_neither_weights_nor_optimiser(dataset, value):
    cfg = tiny(dataset)
    state = build(cfg, dataset.spec, CPU)
    step = TrainStep(cfg, state, dataset, CPU)
    step(*batch())
    poison(state, lambda state: True, value)
    before = tensors_of(state)
    step(*batch())
    after = tensors_of(state)
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith(('D.', 'opt_D.')))
    assert not torch.equal(after['G.synthesis.b4.conv1.weight'], before['G.synthesis.b4.conv1.weight'])
    assert state.stats.summary()[NONFINITE]['mean'] > 0


def test_running_statistics_forget_a_phase_that_was_not_finite(dataset):
    net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
    undo, x = Undo(net), torch.randn(8, 4)
    net(x)
    sound = net[1].running_mean.clone()
    undo.remember()
    net(x * float('inf'))
    assert not net[1].running_mean.isfinite().any()
    undo.where(torch.tensor(True))
    assert torch.equal(net[1].running_mean, sound)
    undo.remember()
    net(x)
    moved = net[1].running_var.clone()
    undo.where(torch.tensor(False))
    assert torch.equal(net[1].running_var, moved)


def test_path_lengths_that_are_not_finite_do_not_enter_their_mean(dataset):
    cfg = tiny(dataset)
    state = build(cfg, dataset.spec, CPU)
    step = TrainStep(cfg, state, dataset, CPU)
    step(*batch())
    before = state.pl_mean.clone()
    greg = next(phase for phase in step.phases if phase.name == 'Greg')
    with torch.no_grad():
        weight = state.G.synthesis.b8.conv1.weight
        kept = weight.clone()
        weight[0, 0] = float('nan')
    step.run_phase(greg, step.split(*batch()))
    assert torch.equal(state.pl_mean, before)
    with torch.no_grad():
        weight.copy_(kept)
    step.run_phase(greg, step.split(*batch()))
    assert state.pl_mean.isfinite()
    assert state.pl_mean != before


def make_step(gradient, on_nan, loss=0.0, scale=None):
    """One guarded step of a linear layer; its weights before and after, and the statistics."""
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 1, bias=False)
    optimizer, stats = make_optimizer(net, OptimizerConfig(lr=0.1, beta1=0.0), None), Collector()
    before = net.weight.detach().clone()
    net.weight.grad = torch.tensor([gradient])
    packed = GradientBuffer(net).gather(torch.tensor(loss))
    guarded_step(optimizer, packed, 1.0, on_nan=on_nan, loss_scale=scale, stats=stats)
    return before, net.weight.detach(), net.weight.grad, stats.summary()


def test_mask_steps_on_what_is_left():
    before, after, grad, stats = make_step([float('nan'), float('inf'), -float('inf')], 'mask')
    assert grad.tolist() == [[0.0, 1e5, -1e5]]  # as StyleGAN2-ADA
    assert (after - before)[0].tolist() == pytest.approx([0, -0.1, 0.1], rel=1e-5)
    assert stats[NONFINITE]['mean'] == 1


@pytest.mark.parametrize('on_nan', ['skip', 'rollback', 'abort'])
def test_all_else_does_not_step(on_nan):
    before, after, _, stats = make_step([1.0, float('nan'), 2.0], on_nan)
    assert torch.equal(before, after)
    assert stats[NONFINITE]['mean'] == 1


# ---- answered at the end of the tick


def test_skip_and_mask_go_on_and_say_so(tmp_path):
    for on_nan, told in (('skip', 'those steps were skipped'), ('mask', 'their gradients were masked')):
        run = Run(tmp_path / on_nan, on_nan=on_nan)
        state = run.go(lambda state: poison(state, lambda s: s.nimg == 12))
        assert state.nimg == 40
        assert told in run.log
        assert all(value.isfinite().all() for value in state.tensors().values())
        counts = [json.loads(line)[NONFINITE] for line in run.folder.stats.read_text().splitlines()]
        assert sum(round(count['mean'] * count['num']) for count in counts) == 1


def test_abort_ends_the_run_and_keeps_the_states_from_before(tmp_path):
    run = Run(tmp_path / 'abort', on_nan='abort')
    with pytest.raises(UserError, match=r'not finite in 1 of \d optimizer steps of this tick, and --on-nan=abort'):
        run.go(lambda state: poison(state, lambda s: s.nimg == 24))
    newest = run.folder.newest_state(pytest.fail)
    assert newest.name == '000000020'  # ticks end at 4, 12, 20, 28
    assert run.go().nimg == 40


def test_rollback_goes_on_from_the_newest_state_with_other_draws_and_other_images(tmp_path, monkeypatch):
    run = Run(tmp_path / 'rollback', on_nan='rollback')
    seen = []
    call = TrainStep.__call__

    def watched(self, img, c):
        seen.append((self.state.nimg, self.state.retry, img))
        call(self, img, c)

    monkeypatch.setattr(TrainStep, '__call__', watched)
    state = run.go(lambda state: poison(state, lambda s: s.nimg == 24 and s.retry == 0))
    assert (state.nimg, state.retry) == (40, 1)
    assert 'rolled back from 0.03 kimg to' in run.log
    assert [(nimg, retry) for nimg, retry, _ in seen[4:10]] == [(16, 0), (20, 0), (24, 0), (20, 1), (24, 1), (28, 1)]
    assert not torch.equal(seen[5][2], seen[7][2])
    lines = [json.loads(line) for line in run.folder.stats.read_text().splitlines()]
    assert [line['nimg'] for line in lines] == [4, 12, 20, 28, 36, 40]
    assert [line['Health/rollbacks']['mean'] for line in lines] == [0, 0, 0, 1, 1, 1]
    assert all(line[NONFINITE]['mean'] == 0 for line in lines)


def one_fault(state):
    poison(state, lambda s: s.nimg == 20 and s.retry == 0)


@pytest.fixture(scope='module')
def rolled_back(tmp_path_factory):
    return Run(tmp_path_factory.mktemp('whole') / 'run', on_nan='rollback', tick=0.012).go(one_fault)


@pytest.mark.parametrize('moment', [(24, 0), (16, 1), (24, 1), (32, 1)])
def test_a_run_that_is_stopped_around_a_rollback_ends_with_the_same_bits(tmp_path, rolled_back, moment):
    """nimg and rollbacks so far when the run is asked to stop. Ticks end at 16 and 28, the fault is at 20."""
    run = Run(tmp_path / 'stopped', on_nan='rollback', tick=0.012)
    stopped = run.go(one_fault, stop=lambda s: (s.nimg, s.retry) == moment)
    assert (stopped.nimg, stopped.retry) == moment
    assert_same(run.go(one_fault), rolled_back)


def test_what_no_rollback_cures_ends_the_run_after_three_in_a_row(tmp_path):
    run = Run(tmp_path / 'incurable', on_nan='rollback')
    tries = []
    with pytest.raises(UserError, match=r'for the 4th time from .*000000020 .*: the settings are the cause'):
        run.go(lambda state: poison(state, lambda s: s.nimg == 24 and (tries.append(s.retry) or True)))
    assert sorted(set(tries)) == [0, 1, 2, 3]
    assert [path.name for path in checkpoint.list_states(run.folder.states)] == ['000000012', '000000020']


def test_a_fault_before_any_state_says_that_there_is_nothing_to_go_back_to(tmp_path):
    run = Run(tmp_path / 'early', on_nan='rollback')
    with pytest.raises(UserError, match='--on-nan=rollback has no state to return to'):
        run.go(lambda state: poison(state, lambda s: True))


# ---- float16


def test_gradients_too_small_for_float16_arrive_once_the_loss_is_scaled():
    x = torch.full([1000], 3.0, dtype=torch.float16, requires_grad=True)
    (x.float() * 1e-9).sum().backward()
    assert not x.grad.any()
    x.grad, scale = None, LossScale(CPU)
    ((x.float() * 1e-9).sum() * scale.factor).backward()
    torch.testing.assert_close(x.grad.float() / scale.factor, torch.full([1000], 1e-9), rtol=1e-3, atol=0)


def test_the_factor_changes_nothing_but_the_range():
    plain = make_step([1.0, -0.3, 0.7], 'skip')
    scale = LossScale(CPU)
    scaled = make_step([value * FIRST for value in (1.0, -0.3, 0.7)], 'skip', scale=scale)
    assert torch.equal(plain[1], scaled[1])
    assert torch.equal(plain[2], scaled[2])
    assert scaled[3][OVERFLOW]['mean'] == 0


def test_an_overflow_halves_the_factor_and_is_no_fault_until_that_is_one():
    scale = LossScale(CPU)
    for on_nan in ('skip', 'mask'):
        before, after, _, stats = make_step([1.0, float('inf'), 0.7], on_nan, scale=scale)
        assert torch.equal(before, after)
        assert (stats[OVERFLOW]['mean'], stats[NONFINITE]['mean']) == (1, 0)
    assert scale.factor == FIRST / 4
    scale.load_state_dict({'factor': 1.0, 'clean': 0.0})
    assert make_step([1.0, float('inf'), 0.7], 'skip', scale=scale)[3][NONFINITE]['mean'] == 1
    assert scale.factor == 1


def test_a_loss_that_is_not_finite_is_a_fault_at_any_factor():
    scale = LossScale(CPU)
    stats = make_step([1.0, 2.0, 0.7], 'skip', loss=float('nan'), scale=scale)[3]
    assert (stats[OVERFLOW]['mean'], stats[NONFINITE]['mean']) == (0, 1)
    assert scale.factor == FIRST


def test_the_factor_doubles_after_enough_clean_steps_and_goes_to_disk_and_back():
    scale, other = LossScale(CPU), LossScale(CPU)
    for _ in range(INTERVAL - 1):
        scale.update(torch.tensor(False))
    assert scale.factor == FIRST
    other.load_state_dict(json.loads(json.dumps(scale.state_dict())))
    for each in (scale, other):
        each.update(torch.tensor(False))
        assert each.factor == 2 * FIRST
    assert scale.state_dict() == other.state_dict()


def test_float16_trains_finds_its_factor_and_resumes_bit_for_bit(tmp_path):
    from training.config import with_precision

    def run(name):
        run = Run(tmp_path / name)
        run.cfg = with_precision(run.cfg, 'fp16')
        return run

    def too_far(state):
        if state.nimg == 0:
            state.scale_D.load_state_dict({'factor': 2.0**24, 'clean': 0.0})

    whole = run('whole').go(too_far)
    assert whole.scale_D.factor < 2**24
    assert whole.scale_G.factor >= 1
    assert all(value.isfinite().all() for value in whole.tensors().values())
    stopped = run('stopped')
    assert stopped.go(too_far, stop=lambda s: s.nimg == 24).nimg == 24
    assert_same(stopped.go(too_far), whole)
