"""Draws the diagrams of docs/generators.md: what is new in each architecture, one picture each.

python docs/diagrams.py
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SCALE = 2  # pixels of the picture a unit of the plan
INK, PAPER = (30, 30, 36), (255, 255, 255)
FILLS = {'conv': (219, 234, 254), 'new': (254, 226, 179), 'op': (236, 236, 240), 'io': (220, 246, 222)}
ARROW = 5  # half the width of an arrow's head


@dataclass(frozen=True, slots=True)
class Box:
    """A box by the centre of its place. kind: 'conv', 'new' (what the paper adds), 'op' or 'io'."""

    x: float
    y: float
    text: str
    kind: str = 'conv'
    width: float = 104
    height: float = 30


@dataclass(slots=True)
class Diagram:
    """Boxes by name, and arrows as polylines through boxes' names and points."""

    name: str
    width: int
    height: int
    boxes: dict[str, Box]
    arrows: list[list[str | tuple[float, float]]]
    labels: list[tuple[float, float, str]] = field(default_factory=list)


def draw(plan: Diagram, folder: Path) -> None:
    """Writes arch_NAME.png."""
    image = Image.new('RGB', (plan.width * SCALE, plan.height * SCALE), PAPER)
    pen = ImageDraw.Draw(image)
    font, small = ImageFont.load_default(12 * SCALE), ImageFont.load_default(11 * SCALE)
    for arrow in plan.arrows:
        _draw_arrow(pen, [_place(plan, stop) for stop in arrow], plan, arrow)
    for box in plan.boxes.values():
        corners = [(box.x - box.width / 2) * SCALE, (box.y - box.height / 2) * SCALE,
                   (box.x + box.width / 2) * SCALE, (box.y + box.height / 2) * SCALE]  # fmt: skip
        pen.rounded_rectangle(corners, radius=6 * SCALE, fill=FILLS[box.kind], outline=INK, width=SCALE)
        pen.text((box.x * SCALE, box.y * SCALE), box.text, INK, font, anchor='mm', align='center')
    for x, y, text in plan.labels:
        pen.text((x * SCALE, y * SCALE), text, INK, small, anchor='lm')
    image.save(folder / f'arch_{plan.name}.png', optimize=True)


def _place(plan: Diagram, stop: str | tuple[float, float]) -> tuple[float, float]:
    return (plan.boxes[stop].x, plan.boxes[stop].y) if isinstance(stop, str) else stop


def _draw_arrow(
    pen: ImageDraw.ImageDraw, points: list[tuple[float, float]], plan: Diagram, stops: list[str | tuple[float, float]]
) -> None:
    """Draws an arrow through the points; its head touches the edge of the last box, or the last point."""
    (x0, y0), (x1, y1) = points[-2:]
    dx, dy = (x1 > x0) - (x1 < x0), (y1 > y0) - (y1 < y0)
    if isinstance(stops[-1], str):
        box = plan.boxes[stops[-1]]
        x1, y1 = (x1 - dx * box.width / 2, y1) if dx else (x1, y1 - dy * box.height / 2)
    line = [(x * SCALE, y * SCALE) for x, y in [*points[:-1], (x1, y1)]]
    pen.line(line, INK, width=SCALE)
    tip, side = (x1 * SCALE, y1 * SCALE), ARROW * SCALE
    back = (tip[0] - dx * 2 * side, tip[1] - dy * 2 * side)
    pen.polygon([tip, (back[0] - dy * side, back[1] - dx * side), (back[0] + dy * side, back[1] + dx * side)], INK)


def squeeze() -> Diagram:
    """Draws f_i -> f_s -> f_e -> blend, and the image from f_s."""
    boxes = {
        'in': Box(55, 60, 'f_o of R/2', 'io', 84),
        'conv0': Box(175, 60, '3x3, up 2'),
        'squeeze': Box(305, 60, 'squeeze\n3x3, C to C/r', 'new', 110, 40),
        'excite': Box(440, 60, 'excite\n3x3, C/r to C', 'new', 110, 40),
        'blend': Box(575, 60, 'blend\n1x1, 2C to C', 'new', 110, 40),
        'out': Box(690, 60, 'f_o', 'io', 60),
        'rgb': Box(305, 140, 'ToRGB'),
        'img': Box(440, 140, '+', 'op', 30),
        'before': Box(440, 195, 'image of R/2, up 2', 'io', 130),
        'image': Box(575, 140, 'image', 'io', 70),
    }
    arrows = [['in', 'conv0'], ['conv0', 'squeeze'], ['squeeze', 'excite'], ['excite', 'blend'], ['blend', 'out'],
              [(236, 60), (236, 18), (575, 18), 'blend'], ['squeeze', 'rgb'], ['rgb', 'img'], ['before', 'img'],
              ['img', 'image']]  # fmt: skip
    return Diagram('squeeze', 740, 220, boxes, arrows, [(240, 9, 'f_i'), (366, 45, 'f_s'), (501, 45, 'f_e')])


def ifgan() -> Diagram:
    """Draws two branches that refine each other through gates."""
    boxes = {
        'x': Box(50, 50, 'image\nfeatures', 'io', 80, 40),
        'l': Box(50, 150, 'latent\nfeatures', 'io', 80, 40),
        'gi': Box(180, 50, 'gate', 'new', 80),
        'conv': Box(340, 50, 'BigBN(z), ReLU, 3x3,\nnoise; twice; first up 2', 'conv', 170, 40),
        'add': Box(460, 50, '+', 'op', 30),
        'xo': Box(600, 50, 'image\nfeatures', 'io', 80, 40),
        'up': Box(180, 150, 'up 2', 'op', 60),
        'gl': Box(460, 150, 'gate', 'new', 80),
        'lo': Box(600, 150, 'latent\nfeatures', 'io', 80, 40),
    }
    arrows = [['x', 'gi'], ['l', (115, 150), (115, 100), (180, 100), 'gi'], ['gi', 'conv'], ['conv', 'add'],
              ['add', 'xo'], [(232, 50), (232, 20), (460, 20), 'add'], ['l', 'up'], ['up', 'gl'],
              [(500, 50), (500, 100), (460, 100), 'gl'], ['gl', 'lo']]  # fmt: skip
    return Diagram('ifgan', 660, 190, boxes, arrows, [(240, 10, 'up 2, and 1x1 where widths differ')])


def gconv() -> Diagram:
    """Draws Y0, scaled by S and mixed by W_L, added to itself."""
    boxes = {
        'x': Box(45, 60, 'X', 'io', 50),
        'k': Box(160, 60, 'K: k x k', 'conv'),
        'mul': Box(300, 60, 'x', 'op', 30),
        'wl': Box(400, 60, 'W_L: 1x1', 'new'),
        'add': Box(510, 60, '+', 'op', 30),
        'y': Box(590, 60, 'Y', 'io', 50),
        'mean': Box(145, 150, 'mean over H, W', 'op', 110),
        's': Box(300, 150, 'sigmoid(W_s [x_m, v])', 'new', 150),
        'v': Box(475, 150, 'v: z, or z and class', 'io', 140),
    }
    arrows = [['x', 'k'], ['k', 'mul'], ['mul', 'wl'], ['wl', 'add'], ['add', 'y'],
              [(240, 60), (240, 16), (510, 16), 'add'],
              [(80, 60), (80, 150), 'mean'], ['mean', 's'], ['v', 's'], ['s', 'mul']]  # fmt: skip
    return Diagram('gconv', 630, 185, boxes, arrows, [(244, 9, 'Y0'), (308, 104, 'S')])


def giu() -> Diagram:
    """Draws squeeze and excitation generating the kernels, which apply to the ungated features."""
    boxes = {
        'x': Box(45, 50, 'X', 'io', 50),
        'se': Box(165, 130, 'SE: sigmoid(\nW1 relu(W0 GAP X))', 'new', 140, 44),
        'mul': Box(290, 130, 'x', 'op', 30),
        'k': Box(430, 130, '1x1, BN, ReLU, 1x1:\nkernels K x K a pixel', 'new', 160, 44),
        'inv': Box(430, 50, 'involution', 'new', 104),
        'y': Box(560, 50, 'Y', 'io', 50),
    }
    arrows = [['x', 'inv'], ['inv', 'y'], [(80, 50), (80, 130), 'se'], ['se', 'mul'], [(290, 50), 'mul'], ['mul', 'k'],
              ['k', 'inv']]  # fmt: skip
    return Diagram('giu', 600, 170, boxes, arrows, [(436, 88, 'k [B, G, K K, H, W]')])


def igan() -> Diagram:
    """Draws four parallel branches, one of them dilated."""
    boxes = {
        'x': Box(45, 110, 'X', 'io', 50),
        'a': Box(330, 30, '1x1'),
        'b0': Box(190, 83, '1x1'),
        'b': Box(330, 83, '3x3'),
        'c0': Box(190, 136, '1x1'),
        'c': Box(330, 136, '5x5, dilation 2', 'new', 120),
        'd0': Box(190, 189, 'average 3x3', 'op'),
        'd': Box(330, 189, '1x1'),
        'cat': Box(480, 110, 'concatenate', 'op'),
        'y': Box(590, 110, 'Y', 'io', 50),
    }
    arrows = [[(70, 110), (100, 110), (100, y), name] for y, name in ((30, 'a'), (83, 'b0'), (136, 'c0'), (189, 'd0'))]
    arrows += [['b0', 'b'], ['c0', 'c'], ['d0', 'd'], ['cat', 'y']]
    arrows += [[(382, y), (410, y), (410, 110), 'cat'] for y in (30, 83, 136, 189)]
    return Diagram('igan', 630, 220, boxes, arrows)


def r3gan() -> Diagram:
    """Draws the inverted bottleneck with a grouped convolution, whose last convolution begins at zero."""
    boxes = {
        'x': Box(45, 60, 'x', 'io', 50),
        'c1': Box(160, 60, '1x1, C to 2 C\nbias, lrelu', 'conv', 110, 40),
        'c2': Box(310, 60, 'grouped 3x3\nbias, lrelu', 'new', 110, 40),
        'c3': Box(460, 60, '1x1, 2 C to C\nzero at the start', 'new', 120, 40),
        'add': Box(570, 60, '+', 'op', 30),
        'y': Box(640, 60, 'y', 'io', 50),
    }
    arrows = [['x', 'c1'], ['c1', 'c2'], ['c2', 'c3'], ['c3', 'add'], ['add', 'y'],
              [(85, 60), (85, 16), (570, 16), 'add']]  # fmt: skip
    return Diagram('r3gan', 680, 100, boxes, arrows)


if __name__ == '__main__':
    target = Path(__file__).resolve().parent / 'images'
    for make in (squeeze, ifgan, gconv, giu, igan, r3gan):
        draw(make(), target)
