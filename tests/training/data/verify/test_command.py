"""The command `verify`: exit codes, usage errors, and no file outside --out."""

import os
import pathlib
from unittest import mock

from PIL import Image

from tests.support.pictures import encoded, write_folder
from tests.support.verify_data import clean, picture, run_verify, unlabelled, write_zip


def test_a_clean_set_exits_with_0_and_says_so(tmp_path):
    path = write_zip(tmp_path / 'pets.zip', clean())
    result = run_verify(path, '--sheet=4x3')
    assert result.stdout.splitlines()[0] == (
        f'{path}: images 6; sizes 16x16 (6); form RGB (6); labels 2 classes of 3 images'
    )
    assert 'no defects, warnings: 0' in result.stdout
    assert sorted(os.listdir(tmp_path)) == ['pets-verify', 'pets.zip']
    assert sorted(os.listdir(tmp_path / 'pets-verify')) == ['contact-sheet.png', 'report.html', 'report.json']
    run_verify(path)  # once more, over the last report


def test_defects_exit_with_1_and_warnings_with_0(tmp_path):
    planted = {f'{i}.png': b'no image' for i in range(12)}
    result = run_verify(write_zip(tmp_path / 'a.zip', unlabelled(planted)), '--out', tmp_path / 'out', code=1)
    assert 'defect: Not an image (12). Way out: copy it again' in result.stdout
    assert result.stdout.count('is not a PNG, JPEG or WEBP image') == 10
    assert 'and 2 more' in result.stdout
    assert sorted(os.listdir(tmp_path)) == ['a.zip', 'out']
    flat = {'flat.png': encoded(Image.new('RGB', (16, 16)))}
    assert 'warnings: 1' in run_verify(write_zip(tmp_path / 'b.zip', unlabelled(flat))).stdout


def test_usage_errors_exit_with_2_and_write_nothing(tmp_path):
    folder = pathlib.Path(write_folder(tmp_path / 'data', clean()))
    (tmp_path / 'file').write_bytes(b'')
    before = sorted(tmp_path.rglob('*'))
    assert 'no such file or folder' in run_verify(tmp_path / 'none', code=2).stderr
    assert 'lies inside the data' in run_verify(folder, '--out', folder / 'report', code=2).stderr
    assert 'lies inside the data' in run_verify(folder, '--out', tmp_path / 'x' / '..' / 'data', code=2).stderr
    assert 'cannot be written' in run_verify(folder, '--out', tmp_path / 'file' / 'x', code=2).stderr
    assert '--out is empty' in run_verify(folder, '--out', '', code=2).stderr
    assert 'is not COLUMNSxROWS' in run_verify(folder, '--sheet=5', code=2).stderr
    assert '1 to 100 columns' in run_verify(folder, '--sheet=101x5', code=2).stderr
    assert 'is not in the range 0<=x<=15' in run_verify(folder, '--near=16', code=2).stderr
    assert '--write-manifest' in run_verify(write_zip(tmp_path / 'z.zip', clean()), '--write-manifest', code=2).stderr
    (tmp_path / 'z.zip').unlink()
    assert sorted(tmp_path.rglob('*')) == before


def test_what_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / 'out' / 'report.html').mkdir(parents=True)
    path = write_zip(tmp_path / 'a.zip', clean())
    assert 'cannot be written (Is a directory)' in run_verify(path, '--out', tmp_path / 'out', code=2).stderr
    folder = pathlib.Path(write_folder(tmp_path / 'data', clean()))
    with mock.patch('training.data.verify.manifest.write_bytes', side_effect=OSError(28, 'No space left on device')):
        assert 'cannot be written (No space left' in run_verify(folder, '--write-manifest', code=2).stderr


def test_nothing_is_written_outside_out(tmp_path):
    """Not for a folder either, and not through names that lead elsewhere."""
    data = {**clean(), '../evil.png': encoded(picture(8)), '/evil.png': encoded(picture(9))}
    write_zip(tmp_path / 'a.zip', data)
    write_folder(tmp_path / 'b', clean())
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*') if path.is_file()}
    run_verify(tmp_path / 'a.zip', '--out', tmp_path / 'out' / 'a', code=1)
    run_verify(tmp_path / 'b', '--out', tmp_path / 'out' / 'b')
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*') if path.is_file()}
    new = {path for path in after if path not in before}
    assert {path: after[path] for path in before} == before
    assert {path.relative_to(tmp_path).parts[0] for path in new} == {'out'}
