"""The guardian speaks once when something begins, says what to do, and remembers across resumes."""

import json
from pathlib import Path

import pytest
import torch

from dnnlib.errors import ConfigError
from tests.support.faulty_runs import Run
from tests.support.steps import assert_same
from torch_utils import checkpoint
from training.objective.losses import LossConfig
from training.optimize.diversity import Diversity
from training.optimize.guardian import Guardian, GuardianConfig, rises_in_a_row
from training.run import recovery
from training.run.sheets import SampleSheet


def guardian(adapts=False, loss='logistic', **changes):
    return Guardian(GuardianConfig(ticks=3, **changes), adapts, LossConfig(kind=loss).boundary)


def reloaded(before, **options):
    """Returns it as it comes back from disk."""
    after = guardian(**options)
    after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    return after


def test_a_d_that_knows_the_images_is_told_once_with_the_remedy():
    watch = guardian()
    told = [watch.tick(sign, False) for sign in (0.97, 0.97, 0.97, 0.99, 0.99)]
    assert [len(lines) for lines in told] == [0, 0, 1, 0, 0]
    assert 'mean sign on them is 0.97, above 0.95 for 3 ticks' in told[2][0]
    assert '--aug=ada' in told[2][0]
    assert not watch.tick(0.5, False)
    assert [len(watch.tick(0.97, False)) for _ in range(3)] == [0, 0, 1]  # it began again


def test_where_ada_is_on_the_remedy_is_another():
    watch = guardian(adapts=True)
    (line,) = [line for _ in range(3) for line in watch.tick(0.97, False)]
    assert '--aug=ada' not in line
    assert 'more images' in line


@pytest.mark.parametrize('sign', [0.95, float('nan'), -1.0])
def test_signs_that_are_not_above_the_limit_are_no_fault(sign):
    watch = guardian()
    assert [watch.tick(sign, False) for _ in range(5)] == [[]] * 5


@pytest.mark.parametrize('loss', ['lsgan', 'wasserstein', 'relativistic'])
def test_signs_are_not_watched_where_they_are_no_verdict(loss):
    watch = guardian(loss=loss)
    assert [watch.tick(1.0, False) for _ in range(5)] == [[]] * 5


def test_a_strength_at_its_cap_is_told_once():
    watch = guardian(adapts=True)
    told = [watch.tick(0.6, True) for _ in range(5)]
    assert [len(lines) for lines in told] == [0, 0, 1, 0, 0]
    assert 'been at its cap for 3 ticks' in told[2][0]


def test_a_resumed_run_says_what_an_undisturbed_one_says():
    whole = guardian(adapts=True)
    parts = guardian(adapts=True)
    for nimg, (sign, mean) in enumerate(((0.97, 0.9), (0.97, 0.4), (0.98, 0.3), (0.99, 0.2))):
        parts = reloaded(parts, adapts=True)
        assert parts.tick(sign, True) == whole.tick(sign, True)
        assert parts.samples(varied(mean), nimg) == whole.samples(varied(mean), nimg)
        assert (parts.alike, parts.varied_nimg) == (nimg >= 2, 0)
        assert parts.state_dict() == whole.state_dict()


def varied(mean, least=None):
    return Diversity(mean=mean, least=mean if least is None else least)


def lines_of(curve, **changes):
    """Returns the number of warnings at each snapshot of a curve of (nimg, mean, least)."""
    watch = guardian(**changes)
    return [len(watch.samples(varied(mean, least), nimg)) for nimg, mean, least in curve]


def test_samples_that_grow_alike_are_told_once():
    watch = guardian()
    assert watch.samples(varied(0.9), 1000) == []
    assert watch.samples(varied(0.3, 0.1), 2000) == []
    (line,) = watch.samples(varied(0.3, 0.1), 3000)
    assert 'differ only 0.30 times as much as real images of a class (the least varied class: 0.10)' in line
    assert watch.alike
    assert watch.varied_nimg == 1000
    assert watch.samples(varied(0.2), 4000) == []
    assert watch.samples(varied(0.9), 5000) == []
    assert not watch.alike
    assert [len(watch.samples(varied(0.3), nimg)) for nimg in (6000, 7000)] == [0, 1]


def test_a_class_with_one_picture_is_enough():
    assert lines_of([(1, 0.8, 0.6), (2, 0.8, 0.2), (3, 0.8, 0.1)]) == [0, 0, 1]


def test_a_run_that_begins_with_similar_samples_is_healthy_while_diversity_grows():
    assert lines_of([(1, 0.01, 0.0), (2, 0.1, 0.05), (3, 0.2, 0.1), (4, 0.3, 0.2), (5, 0.45, 0.3)]) == [0] * 5
    assert sum(lines_of([(1, 0.2, 0.1), (2, 0.21, 0.1), (3, 0.2, 0.1)])) == 1


RUNS = json.loads(Path(__file__).with_name('recorded_diversity.json').read_text())


@pytest.mark.parametrize('name', RUNS)
def test_recorded_runs_cause_a_warning_if_and_only_if_they_collapsed(name):
    run = RUNS[name]
    assert (sum(lines_of(run['curve'])) > 0) == run['collapsed']


def test_there_are_recorded_runs_of_both_kinds():
    collapsed = [run['collapsed'] for run in RUNS.values()]
    assert collapsed.count(True) >= 3
    assert collapsed.count(False) >= 10


def test_a_state_of_version_1_is_read():
    watch = guardian()
    in_a_row = {'signs': 0, 'cap': 0, 'alike': 1}
    watch.load_state_dict({'in_a_row': in_a_row, 'most_diverse': 33.2, 'returned_to': None})
    assert watch.samples(varied(0.1), 1000) == []


@pytest.mark.parametrize(
    ('values', 'lower', 'rises'),
    [([], True, 0), ([5], True, 0), ([5, 6], True, 1), ([5, 6], False, 0), ([3, 1, 2, 4, 5], True, 3),
     ([5, 4, 3, 2], False, 3), ([1, 2, 2], True, 0), ([1, 2, 3, 1], True, 0)],
)  # fmt: skip
def test_rises_in_a_row_are_those_at_the_end(values, lower, rises):
    assert rises_in_a_row(values, lower) == rises


def test_a_metric_that_rises_is_told_when_it_has_risen_often_enough_and_not_again():
    watch = guardian(rises=2)
    told = [watch.metric([5, 4, 6, 7, 8][: n + 1], True) for n in range(5)]
    assert [len(lines) for lines in told] == [0, 0, 0, 1, 0]
    assert 'become worse 2 times in a row, from 4 to 7: the best was 4' in told[3][0]


@pytest.mark.parametrize(
    'changes', [{'ticks': 0}, {'sign': 2}, {'diversity': -1}, {'rises': 0}, {'mode': 'sometimes'}], ids=str
)
def test_values_that_make_no_sense_are_refused_by_name(changes):
    (name,) = changes
    with pytest.raises(ConfigError, match=rf'guardian\.{name}='):
        GuardianConfig(**changes)


# ---- in a run


class Scores:
    """An evaluator whose result is a function of the images shown and of the rollbacks so far."""

    names = ('fd',)

    def __init__(self, score):
        self.score, self.state = score, None

    def __call__(self, G_ema, names):
        yield 'fd', {'results': {'fd': self.score(self.state.nimg, self.state.retry)}, 'metric': 'fd'}

    def lower_is_better(self, name):
        return True


def go(run, score, **options):
    """Snapshots are measured at 12, 20, 28, 36 and 40 images."""
    scores = Scores(score)
    return run.go(lambda state: setattr(scores, 'state', state), evaluate=scores, **options)


def make_run(path, mode, **changes):
    config = GuardianConfig(mode=mode, rises=2, diversity=0, **changes)
    return Run(path, guardian=config, snap=1)


def worse(nimg, retry):
    return nimg if retry == 0 else 1000 - nimg


def test_by_default_a_rising_metric_is_only_told(tmp_path):
    run = make_run(tmp_path / 'warn', 'warn')
    state = go(run, worse)
    assert (state.nimg, state.retry) == (40, 0)
    assert run.log.count('the metric has become worse 2 times in a row') == 1


def test_off_is_silent(tmp_path):
    run = make_run(tmp_path / 'off', 'off')
    assert go(run, worse).guardian is None
    assert 'become worse' not in run.log


@pytest.fixture(scope='module')
def rolled_back(tmp_path_factory):
    """A run that went back to its best state, and its end."""
    run = make_run(tmp_path_factory.mktemp('back') / 'run', 'rollback')
    return run, go(run, worse)


def test_a_rollback_goes_to_the_best_state_and_on_with_other_draws(rolled_back):
    run, state = rolled_back
    assert (state.nimg, state.retry, state.guardian.returned_to) == (40, 1, 12)
    assert 'rolled back from 0.03 kimg to' in run.log
    assert [line['nimg'] for line in run.folder.results('fd')] == [12, 20, 28, 36, 40]
    assert [next(iter(line['results'].values())) for line in run.folder.results('fd')] == [12, 980, 972, 964, 960]


def test_there_is_one_rollback_to_a_best_state(tmp_path):
    run = make_run(tmp_path / 'once', 'rollback')
    state = go(run, lambda nimg, retry: nimg)
    assert (state.nimg, state.retry) == (40, 1)
    assert run.log.count('rolled back from') == 1


@pytest.mark.parametrize('moment', [(28, 0), (12, 1), (20, 1)])
def test_a_run_that_is_stopped_around_a_rollback_ends_with_the_same_bits(tmp_path, rolled_back, moment):
    run = make_run(tmp_path / 'stopped', 'rollback')
    stops = []

    def stop(state):  # (28, 0): while measuring, so that the snapshot is measured on resume
        if (state.nimg, state.retry) == moment:
            stops.append(moment)
        return bool(stops)

    go(run, worse, stop=stop)
    assert stops
    assert_same(go(run, worse), rolled_back[1])


def test_a_best_state_that_is_damaged_is_told_once_and_no_reason_to_stop(tmp_path, monkeypatch):
    run = make_run(tmp_path / 'damaged', 'rollback')
    damage_of = recovery.damage_of

    def damaged(folder, path):
        (path / checkpoint.MANIFEST).unlink()
        return damage_of(folder, path)

    monkeypatch.setattr(recovery, 'damage_of', damaged)
    state = go(run, worse)
    assert (state.nimg, state.retry) == (40, 0)
    assert run.log.count('cannot return to the best snapshot, training continues') == 1


def test_sheets_that_grow_alike_are_told_and_rolled_back(tmp_path, monkeypatch):
    run = Run(tmp_path / 'alike', snap=1, guardian=GuardianConfig(mode='rollback', rises=99))
    drawn = []

    def draw_fakes(self, G_ema, batch_size):
        reals = torch.from_numpy(self.reals())
        drawn.append(reals[:1].expand_as(reals) if len(drawn) in (3, 4) else reals)  # sheets at 28 and 36 images
        return drawn[-1]

    monkeypatch.setattr(SampleSheet, 'draw_fakes', draw_fakes)
    state = go(run, lambda nimg, retry: abs(nimg - 20))
    assert 'samples of a class differ only 0.00 times as much as real images' in run.log
    assert (state.nimg, state.retry, state.guardian.returned_to) == (40, 1, 20)
