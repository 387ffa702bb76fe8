"""Records for publication name no folder and no machine."""

import json

import pytest

import ganfoundry as gf
from ganfoundry.export.public import last_part, public_record
from tests.support.narrow import make_snapshot
from training.interface import ImageSpec
from training.run.snapshot import load_snapshot, write_snapshot

SPEC = ImageSpec(resolution=16, channels=3, label_dim=2, num_images=8)


@pytest.mark.parametrize(
    ('text', 'public'),
    [
        ('/home/jane/photos.zip', 'photos.zip'),
        ('--data=/home/jane/photos.zip', '--data=photos.zip'),
        ('--data=~/photos', '--data=photos'),
        ('--data=../jane/photos.zip', '--data=photos.zip'),
        ('C:\\Users\\jane\\photos.zip', 'photos.zip'),
        ('--plugin=D:/jane/ring.py', '--plugin=ring.py'),
        ('data/photos.zip', 'data/photos.zip'),
        ('extensions/squeeze.py', 'extensions/squeeze.py'),
        ('--kimg=25', '--kimg=25'),
        ('color,translation,cutout', 'color,translation,cutout'),
    ],
)
def test_paths_outside_of_the_current_folder_lose_their_folders(text, public):
    assert last_part(text) == public


def test_the_record_of_a_network_is_published_without_its_machine(tmp_path):
    path = make_snapshot(tmp_path / 'a.safetensors', 'dcgan', SPEC, ('/cats', 'dogs'))
    snapshot = load_snapshot(path)
    record = snapshot.record | {
        'machine': 'host-of-jane',
        'argv': ['/home/jane/train.py', '--data=https://jane:secret@example.org/a.zip?key=1', '--desc=hi'],
        'plugin': {'file': '/home/jane/ring.py', 'sha256': 'ab', 'module': 'ring'},
    }
    record['config']['data']['path'] = '/home/jane/photos.zip'
    write_snapshot(path, snapshot.tensors, record, 0)
    public = public_record(gf.load(path, device='cpu'))
    assert not any(word in json.dumps(public) for word in ('jane', 'secret', 'key=1'))
    assert public['argv'] == ['train.py', '--data=https://example.org/a.zip', '--desc=hi']
    assert public['config']['data']['path'] == 'photos.zip'
    assert public['classes'] == ['/cats', 'dogs']
    assert public['config']['generator'] == record['config']['generator']
