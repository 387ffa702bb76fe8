"""Schedules of Appendix D, at the steps that the paper names."""

import pytest

from ganfoundry.projection.schedule import learning_rate, noise_scale


def test_the_learning_rate_ramps_up_over_50_and_down_over_250_of_1000_steps():
    assert [learning_rate(step, 1000) for step in (0, 25, 50, 750)] == pytest.approx([0, 0.05, 0.1, 0.1])
    assert learning_rate(875, 1000) == pytest.approx(0.05)  # half of the cosine
    assert learning_rate(999, 1000) < 1e-5


def test_the_noise_falls_with_a_square_to_zero_at_750_of_1000_steps():
    assert [noise_scale(step, 1000) for step in (0, 375, 750, 900)] == pytest.approx([0.05, 0.0125, 0, 0])
