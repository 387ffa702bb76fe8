"""Curves of a metric over one or more runs, drawn as a PNG with Pillow."""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from dnnlib.files import atomic_path

WIDTH, HEIGHT = 640, 400  # pixels
SCALE = 2  # oversampling of the drawing
MARGIN = (64, 40, 24, 48)  # left, top, right, bottom
INK, GRID = '#222222', '#dddddd'
LINES = ('#1f6feb', '#d1242f', '#1a7f37', '#9a6700', '#8250df', '#bf3989', '#57606a')  # one per name, cyclic

Points = list[tuple[float, float]]  # (kimg, value)


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Returns round numbers that span an interval, spaced by 1, 2 or 5 times a power of ten.

    Args:
        low: Lower end of the interval.
        high: Upper end of the interval.
        count: Approximate number of values.
    """
    high = high if high > low else low + 1
    span = max(high - low, 1e-9)
    raw = span / count
    power = 10 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = math.floor(low / step)
    return [i * step for i in range(first, math.ceil(high / step - 1e-9) + 1)]


def draw_curve(points: Points, title: str, path: Path) -> None:
    """Writes the curve through (kimg, value) points, labeled with the last value."""
    draw_curves({'': [points]}, title, path)


def draw_curves(curves: dict[str, list[Points]], title: str, path: Path) -> None:
    """Writes all curves into one picture. Curves of one name share a color, and a legend lists the names.

    Args:
        curves: curves by name, each a list of (kimg, value) points.
        title: text above the plot.
        path: the PNG file.

    Raises:
        ValueError: if there is no point.
    """
    every = [point for group in curves.values() for points in group for point in points]
    if not every:
        raise ValueError(f'{path}: no points to draw')
    picture = Image.new('RGB', (WIDTH * SCALE, HEIGHT * SCALE), 'white')
    canvas = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=13 * SCALE)
    values = [value for _, value in every]  # some below 0: the kernel distance is unbiased
    xs, ys = nice_ticks(0, max(kimg for kimg, _ in every)), nice_ticks(min(0, *values), max(0, *values))
    left, top, right, bottom = (m * SCALE for m in MARGIN)
    plot_w, plot_h = WIDTH * SCALE - left - right, HEIGHT * SCALE - top - bottom

    def place(kimg: float, value: float) -> tuple[float, float]:
        return left + plot_w * kimg / xs[-1], top + plot_h * (ys[-1] - value) / (ys[-1] - ys[0])

    for y in ys:
        canvas.line([place(0, y), place(xs[-1], y)], fill=GRID, width=SCALE)
        canvas.text((left - 8 * SCALE, place(0, y)[1]), f'{y:g}', fill=INK, font=font, anchor='rm')
    for x in xs:
        canvas.text((place(x, 0)[0], top + plot_h + 8 * SCALE), f'{x:g}', fill=INK, font=font, anchor='mt')
    canvas.text((left + plot_w / 2, HEIGHT * SCALE - 8 * SCALE), 'kimg', fill=INK, font=font, anchor='mb')
    canvas.text((left, top / 2), title, fill=INK, font=font, anchor='lm')
    for i, (name, group) in enumerate(curves.items()):
        color = LINES[i % len(LINES)]
        for points in group:
            _draw_line(canvas, [place(*point) for point in sorted(points)], color)
        canvas.text((left + plot_w, top + 16 * SCALE * i), name, fill=color, font=font, anchor='rt')
    if len(every) == len(curves.get('', [[]])[0]):  # a single curve without a name: its last value is printed
        (kimg, value), (x, y) = max(every), place(*max(every))
        text = f'{value:.4g}'
        if len(every) == 1:  # a point alone: its coordinates in words, and a line to the axis
            text += f' at {kimg:g} kimg, the only snapshot so far'
            canvas.line([place(0, value), (x, y)], fill=LINES[0], width=SCALE)
        canvas.text((x, y - 8 * SCALE), text, fill=INK, font=font, anchor='rb' if x > left + plot_w / 2 else 'lb')
    with atomic_path(path) as tmp:
        picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).save(tmp, format='PNG')


def _draw_line(canvas: ImageDraw.ImageDraw, pixels: Points, color: str) -> None:
    """Draws a line with a dot at every point."""
    canvas.line(pixels, fill=color, width=3 * SCALE, joint='curve')
    for x, y in pixels:
        canvas.ellipse([x - 3 * SCALE, y - 3 * SCALE, x + 3 * SCALE, y + 3 * SCALE], fill=color)
