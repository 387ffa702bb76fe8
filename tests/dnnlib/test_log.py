"""Tests of the log: lines, warnings of every process, and numbers for people."""

import io

from dnnlib.log import Log, format_bytes, format_time


def test_numbers_read_well():
    assert [format_time(s) for s in (3, 187, 18120, 187200)] == ['3s', '3m 07s', '5h 02m', '2d 04h']
    assert [format_bytes(b) for b in (12, 18_800_000, 2.5e12)] == ['12 B', '18.8 MB', '2.5 TB']


def test_the_first_process_writes_everything_and_the_others_warn(tmp_path):
    first, second = io.StringIO(), io.StringIO()
    with Log(tmp_path / 'log.txt', stream=first) as log, Log(stream=second, rank=1) as other:
        for each in (log, other):
            each.line('a line')
            each.detail('for the file')
            each.warn('careful')
    assert first.getvalue() == 'a line\nWARNING: careful\n'
    assert second.getvalue() == 'WARNING (rank 1): careful\n'
    assert (tmp_path / 'log.txt').read_text() == 'a line\nfor the file\nWARNING: careful\n'


def test_a_closed_stream_does_not_stop_the_run(tmp_path):
    stream = io.StringIO()
    stream.close()
    with Log(tmp_path / 'log.txt', stream=stream) as log:
        log.line('still in the file')
    assert (tmp_path / 'log.txt').read_text() == 'still in the file\n'


def test_a_line_with_a_name_that_the_terminal_cannot_show_is_not_lost(tmp_path):
    shown = io.BytesIO()
    stream = io.TextIOWrapper(shown, encoding='ascii', errors='strict')
    with Log(tmp_path / 'log.txt', stream=stream) as log:
        log.line('b\xe4r.png and \udce4.png')
    assert shown.getvalue() == b'b\\xe4r.png and \\xe4.png\n'
    assert (tmp_path / 'log.txt').read_text(encoding='utf-8') == 'b\xe4r.png and \\xe4.png\n'


def test_a_log_file_that_cannot_be_opened_is_a_warning(tmp_path, capsys):
    (tmp_path / 'log.txt').mkdir()
    with Log(tmp_path / 'log.txt') as log:
        log.line('tick 0')
    assert 'log.txt: cannot be opened (Is a directory); its lines appear on the screen only' in capsys.readouterr().out
