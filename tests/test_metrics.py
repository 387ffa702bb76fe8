"""The estimators: official numbers, independent formulas, bad conditions."""

import numpy as np
import pytest
import scipy.linalg
import torch

from dnnlib.errors import DataError
from metrics import precision_recall as pr
from metrics.features import FeatureStats
from metrics.frechet import frechet_distance
from metrics.inception_score import inception_score
from metrics.kid import kernel_distance, unbiased_mmd2


@pytest.fixture(scope='module')
def numbers(golden):
    """Features and metrics from the official implementation."""
    with np.load(golden / 'metrics.npz', allow_pickle=False) as file:
        return {name: torch.from_numpy(file[name]) for name in file if name != 'meta'}


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def moments(features):
    stats = FeatureStats(features.shape[1])
    stats.append(features)
    return stats.mean_cov()


# ---- official numbers


def test_frechet_distance_is_the_official_fid(numbers):
    distance = frechet_distance(*moments(numbers['real']), *moments(numbers['gen']))
    assert distance == pytest.approx(float(numbers['fid']), rel=1e-6)


def test_kernel_distance_is_the_official_kid(numbers):
    distance = unbiased_mmd2(numbers['real'][:500], numbers['gen'][:500])
    assert distance == pytest.approx(float(numbers['kid_one_subset_500']), rel=1e-6)


def test_precision_and_recall_are_the_official_ones(numbers):
    found = pr.precision_recall(numbers['real'], numbers['gen'], neighbours=3)
    assert found == pytest.approx((float(numbers['precision']), float(numbers['recall'])), rel=1e-6)


def test_inception_score_is_the_official_one(numbers):
    found = inception_score(numbers['probs'])
    assert found == pytest.approx((float(numbers['is_mean']), float(numbers['is_std'])), rel=1e-6)


# ---- statistics


def test_statistics_are_the_mean_and_the_biased_covariance():
    features = randn(50, 6) + 3
    mean, cov = moments(features)
    assert np.allclose(mean, features.double().mean(dim=0), rtol=1e-13)
    assert np.allclose(cov, np.cov(features.double().T, ddof=0), rtol=1e-12)


@pytest.mark.parametrize('offset', [0.0, 1e4])
def test_statistics_do_not_depend_on_the_batches_or_their_order(offset):
    features = randn(203, 16).double() + offset
    mean, cov = moments(features)
    shuffled = FeatureStats(16)
    for batch in features[torch.randperm(203, generator=torch.Generator().manual_seed(1))].split(7):
        shuffled.append(batch)
    for other, reference in zip(shuffled.mean_cov(), (mean, cov), strict=True):
        assert (other - reference).abs().max() <= 1e-12 * max(1.0, offset)


def test_merging_is_appending():
    features = randn(90, 8)
    whole, left, right = (FeatureStats(8, keep_features=True) for _ in range(3))
    whole.append(features)
    for batch in features[:20].split(6):
        left.append(batch)
    right.append(features[20:])
    left.merge(right)
    left.merge(FeatureStats(8, keep_features=True))
    assert left.num_items == 90
    assert torch.equal(left.features(), features)
    assert left.features().dtype == torch.float32
    for merged, reference in zip(left.mean_cov(), whole.mean_cov(), strict=True):
        assert (merged - reference).abs().max() <= 1e-12


# ---- Fréchet distance


def sqrtm_distance(mean_a, cov_a, mean_b, cov_b):
    product = scipy.linalg.sqrtm((cov_a @ cov_b).numpy())
    return float((mean_a - mean_b).square().sum() + (cov_a + cov_b).trace()) - 2 * float(np.trace(product).real)


@pytest.mark.parametrize('seed', range(3))
def test_frechet_distance_agrees_with_the_matrix_square_root(seed):
    mixing = randn(24, 24, seed=seed)
    a, b = randn(500, 24, seed=seed + 10), randn(400, 24, seed=seed + 20) @ mixing + 0.3
    assert frechet_distance(*moments(a), *moments(b)) == pytest.approx(
        sqrtm_distance(*moments(a), *moments(b)), rel=1e-9
    )


def test_frechet_distance_of_a_set_to_itself_is_zero_whatever_its_rank():
    for features in (randn(300, 40), randn(10, 40), randn(300, 1).expand(-1, 40), torch.ones(5, 40)):
        assert 0 <= frechet_distance(*moments(features), *moments(features)) < 1e-10


def test_frechet_distance_of_rank_deficient_sets_is_exact():
    # Two lines at a right angle: nothing in common, so the distance is the sum of the variances.
    a, b = torch.zeros(50, 64), torch.zeros(50, 64)
    a[:, 3], b[:, 9] = torch.linspace(-1, 1, 50), torch.linspace(-2, 2, 50)
    expected = float(a[:, 3].double().var(correction=0) + b[:, 9].double().var(correction=0))
    assert frechet_distance(*moments(a), *moments(b)) == pytest.approx(expected, rel=1e-12)
    # One point against a line: again the variance, and the shift.
    assert frechet_distance(*moments(torch.ones(5, 64)), *moments(b)) == pytest.approx(
        64 + float(b[:, 9].double().var(correction=0)), rel=1e-12
    )


def test_frechet_distance_of_fewer_images_than_dimensions_is_that_of_their_span():
    # In the span of all 40 items the covariances are 40 x 40, and the answer must be the same.
    features = randn(40, 300).double()
    basis = torch.linalg.qr(features.T).Q  # [300, 40]
    wide = frechet_distance(*moments(features[:20]), *moments(features[20:]))
    narrow = frechet_distance(*moments(features[:20] @ basis), *moments(features[20:] @ basis))
    assert wide == pytest.approx(narrow, rel=1e-10)


# ---- kernel distance


def direct_mmd2(x, y):
    """Gretton et al. 2012, Eq. (4), pair by pair."""
    x, y = x.double().numpy(), y.double().numpy()
    m, dim = x.shape

    def kernel(a, b):
        return (a @ b / dim + 1) ** 3

    within = sum(kernel(s[i], s[j]) for s in (x, y) for i in range(m) for j in range(m) if i != j)
    return within / (m * (m - 1)) - 2 * sum(kernel(a, b) for a in x for b in y) / m**2


def test_kernel_distance_is_the_sum_over_pairs():
    x, y = randn(30, 12, seed=1), randn(30, 12, seed=2) * 1.5
    assert unbiased_mmd2(x, y) == pytest.approx(direct_mmd2(x, y), rel=1e-12)
    # One subset that holds everything is the same number: the sum does not know the order.
    assert kernel_distance(x, y, np.random.default_rng(0), num_subsets=2) == pytest.approx(direct_mmd2(x, y), rel=1e-9)


def test_kernel_distance_is_unbiased():
    values = [unbiased_mmd2(randn(64, 16, seed=2 * seed), randn(64, 16, seed=2 * seed + 1)) for seed in range(200)]
    standard_error = np.std(values) / len(values) ** 0.5
    assert abs(np.mean(values)) < 3 * standard_error
    assert min(values) < 0 < max(values)
    shifted = unbiased_mmd2(randn(64, 16), randn(64, 16, seed=1) + 0.5)
    assert shifted > 50 * standard_error


def test_kernel_distance_is_a_function_of_the_seed_and_takes_sets_of_two_sizes():
    x, y = randn(120, 8), randn(70, 8, seed=1)
    first, second, other = (
        kernel_distance(x, y, np.random.default_rng(seed), num_subsets=4, max_subset_size=50) for seed in (0, 0, 1)
    )
    assert first == second != other


def test_kernel_distance_needs_two_items_a_side():
    with pytest.raises(DataError, match='got 1 and 9'):
        kernel_distance(randn(1, 4), randn(9, 4), np.random.default_rng(0))


# ---- precision and recall


def brute_force_coverage(queries, members, k):
    """Kynkäänniemi et al. 2019, Algorithm 1, item by item."""
    queries, members = queries.double().numpy(), members.double().numpy()
    radii = [sorted(np.linalg.norm(members - member, axis=1))[k] for member in members]  # [0] is the member itself
    return np.mean([any(np.linalg.norm(q - m) <= r for m, r in zip(members, radii, strict=True)) for q in queries])


@pytest.mark.parametrize('neighbours', [1, 3, 5])
def test_precision_and_recall_are_those_of_brute_force(neighbours):
    real, fake = randn(60, 5), randn(45, 5, seed=1) * 0.8 + 1
    expected = brute_force_coverage(fake, real, neighbours), brute_force_coverage(real, fake, neighbours)
    assert pr.precision_recall(real, fake, neighbours=neighbours) == expected
    assert all(0 < share < 1 for share in expected)


def test_precision_and_recall_do_not_depend_on_the_blocks(monkeypatch):
    real, fake = randn(60, 5), randn(45, 5, seed=1) * 0.8
    whole = pr.precision_recall(real, fake)
    monkeypatch.setattr(pr, 'BLOCK_ELEMENTS', 7 * 60)
    assert pr.precision_recall(real, fake) == whole


def test_precision_and_recall_tell_collapse_from_spread():
    real = randn(100, 4)
    collapsed = real[:5].repeat(20, 1) + 1e-3 * randn(100, 4, seed=1)
    spread = randn(100, 4, seed=2) * 4
    precision, recall = pr.precision_recall(real, collapsed)
    assert precision == 1
    assert recall < 0.1
    precision, recall = pr.precision_recall(real, spread)
    assert precision < 0.4
    assert recall > 0.9


def test_precision_and_recall_need_more_items_than_neighbours():
    with pytest.raises(DataError, match='3 real and 9 generated'):
        pr.precision_recall(randn(3, 4), randn(9, 4), neighbours=3)


# ---- Inception score


def test_inception_score_is_the_formula_split_by_split():
    probabilities = (randn(47, 6) * 2).double().softmax(dim=1).numpy()
    scores = []
    for split in range(10):
        part = probabilities[split * 47 // 10 : (split + 1) * 47 // 10]
        scores.append(np.exp(np.mean([sum(p * np.log(p / part.mean(axis=0))) for p in part])))
    assert inception_score(torch.from_numpy(probabilities)) == pytest.approx(
        (np.mean(scores), np.std(scores)), rel=1e-12
    )


def test_inception_score_of_certain_and_even_classes_is_their_number():
    assert inception_score(torch.eye(5).repeat(20, 1)) == pytest.approx((5, 0), abs=1e-12)
    assert inception_score(torch.full((20, 5), 0.2)) == pytest.approx((1, 0), abs=1e-6)


def test_inception_score_needs_an_item_a_split():
    with pytest.raises(DataError, match='got 9'):
        inception_score(torch.full((9, 5), 0.2))
