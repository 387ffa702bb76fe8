"""Reports: every tick has time, memory and losses."""

from __future__ import annotations

import json


def test_every_tick_reports_time_memory_and_losses(make_loop):
    loop, _ = make_loop()
    lines = [json.loads(line) for line in (loop.folder.path / 'stats.jsonl').read_text().splitlines()]
    assert [line['Progress/tick']['mean'] for line in lines] == list(range(len(lines)))
    for key in ('Loss/G/loss', 'Loss/D/loss', 'Loss/scores/real', 'Loss/signs/fake', 'Timing/sec_per_kimg',
                'Timing/Gmain', 'Resources/cpu_mem_gb', 'Timing/maintenance_sec'):  # fmt: skip
        assert lines[-1][key]['num'] >= 1
    assert 'Loss/r1_penalty' in lines[0]
    text = (loop.folder.path / 'log.txt').read_text()
    assert 'sec/kimg' in text
    assert 'eta' in text
