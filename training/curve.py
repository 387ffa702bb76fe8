"""The curve of a metric over a run, as a PNG drawn with Pillow alone."""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from dnnlib.files import atomic_path

WIDTH, HEIGHT = 640, 400  # pixels, drawn at twice the size and averaged down
MARGIN = (64, 40, 24, 48)  # left, top, right, bottom
INK, GRID, LINE = '#222222', '#dddddd', '#1f6feb'


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers (1, 2 or 5 times a power of ten apart) that span [low, high]."""
    span = max(high - low, 1e-9)
    raw = span / count
    power = 10 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = math.floor(low / step)
    return [i * step for i in range(first, math.ceil(high / step - 1e-9) + 1)]


def draw_curve(points: list[tuple[float, float]], title: str, path: Path) -> None:
    """Writes the curve through (kimg, value) points, in order of kimg; the last value stands at its end."""
    scale = 2
    picture = Image.new('RGB', (WIDTH * scale, HEIGHT * scale), 'white')
    canvas = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=13 * scale)
    points = sorted(points)
    xs, ys = nice_ticks(0, points[-1][0]), nice_ticks(0, max(value for _, value in points))
    left, top, right, bottom = (m * scale for m in MARGIN)
    plot_w, plot_h = WIDTH * scale - left - right, HEIGHT * scale - top - bottom

    def place(kimg: float, value: float) -> tuple[float, float]:
        return left + plot_w * kimg / xs[-1], top + plot_h * (1 - value / ys[-1])

    for y in ys:
        canvas.line([place(0, y), place(xs[-1], y)], fill=GRID, width=scale)
        canvas.text((left - 8 * scale, place(0, y)[1]), f'{y:g}', fill=INK, font=font, anchor='rm')
    for x in xs:
        canvas.text((place(x, 0)[0], top + plot_h + 8 * scale), f'{x:g}', fill=INK, font=font, anchor='mt')
    canvas.text((left + plot_w / 2, HEIGHT * scale - 8 * scale), 'kimg', fill=INK, font=font, anchor='mb')
    canvas.text((left, top / 2), title, fill=INK, font=font, anchor='lm')
    path_px = [place(*point) for point in points]
    canvas.line(path_px, fill=LINE, width=3 * scale, joint='curve')
    for x, y in path_px:
        canvas.ellipse([x - 3 * scale, y - 3 * scale, x + 3 * scale, y + 3 * scale], fill=LINE)
    end_x, end_y = path_px[-1]
    canvas.text((end_x, end_y - 8 * scale), f'{points[-1][1]:.4g}', fill=INK, font=font, anchor='rb')
    with atomic_path(path) as tmp:
        picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).save(tmp, format='PNG')
