"""Lines of a run's records: the usable ones, and those that a rewind sets aside."""

import json

import pytest

from dnnlib.errors import RecordError
from dnnlib.records import Record
from training.run.lines import check_measurement, check_stats, set_aside, spare, usable


def write(path, *lines):
    path.write_text(''.join(line if isinstance(line, str) else json.dumps(line) + '\n' for line in lines))
    return path


def measurement(nimg, value=1.0):
    return {'nimg': nimg, 'results': {'fd': value}}


def test_usable_lines_are_those_that_pass(tmp_path):
    lines = (measurement(1000), '{"nimg": 2000, "results"\n', {'nimg': 3000, 'results': {}}, measurement(4000))
    found = usable(write(tmp_path / 'metric-fd.jsonl', *lines), check_measurement)
    assert [line['nimg'] for line in found] == [1000, 4000]


@pytest.mark.parametrize(
    'line',
    [
        {},
        {'nimg': -1, 'results': {'fd': 1.0}},
        {'nimg': 1.5, 'results': {'fd': 1.0}},
        {'nimg': 1, 'results': {'fd': 'low'}},
        {'nimg': 1, 'results': [1.0]},
        {'nimg': 1, 'results': {'fd': 1.0}, 'provenance': 'here'},
        {'nimg': 1, 'results': {'fd': 1.0}, 'snapshot': 7},
    ],
)
def test_a_line_of_a_metric_needs_its_images_and_numbers(line):
    with pytest.raises(RecordError):
        check_measurement(Record(line, 'x'))


def test_a_line_of_statistics_needs_a_mean_for_each_name_with_a_slash():
    check_stats(Record({'nimg': 96, 'Loss/G/loss': {'num': 3, 'mean': 0.5}, 'desc': 'x'}, 'x'))
    with pytest.raises(RecordError):
        check_stats(Record({'nimg': 96, 'Loss/G/loss': {'num': 3}}, 'x'))


def test_later_and_unreadable_lines_move_to_a_file_of_their_own(tmp_path):
    path = write(tmp_path / 'stats.jsonl', {'nimg': 96}, {'nimg': 192}, 'cut short\n', {'nimg': 288})
    set_aside(path, 192)
    assert path.read_text() == '{"nimg": 96}\n{"nimg": 192}\n'
    assert (tmp_path / 'stats.jsonl.before-1').read_text() == 'cut short\n{"nimg": 288}\n'


def test_nothing_is_written_where_no_line_is_later(tmp_path):
    set_aside(tmp_path / 'absent.jsonl', 96)
    path = write(tmp_path / 'stats.jsonl', {'nimg': 96})
    set_aside(path, 96)
    assert [file.name for file in tmp_path.iterdir()] == ['stats.jsonl']


def test_no_file_that_was_set_aside_is_replaced(tmp_path):
    path = tmp_path / 'stats.jsonl'
    for number in (1, 2):
        write(path, {'nimg': 1000 * number})
        set_aside(path, 96)
    assert [json.loads((tmp_path / f'stats.jsonl.before-{n}').read_text())['nimg'] for n in (1, 2)] == [1000, 2000]
    assert spare(path).name == 'stats.jsonl.before-3'
