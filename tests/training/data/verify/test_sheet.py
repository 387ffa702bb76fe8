"""Contact sheets: rows, samples and sizes."""

import numpy as np
import pytest

from tests.support.pictures import encoded
from tests.support.verify_data import clean, picture, write_zip
from training.data.verify.sheet import contact_sheet
from training.data.verify.survey import VerifyOptions, verify_dataset


def test_contact_sheet_has_a_row_for_each_class_and_an_even_sample_without(tmp_path):
    files = clean(30)
    report = verify_dataset(write_zip(tmp_path / 'a.zip', files), VerifyOptions(workers=0, duplicates=False))
    sheet = contact_sheet(report, 4, 5)
    assert sheet.height == 2 * 98  # 16 enlarged to 96, and a gap
    assert sheet.width > 4 * 98
    del files['dataset.json']
    report = verify_dataset(write_zip(tmp_path / 'b.zip', files), VerifyOptions(workers=0, duplicates=False))
    sheet = contact_sheet(report, 4, 5)
    assert sheet.size == (4 * 98, 5 * 98)
    pixels = np.asarray(sheet)
    np.testing.assert_array_equal(pixels[0:96:6, 0:96:6], np.asarray(picture(0)))
    np.testing.assert_array_equal(pixels[4 * 98 : 4 * 98 + 96 : 6, 3 * 98 : 3 * 98 + 96 : 6], np.asarray(picture(29)))


@pytest.mark.parametrize('size', [(16, 16), (200, 100), (100, 300)])
def test_contact_sheet_is_limited(tmp_path, size):
    files = {f'{i:02d}.png': encoded(picture(i, size)) for i in range(3)}
    report = verify_dataset(write_zip(tmp_path / 'a.zip', files), VerifyOptions(workers=0))
    assert max(contact_sheet(report, 100, 100).size) <= 100 * 42
