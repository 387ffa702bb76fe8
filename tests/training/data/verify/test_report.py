"""Reports of `verify`: JSON with every finding, and a page that holds no surprise."""

import html.parser
import json
import os

from tests.support.pictures import encoded, fill, run, write_folder
from tests.support.verify_data import clean, picture, run_verify, unlabelled, write_zip
from training.data.verify.report import to_html, to_json, to_text
from training.data.verify.survey import VerifyOptions, verify_dataset

HOSTILE = '<script>alert(1)<'


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


def test_the_way_out_names_the_data_and_the_size_of_most(tmp_path):
    path = write_zip(tmp_path / 'a.zip', unlabelled({'x.png': encoded(picture(9, (32, 16)))}))
    expected = f'python dataset_tool.py --source={path} --dest=NEW.zip --resolution=16x16 --transform=center-crop'
    assert expected in run_verify(path, code=1).stdout


def test_the_way_out_quotes_a_path_with_blanks(tmp_path):
    path = write_zip(tmp_path / 'my photos.zip', unlabelled({'x.png': encoded(picture(9, (32, 16)))}))
    assert f"--source='{path}' --dest=NEW.zip" in run_verify(path, code=1).stdout


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
    run_verify(path, code=1)
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
    run_verify(path, code=1)
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
    run_verify(tmp_path / 'a.zip', code=1)
    assert sorted(os.listdir(tmp_path / 'a-verify')) == ['report.html', 'report.json']
    Page((tmp_path / 'a-verify' / 'report.html').read_text(encoding='utf-8'))


def test_a_file_whose_name_is_no_utf_8_is_reported(tmp_path):
    folder = write_folder(tmp_path / 'data', clean())
    with open(os.fsencode(folder) + b'/caf\xe9.png', 'wb') as file:
        file.write(b'no image')
    assert 'caf\\xe9.png: is not a PNG' in run_verify(folder, code=1).stdout
    report = json.loads((tmp_path / 'data-verify' / 'report.json').read_bytes())
    assert report['findings']['not-an-image']['files'][0]['file'] == 'caf\\xe9.png'


def test_the_report_shows_duplicates_side_by_side_with_the_names_of_their_pictures(tmp_path):
    pictures = {'cats/a.png': picture(1), 'cats/b.png': picture(1), 'c.png': picture(2)}
    fill(tmp_path / 'in', pictures)
    run('--source', tmp_path / 'in', '--dest', tmp_path / 'a.zip')
    assert 'img00000002.png: has the same pixels as 00000/img00000001.png (made of cats/b.png and cats/a.png)' in (
        run_verify(tmp_path / 'a.zip').stdout
    )
    text = (tmp_path / 'a-verify' / 'report.html').read_text(encoding='utf-8')
    (row,) = [line for line in text.splitlines() if 'has the same pixels' in line]
    assert row.count('<img ') == 2
    run('--source', tmp_path / 'a.zip', '--dest', tmp_path / 'b.zip', '--drop-duplicates')
    assert 'same pixels' not in run_verify(tmp_path / 'b.zip').stdout
