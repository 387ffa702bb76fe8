"""Every estimator against torch-fidelity's numbers, see "how" in the file."""

import pytest

from metrics.kinds.frechet import frechet_distance
from metrics.kinds.inception_score import inception_score
from metrics.kinds.kid import unbiased_mmd2
from metrics.kinds.precision_recall import precision_recall
from tests.support.features import moments


def test_every_estimator_agrees_with_torch_fidelity_on_the_same_features(numbers, fidelity):
    real, gen = numbers['real'], numbers['gen']
    assert unbiased_mmd2(real[:500], gen[:500]) == pytest.approx(fidelity['kid'], rel=1e-10)
    assert precision_recall(real, gen) == pytest.approx((fidelity['precision'], fidelity['recall']), rel=1e-6)
    assert inception_score(numbers['probs']) == pytest.approx((fidelity['is_mean'], fidelity['is_std']), rel=1e-10)
    # It divides the covariance by N - 1, the official FID by N; its mean of float32 features is float32.
    (mean_r, cov_r), (mean_g, cov_g) = moments(real), moments(gen)
    distance = frechet_distance(mean_r, cov_r * (600 / 599), mean_g, cov_g * (500 / 499))
    assert distance == pytest.approx(fidelity['fid'], rel=1e-8)
