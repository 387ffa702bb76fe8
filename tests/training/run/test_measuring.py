"""Metrics of a run: when they are measured, kept, missed and repeated."""

from __future__ import annotations

import json

from dnnlib.signals import StopRequested
from tests.support.loops import Scores
from torch_utils import checkpoint


def test_metrics_begin_with_the_second_snapshot(make_loop):
    scores = Scores(*range(10, 0, -1))
    loop, done = make_loop(scores)
    assert done
    lines = loop.folder.results('fd')
    assert [line['nimg'] for line in lines] == [20, 36, 52, 64]  # ticks 2, 4, 6 and the end; tick 0 is not measured
    assert (loop.folder.path / 'metric-fd.png').exists()


def test_the_state_of_the_best_snapshot_is_kept(make_loop):
    loop, _ = make_loop(Scores(5, 1, 7, 8))
    kept = [int(path.name) for path in checkpoint.list_states(loop.folder.states)]
    assert kept == [36, 60, 64]  # the best, and the last two
    assert loop.folder.best('fd', lower_is_better=True)['nimg'] == 36
    best = {'metric': 'fd', 'value': 1, 'nimg': 36, 'snapshot': 'network-snapshot-000000_036.safetensors'}
    assert json.loads(loop.folder.best_record.read_text()) == best


def test_a_failing_metric_is_reported_and_training_goes_on(make_loop):
    loop, done = make_loop(Scores(3, RuntimeError('no memory'), 2, 1))
    assert done
    assert [line['nimg'] for line in loop.folder.results('fd')] == [20, 52, 64]
    assert (
        'WARNING: metrics failed at 0.0 kimg: RuntimeError: no memory; training continues'
        in (loop.folder.path / 'log.txt').read_text()
    )
    counts = [json.loads(line)['Health/failed_metrics']['mean'] for line in loop.folder.stats.read_text().splitlines()]
    assert (counts[0], counts[-1]) == (0, 1)


def test_a_metric_that_was_interrupted_is_measured_on_resume(make_loop):
    stopped = []
    interrupted = Scores(StopRequested())

    def stop():
        return bool(interrupted.measured) and (stopped.append(1) or True)

    loop, done = make_loop(interrupted, stop=stop)
    assert not done
    assert loop.state.nimg == 20
    again = Scores(4, 3, 2, 1)
    loop, done = make_loop(again)
    assert done
    assert [line['nimg'] for line in loop.folder.results('fd')] == [20, 36, 52, 64]
    assert again.measured == 4
