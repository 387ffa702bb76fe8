"""The estimators: official numbers, independent formulas, bad conditions."""

import json

import numpy as np
import pytest
import scipy.linalg
import torch

from dnnlib.errors import DataError
from metrics.kinds.features import BLOCK_ITEMS, FeatureStats
from metrics.kinds.frechet import by_cholesky, by_factors, frechet_distance
from metrics.kinds.inception_score import inception_score
from metrics.kinds.kid import kernel_distance, unbiased_mmd2
from metrics.kinds.precision_recall import precision_recall


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
    found = precision_recall(numbers['real'], numbers['gen'], neighbors=3)
    assert found == pytest.approx((float(numbers['precision']), float(numbers['recall'])), rel=1e-6)


def test_inception_score_is_the_official_one(numbers):
    found = inception_score(numbers['probs'])
    assert found == pytest.approx((float(numbers['is_mean']), float(numbers['is_std'])), rel=1e-6)


# ---- torch-fidelity's numbers, see "how" in the file


@pytest.fixture(scope='module')
def fidelity(golden):
    return json.loads((golden / 'torch_fidelity.json').read_text())


def test_every_estimator_agrees_with_torch_fidelity_on_the_same_features(numbers, fidelity):
    real, gen = numbers['real'], numbers['gen']
    assert unbiased_mmd2(real[:500], gen[:500]) == pytest.approx(fidelity['kid'], rel=1e-10)
    assert precision_recall(real, gen) == pytest.approx((fidelity['precision'], fidelity['recall']), rel=1e-6)
    assert inception_score(numbers['probs']) == pytest.approx((fidelity['is_mean'], fidelity['is_std']), rel=1e-10)
    # It divides the covariance by N - 1, the official FID by N; its mean of float32 features is float32.
    (mean_r, cov_r), (mean_g, cov_g) = moments(real), moments(gen)
    distance = frechet_distance(mean_r, cov_r * (600 / 599), mean_g, cov_g * (500 / 499))
    assert distance == pytest.approx(fidelity['fid'], rel=1e-8)


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
    whole, left, right = (FeatureStats(8) for _ in range(3))
    whole.append(features)
    for batch in features[:20].split(6):
        left.append(batch)
    right.append(features[20:])
    left.merge(right)
    left.merge(FeatureStats(8))
    assert left.num_items == 90
    for merged, reference in zip(left.mean_cov(), whole.mean_cov(), strict=True):
        assert (merged - reference).abs().max() <= 1e-12


def test_batches_do_not_show_in_a_single_bit():
    features = randn(2 * BLOCK_ITEMS + 300, 8)
    found = []
    for size in (1, 7, 64, BLOCK_ITEMS, BLOCK_ITEMS + 1, len(features)):
        stats = FeatureStats(8)
        for batch in features.split(size):
            stats.append(batch)
            if size == 64:
                stats.mean_cov()  # asking in between changes nothing
        assert stats.num_items == len(features)
        found.append(stats.mean_cov())
    for mean, cov in found:
        assert torch.equal(mean, found[0][0])
        assert torch.equal(cov, found[0][1])


def test_parts_of_ranks_merge_to_the_whole_in_any_order():
    features = randn(3000, 12).double() * torch.logspace(-3, 3, 12).double() + 5
    whole = FeatureStats(12)
    whole.append(features)
    scale = features.abs().max() ** 2
    for num_ranks in (2, 3):
        parts = []
        for rank in range(num_ranks):
            parts.append(FeatureStats(12))
            parts[-1].append(features[rank::num_ranks])
        for order in (parts, parts[::-1]):
            total = FeatureStats(12)
            for part in order:
                total.merge(part)
            for found, reference in zip(total.mean_cov(), whole.mean_cov(), strict=True):
                assert (found - reference).abs().max() <= 1e-12 * scale


def test_a_batch_may_be_reused_by_its_owner():
    stats, batch = FeatureStats(4), torch.ones(10, 4)
    stats.append(batch)
    batch.fill_(7)
    assert torch.equal(stats.mean_cov()[0], torch.ones(4).double())


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


def test_the_fast_way_is_taken_where_it_agrees_with_the_slow_one():
    a, b = moments(randn(900, 48) @ randn(48, 48, seed=1))[1], moments(randn(700, 48, seed=2))[1]
    fast = by_cholesky(a, b)
    assert fast is not None
    assert float(fast) == pytest.approx(float(by_factors(a, b)), rel=1e-11)


@pytest.mark.parametrize('power', [0.5, 1, 1.5])
def test_steep_spectra_of_full_rank_take_the_fast_way_too(power):
    scales = torch.arange(1, 129).double() ** -power
    mixing = torch.linalg.qr(randn(128, 128).double()).Q
    a, b = (moments(randn(600, 128, seed=seed).double() * scales @ mixing)[1] for seed in (1, 2))
    assert float(by_cholesky(a, b)) == pytest.approx(float(by_factors(a, b)), rel=1e-10)


def test_a_covariance_without_full_rank_is_never_trusted_to_the_fast_way():
    full = moments(randn(300, 64) * 3)[1]
    for num_items in (2, 20, 63, 64):
        deficient = moments(randn(num_items, 64, seed=1))[1]
        assert by_cholesky(deficient, full) is None
        assert by_cholesky(full, deficient) is None


@pytest.mark.parametrize(
    ('name', 'features'),
    [
        ('fewer items than dimensions', randn(20, 64)),
        ('a dead feature', randn(500, 64) * (torch.arange(64) > 0)),
        ('a feature twice', torch.cat([randn(500, 32)] * 2, dim=1)),
        ('as many items as dimensions', randn(65, 64)),
        ('scales of twenty orders', randn(500, 64) * torch.logspace(-10, 10, 64)),
        ('constant', torch.ones(30, 64)),
    ],
)
def test_bad_conditions_give_a_finite_real_distance_of_at_least_zero(name, features):
    other = randn(400, 64, seed=3) * 2 + 1
    for a, b in ((features, other), (other, features), (features, features), (features, features.flip(0) * 1.001)):
        distance = frechet_distance(*moments(a), *moments(b))
        assert np.isfinite(distance), name
        assert distance >= 0, name
    both = [moments(features), moments(other)]
    slow = by_factors(both[0][1], both[1][1])
    expected = (both[0][0] - both[1][0]).square().sum() + sum(cov.trace() for _, cov in both) - 2 * slow
    assert frechet_distance(*both[0], *both[1]) == pytest.approx(float(expected), rel=1e-9), name


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


@pytest.mark.parametrize('neighbors', [1, 3, 5])
def test_precision_and_recall_are_those_of_brute_force(neighbors):
    real, fake = randn(60, 5), randn(45, 5, seed=1) * 0.8 + 1
    expected = brute_force_coverage(fake, real, neighbors), brute_force_coverage(real, fake, neighbors)
    assert precision_recall(real, fake, neighbors=neighbors) == expected
    assert all(0 < share < 1 for share in expected)


def test_precision_and_recall_do_not_depend_on_the_blocks():
    real, fake = randn(60, 5), randn(45, 5, seed=1) * 0.8
    whole = precision_recall(real, fake)
    for block in (1, 7 * 60, 10**6):
        assert precision_recall(real, fake, block=block) == whole


def test_precision_and_recall_tell_collapse_from_spread():
    real = randn(100, 4)
    collapsed = real[:5].repeat(20, 1) + 1e-3 * randn(100, 4, seed=1)
    spread = randn(100, 4, seed=2) * 4
    precision, recall = precision_recall(real, collapsed)
    assert precision == 1
    assert recall < 0.1
    precision, recall = precision_recall(real, spread)
    assert precision < 0.4
    assert recall > 0.9


def test_precision_and_recall_need_more_items_than_neighbours():
    with pytest.raises(DataError, match='3 real and 9 generated'):
        precision_recall(randn(3, 4), randn(9, 4), neighbors=3)


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
