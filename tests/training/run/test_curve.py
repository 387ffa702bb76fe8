"""Pictures of metrics over runs."""

import PIL.Image
import pytest

from training.run.curve import LINES, draw_curve, draw_curves


def colours(path):
    with PIL.Image.open(path) as picture:
        return {f'#{r:02x}{g:02x}{b:02x}' for _, (r, g, b) in picture.convert('RGB').getcolors(1 << 20)}


def test_one_curve_has_one_colour(tmp_path):
    draw_curve([(0, 9.0), (2, 4.0)], 'fd', tmp_path / 'one.png')
    assert LINES[0] in colours(tmp_path / 'one.png')
    assert not set(LINES[1:]) & colours(tmp_path / 'one.png')


def test_each_name_has_a_colour_and_all_points_fit(tmp_path):
    draw_curves({'a': [[(1, 5.0), (2, 4.0)], [(1, 5.5)]], 'b': [[(3, 90.0)]], 'c': []}, 'fd', tmp_path / 'two.png')
    assert {LINES[0], LINES[1]} <= colours(tmp_path / 'two.png')


def test_nothing_to_draw_is_said(tmp_path):
    with pytest.raises(ValueError, match='no points'):
        draw_curves({'a': []}, 'fd', tmp_path / 'none.png')
    assert not (tmp_path / 'none.png').exists()
