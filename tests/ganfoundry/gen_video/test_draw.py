"""Frames are drawn in full batches, and come out in order whatever the batch and the grid."""

import numpy as np
import pytest
import torch

from ganfoundry.gen_video.draw import draw_frames
from ganfoundry.gen_video.frames import Frame


def frames_of(count: int, cells: int) -> list[Frame]:
    points = torch.arange(count * cells, dtype=torch.float32).reshape(count, cells, 1)
    return [Frame('z', part, torch.zeros(cells, 0)) for part in points]


class Level(torch.nn.Module):
    """A network whose image is its latent times psi, in steps of a gray level."""

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, z, c, *, truncation_psi, noise_mode):
        return ((z * truncation_psi - 127.5) / 127.5).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize('cells', [1, 3, 8])
@pytest.mark.parametrize('batch', [1, 2, 5, 64])
def test_cells_come_out_in_the_order_of_their_frames(cells, batch):
    drawn = np.stack(list(draw_frames(Level(), frames_of(7, cells), cells, batch=batch)))
    assert drawn.reshape(-1).tolist() == list(range(7 * cells))


@pytest.mark.parametrize(('cells', 'batch', 'expected'), [(3, 5, [5, 5, 5, 5, 1]), (4, 2, [2] * 14), (1, 3, [3, 3, 1])])
def test_batches_span_frames(cells, batch, expected):
    G = Level()
    sizes = []
    G.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    list(draw_frames(G, frames_of(7, cells), cells, batch=batch))
    assert sizes == expected


def test_each_frame_has_its_own_truncation():
    frames = [frame._replace(psi=psi) for frame, psi in zip(frames_of(3, 2), (0, 0, 2), strict=True)]
    drawn = np.stack(list(draw_frames(Level(), frames, 2, batch=4)))
    assert drawn.reshape(-1).tolist() == [0, 0, 0, 0, 8, 10]
