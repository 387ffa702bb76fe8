"""Mixtures: the chosen styles come from the column, and a grid remembers its sources."""

import torch

from ganfoundry.jobs import Settings
from ganfoundry.points import stored_point
from ganfoundry.style_grid import Mixing, grid_text, mixed


def test_a_mixture_takes_the_chosen_styles_from_the_column():
    row = stored_point('a', 'w', torch.ones(4, 2), torch.zeros(0))
    col = stored_point('b', 'w', torch.full((4, 2), 2.0), torch.zeros(0))
    point = mixed(row, col, (0, 2))
    assert point.name == 'a-b'
    assert point.latent[:, 0].tolist() == [2, 1, 2, 1]
    assert row.latent.unique().tolist() == [1]


def test_a_grid_remembers_its_sources_and_styles():
    point = stored_point('me-0001', 'w', torch.ones(4, 2), torch.zeros(0))
    mixing = Mixing(rows=[point], cols=[point], indices=(0, 3), layers=[], settings=Settings(batch=4))
    text = grid_text(mixing)
    assert text['row_points'] == text['col_points'] == [{'name': 'me-0001', **point.origin}]
    assert (text['styles'], text['batch']) == ([0, 3], [0, 4])
