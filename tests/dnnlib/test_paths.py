"""Paths as users write them."""

import os

import pytest

from dnnlib.paths import user_path


@pytest.mark.parametrize(
    ('text', 'path'),
    [
        ('~', '/home/me'),
        ('~/runs', '/home/me/runs'),
        ('~root/x', f'{os.path.expanduser("~root")}/x'),
        ('~nobody-of-this-name/x', '~nobody-of-this-name/x'),
        ('./~', './~'),
        ('a/~/b', 'a/~/b'),
        ('images.zip~', 'images.zip~'),
        ('https://host/~me/net.pkl', 'https://host/~me/net.pkl'),
        ('ffhq256', 'ffhq256'),
        ('', ''),
    ],
)
def test_a_leading_tilde_is_a_home_folder_as_in_a_shell(monkeypatch, text, path):
    monkeypatch.setenv('HOME', '/home/me')
    assert user_path(text) == path
