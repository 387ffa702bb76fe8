"""Remedies: a command that follows the advice of a message of calc_metrics.py gives a number."""

import re

import pytest

from dnnlib.errors import UserError
from ganfoundry import meter as module
from ganfoundry.commands import calc_metrics
from tests.support.measured import SquaredPixels, ToyDetector, make_run, measure, tiny_config
from tests.support.runs import make_zip
from training.run.run_folder import RunFolder


@pytest.fixture
def detector(monkeypatch):
    monkeypatch.setattr(module, 'get_detector', lambda name, device: ToyDetector())
    monkeypatch.setattr(module, 'Lpips', lambda device: SquaredPixels())
    monkeypatch.setattr('metrics.detectors.weights.set_weights_path', lambda name, path: None)


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """Two data sets, finished images, and two runs."""
    folder = tmp_path_factory.mktemp('place')
    for name in ('a', 'b'):
        data = make_zip(folder / f'{name}.zip', num_images=24, classes=2 if name == 'b' else 3)
        make_run(folder / f'0000{"ab".index(name)}-{name}', tiny_config(data), (1000,))
    make_zip(folder / 'images.zip', num_images=20, classes=1)
    make_zip(folder / 'few.zip', num_images=6)
    return folder


IMAGES, A, B = '{place}/images.zip', '{place}/00000-a', '{place}/00001-b'
FD = '--metrics=fd_efflite16'
# What is refused, the part of the message that gives advice, and the command line that follows it.
REMEDIES = {
    'data for images': ([IMAGES, FD], 'specify --data', [IMAGES, FD, '--data={place}/a.zip']),
    'bootstrap for images': (
        [IMAGES, FD, '--data={place}/a.zip', '--seeds=2'],
        '--bootstrap=20 gives their error',
        [IMAGES, FD, '--data={place}/a.zip', '--bootstrap=20'],
    ),
    'two data sets': ([A, B, FD], 'say with --data which ones', [A, B, FD, '--data={place}/a.zip']),
    'numbers that both have': (
        [IMAGES, '{place}/few.zip', FD, '--data={place}/a.zip', '--seeds=1', '--bootstrap=2'],
        'ask for metrics of as many images as both have',
        [IMAGES, '{place}/few.zip', '--metrics=fd_efflite6', '--data={place}/a.zip', '--bootstrap=2'],
    ),
    'several halves': ([A, FD, '--bootstrap=1'], 'give 2 or more', [A, FD, '--bootstrap=2']),
    'one kind of error': (
        [A, FD, '--bootstrap=2', '--seeds=2'],
        'choose one of them',
        [A, FD, '--seeds=2'],
    ),
    'enough images': (
        [A, '--metrics=is_efflite19'],
        'it needs at least 20',
        [A, '--metrics=is_efflite20'],
    ),
    'enough images for halves': (
        [A, '--metrics=pr_efflite15', '--bootstrap=2'],
        'it needs at least 16',
        [A, '--metrics=pr_efflite16', '--bootstrap=2'],
    ),
    'a metric': ([A, '--metrics='], 'e.g. --metrics=fid50k_full', [A, FD]),
    'another case': ([A, '--metrics=FD_EffLite16'], 'nearest: fd_efflite16', [A, FD]),
    'none alone': (
        [A, '--metrics=fd_efflite16,none'],
        'give --metrics=none or --metrics=fd_efflite16',
        [A, '--metrics=fd_efflite16'],
    ),
    'a run of a folder': (['{place}', FD], 'name one of them, or {place}/latest', ['{place}/latest', FD]),
    'two different ones': ([A, A, FD], 'give two different networks', [A, IMAGES, FD, '--data={place}/a.zip']),
    'a generator for paths': (
        [IMAGES, '--metrics=ppl_zend4'],
        'needs a generator to walk through',
        [A, '--metrics=ppl_zend4'],
    ),
    'a folder for the records': (
        [A, FD, '--records={place}/absent/records.jsonl'],
        'there is no folder',
        [A, FD, '--records={place}/records.jsonl'],
    ),
    'one detector': (
        [A, FD, '--detector-path=inception=a.pt', '--detector-path=inception=b.pt'],
        'give one of them',
        [A, FD, '--detector-path=inception=a.pt'],
    ),
}


@pytest.mark.parametrize('case', REMEDIES)
def test_the_advice_of_a_message_works_when_it_is_followed(place, detector, capsys, case):
    refused, advice, followed = REMEDIES[case]
    flags = ['--device=cpu', '--no-cache', '--no-plot']
    with pytest.raises(UserError, match=re.escape(advice.format(place=place))):
        calc_metrics.main.main([word.format(place=place) for word in refused] + flags, standalone_mode=False)
    words = [word.format(place=place) for word in followed]
    if any(word.startswith('--records') for word in words):
        calc_metrics.main.main(words + flags, standalone_mode=False)
        assert (place / 'records.jsonl').stat().st_size > 0
        return
    lines = measure(capsys, *words)
    assert all(line['results'] for line in lines if 'results' in line)
    assert lines


def test_lines_that_are_not_finite_are_counted_when_the_curve_is_drawn(tmp_path, place, detector, capsys):
    run = make_run(tmp_path / 'run', tiny_config(place / 'a.zip'), (1000,))
    RunFolder(run.path).metric('fd_efflite16').write_text('{"results": {"fd_efflite16": NaN}, "nimg": 5}\n')
    calc_metrics.main.main([str(run.snapshot(1000)), FD, '--device=cpu', '--no-cache'], standalone_mode=False)
    assert 'metric-fd_efflite16.jsonl: NaN or infinity in 1 of 2 lines, which are not drawn' in capsys.readouterr().err
