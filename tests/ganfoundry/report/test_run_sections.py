"""Contents of the report: sections of one run and of several, and hostile text in all of them."""

from __future__ import annotations

import re
from pathlib import Path

from ganfoundry.report.run_report import open_runs, report_html
from ganfoundry.report.run_sections import lead_of, text_sections
from tests.support.run_folders import write_run

EVIL = '<script>alert(1)</script>'


def html_of(*paths: Path) -> str:
    """Returns the page of runs without sheets."""
    runs = open_runs(paths)
    return report_html(runs, [{} for _ in runs])


def headings_of(html: str) -> list[str]:
    """Returns the headings of the sections of a page."""
    return re.findall(r'<h2 [^>]*>(.*?)</h2>', html)


def test_the_page_of_a_run_has_every_section(finished: Path):
    html = html_of(finished)
    assert headings_of(html) == [
        'Overview', 'Warnings', 'Sheets', 'Metrics', 'Losses', 'Discriminator', 'Health', 'Speed and memory',
        'Plan and config', 'Provenance', 'Commands',
    ]  # fmt: skip
    for text in (
        'Finished at 6 of 6 kimg',
        'network-snapshot-000004.safetensors, fd_efflite1k 60 at 4 kimg',
        'Advice: look at the sheets.',
        '0 in every tick: share of steps that were not finite, rollbacks',
        'Schedule: 6 kimg',
        'python train.py --cfg=squeeze --kimg=6',
        'python generate.py --network=',
    ):
        assert text in html


def test_the_page_of_a_run_without_a_metric_says_so(interrupted: Path):
    html = html_of(interrupted)
    assert 'No metric was measured yet.' in html
    assert 'Resumes the run:' in html


def test_the_page_of_an_empty_folder_says_so(tmp_path: Path):
    assert 'Nothing of a run is in this folder yet.' in html_of(tmp_path)


def test_the_differences_of_several_runs_come_first(finished: Path, interrupted: Path):
    html = html_of(finished, interrupted)
    assert headings_of(html)[:2] == ['Overview', 'Differences']
    assert '1 finished, 1 stopped.' in html


def test_equal_records_have_no_differences(finished: Path, interrupted: Path):
    (interrupted / 'config.json').write_bytes((finished / 'config.json').read_bytes())
    assert 'The records of the runs are equal.' in html_of(finished, interrupted)


def test_a_damaged_record_is_named(finished: Path):
    (finished / 'config.json').write_text('{"config": ')
    assert 'config.json: missing or unreadable' in html_of(finished)


def test_the_recipe_of_a_plug_in_has_no_plan(tmp_path: Path):
    path = write_run(tmp_path / 'run')
    text = (path / 'config.json').read_text().replace('"cfg": "squeeze"', '"cfg": "ring"')
    (path / 'config.json').write_text(text)
    html = html_of(path)
    assert 'The plan cannot be described' in html
    assert 'ring' in html


def test_hostile_text_stays_text(tmp_path: Path):
    path = write_run(
        tmp_path / f'00000-{EVIL.replace("/", "-")}',
        record={'classes': [EVIL], 'commit': EVIL, 'versions': {EVIL: EVIL}, 'argv': ['train.py', f'--desc={EVIL}']},
    )
    for name in ('log.txt', 'stats.jsonl', 'metric-fd_efflite1k.jsonl', 'best.json'):
        text = (path / name).read_text().replace('gray levels', EVIL).replace('Loss/G/loss', f'Loss/{EVIL}')
        (path / name).write_text(text.replace('fd_efflite1k', EVIL).replace('network-snapshot', EVIL))
    (path / 'metric-fd_efflite1k.jsonl').rename(path / f'metric-{EVIL.replace("/", "-")}.jsonl')
    html = html_of(path, write_run(tmp_path / 'other'))
    assert html.count('<script') == 2  # the data and the script
    assert html.count('&lt;script&gt;') > 10


def test_the_lead_counts_the_states(finished: Path, tmp_path: Path):
    empty = tmp_path / 'empty'
    empty.mkdir()
    assert lead_of(open_runs([finished, empty])) == '1 empty, 1 finished.'


def test_sections_that_a_live_page_replaces_have_no_charts(finished: Path):
    for section in text_sections(open_runs([finished])).values():
        assert {block.kind for block in section.blocks}.isdisjoint({'chart', 'sheets'})
