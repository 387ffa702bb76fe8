"""Pictures of metrics over runs."""

import PIL.Image
import pytest
from PIL import ImageDraw

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


def test_a_single_point_is_told_in_words_and_joined_to_the_axis(tmp_path, monkeypatch):
    texts = []
    monkeypatch.setattr(ImageDraw.ImageDraw, 'text', lambda self, at, text, **options: texts.append(text))
    draw_curve([(5, 31.25)], 'fd', tmp_path / 'one.png')
    assert '31.25 at 5 kimg, the only snapshot so far' in texts
    with PIL.Image.open(tmp_path / 'one.png') as picture:
        columns = [x for x in range(picture.width) if _has_color(picture, x)]
    assert len(columns) > picture.width * 0.7
    draw_curve([(0, 31.25)], 'fd', tmp_path / 'zero.png')  # the text of a point at the left border is to its right
    draw_curve([(5, 31.25), (6, 30)], 'fd', tmp_path / 'two.png')
    assert texts[-1] == '30'


def _has_color(picture, x):
    return any(b > r + 40 for r, _, b in (picture.getpixel((x, y)) for y in range(picture.height)))
