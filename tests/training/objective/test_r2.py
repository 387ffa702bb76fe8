"""R2: the images at which it takes D's gradient, and its statistics."""

from dataclasses import replace

import pytest
import torch

from dnnlib.errors import ConfigError
from tests.support.steps import tiny
from training.objective.r1 import R1, R1Config
from training.objective.r2 import R2, R2Config
from training.objective.term import Micro, Scored


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


def test_a_shared_penalty_is_that_of_the_main_losses_own_half():
    img = torch.ones(4, 3, 2, 2, requires_grad=True)
    for generated in (False, True):
        scored = Scored(
            img=img, seen=img, c=torch.zeros(4, 0), logits=3 * img.sum(dim=(1, 2, 3)).unsqueeze(1), generated=generated,
            nimg=0,
        )  # fmt: skip
        for cls, config in ((R1, R1Config(gamma=2, interval=None, shared=True)), (R2, R2Config(gamma=2, shared=True))):
            term = cls(config, None, None, torch.device('cpu'))
            summand = term.on_logits(scored)
            if generated == term.generated:
                assert summand.loss.tolist() == [9 * 12] * 4
            else:
                assert summand is None
            assert cls(replace(config, shared=False), None, None, torch.device('cpu')).on_logits(scored) is None


@pytest.mark.parametrize('term', ['r1', 'r2'])
def test_a_shared_penalty_is_not_lazy(dataset, term):
    penalties = {'r1': R1Config(shared=term == 'r1'), 'r2': R2Config(gamma=1, shared=term == 'r2')}
    with pytest.raises(ConfigError, match=rf'{term}\.shared=True: .* --set r1\.interval=none'):
        tiny(dataset, **penalties)
