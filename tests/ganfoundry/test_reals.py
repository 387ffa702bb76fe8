"""Data sets of a measurement: only what the metrics read is asked for, sizes are brought together or named."""

import dataclasses
import json
import shlex
import shutil
import zipfile

import pytest

from dnnlib.errors import DataError
from ganfoundry.commands import dataset_tool
from ganfoundry.reals import data_sets, in_size, metric_data, open_any_size, reference_data
from tests.support.measured import make_run, tiny_config
from tests.support.runs import make_zip
from tests.support.stored import make_set
from training.data.dataset import DataConfig, ImageDataset
from training.interface import ImageSpec
from training.run.snapshot import load_snapshot


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return make_zip(tmp_path_factory.mktemp('data') / 'tiny.zip', num_images=24)


@pytest.fixture(scope='module')
def plain(tmp_path_factory, data):
    """A snapshot without labels."""
    return load_snapshot(make_run(tmp_path_factory.mktemp('runs') / 'run', tiny_config(data), (1000,)).snapshot(1000))


@pytest.fixture
def conditional(tmp_path, data):
    """A snapshot with three classes, and its data set, which may be moved away."""
    own = tmp_path / 'own.zip'
    shutil.copy(data, own)
    cfg = tiny_config(own)
    cfg = dataclasses.replace(cfg, data=dataclasses.replace(cfg.data, cond=True))
    return load_snapshot(make_run(tmp_path / 'cond', cfg, (1000,)).snapshot(1000)), own


@pytest.fixture
def notes():
    return []


def sets(snapshot, notes, data=None, mirror=None, needs_reals=True):
    path = None if data is None else str(data)
    return data_sets(snapshot, path, mirror, needs_reals=needs_reals, notify=notes.append)


def gone(snapshot, path):
    """Returns the snapshot as if it had been trained on a data set that is gone."""
    record = json.loads(json.dumps(snapshot.record))
    record['config']['data']['path'] = str(path)
    return dataclasses.replace(snapshot, record=record)


def test_the_reals_are_those_of_the_training_unless_flags_differ(tmp_path, data, plain, notes):
    assert sets(plain, notes).reals.cfg.path == str(data)
    assert len(sets(plain, notes, mirror=True).reals) == 48
    other = make_zip(tmp_path / 'other.zip', num_images=5)
    found = sets(plain, notes, data=other)
    assert (len(found.reals), found.labels) == (5, None)
    assert notes == []


def test_a_metric_without_reals_asks_for_no_data_set(tmp_path, plain, notes):
    absent = gone(plain, tmp_path / 'absent.zip')
    assert sets(absent, notes, needs_reals=False) == sets(plain, notes, needs_reals=False)
    assert sets(absent, notes, needs_reals=False).reals is None
    with pytest.raises(DataError, match=r'the images of its training \(.*absent.zip\) are not here; specify --data'):
        sets(absent, notes)
    sets(absent, notes, data=tmp_path / 'unread.zip', needs_reals=False)
    assert notes == [f'--data={tmp_path}/unread.zip: is not read, because no metric here compares with real images']


def test_a_run_with_metric_data_does_not_ask_for_its_training_images(tmp_path, data, notes):
    other = make_zip(tmp_path / 'all.zip', num_images=30)
    run = make_run(tmp_path / 'apart', tiny_config(data, metric_data=str(other)), (1000,))
    snapshot = gone(load_snapshot(run.snapshot(1000)), tmp_path / 'absent.zip')
    assert len(sets(snapshot, notes).reals) == 30


def test_a_conditional_network_draws_labels_without_a_metric_that_compares(conditional, notes):
    snapshot, own = conditional
    found = sets(snapshot, notes, needs_reals=False)
    assert found.reals is None
    assert (found.labels.cfg.path, found.labels.spec.label_dim) == (str(own), 3)


def test_labels_come_from_the_training_where_the_given_images_have_none(tmp_path, conditional, notes):
    snapshot, own = conditional
    unlabeled = without_labels(own, tmp_path / 'unlabeled.zip')
    found = sets(snapshot, notes, data=unlabeled)
    assert (found.reals.cfg.path, found.labels.cfg.path) == (str(unlabeled), str(own))
    assert notes == [f'--data={unlabeled}: has no labels of classes; the network draws those of its training, {own}']
    own.unlink()
    with pytest.raises(DataError, match=r'give a data set whose dataset.json has labels of 3 entries'):
        sets(snapshot, notes, data=unlabeled)
    labeled = make_zip(tmp_path / 'labeled.zip', num_images=9)  # the way out
    found = sets(snapshot, notes, data=labeled)
    assert found.reals is found.labels
    assert found.labels.cfg.path == str(labeled)


def test_labels_of_another_width_are_refused(tmp_path, conditional, notes):
    other = make_zip(tmp_path / 'two.zip', num_images=20, classes=2)
    with pytest.raises(DataError, match='its labels have 2 entries, those of the network 3'):
        sets(conditional[0], notes, data=other)


def test_vector_labels_are_drawn_as_they_are(tmp_path, data, notes):
    vectors = tmp_path / 'vectors.zip'
    with zipfile.ZipFile(data) as source, zipfile.ZipFile(vectors, 'w') as dest:
        names = [name for name in source.namelist() if name.endswith('.png')]
        for name in names:
            dest.writestr(name, source.read(name))
        labels = [[name, [0.5, i / 7, -1.0]] for i, name in enumerate(names)]
        dest.writestr('dataset.json', json.dumps({'labels': labels}))
    cfg = tiny_config(vectors)
    cfg = dataclasses.replace(cfg, data=dataclasses.replace(cfg.data, cond=True))
    snapshot = load_snapshot(make_run(tmp_path / 'run', cfg, (1000,)).snapshot(1000))
    assert sets(snapshot, notes).labels.labels([2]).tolist() == [[0.5, pytest.approx(2 / 7), -1.0]]


def test_a_run_compares_with_its_metric_data(tmp_path, data, notes):
    other = make_zip(tmp_path / 'other.zip', num_images=30)
    cfg = tiny_config(data)
    dataset = ImageDataset(cfg.data)
    assert metric_data(cfg, dataset.spec, notes.append) is None
    assert reference_data(cfg, dataset) is dataset
    assert len(reference_data(dataclasses.replace(cfg, metric_data=str(other)), dataset)) == 30
    small = make_zip(tmp_path / 'small.zip', num_images=3, resolution=8)
    with pytest.raises(
        DataError, match=r'--metric-data=.*metrics compare images of one size\. Try: python dataset_tool'
    ):
        reference_data(dataclasses.replace(cfg, metric_data=str(small)), dataset)


def test_labels_and_channels_may_differ(tmp_path, data, notes):
    reals = open_any_size(DataConfig(path=str(data)))
    assert in_size(reals, ImageDataset(DataConfig(path=str(data), cond=True)).spec, '--data', notes.append) is reals
    gray = open_any_size(DataConfig(path=str(make_zip(tmp_path / 'gray.zip', num_images=3, channels=1))))
    assert in_size(gray, reals.spec, '--data', notes.append) is gray
    assert notes == []


def test_reals_with_alpha_or_16_bits_are_compared_with_rgb_of_8_bits(tmp_path, plain, notes):
    rgba = make_set(tmp_path / 'rgba.zip', (4, 16, 16))
    assert sets(plain, notes, data=rgba).reals.spec.channels == 4
    deeper = make_set(tmp_path / 'deeper.zip', (3, 16, 16), 16, 'npy')
    assert sets(plain, notes, data=deeper).reals.spec.bits == 16


def test_larger_images_of_the_same_sides_are_averaged_and_the_message_says_so(tmp_path, data, notes):
    large = make_zip(tmp_path / 'large.zip', num_images=3, resolution=64)
    found = in_size(
        open_any_size(DataConfig(path=str(large))),
        ImageDataset(DataConfig(path=str(data))).spec,
        '--data',
        notes.append,
    )
    assert (found.spec.width, found.image(0).shape) == (16, (3, 16, 16))
    assert notes == [
        f'--data={large}: its images are 64x64 pixels, the generated ones 16x16; the real images are averaged to '
        'that size'
    ]


def test_the_command_for_images_of_another_size_makes_them_measurable(tmp_path, data, notes):
    small = make_zip(tmp_path / 'small.zip', num_images=3, resolution=8)
    drawn = ImageDataset(DataConfig(path=str(data))).spec
    with pytest.raises(DataError) as caught:
        in_size(open_any_size(DataConfig(path=str(small))), drawn, '--data', notes.append)
    words = shlex.split(str(caught.value).partition('Try: python dataset_tool.py ')[2])
    dataset_tool.main.main(words, standalone_mode=False)
    dest = next(word for word in words if word.startswith('--dest=')).removeprefix('--dest=')
    reals = open_any_size(DataConfig(path=dest))
    assert in_size(reals, drawn, '--data', notes.append) is reals


def test_sizes_that_cannot_be_trained_on_are_measured(tmp_path, data, notes):
    odd = make_zip(tmp_path / 'odd.zip', num_images=3, resolution=19)
    images = open_any_size(DataConfig(path=str(odd)))
    assert (images.spec.height, images.spec.width, images.image(0).shape) == (19, 19, (3, 19, 19))
    assert in_size(images, images.spec, '--data', notes.append) is images
    with pytest.raises(DataError, match=r'the generated ones 19x19; .* convert both to one size'):
        in_size(open_any_size(DataConfig(path=str(data))), images.spec, '--data', notes.append)


def test_facts_are_printed_in_words():
    spec = ImageSpec(resolution=64, channels=3, label_dim=3, num_images=5000)
    assert f'{spec}' == '64x64 RGB, 3 label entries, 5000 images'
    odd = ImageSpec(resolution=32, channels=6, label_dim=0, num_images=2, base=(4, 6), bits=16)
    assert f'{odd}' == '48x32 16-bit with 6 channels, no labels, 2 images'


def without_labels(source, dest):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(dest, 'w') as new:
        for name in old.namelist():
            if name.endswith('.png'):
                new.writestr(name, old.read(name))
    return dest
