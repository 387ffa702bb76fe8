"""The command `verify`: exit codes, the report's files and nothing else, HTML that holds no surprise."""

import html.parser
import json
import os
import pathlib
from unittest import mock

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from tests.support.pictures import encoded, write_folder
from tests.support.verify_data import clean, picture, unlabelled, write_zip
from training.data.verify import findings as module
from training.data.verify.command import verify as command
from training.data.verify.findings import Findings, printable
from training.data.verify.report import to_html, to_json, to_text
from training.data.verify.sheet import contact_sheet
from training.data.verify.survey import VerifyOptions, verify_dataset

HOSTILE = '<script>alert(1)<'


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(command, ['--workers=0', *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


class Page(html.parser.HTMLParser):
    """Tags of a page, all closed in order; its text; its addresses."""

    VOID = ('meta', 'img')

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.words: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or '' for name, value in attrs if name in ('src', 'href')]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_a_clean_set_exits_with_0_and_says_so(tmp_path):
    path = write_zip(tmp_path / 'pets.zip', clean())
    result = run(path, '--sheet=4x3')
    assert result.stdout.splitlines()[0] == (
        f'{path}: images 6; sizes 16x16 (6); form RGB (6); labels 2 classes of 3 images'
    )
    assert 'no defects, warnings: 0' in result.stdout
    assert sorted(os.listdir(tmp_path)) == ['pets-verify', 'pets.zip']
    assert sorted(os.listdir(tmp_path / 'pets-verify')) == ['contact-sheet.png', 'report.html', 'report.json']
    run(path)  # once more, over the last report


def test_defects_exit_with_1_and_warnings_with_0(tmp_path):
    planted = {f'{i}.png': b'no image' for i in range(12)}
    result = run(write_zip(tmp_path / 'a.zip', unlabelled(planted)), '--out', tmp_path / 'out', code=1)
    assert 'defect: Not an image (12). Way out: copy it again' in result.stdout
    assert result.stdout.count('is not a PNG, JPEG or WEBP image') == 10
    assert 'and 2 more' in result.stdout
    assert sorted(os.listdir(tmp_path)) == ['a.zip', 'out']
    flat = {'flat.png': encoded(Image.new('RGB', (16, 16)))}
    assert 'warnings: 1' in run(write_zip(tmp_path / 'b.zip', unlabelled(flat))).stdout


def test_the_way_out_names_the_data_and_the_size_of_most(tmp_path):
    path = write_zip(tmp_path / 'a.zip', unlabelled({'x.png': encoded(picture(9, (32, 16)))}))
    expected = f'python dataset_tool.py --source={path} --dest=NEW.zip --resolution=16x16 --transform=center-crop'
    assert expected in run(path, code=1).stdout


def test_usage_errors_exit_with_2_and_write_nothing(tmp_path):
    folder = pathlib.Path(write_folder(tmp_path / 'data', clean()))
    (tmp_path / 'file').write_bytes(b'')
    before = sorted(tmp_path.rglob('*'))
    assert 'no such file or folder' in run(tmp_path / 'none', code=2).stderr
    assert 'lies inside the data' in run(folder, '--out', folder / 'report', code=2).stderr
    assert 'lies inside the data' in run(folder, '--out', tmp_path / 'x' / '..' / 'data', code=2).stderr
    assert 'cannot be written' in run(folder, '--out', tmp_path / 'file' / 'x', code=2).stderr
    assert '--out is empty' in run(folder, '--out', '', code=2).stderr
    assert 'is not COLUMNSxROWS' in run(folder, '--sheet=5', code=2).stderr
    assert '1 to 100 columns' in run(folder, '--sheet=101x5', code=2).stderr
    assert 'is not in the range 0<=x<=15' in run(folder, '--near=16', code=2).stderr
    assert '--write-manifest' in run(write_zip(tmp_path / 'z.zip', clean()), '--write-manifest', code=2).stderr
    (tmp_path / 'z.zip').unlink()
    assert sorted(tmp_path.rglob('*')) == before


def test_what_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / 'out' / 'report.html').mkdir(parents=True)
    path = write_zip(tmp_path / 'a.zip', clean())
    assert 'cannot be written (Is a directory)' in run(path, '--out', tmp_path / 'out', code=2).stderr
    folder = pathlib.Path(write_folder(tmp_path / 'data', clean()))
    with mock.patch('training.data.verify.manifest.write_bytes', side_effect=OSError(28, 'No space left on device')):
        assert 'cannot be written (No space left' in run(folder, '--write-manifest', code=2).stderr


def test_nothing_is_written_outside_out(tmp_path):
    """Not for a folder either, and not through names that lead elsewhere."""
    data = {**clean(), '../evil.png': encoded(picture(8)), '/evil.png': encoded(picture(9))}
    write_zip(tmp_path / 'a.zip', data)
    write_folder(tmp_path / 'b', clean())
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*') if path.is_file()}
    run(tmp_path / 'a.zip', '--out', tmp_path / 'out' / 'a', code=1)
    run(tmp_path / 'b', '--out', tmp_path / 'out' / 'b')
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*') if path.is_file()}
    new = {path for path in after if path not in before}
    assert {path: after[path] for path in before} == before
    assert {path.relative_to(tmp_path).parts[0] for path in new} == {'out'}


def test_manifest_is_written_beside_the_images_when_asked(tmp_path):
    folder = pathlib.Path(write_folder(tmp_path / 'data', clean()))
    run(folder, '--write-manifest')
    manifest = json.loads((folder / 'manifest.json').read_bytes())
    assert sorted(manifest['files']) == [f'{i:02d}.png' for i in range(6)] + ['dataset.json']
    run(folder)


def test_the_page_is_well_formed_and_escapes_names(tmp_path):
    """Names, class names and the path come from strangers."""
    files = {
        HOSTILE + '/script>.png': b'no image',
        HOSTILE + '/copy>.png': encoded(picture(0), compress_level=0),
        'dataset.json': json.dumps({'labels': [[f'{i:02d}.png', i % 2] for i in range(6)], 'classes': ['<b>', '"']}),
        'line\nbreak\x1b[31m.png': b'no image',
    }
    path = write_zip(tmp_path / '<i>&amp.zip', {**unlabelled({}), **files})
    report = verify_dataset(path, VerifyOptions(workers=0))
    text = to_html(report, 'data:image/png;base64,')
    page = Page(text)
    assert page.tags.isdisjoint({'script', 'b', 'i', 'a', 'link', 'iframe', 'object'})
    assert {'html', 'body', 'table', 'figure'} <= page.tags
    assert HOSTILE + '/script>.png' in page.words
    assert '0: <b>' in page.words
    assert 'line\\nbreak\\x1b[31m.png' in page.words
    assert all(address.startswith('data:image/png;base64,') for address in page.addresses)
    assert "default-src 'none'" in text
    assert '\x1b' not in text + to_text(report) + json.dumps(to_json(report))


def test_the_page_shows_defects_duplicates_classes_and_statistics(tmp_path):
    planted = {'x.png': b'no image', 'copy.png': encoded(picture(0), compress_level=0)}
    path = write_zip(tmp_path / 'a.zip', {**clean(), **planted})
    run(path, code=1)
    page = Page((tmp_path / 'a-verify' / 'report.html').read_text(encoding='utf-8'))
    for words in (
        'Not an image: 1 (defect)',
        'Groups: Same pixels as another (1)',
        'Classes',
        'Contact sheet',
        '1: dog',
    ):
        assert words in page.words
    assert sum(address.startswith('data:image/png;base64,') for address in page.addresses) >= 4


def test_json_holds_every_finding(tmp_path):
    planted = {f'{i}.png': b'no image' for i in range(300)}
    path = write_zip(tmp_path / 'a.zip', {**clean(), **planted})
    run(path, code=1)
    report = json.loads((tmp_path / 'a-verify' / 'report.json').read_bytes())
    assert report['images'] == {'files': 306, 'looked_at': 306, 'decoded': 6}
    assert report['defects'] == 600
    assert len(report['findings']['not-an-image']['files']) == 300
    assert report['findings']['not-an-image']['severity'] == 'defect'
    assert report['labels']['classes'] == [
        {'class': 0, 'name': 'cat', 'images': 3},
        {'class': 1, 'name': 'dog', 'images': 3},
    ]


def test_a_set_that_cannot_be_opened_still_has_a_report(tmp_path):
    (tmp_path / 'a.zip').write_bytes(b'hello')
    run(tmp_path / 'a.zip', code=1)
    assert sorted(os.listdir(tmp_path / 'a-verify')) == ['report.html', 'report.json']
    Page((tmp_path / 'a-verify' / 'report.html').read_text(encoding='utf-8'))


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


def test_findings_are_counted_beyond_those_that_are_kept(monkeypatch):
    monkeypatch.setattr(module, 'MAX_LISTED', 3)
    findings = Findings()
    for i in range(5):
        findings.add('crc', f'{i}.png', 'is damaged')
    assert (findings.counts['crc'], len(findings.listed['crc']), findings.number('defect')) == (5, 3, 5)


def test_a_file_whose_name_is_no_utf_8_is_reported(tmp_path):
    folder = write_folder(tmp_path / 'data', clean())
    with open(os.fsencode(folder) + b'/caf\xe9.png', 'wb') as file:
        file.write(b'no image')
    assert 'caf\\udce9.png: is not a PNG' in run(folder, code=1).stdout
    report = json.loads((tmp_path / 'data-verify' / 'report.json').read_bytes())
    assert report['findings']['not-an-image']['files'][0]['file'] == 'caf\\udce9.png'


def test_names_that_are_no_utf_8_can_be_printed():
    name = b'caf\xe9\n.png'.decode('utf-8', 'surrogateescape')
    assert printable(name) == 'caf\\udce9\\n.png'
    assert printable(name).encode()
