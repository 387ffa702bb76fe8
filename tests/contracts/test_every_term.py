"""Contract of loss and regularization terms. Registering a term enrolls it here.

A term is switched on by a `weight` (r1 and r2: `gamma`) of 1.
"""

import dataclasses
import functools
import json

import pytest
import torch

from dnnlib.config import fields_of, to_dict
from dnnlib.errors import ConfigError
from dnnlib.registry import load_file
from tests.conftest import ROOT
from tests.support.lpips import lpips, random_lpips  # noqa: F401 (fixtures)
from tests.support.ranks import run_ranks
from tests.support.steps import CPU, assert_resumes, assert_same, tiny, train
from training import terms as trainer
from training.build import build
from training.config import (
    FIELDS,
    TERM_FIELDS,
    LossConfig,
    PathLengthConfig,
    R1Config,
    RunConfig,
    apply_overrides,
    differences,
)  # fmt: skip
from training.data.dataset import DataConfig, ImageDataset
from training.objective.losses import LOSSES, register_loss
from training.objective.term import TERMS, Draw, Micro, Summand, Term, TermConfig, has_hook, register_term
from training.plan import describe_run
from training.record import from_record, plugin_modules, to_record
from training.step import TrainStep

pytestmark = pytest.mark.usefixtures('lpips')

HOOKS = ('attach', 'on_logits', 'between', 'regularize', 'on_generated', 'end_step')


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EverythingConfig(TermConfig):
    """Settings of `Everything`."""

    weight: float = 0.0
    most: int | None = None

    @property
    def active(self) -> bool:
        """Whether the weight is positive."""
        return self.weight > 0

    def describe(self, name: str, cfg: RunConfig) -> str:
        """Returns the words for the plan."""
        return f'everything (weight {self.weight:g})'

    def check(self, name: str, cfg: RunConfig) -> None:
        """Refuses small batches."""
        if self.most is not None and cfg.batch > self.most:
            raise ConfigError(f'{name}.most={self.most}: the batch is {cfg.batch}')


@register_term('test_everything', config=EverythingConfig)
class Everything(Term):
    """Every hook and every kind of memory that a term may have."""

    def __init__(self, cfg, G, D, device):
        super().__init__(cfg, G, D, device)
        self.level = torch.zeros([], dtype=torch.float64, device=device)
        self.mean = torch.zeros([2], device=device)
        self.moving = (self.mean,)
        self._fresh, self._sum = [], torch.zeros([2], dtype=torch.float64, device=device)

    def attach(self, spec):
        self.D.add_module('head', torch.nn.Linear(1, 1))

    def on_logits(self, scored):
        x = scored.logits.detach().double()
        self._fresh.append(torch.stack([x.sum(), x.new_full([], x.numel())]))
        loss = (self.D.head(scored.logits) - self.level.float()).square() * self.cfg.weight  # [N, 1]
        return Summand(loss=loss, statistics={f'Loss/D/{self.name}_{"fake" if scored.generated else "real"}': loss})

    def between(self, real, fake, c):
        t = torch.rand([len(real), 1, 1, 1])
        return Summand(loss=self.D(real.lerp(fake, t), c).square().mean(), statistics={})

    def regularize(self, micro, draw):
        img, c = draw.fakes(len(micro.img))
        z, other = draw.latents(3)
        assert z.shape == (3, self.G.z_dim)
        loss = (draw.score(img, c) - draw.score_real(micro.img, micro.c)).square() + other.sum()
        self.mean.lerp_(torch.stack([loss.mean(), loss.max()]).detach(), 0.5)
        return Summand(loss=loss, statistics={'Loss/D/reg': loss})

    def on_generated(self, img, ws, c, logits):
        assert ws.shape[1:] == (self.G.num_ws, self.G.w_dim)
        loss = img.square().mean(dim=(1, 2, 3)) * 0.1 + ws.mean(dim=(1, 2)) * 0
        return Summand(loss=loss, statistics={'Loss/G/test_everything': loss}) if len(img) > 1 else None

    def take(self):
        fresh, self._fresh = self._fresh, []
        return torch.stack(fresh) if fresh else self._sum.new_zeros([0, 2])

    def absorb(self, rows):
        self._sum = self._sum + rows.sum(dim=(0, 1))

    def end_step(self):
        self.level = self.level.lerp(self._sum[0] / self._sum[1], 0.5)
        self._sum = torch.zeros_like(self._sum)

    def state_dict(self):
        return {'level': self.level.item(), 'mean': self.mean.tolist()}

    def load_state_dict(self, state):
        self.level = self.level.new_tensor(state['level'])
        self.mean.copy_(torch.tensor(state['mean']))


TERMS.load_all()
load_file(ROOT / 'examples' / 'my_loss_term.py')
NAMES = TERMS.names()
FURTHER = [name for name in NAMES if name not in TERM_FIELDS]


@pytest.fixture(scope='module')
def datasets():
    return {size: ImageDataset(DataConfig(resolution=size)) for size in (16, 64)}


@pytest.fixture
def dataset(datasets, request):
    """Images of 16x16; of 64x64 for GLeaD, whose LPIPS sees no smaller ones."""
    name = request.node.callspec.params.get('name') if hasattr(request.node, 'callspec') else None
    return datasets[64 if name == 'glead' else 16]


def plain(dataset):
    """Returns a run without any term, whose lazy phases are due every second step."""
    return tiny(dataset, r1=R1Config(gamma=0, interval=2), pl=PathLengthConfig(weight=0, interval=2))


def switch(name):
    """Returns the path that switches a term on."""
    return f'{name}.weight' if 'weight' in fields_of(TERMS.get(name).config()) else f'{name}.gamma'


def active(dataset, name):
    """Returns the same run with one term."""
    return apply_overrides(plain(dataset), {switch(name): 1.0})


def test_the_seven_terms_are_registered_and_the_example_is_among_the_others():
    assert set(TERM_FIELDS) <= set(NAMES)
    assert 'bcr' in FURTHER
    assert not set(FURTHER) & set(FIELDS)


@pytest.mark.parametrize('name', FURTHER)
def test_a_term_is_off_by_default_and_then_leaves_no_trace(dataset, name):
    assert not TERMS.get(name).config().active
    cfg = apply_overrides(plain(dataset), {switch(name): 0.0})
    assert build(cfg, dataset.spec, CPU).terms == {}
    assert name not in to_record(plain(dataset), dataset.spec)['config']


@pytest.mark.parametrize('name', NAMES)
def test_a_config_is_set_recorded_and_read_back(dataset, name):
    cfg = active(dataset, name)
    assert cfg.all_terms()[name].active
    record = json.loads(json.dumps(to_record(cfg, dataset.spec)))
    assert record['config'][name] == to_dict(cfg.all_terms()[name])
    assert from_record(record) == (cfg, dataset.spec)
    changed = [path for path, _, _ in differences(plain(dataset), cfg)]
    assert switch(name) in changed
    assert all(path.startswith(f'{name}.') for path in changed)
    assert cfg.all_terms()[name].describe(name, cfg) in describe_run(cfg, dataset.spec, 'run')


@pytest.mark.parametrize('name', NAMES)
def test_a_term_trains_reports_and_stays_finite(dataset, name, monkeypatch):
    seen, mean = [], Summand.mean
    monkeypatch.setattr(Summand, 'mean', lambda self: (seen.append(self), mean(self))[1])
    (state, step), (without, _) = train(active(dataset, name), dataset, 2), train(plain(dataset), dataset, 2)
    (term,) = state.terms.values()
    assert type(term) is TERMS.get(name).build
    assert any(has_hook(term, hook) for hook in HOOKS)
    assert {(), (1,), (2,), (2, 1)} >= {tuple(summand.loss.shape) for summand in seen} > set()
    assert all(summand.loss.requires_grad for summand in seen)
    assert all(key.startswith('Loss/') for summand in seen for key in summand.statistics)
    assert set(state.stats.summary()) > set(without.stats.summary())
    assert state.stats.summary()['Health/nonfinite_steps']['mean'] == 0
    before = without.tensors()
    assert any(not torch.equal(value, before[key]) for key, value in state.tensors().items() if key in before)
    assert (f'{term.net}reg' in {phase.name for phase in step.phases}) == has_hook(term, 'regularize')


@pytest.mark.parametrize('name', NAMES)
def test_a_term_is_deterministic_and_resumes_bit_for_bit(dataset, name):
    cfg = active(dataset, name)
    whole = assert_resumes(cfg, dataset, 1, 2)
    assert_same(whole, train(cfg, dataset, 3)[0])


def trained_by(world, cfg, dataset):
    """Trains two steps in this process.

    Args:
        world: Processes of the run.
        cfg: Config of the run.
        dataset: Data set.

    Returns:
        Bytes of each tensor, and the scalars.
    """
    cfg = dataclasses.replace(cfg, gpus=world.size)
    state = build(cfg, dataset.spec, CPU)
    step = TrainStep(cfg, state, dataset, CPU, world)
    draw = torch.Generator().manual_seed(3)
    for _ in range(2):
        size = [4, 3, dataset.spec.height, dataset.spec.width]
        img = torch.randint(0, 256, size, dtype=torch.uint8, generator=draw)
        step(img.chunk(world.size)[world.rank], torch.zeros(4 // world.size, 0))
    return {name: value.numpy().tobytes() for name, value in state.tensors().items()}, state.scalars()


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_two_processes_give_the_bits_of_one(dataset, name):
    cfg = dataclasses.replace(active(dataset, name), deterministic=True)
    (alone,), several = run_ranks(1, trained_by, cfg, dataset), run_ranks(2, trained_by, cfg, dataset)
    assert alone == several[0] == several[1]


# ---- the seam


def test_terms_run_in_their_order_main_phase_first_and_g_before_d(datasets):
    dataset = datasets[64]
    cfg = dataclasses.replace(apply_overrides(plain(dataset), {switch(name): 1.0 for name in NAMES}), batch_gpu=4)
    state = build(cfg, dataset.spec, CPU)
    assert list(state.terms) == list(cfg.all_terms()) == [*TERM_FIELDS, *sorted(FURTHER)]
    calls = []
    for name, term in state.terms.items():
        for hook in HOOKS[1:]:
            spy = functools.partial(lambda name, hook, method, *args: (calls.append((name, hook)), method(*args))[1],
                                    name, hook, getattr(term, hook))  # fmt: skip
            setattr(term, hook, spy)
    step = TrainStep(cfg, state, dataset, CPU)
    step(torch.zeros(4, 3, 64, 64, dtype=torch.uint8), torch.zeros(4, 0))

    def of(hook, net=None):
        return [(name, hook) for name, term in state.terms.items()
                if has_hook(term, hook) and net in (None, term.net)]  # fmt: skip

    assert calls == [
        *of('on_generated'), *of('regularize', 'G'),
        *of('on_logits'), *of('on_logits'), *of('between'), *of('regularize', 'D'),
        *of('end_step'),
    ]  # fmt: skip


def test_a_saved_state_holds_a_terms_memory_under_its_name(dataset):
    state, _ = train(active(dataset, 'test_everything'), dataset, 2)
    scalars = state.scalars()
    assert list(scalars)[:6] == ['nimg', 'step', 'tick', 'tick_start_nimg', 'retry', 'stats']
    assert scalars['test_everything'] == state.terms['test_everything'].state_dict()
    assert scalars['test_everything']['level'] != 0
    assert set(scalars['test_everything']['mean']) != {0.0}
    lecam = apply_overrides(active(dataset, 'test_everything'), {'lecam.weight': 1.0, 'aug.kind': 'ada'})
    assert list(build(lecam, dataset.spec, CPU).parts) == ['controller', 'lecam', 'test_everything', 'guardian']


def test_a_phase_that_was_not_finite_leaves_no_trace_in_moving_tensors(dataset, monkeypatch):
    state, step = train(active(dataset, 'test_everything'), dataset, 1)
    before = state.terms['test_everything'].mean.clone()

    def faulty(self, micro, draw):
        self.mean.fill_(9)
        return Summand(loss=draw.score(micro.img, micro.c) * float('nan'))

    monkeypatch.setattr(Everything, 'regularize', faulty)
    phase = next(phase for phase in step.phases if phase.name == 'Dreg')
    step.run_phase(phase, step.split(torch.zeros(4, 3, 16, 16, dtype=torch.uint8), torch.zeros(4, 0)))
    assert torch.equal(state.terms['test_everything'].mean, before)


def test_each_set_of_labels_in_a_micro_batch_is_a_draw_of_its_own(dataset, monkeypatch):
    state, step = train(plain(dataset), dataset, 0)
    purposes = []
    monkeypatch.setattr(
        step.fakes, 'labels', lambda index, n, purpose: (purposes.append(purpose), torch.zeros(n, 0))[1]
    )
    draw: Draw = trainer.LazyDraw(state, step.fakes, step.view, 'D', Micro(img=None, c=None, index=0))
    draw.fakes(1)
    for n in (2, 3):
        assert len(draw.latents(n)[0]) == n
    assert purposes == ['Dreg', 'Dreg 1', 'Dreg 2']


def test_a_hook_that_returns_a_bare_tensor_is_refused(dataset, monkeypatch):
    monkeypatch.setattr(Everything, 'on_logits', lambda self, scored: scored.logits)
    with pytest.raises(TypeError, match='a hook of a term returns a Summand or None, not a Tensor'):
        train(active(dataset, 'test_everything'), dataset, 1)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'test_everythin.weight': 1}, "'test_everythin' is not a config field; did you mean 'test_everything'?"),
        ({'mine.weight': 1}, 'terms of a plug-in need --plugin=FILE'),
        ({'terms': 1}, "'terms' is not a config field"),
        ({'test_everything': 1}, "'test_everything' has fields, change one of them: weight, most"),
        ({'test_everything.wait': 1}, "'test_everything.wait' is not a config field; did you mean 'weight'?"),
        ({'test_everything.weight': 'much'}, 'test_everything.weight=much: expected a number'),
        ({'test_everything.weight': 1, 'test_everything.most': 2}, 'test_everything.most=2: the batch is 4'),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(dataset, changes, message):
    with pytest.raises(ConfigError) as error:
        apply_overrides(plain(dataset), changes)
    assert message in str(error.value)


def test_a_run_and_a_term_change_together(dataset):
    cfg = apply_overrides(plain(dataset), {'test_everything.weight': 1, 'test_everything.most': 8, 'batch': 8})
    assert cfg.terms['test_everything'].most == 8
    cfg = apply_overrides(cfg, {'test_everything.most': 'none', 'batch': 16})
    assert cfg.terms['test_everything'] == EverythingConfig(weight=1.0)
    with pytest.raises(ConfigError, match='bcr=EverythingConfig: a config of the class ConsistencyConfig'):
        dataclasses.replace(plain(dataset), terms={'bcr': EverythingConfig()})


# ---- losses


@register_loss('test_exponential')
class Exponential:
    """exp(-D(x)) for real images, exp(D(G(z))) for generated ones, bounded."""

    boundary = 0.0

    def generator(self, fake_logits):
        return (-fake_logits).tanh().exp()

    def discriminator_fake(self, fake_logits):
        return fake_logits.tanh().exp()

    def discriminator_real(self, real_logits):
        return (-real_logits).tanh().exp()


@pytest.mark.parametrize('kind', LOSSES.names())
def test_every_loss_trains_resumes_and_is_recorded(dataset, kind):
    cfg = apply_overrides(plain(dataset), {'loss.kind': kind})
    whole = assert_resumes(cfg, dataset, 1, 1)
    assert whole.stats.summary()['Health/nonfinite_steps']['mean'] == 0
    assert from_record(json.loads(json.dumps(to_record(cfg, dataset.spec))))[0] == cfg
    assert plugin_modules(cfg) == ([__name__] if kind == 'test_exponential' else [])
    assert cfg.loss.boundary is LossConfig(kind=kind).boundary


def test_a_loss_without_its_parts_is_refused_when_it_registers():
    with pytest.raises(TypeError, match='Half needs `boundary` and the methods of Separable or Paired'):
        register_loss('half')(type('Half', (), {'boundary': None, 'generator': lambda self, x: x}))
    assert 'half' not in LOSSES.names()
