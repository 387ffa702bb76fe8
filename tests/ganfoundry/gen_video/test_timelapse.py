"""Time lapse: sheets in the order of training, each with its kimg and its metric."""

import json

import numpy as np
import PIL.Image
import pytest

from dnnlib.errors import ConfigError, DataError
from ganfoundry.gen_video.timelapse import sheets_of, timelapse
from torch_utils.images import save_png


@pytest.fixture
def run(tmp_path):
    """A run folder of three sheets and two metrics, of which the second chose the best snapshot."""
    for name, nimg in (('fakes_init', 0), ('fakes000010', 10_000), ('fakes000009', 9_500)):
        save_png(np.full([3, 20, 120], nimg // 100, np.uint8), tmp_path / f'{name}.png', {'nimg': nimg})
    (tmp_path / 'fakes-mine.png').write_bytes(b'')
    for metric, value in (('fd', 40.0), ('is', 2.5)):
        line = {'metric': metric, 'nimg': 9_500, 'results': {metric: value}}
        (tmp_path / f'metric-{metric}.jsonl').write_text(json.dumps(line) + '\n')
    (tmp_path / 'best.json').write_text(json.dumps({'metric': 'is', 'value': 2.5, 'nimg': 9_500, 'snapshot': 'x'}))
    return tmp_path


def test_sheets_are_in_the_order_of_training_with_what_was_measured(run):
    assert [sheet.caption for sheet in sheets_of(run)] == ['0 kimg', '9.5 kimg   is 2.5', '10 kimg']


def test_the_metric_is_the_one_that_best_json_names_not_one_whose_name_begins_it(run):
    for metric, value in (('pr50k3', 0.25), ('pr50k3_full', 0.75)):
        line = {'metric': metric, 'nimg': 9_500, 'results': {f'{metric}_precision': value}}
        (run / f'metric-{metric}.jsonl').write_text(json.dumps(line) + '\n')
    (run / 'best.json').write_text(json.dumps({'metric': 'pr50k3_full_precision', 'nimg': 9_500}))
    assert sheets_of(run)[1].caption == '9.5 kimg   pr50k3_full 0.75'


@pytest.mark.parametrize('channels', [1, 2, 4])
def test_gray_and_transparent_sheets_are_shown_in_color(run, channels):
    for path in run.glob('fakes0*.png'):
        path.unlink()
    save_png(np.full([channels, 20, 120], 255, np.uint8), run / 'fakes_init.png', {'nimg': 0})
    (frame,) = timelapse(sheets_of(run), frames_per_sheet=1, upscale=1, background='checker')
    assert frame.shape == (40, 120, 3)
    assert (frame[:20] == 255).all()


def test_frames_show_the_sheets_above_a_line_of_text(run):
    frames = list(timelapse(sheets_of(run), frames_per_sheet=2, upscale=2, background='checker'))
    assert len(frames) == 6
    assert {frame.shape for frame in frames} == {(60, 240, 3)}
    assert [int(frame[0, 0, 0]) for frame in frames] == [0, 0, 95, 95, 100, 100]
    line = frames[2][40:]
    assert line.min() == 0  # text
    assert not np.array_equal(line, frames[4][40:])


def test_a_sheet_of_another_size_is_named(run):
    save_png(np.zeros([3, 20, 99], np.uint8), run / 'fakes000010.png', {'nimg': 10_000})
    with pytest.raises(DataError, match=r'fakes000010\.png: 99x20 pixels'):
        list(timelapse(sheets_of(run), frames_per_sheet=1, upscale=1, background='checker'))


def test_a_damaged_sheet_is_named(run):
    path = run / 'fakes000010.png'
    PIL.Image.fromarray(np.random.RandomState(0).randint(0, 256, [20, 120, 3]).astype(np.uint8)).save(path)
    save_png(np.random.RandomState(0).randint(0, 256, [3, 20, 120]).astype(np.uint8), path, {'nimg': 10_000})
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(DataError, match=r'fakes000010\.png: .*; remove it to leave it out'):
        list(timelapse(sheets_of(run), frames_per_sheet=1, upscale=1, background='checker'))


def test_a_folder_without_sheets_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='has no sheets'):
        sheets_of(tmp_path)
