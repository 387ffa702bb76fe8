"""The folder of an export is complete or absent."""

import pytest

from dnnlib.errors import ConfigError
from ganfoundry.export.folder import check_free, new_folder


def write(out, error, meanwhile=False):
    """Writes a file to a new folder, in which an error ends the export, or whose name another process takes."""
    with new_folder(out) as folder:
        (folder / 'file').write_text('text')
        if error is not None:
            raise error
        if meanwhile:
            out.mkdir()
            (out / 'file').write_text('theirs')


def test_the_folder_appears_when_everything_in_it_is_there(tmp_path):
    out = tmp_path / 'a' / 'b' / 'out'
    with new_folder(out) as folder:
        assert folder.parent == out.parent
        (folder / 'file').write_text('text')
        assert not out.exists()
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob('*'))] == [
        'a',
        'a/b',
        'a/b/out',
        'a/b/out/file',
    ]


@pytest.mark.parametrize('error', [ConfigError, KeyboardInterrupt])
def test_a_failure_leaves_neither_the_folder_nor_those_above_it(tmp_path, error):
    with pytest.raises(error):
        write(tmp_path / 'a' / 'b' / 'out', error)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_taken_and_stays_if_the_export_fails(tmp_path):
    out = tmp_path / 'out'
    out.mkdir()
    with pytest.raises(ConfigError):
        write(out, ConfigError)
    assert list(tmp_path.iterdir()) == [out]
    check_free(out)
    with new_folder(out) as folder:
        (folder / 'file').write_text('text')
    assert (out / 'file').read_text() == 'text'


def test_a_folder_with_files_and_a_file_are_refused(tmp_path):
    (tmp_path / 'file').write_text('mine')
    with pytest.raises(ConfigError, match='exists and is not empty; name a new folder'):
        check_free(tmp_path)
    with pytest.raises(ConfigError, match='is a file; name a new folder'):
        check_free(tmp_path / 'file')
    with pytest.raises(ConfigError, match='cannot be made: Not a directory'), new_folder(tmp_path / 'file' / 'out'):
        pass


def test_files_that_came_meanwhile_are_not_replaced(tmp_path):
    out = tmp_path / 'out'
    with pytest.raises(ConfigError, match='exists and is not empty'):
        write(out, None, meanwhile=True)
    assert [path.name for path in tmp_path.iterdir()] == ['out']
    assert (out / 'file').read_text() == 'theirs'
