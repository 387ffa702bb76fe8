"""Run folders in any state: read without a write, in parts, and whatever their files hold."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from dnnlib.folders import exclusive
from ganfoundry.report.run_reading import RunReading, nimg_of
from ganfoundry.report.run_report import open_runs, report_html
from ganfoundry.report.run_sheets import encode_all
from tests.support.run_folders import files_of, metric_line, sheet_pixels, tick_line, write_run
from torch_utils.images import save_png
from training.run.run_folder import RunFolder


def page_of(*paths: Path) -> str:
    """Returns the page of runs."""
    runs = open_runs(paths)
    return report_html(runs, encode_all(runs, full=False, advance=lambda count: None))


def test_a_whole_run_is_read(finished: Path):
    run = RunReading(finished, 'run')
    assert run.update().first_tick == 0
    assert (len(run.ticks), run.nimg) == (7, 6000)
    assert list(run.sheets) == [0, 2000, 4000, 6000]
    assert [line['nimg'] for line in run.metrics['fd_efflite1k']] == [2000, 4000, 6000]
    assert (run.best.nimg, run.best.value) == (4000, 60)
    assert not run.update()


def test_an_update_names_what_was_added(finished: Path):
    run = RunReading(finished, 'run')
    run.update()
    with (finished / 'stats.jsonl').open('a') as file:
        file.write(tick_line(7, 7000))
    with (finished / 'metric-fd_efflite1k.jsonl').open('a') as file:
        file.write(metric_line(8000, 50))
    save_png(sheet_pixels(8000), RunFolder(finished).sheet(8000), {'nimg': 8000})
    changes = run.update()
    assert (changes.first_tick, changes.restarted, changes.metrics) == (7, False, {'fd_efflite1k'})
    assert [sheet.nimg for sheet in changes.sheets] == [8000]
    assert not run.update()


def test_a_rewound_run_begins_anew_and_shows_what_was_set_aside(finished: Path):
    run = RunReading(finished, 'run')
    run.update()
    RunFolder(finished).rewind(3000)
    changes = run.update()
    assert changes.restarted
    assert run.nimg == 3000
    aside = {item.name: (item.count, item.first, item.last) for item in run.aside}
    assert aside == {'stats.jsonl.before-1': (3, 4000, 6000), 'metric-fd_efflite1k.jsonl.before-1': (2, 4000, 6000)}
    assert '4 to 6' in page_of(finished)


def test_a_run_that_another_process_trains_is_read_and_left_as_it_is(finished: Path):
    with exclusive(finished / '.lock'):
        before = files_of(finished)
        finished.chmod(0o500)
        page_of(finished)
        finished.chmod(0o700)
        assert files_of(finished) == before
        with pytest.raises(Exception, match='another process trains'), exclusive(finished / '.lock'):
            pass


def test_an_early_version_without_setting_aside_is_read_by_its_last_lines(finished: Path):
    with (finished / 'stats.jsonl').open('a') as file:
        file.writelines(tick_line(index, nimg) for index, nimg in ((7, 4000), (8, 5000)))
    run = RunReading(finished, 'run')
    run.update()
    assert run.ticks.column('Progress/tick').tolist() == [0, 1, 2, 3, 7, 8]


@pytest.mark.parametrize(
    ('name', 'nimg'),
    [('fakes_init.png', 0), ('fakes000200.png', 200_000), ('fakes000200_032.png', 200_032), ('fakes.png', None)],
)
def test_a_sheet_without_a_text_chunk_is_placed_by_its_name(tmp_path: Path, name: str, nimg: int | None):
    save_png(sheet_pixels(0), tmp_path / name)
    assert nimg_of(tmp_path / name) == nimg


def damage(path: Path, rng: random.Random) -> None:
    """Leaves a file as a crash, a full disk or a careless copy may."""
    data = path.read_bytes()
    way = rng.choice(['cut', 'cut', 'cut', 'zeros', 'noise', 'empty', 'absent', 'folder', 'link'])
    if way == 'cut':
        path.write_bytes(data[: rng.randrange(len(data) + 1)])
    elif way == 'zeros':
        at = rng.randrange(len(data) + 1)
        path.write_bytes(data[:at] + bytes(len(data) - at))
    elif way == 'noise':
        changed = bytearray(data)
        for _ in range(20):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        path.write_bytes(changed)
    elif way == 'empty':
        path.write_bytes(b'')
    else:
        path.unlink()
        if way == 'folder':
            path.mkdir()
        elif way == 'link':
            path.symlink_to(path)


@pytest.mark.parametrize('seed', range(25))
def test_a_page_is_made_of_any_damaged_folder(finished: Path, tmp_path: Path, seed: int):
    rng = random.Random(seed)
    copy = shutil.copytree(finished, tmp_path / 'copy')
    files = sorted(path for path in copy.rglob('*') if path.is_file())
    for path in files if seed == 0 else rng.sample(files, rng.randrange(1, len(files))):
        damage(path, rng)
    html = page_of(copy) if seed % 2 else page_of(finished, copy)
    assert html.endswith('</html>')


def test_every_beginning_of_a_growing_file_is_read_on(tmp_path: Path):
    whole = write_run(tmp_path / 'whole', num_ticks=3)
    for name in ('stats.jsonl', 'log.txt', 'metric-fd_efflite1k.jsonl'):
        growing = tmp_path / name
        growing.mkdir()
        run, data = RunReading(growing, 'run'), (whole / name).read_bytes()
        for at in range(0, len(data), 97):
            with (growing / name).open('ab') as file:
                file.write(data[at : at + 97])
            run.update()
        once = RunReading(growing, 'run')
        once.update()
        for name in once.ticks.names():
            assert run.ticks.series(name)[1].tolist() == once.ticks.series(name)[1].tolist()
        assert run.metrics == once.metrics
        assert run.log.warnings == once.log.warnings
        assert len(run.ticks) in (0, 3)
