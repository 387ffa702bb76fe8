"""Digests by which a moved data set is known again."""

from tests.support.pictures import encoded, noise, write_folder, write_zip
from training.data import identity
from training.data.dataset import DataConfig, ImageDataset


def test_contents_have_one_digest_in_a_folder_and_a_zip(tmp_path):
    images = {f'{i}.png': encoded(noise(i, 8, 8)) for i in range(3)}
    write_folder(tmp_path / 'a', images)
    write_zip(tmp_path / 'a.zip', images)
    folder, archive = (ImageDataset(DataConfig(path=str(tmp_path / name))) for name in ('a', 'a.zip'))
    assert folder.files_digest == archive.files_digest
    assert folder.listing_digests['names'] == archive.listing_digests['names']
    assert folder.listing_digests['listing'] != archive.listing_digests['listing']


def test_a_launch_that_compares_and_records_the_data_reads_them_once(tmp_path, monkeypatch):
    calls = []
    for name in ('listing_digests', 'content_digest'):
        monkeypatch.setattr(identity, name, lambda source, name=name: calls.append(name) or name)
    write_zip(tmp_path / 'a.zip', {'0.png': encoded(noise(0, 8, 8))})
    dataset = ImageDataset(DataConfig(path=str(tmp_path / 'a.zip')))
    assert [(dataset.listing_digests, dataset.files_digest) for _ in range(2)][1] == (
        'listing_digests',
        'content_digest',
    )
    assert sorted(calls) == ['content_digest', 'listing_digests']
