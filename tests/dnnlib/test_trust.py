"""Tests of the judgment whether somebody else can have put the code that is about to run."""

import os
from pathlib import Path

import pytest

from dnnlib.trust import distrust

as_root = pytest.mark.skipif(os.geteuid() != 0, reason='only root can give files away')


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A file in two folders that belong to this user alone."""
    path = tmp_path / 'outer' / 'inner' / 'ops.so'
    path.parent.mkdir(parents=True)
    path.write_bytes(b'')
    for place in (path, path.parent, path.parent.parent):
        place.chmod(0o755)
    return path


def test_what_is_this_users_alone_is_trusted(library):
    assert distrust(library) is None
    assert distrust(library.parent) is None
    assert distrust(library.parent / 'absent' / 'ops.so') is None


@pytest.mark.parametrize('mode', [0o777, 0o775, 0o757])
@pytest.mark.parametrize('place', ['file', 'inner', 'outer'])
def test_what_others_may_write_is_not_wherever_it_lies_on_the_way(library, place, mode):
    changed = {'file': library, 'inner': library.parent, 'outer': library.parent.parent}[place]
    changed.chmod(mode)
    reason = distrust(library)
    assert 'may be written by others' in reason
    assert place == 'file' or str(changed) in reason


def test_a_sticky_folder_is_trusted_above_and_not_around_the_file(library):
    library.parent.parent.chmod(0o1777)
    assert distrust(library) is None
    assert distrust(library.parent.parent / 'absent') is None
    library.parent.chmod(0o1777)
    assert 'may be written by others' in distrust(library)
    assert 'may be written by others' in distrust(library.parent)


@as_root
@pytest.mark.parametrize('place', ['file', 'inner', 'outer'])
def test_what_belongs_to_another_user_is_not_trusted(library, place):
    os.chown({'file': library, 'inner': library.parent, 'outer': library.parent.parent}[place], 65533, 65533)
    assert 'belongs to another user (uid 65533)' in distrust(library)


@as_root
def test_a_link_of_another_user_to_a_file_of_this_user_is_not_trusted(library, tmp_path):
    link = tmp_path / 'link'
    link.symlink_to(library)
    assert distrust(link) is None
    os.chown(link, 65533, 65533, follow_symlinks=False)
    assert 'belongs to another user' in distrust(link)


def test_links_are_followed_to_folders_that_others_may_write(library, tmp_path):
    open_folder = tmp_path / 'open'
    open_folder.mkdir()
    (open_folder / 'ops.so').write_bytes(b'')
    open_folder.chmod(0o777)
    link = tmp_path / 'relative'
    link.symlink_to(os.path.join('..', tmp_path.name, 'open'))
    assert str(open_folder) in distrust(link / 'ops.so')
    link.unlink()
    (open_folder / 'link').symlink_to(library.parent)  # a writer of the folder can point the link elsewhere
    assert str(open_folder) in distrust(open_folder / 'link' / 'ops.so')
    loop = tmp_path / 'loop'
    loop.symlink_to(loop)
    assert 'leads to itself' in distrust(loop)
