"""R12: labels that do not fit are one line that names the file and the first offenders; a resume refuses others."""

import json
import shutil
import zipfile

import pytest

from dnnlib.errors import DataError
from tests.reliability.conftest import EVERYTHING
from tests.reliability.supervisor import Run
from tests.support.runs import make_zip
from training.data.dataset import DataConfig, ImageDataset

pytestmark = pytest.mark.slow

NAMES = [f'00000/img{i:08d}.png' for i in range(6)]


def labelled(*labels):
    return [[name, label] for name, label in zip(NAMES, labels, strict=False)]


def zip_with(path, text):
    """Writes a zip with six images and a dataset.json."""
    make_zip(path, num_images=6)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in NAMES}
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in {**files, 'dataset.json': text}.items():
            archive.writestr(name, content)
    return path


OFFENCES = {
    'missing': (labelled(0, 1), ('img00000002', 'img00000003', 'img00000004', '1 more')),
    'extra': ([*labelled(0, 1, 0, 1, 0, 1), ['a/x.png', 0]], ('a/x.png',)),
    'twice': ([*labelled(0, 1, 0, 1, 0, 1), [NAMES[2], 1]], ('img00000002',)),
    'twice, by the other slash': ([*labelled(0, 1, 0, 1, 0, 1), [NAMES[2].replace('/', '\\'), 1]], ('img00000002',)),
    'negative': (labelled(0, -1, 0, -2, -3, -4), ('img00000001', 'img00000003', 'img00000004', '1 more')),
    'not a number': (labelled(*[[float('nan'), 1.0]] * 6), ('img00000000', 'img00000001', '3 more')),
    'text': (labelled(0, 'cat', 0, 1, 0, 1), ('img00000001',)),
    'of two kinds': (labelled(0, 1, 0, 1, 0, [1, 2]), ('img00000005',)),
}


@pytest.mark.parametrize('offence', OFFENCES)
def test_offenders_are_named(tmp_path, offence):
    labels, words = OFFENCES[offence]
    path = zip_with(tmp_path / 'set.zip', json.dumps({'labels': labels}))
    with pytest.raises(DataError) as caught:
        ImageDataset(DataConfig(path=str(path), cond=True))
    message = str(caught.value)
    assert '\n' not in message
    assert message.startswith(f'{path}: dataset.json: ')
    assert all(word in message for word in words)


@pytest.mark.parametrize('text', ['{"labels": [["a.png", 0],]}', '[]', '', '{"labels": {"a.png": 0}}'])
def test_a_file_that_holds_no_labels_is_named(tmp_path, text):
    path = zip_with(tmp_path / 'set.zip', text)
    with pytest.raises(DataError, match=r'dataset\.json'):
        ImageDataset(DataConfig(path=str(path), cond=True))


def test_either_slash_and_gaps_between_classes_are_taken(tmp_path):
    """Class numbers are what they are: 0 and 4 make labels of width 5."""
    labels = [[name.replace('/', '\\'), label] for name, label in labelled(0, 4, 0, 4, 0, 4)]
    path = zip_with(tmp_path / 'set.zip', json.dumps({'labels': labels}))
    assert ImageDataset(DataConfig(path=str(path), cond=True)).spec.label_dim == 5


def test_a_resume_with_labels_of_another_width_is_refused(zygote, tmp_path, data):
    """Before a network is built; the run folder is as it was."""
    own = shutil.copy(data, tmp_path / 'own.zip')
    run = Run(zygote, tmp_path / 'run', (f'--data={own}', *EVERYTHING), plan=[('phase', 5, 'SIGTERM')])
    assert run.launch().wait() == 143
    before = {path: path.read_bytes() for path in run.folder.rglob('*') if path.is_file()}
    make_zip(own, classes=5)
    launch = run.launch(f'--resume={run.folder}')
    assert launch.wait() == 2
    assert 'other images than those that this run began with' in launch.said()
    assert '3 classes or label entries then' in launch.said()
    assert '5 classes or label entries now' in launch.said()
    assert {path: path.read_bytes() for path in run.folder.rglob('*') if path.is_file()} == before
