"""Tests of the provenance of a result: versions, commit, command line without passwords."""

import re

from dnnlib.addresses import public_url
from dnnlib.provenance import environment, git_commit


def test_a_password_in_an_address_is_neither_shown_nor_recorded(monkeypatch):
    assert public_url('https://me:secret@host:8/a?b=c') == 'https://host:8/a'
    monkeypatch.setattr('sys.argv', ['train.py', '--resume=https://me:se@cret@host/a?token=1', '--desc=a@b'])
    assert environment(())['argv'] == ['train.py', '--resume=https://host/a', '--desc=a@b']


def test_versions_are_those_of_the_installed_libraries():
    versions = environment(('numpy', 'no-such-library'))['versions']
    assert set(versions) == {'python', 'numpy'}


def test_the_commit_is_a_digest_or_unknown():
    commit = git_commit()
    assert commit is None or re.fullmatch(r'[0-9a-f]{40}\+?', commit)
