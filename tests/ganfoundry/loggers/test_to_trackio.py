"""trackio, by a fake of the functions that the logger uses: the package itself demands other versions than the pins."""

from __future__ import annotations

import sys
import types
from typing import Any

from ganfoundry.loggers.send import LogOptions, run_log
from tests.support.run_records import METRIC, add_snapshot, add_tick, make_folder


def test_a_run_is_sent_with_its_steps_and_continued(tmp_path, monkeypatch):
    calls: list[Any] = []
    fake = types.SimpleNamespace(
        init=lambda **options: calls.append((options['project'], options['name'], options['resume'])),
        log=lambda values, step: calls.append((values, step)),
        Image=lambda path: path.rpartition('/')[2],
        finish=lambda: calls.append('finish'),
    )
    monkeypatch.setitem(sys.modules, 'trackio', fake)
    monkeypatch.setenv('TRACKIO_SPACE_ID', 'me/space')
    folder = make_folder(tmp_path / '00000-run')
    add_tick(folder, 1000)
    add_snapshot(folder, 1000)
    options = LogOptions(run=str(folder.path), to='trackio', mode='offline')
    run_log(options)
    begun = ('ganfoundry', '00000-run', 'allow')
    assert calls == [begun, ({'fakes': 'fakes_init.png'}, 0), ({'reals': 'reals.png'}, 0), ({'Loss/G/loss': 0.5}, 1000),
                     ({f'Metrics/{METRIC}': 100.0}, 1000), ({'fakes': 'fakes000001.png'}, 1000), 'finish']  # fmt: skip
    calls.clear()
    run_log(options)
    assert calls == []
    add_tick(folder, 2000)
    run_log(options)
    assert calls == [begun, ({'Loss/G/loss': 0.5}, 2000), 'finish']
