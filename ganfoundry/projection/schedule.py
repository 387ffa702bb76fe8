"""Schedules of StyleGAN2's projection (Karras et al. 2020, arXiv 1912.04958, Appendix D).

Letters: t position in the schedule, from 0 to 1.
"""

from __future__ import annotations

import math

LR = 0.1  # largest learning rate
RAMPUP, RAMPDOWN = 0.05, 0.25  # fractions of the steps
NOISE, NOISE_RAMP = 0.05, 0.75  # largest noise in standard deviations of w; fraction of the steps with noise


def learning_rate(step: int, num_steps: int) -> float:
    """Returns the learning rate of a step: a linear ramp up from zero, a constant, and half a cosine down to zero."""
    t = step / num_steps
    down = 0.5 - 0.5 * math.cos(math.pi * min(1, (1 - t) / RAMPDOWN))
    return LR * down * min(1, t / RAMPUP)


def noise_scale(step: int, num_steps: int) -> float:
    """Returns the standard deviation of the noise that is added to w, in standard deviations of w.

    The paper adds N(0, 0.05 σ_w t²) with t from 1 to 0 over the first 750 of 1000 steps. Reading: 0.05 σ_w t² is the
    standard deviation; as a variance it would depend on the unit of w.
    """
    return NOISE * max(0, 1 - step / num_steps / NOISE_RAMP) ** 2
