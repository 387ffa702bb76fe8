"""A network of the explorer: drawing views with it, bit for bit as generate.py draws them."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ganfoundry.class_option import Label
from ganfoundry.directions import Directions, directions, principal_directions
from ganfoundry.drawing import Drawn, draw_points, measure_batch_norm
from ganfoundry.explore.encode import png_of, webp_of
from ganfoundry.explore.place import KINDS, Start, point_of
from ganfoundry.explore.view import View
from ganfoundry.network import Network
from ganfoundry.pictures import text_of
from ganfoundry.points import Point
from ganfoundry.transform_option import apply_transform
from training.interface import MovableGenerator
from training.optimize.recalibrate import batch_norms

NUM_LABELS = 8  # labels whose directions are kept


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """An encoded image. media: its type. digest: of the network. seconds: duration of the drawing."""

    data: bytes
    media: str
    digest: str
    seconds: float


class Model:
    """A network with what it needs between two views: its directions, and the batch-norm statistics of its training.

    Args:
        network: The network. The model changes it, so that no other code may draw with it.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._directions: OrderedDict[tuple[str, str], Directions] = OrderedDict()
        layers = batch_norms(network.module)
        self._trained = [{name: value.clone() for name, value in layer.named_buffers()} for layer in layers]
        self._measured: tuple[bytes, float] | None = None  # label and truncation of the present statistics

    def draw(self, view: View, starts: Mapping[str, Start]) -> Drawn:
        """Returns the image of a view. Raises ConfigError if the network cannot draw it."""
        point = self.point(view, starts)
        self._move(view)
        self._measure(view, point)
        network = self.network
        how: dict[str, Any] = {'truncation_psi': view.psi, 'noise_mode': view.noise, 'bits': network.spec.bits}
        return next(draw_points(network.module, [point], **how))

    def point(self, view: View, starts: Mapping[str, Start]) -> Point:
        """Returns the point of a view."""
        return point_of(view, self.network, starts, self._find)

    def picture(self, view: View, starts: Mapping[str, Start], *, draft: bool) -> Picture:
        """Returns the picture of a view.

        Args:
            view: The view.
            starts: The stored points by name.
            draft: A WebP, which is encoded faster, in place of the PNG of generate.py.
        """
        began = time.perf_counter()
        drawn = self.draw(view, starts)
        seconds = time.perf_counter() - began
        data = webp_of(drawn.image) if draft else png_of(drawn.image, self.info(view, drawn))
        media = 'image/webp' if draft else 'image/png'
        return Picture(data=data, media=media, digest=self.network.sha256, seconds=seconds)

    def info(self, view: View, drawn: Drawn) -> dict[str, Any]:
        """Returns the text chunks of the PNG, those of generate.py."""
        settings: dict[str, Any] = {'noise_mode': view.noise, 'recalibrate': view.recalibrate}
        psi = 1 if view.psi == 1 else view.psi  # generate.py records 1 without --trunc, not 1.0
        info = self.network.info(truncation_psi=psi, **settings)
        return {**info, **view.transform.record(), **text_of(drawn)}

    def traits(self) -> dict[str, bool]:
        """Returns which of noise, batch-norm statistics and a transform the network has. Draws two images."""
        random, none = (self.draw(View(noise=mode), {}).image for mode in ('random', 'none'))
        return {
            'noise': not np.array_equal(random, none),
            'batch_norm': bool(self._trained),
            'movable': isinstance(self.network.module, MovableGenerator),
        }

    def _find(self, kind: str, label: Label) -> Directions:
        """Returns directions; those of the labels used last are kept."""
        key = kind, label.text
        if key not in self._directions:
            compute = principal_directions if kind == 'pca' else directions
            self._directions[key] = compute(self.network.module, label.c[None] if label.text else None)
        self._directions.move_to_end(key)
        while len(self._directions) > len(KINDS) * NUM_LABELS:
            self._directions.popitem(last=False)
        return self._directions[key]

    def _move(self, view: View) -> None:
        """Applies the transform of a view, which may take back that of the view before."""
        G, spec = self.network.module, self.network.spec
        if isinstance(G, MovableGenerator):
            G.set_transform(view.transform.matrix(spec))
        else:
            apply_transform(G, view.transform, spec, str(self.network.path))

    @torch.no_grad()
    def _measure(self, view: View, point: Point) -> None:
        """Sets the batch-norm statistics of a view, unless the view before had the same."""
        wanted = (point.c.numpy().tobytes(), view.psi) if view.recalibrate else None
        if wanted == self._measured:
            return
        if view.recalibrate:
            measure_batch_norm(self.network.module, point.c[None], view.psi)
        else:
            for layer, trained in zip(batch_norms(self.network.module), self._trained, strict=True):
                for name, value in layer.named_buffers():
                    value.copy_(trained[name])
        self._measured = wanted
