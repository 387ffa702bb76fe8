"""A metric in one file: how far the mean features of generated images are from those of real ones.

    python calc_metrics.py --network=RUN_DIR --plugin=examples/my_metric.py --metrics=shift_efflite10k_full
    python train.py --data=ffhq.zip --plugin=examples/my_metric.py --metrics=shift_efflite10k_full

The shift is a part of the Fréchet distance that one can interpret: 0 for equal means; 1 if the means differ by as much
as a typical real image differs from the mean of the real images. It does not notice a generator that has lost variety.

Letters: N real and M generated images, D feature width.
"""

from __future__ import annotations

import torch

import ganfoundry as gf


def mean_shift(real: torch.Tensor, fake: torch.Tensor) -> float:
    """Returns ‖mean(fake) − mean(real)‖ / sqrt(trace of the covariance of real) of features [N, D] and [M, D]."""
    real, fake = real.double(), fake.double()
    center = real.mean(dim=0)  # [D]
    spread = (real - center).square().sum(dim=1).mean().sqrt()
    return float((fake.mean(dim=0) - center).norm() / spread)


@gf.register_metric('shift', pattern='shift_{}50k_full', min_images=2, lower_is_better=True)
class MeanShift(gf.Metric):
    """The metric `shift`: the distance of the mean features, in units of the spread of the real ones."""

    def of(self, chosen: torch.Tensor, seed: int) -> dict[str, float]:
        """Returns the shift of the generated images at positions `chosen`."""
        return {'': mean_shift(self.reals.features, self.fakes.features[chosen])}
