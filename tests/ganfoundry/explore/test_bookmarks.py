"""Bookmarks: a latents file that grows at its end, holds each point once, and is never replaced by another's."""

import numpy as np
import pytest
import torch

from dnnlib.errors import ConfigError
from ganfoundry.explore.bookmarks import BookmarkFile, views_of
from ganfoundry.explore.view import View
from tests.ganfoundry.explore.conftest import LABELED, PEEPS
from training.run.latents import Latents, read_latents, write_latents


def test_points_are_added_once_and_keep_their_index(studio, tmp_path):
    opened = studio(PEEPS)
    path, G = tmp_path / 'latents.npz', opened.sides[0].first.network.module
    assert opened.keep(0, [View(seed=1), View(x=0.5)]) == [0, 1]
    first = read_latents(path, G)
    assert opened.keep(0, [View(x=0.5), View(seed=2), View(seed=2), View(seed=1)]) == [1, 2, 2, 0]
    latents = read_latents(path, G)
    assert len(latents.points) == 3
    assert torch.equal(latents.points[:2], first.points)
    assert views_of(latents) == ['seed=1', 'x=0.5', 'seed=2']
    assert latents.provenance['network_sha256'] == opened.info()['networks'][0]['digest']


def test_points_of_another_program_stay(studio, tmp_path):
    path = tmp_path / 'latents.npz'
    opened = studio(PEEPS)
    G = opened.sides[0].first.network.module
    theirs = torch.randn(2, G.num_ws, G.w_dim)
    np.savez(path, w=theirs.numpy())
    assert opened.keep(0, [View(seed=1)]) == [2]
    latents = read_latents(path, G)
    assert torch.equal(latents.points[:2], theirs)
    assert views_of(latents) == ['', '', 'seed=1']
    assert 'network_sha256' not in latents.provenance


def test_labels_of_z_are_kept_with_the_points(studio, narrow, tmp_path):
    opened = studio(narrow('dcgan', LABELED))
    assert opened.keep(0, [View(seed=1, class_text='2')]) == [0]
    assert opened.keep(0, [View(seed=1, class_text='1'), View(seed=1, class_text='2')]) == [1, 0]
    latents = read_latents(tmp_path / 'latents.npz', opened.sides[0].first.network.module)
    assert latents.space == 'z'
    assert latents.c.tolist() == [[0, 0, 1], [0, 1, 0]]


def test_z_without_labels_takes_no_points_with_labels(studio, narrow, tmp_path):
    opened = studio(narrow('dcgan', LABELED))
    z_dim = opened.sides[0].first.network.module.z_dim
    write_latents(tmp_path / 'latents.npz', Latents(space='z', points=torch.randn(1, z_dim)))
    before = (tmp_path / 'latents.npz').read_bytes()
    with pytest.raises(ConfigError, match='holds z without labels; name another file'):
        opened.keep(0, [View()])
    assert (tmp_path / 'latents.npz').read_bytes() == before


def test_a_network_with_other_latents_adds_nothing(studio, narrow, tmp_path):
    opened = studio(PEEPS, narrow('dcgan'))
    opened.keep(0, [View()])
    before = (tmp_path / 'latents.npz').read_bytes()
    with pytest.raises(ConfigError, match=r'--bookmarks=.*this network has no W space'):
        opened.keep(1, [View()])
    assert (tmp_path / 'latents.npz').read_bytes() == before


def test_the_download_is_the_file(studio, tmp_path):
    opened = studio(PEEPS)
    views = [View(seed=1), View(x=0.5)]
    opened.keep(0, views)
    assert opened.encode(0, views) == (tmp_path / 'latents.npz').read_bytes()


def test_a_folder_that_is_not_there_is_an_error_in_words(studio):
    opened = studio(PEEPS)
    opened._file = BookmarkFile(opened._file.path.parent / 'no' / 'latents.npz')
    with pytest.raises(ConfigError, match=r'latents.npz: cannot be written \(No such file or directory\)'):
        opened.keep(0, [View()])
