"""Duplicates as findings: groups by kind, and labels that differ."""

from PIL import Image

from tests.support.pictures import encoded
from tests.support.verify_data import clean, found, look, picture, words, write_zip
from training.data.verify.survey import VerifyOptions, verify_dataset


def test_duplicates_are_grouped_by_kind(tmp_path):
    big = [picture(i, (128, 128)) for i in range(12)]
    files = {f'{i:02d}.png': encoded(image) for i, image in enumerate(big)}
    files['same.png'] = encoded(big[0], compress_level=0)
    files['same.webp'] = encoded(big[0], 'WEBP', lossless=True)
    files['near.jpg'] = encoded(big[1], 'JPEG', quality=85)
    files['flip.png'] = encoded(big[2].transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    path = write_zip(tmp_path / 'a.zip', files)
    report = verify_dataset(path, VerifyOptions(workers=0))
    assert found(report) == {
        'exact-duplicate': ['same.png', 'same.webp'],
        'near-duplicate': ['near.jpg'],
        'flipped-duplicate': ['flip.png'],
    }
    named = [[report.source.name(position) for position in group.positions] for group in report.groups]
    assert named == [['00.png', 'same.png', 'same.webp'], ['01.png', 'near.jpg'], ['02.png', 'flip.png']]
    assert words(report, 'near-duplicate') == 'looks like 01.png'
    assert look(path, duplicates=False) == {}
    assert set(look(path, near=0)) >= {'exact-duplicate', 'flipped-duplicate'}


def test_duplicates_with_different_labels_say_so(tmp_path):
    files = clean()
    files['01.png'] = encoded(picture(0), compress_level=0)
    report = verify_dataset(write_zip(tmp_path / 'a.zip', files), VerifyOptions(workers=0))
    assert words(report, 'exact-duplicate') == 'has the same pixels as 00.png, in class 1 instead of 0'
    files['dataset.json'] = b'{"labels": [["00.png", 0]]}'
    report = verify_dataset(write_zip(tmp_path / 'b.zip', files), VerifyOptions(workers=0))
    assert words(report, 'exact-duplicate') == 'has the same pixels as 00.png'
