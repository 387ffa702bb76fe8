"""R2: the images at which it takes D's gradient, and its statistics."""

import torch

from training.objective.r2 import R2, R2Config
from training.objective.term import Micro


class Linear:
    """A `Draw` whose critic is a sum and whose generated images are ones."""

    def fakes(self, n):
        return torch.ones(n, 3, 2, 2), torch.zeros(n, 0)

    def score(self, img, c):
        assert img.requires_grad
        return 2 * img.sum(dim=(1, 2, 3)).unsqueeze(1)


def test_as_many_generated_images_as_real_ones_are_penalized():
    term = R2(R2Config(gamma=3), None, None, torch.device('cpu'))
    summand = term.regularize(Micro(img=torch.zeros(5, 3, 2, 2), c=torch.zeros(5, 0), index=0), Linear())
    assert summand.loss.tolist() == [3 / 2 * 4 * 12] * 5
    assert summand.statistics.keys() == {'Loss/r2_penalty', 'Loss/D/reg'}
