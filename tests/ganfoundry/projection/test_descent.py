"""The descent: Adam with the schedule, and the best state of every image."""

import torch

from ganfoundry.projection.descent import Best, Point, Problem, descend
from ganfoundry.projection.perceptual import Distance, Parts, PixelDistance


class Painter(torch.nn.Module):
    """Draws gray images whose level is the point."""

    space = 'w'

    def forward(self, points, c):
        return points.view(-1, 1, 1, 1).expand(-1, 3, 16, 16)


def test_the_descent_finds_the_level_and_yields_every_state():
    targets = torch.tensor([0.3, -0.5]).view(-1, 1, 1, 1).expand(-1, 3, 16, 16)
    distance = Distance(network=PixelDistance(), weight=1)
    problem = Problem(drawer=Painter(), targets=targets, c=torch.zeros(2, 0), distance=distance)
    states = list(descend(problem, torch.zeros(2, 1), 80))
    assert [state.step for state in states] == list(range(81))
    assert states[0].points.tolist() == [[0], [0]]
    assert torch.equal(states[1].points, states[0].points)  # the learning rate begins at zero
    assert torch.allclose(states[-1].points, torch.tensor([[0.3], [-0.5]]), atol=0.01)
    assert not states[-1].points.requires_grad


def test_the_best_state_is_kept_for_each_image():
    best = Best(Distance(network=PixelDistance(), weight=1))
    for step, (a, b) in enumerate([(3.0, 1.0), (1.0, 2.0), (2.0, 3.0)]):
        parts = Parts(torch.tensor([a, b]), torch.zeros(2))
        best.update(Point(step, torch.full([2, 1], float(step)), torch.zeros(2, 1, 1, 1), parts))
    assert best.points.tolist() == [[1], [0]]
