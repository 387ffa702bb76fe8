"""From streams of images to named numbers, with a detector that costs nothing."""

import numpy as np
import pytest
import torch

from dnnlib.errors import ConfigError, DataError, UserError
from metrics.detectors.interface import Features
from metrics.evaluate import MetricEvaluator
from metrics.kinds.density_coverage import density_coverage
from metrics.kinds.features import FeatureStats
from metrics.kinds.frechet import Frechet, frechet_distance
from metrics.kinds.inception_score import inception_score
from metrics.kinds.kid import kernel_distance
from metrics.kinds.memorization import authenticity
from metrics.kinds.precision_recall import precision_recall
from metrics.reference import Reference
from metrics.spec import parse_metric
from tests.support.measured import SquaredPixels

ALL = [
    *('fd_efflite40', 'fd_efflite60_full', 'kid_efflite60_full', 'pr_efflite60_full', 'pr_efflite40', 'is_efflite60'),
    *('dc_efflite60_full', 'mem_efflite40_full'),
]


class ToyDetector:
    """A fixed random projection of the pixels."""

    name = 'efflite'
    digest = preprocessing = 'toy'
    feature_dim, num_classes = 6, 4

    def __init__(self):
        self.num_seen = 0
        self.batch_sizes = []
        self.projection = torch.randn(3 * 4 * 4, 10, generator=torch.Generator().manual_seed(7)) / 100

    def __call__(self, images):
        self.num_seen += len(images)
        self.batch_sizes.append(len(images))
        # One row at a time: a product's rounding may depend on its size, a promise here compares bits.
        outputs = torch.stack([row @ self.projection for row in images.flatten(1).float()])
        return Features(outputs[:, :6], outputs[:, 6:].softmax(dim=1))


def pixels(num_images, seed):
    return np.random.default_rng(seed).integers(0, 256, (num_images, 3, 4, 4), dtype=np.uint8)


REALS = pixels(100, seed=1000)


def stream(images):
    """Returns existing images as a stream."""
    return lambda parts: (images[part.start : part.stop] for part in parts)


def reference(images=REALS, **fields):
    return Reference(images=stream(images), **{'num_images': len(images)} | fields)


def unread(num_images=100):
    def images(parts):
        raise AssertionError('real images were read')

    return Reference(images=images, num_images=num_images)


def fakes(num_images, seed):
    return stream(torch.from_numpy(pixels(num_images, seed)))


def run(names, *, seed=0, fakes=fakes, paths=None, **options):
    options = {'reals': reference(), 'detector_for': lambda name: ToyDetector()} | options
    return MetricEvaluator(**options).evaluate(names, fakes=fakes, paths=paths, seed=seed)


def test_every_metric_is_its_estimator_over_the_features_of_its_images():
    detector = ToyDetector()
    real, fake = detector(torch.from_numpy(REALS)), detector(torch.from_numpy(pixels(60, seed=5)))

    def distance(real_count, fake_count):
        moments = []
        for features in (real.pooled[:real_count], fake.pooled[:fake_count]):
            stats = FeatureStats(6)
            stats.append(features)
            moments += stats.mean_cov()
        return frechet_distance(*moments)

    results = run(ALL, seed=5)
    assert list(results) == ALL
    assert results['fd_efflite40'] == {'fd_efflite40': pytest.approx(distance(40, 40), rel=1e-9)}
    assert results['fd_efflite60_full'] == {'fd_efflite60_full': pytest.approx(distance(100, 60), rel=1e-9)}
    kernel = kernel_distance(real.pooled, fake.pooled, np.random.default_rng(5))
    assert results['kid_efflite60_full'] == {'kid_efflite60_full': kernel}
    for name, real_count, fake_count in (('pr_efflite60_full', 100, 60), ('pr_efflite40', 40, 40)):
        precision, recall = precision_recall(real.pooled[:real_count], fake.pooled[:fake_count])
        assert results[name] == {f'{name}_precision': precision, f'{name}_recall': recall}
    density, coverage = density_coverage(real.pooled, fake.pooled)
    assert results['dc_efflite60_full'] == {
        'dc_efflite60_full_density': density,
        'dc_efflite60_full_coverage': coverage,
    }
    share = authenticity(real.pooled, fake.pooled[:40])
    assert results['mem_efflite40_full'] == {'mem_efflite40_full_authenticity': share}
    mean, std = inception_score(fake.probabilities)
    assert results['is_efflite60'] == {'is_efflite60_mean': mean, 'is_efflite60_std': std}


def test_one_pass_over_reals_and_one_over_fakes_serve_all_metrics():
    detector = ToyDetector()
    run(ALL, detector_for=lambda name: detector)
    assert detector.num_seen == 100 + 60


def test_a_run_reads_its_reals_once_and_reads_them_again_only_for_more():
    detector = ToyDetector()
    evaluator = MetricEvaluator(reals=reference(), detector_for=lambda name: detector)
    first = evaluator.evaluate(ALL, fakes=fakes)
    assert evaluator.evaluate(ALL, fakes=fakes) == first
    assert evaluator.evaluate(['kid_efflite60_full'], fakes=fakes) == {
        'kid_efflite60_full': first['kid_efflite60_full']
    }
    assert detector.num_seen == 100 + 3 * 60
    evaluator.evaluate(['fd_efflite50'], fakes=fakes)
    assert detector.num_seen == 100 + 3 * 60 + 50 + 50


def test_results_depend_on_the_seed_and_on_nothing_else():
    first = run(ALL, seed=3)
    assert run(ALL, seed=3, batch_size=37) == first
    assert run(ALL, seed=4)['fd_efflite40'] != first['fd_efflite40']


def test_the_detector_sees_batches_of_one_size():
    detector = ToyDetector()
    run(['fd_efflite60_full'], detector_for=lambda name: detector, batch_size=32)
    assert detector.batch_sizes == [32, 32, 32, 4, 32, 28]


def test_a_metric_does_not_depend_on_the_others_that_are_measured():
    together = run(ALL, seed=3)
    for name in (name for name in ALL if '60' in name):  # the fakes of a metric with 40 alone would be others
        assert run([name], seed=3) == {name: together[name]}


def test_the_inception_score_reads_no_real_image():
    assert run(['is_efflite60'], reals=unread(0))['is_efflite60']['is_efflite60_mean'] > 1


def test_full_is_the_whole_data_set_and_the_rest_what_the_run_trains_on():
    trained = reference(np.concatenate([REALS[:30], REALS[:30, :, :, ::-1]]))
    found = run(['fd_efflite40', 'fd_efflite40_full'], reals=trained, originals=reference())
    assert found['fd_efflite40_full'] == run(['fd_efflite40_full'])['fd_efflite40_full']
    assert found['fd_efflite40'] == run(['fd_efflite40'], reals=trained)['fd_efflite40']
    assert found['fd_efflite40']['fd_efflite40'] != found['fd_efflite40_full']['fd_efflite40_full']
    run(['fd_efflite40_full'], reals=unread(), originals=reference())


def test_progress_counts_images_of_each_source():
    calls = []
    run(['fd_efflite40_full'], progress=lambda *call: calls.append(call), batch_size=64)
    assert calls == [
        ('real images for efflite', 0, 100),
        ('real images for efflite', 64, 100),
        ('real images for efflite', 100, 100),
        ('generated images for efflite', 0, 40),
        ('generated images for efflite', 40, 40),
    ]


@pytest.mark.parametrize('result', [3.0, {'': torch.tensor(3.0)}, {'': None}])
def test_a_metric_that_returns_no_numbers_is_named(monkeypatch, result):
    monkeypatch.setattr(Frechet, 'whole', lambda self, seed: result)
    with pytest.raises(TypeError, match='fd_efflite40: a metric returns numbers by suffix'):
        run(['fd_efflite40'])


def test_a_detector_of_another_width_than_it_declares_is_named():
    detector = ToyDetector()
    detector.feature_dim = 7
    with pytest.raises(ValueError, match=r"'efflite' returned features \[64, 6\] in place of \[64, 7\]"):
        run(['fd_efflite40_full'], detector_for=lambda name: detector)


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_a_result_that_is_not_finite_is_an_error_that_names_the_metric(monkeypatch, value):
    monkeypatch.setattr(Frechet, 'whole', lambda self, seed: {'': 1.0, 'part': value})
    with pytest.raises(DataError, match=f'fd_efflite40_part is {value}, no finite number'):
        run(['fd_efflite40'])


@pytest.mark.parametrize('suffix', ['std', 'full', 'low95'])
def test_a_suffix_that_is_the_key_of_another_number_is_refused(monkeypatch, suffix):
    monkeypatch.setattr(Frechet, 'whole', lambda self, seed: {'': 1.0, suffix: 2.0})
    with pytest.raises(ConfigError, match=f"fd_efflite40: the suffix '{suffix}' next to '' would be the key"):
        run(['fd_efflite40'])


@pytest.mark.parametrize('side', ['reals', 'fakes'])
def test_classes_are_read_only_by_metrics_that_declare_it(monkeypatch, side):
    monkeypatch.setattr(Frechet, 'whole', lambda self, seed: {'': float(getattr(self, side).classes.sum())})
    with pytest.raises(AssertionError, match='uses_classes=False'):
        run(['fd_efflite40'])


def test_a_half_whose_result_is_not_finite_is_an_error_too(monkeypatch):
    monkeypatch.setattr(Frechet, 'of', lambda self, chosen, seed: {'': float('nan')})
    with pytest.raises(DataError, match='fd_efflite40 is nan'):
        run(['fd_efflite40'], replicates=2)


class BrokenDetector(ToyDetector):
    """A detector that returns one number that is not finite, for the 70th image that it sees."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def __call__(self, images):
        first, found = self.num_seen, super().__call__(images)
        if first <= 69 < self.num_seen:
            found.pooled[69 - first, 2] = self.value
        return found


@pytest.mark.parametrize('name', [name.replace('40', '60') for name in ALL if '_full' in name])
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_no_metric_swallows_a_feature_that_is_not_finite(name, value):
    message = 'real images for efflite: efflite returns NaN or infinity for number 69'
    with pytest.raises(DataError, match=message):
        run([name], detector_for=lambda name: BrokenDetector(value))


def test_probabilities_that_are_none_are_refused():
    class Logits(ToyDetector):
        def __call__(self, images):
            return super().__call__(images)._replace(probabilities=torch.ones(len(images), 4))

    with pytest.raises(ValueError, match="'efflite' returned probabilities that are negative or do not sum to 1"):
        run(['is_efflite60'], detector_for=lambda name: Logits())


def test_paths_whose_distance_is_not_finite_are_refused():
    def paths(path, seed, num_pairs):
        ends = torch.full((num_pairs, 2, 3, 8, 8), float('nan'))
        return lambda parts: (ends[part.start : part.stop] for part in parts)

    with pytest.raises(DataError, match='pairs of images for ppl2_wend20: lpips returns NaN'):
        run(['ppl2_wend20'], paths=paths, distance_for=SquaredPixels)


def test_a_metric_without_reals_needs_none_and_the_others_say_so():
    assert run(['is_efflite60'], reals=None)['is_efflite60']['is_efflite60_mean'] > 1
    with pytest.raises(ConfigError, match='fd_efflite40 compares with real images; please specify --data'):
        run(['is_efflite60', 'fd_efflite40'], reals=None)


def test_repeated_names_are_measured_once():
    assert list(run(['fd_efflite40', 'fd_efflite40'])) == ['fd_efflite40']


@pytest.mark.parametrize(
    ('names', 'num_reals', 'error', 'message'),
    [
        (['fd_efflite40'], 0, DataError, 'at least 2 real images, the data set has 0'),
        (['pr_efflite40'], 7, DataError, 'at least 8 real images, the data set has 7: the ball of 3'),
        (['dc_efflite40'], 11, DataError, 'at least 12 real images, the data set has 11: the ball of 5'),
        (['mem_efflite40'], 3, DataError, 'at least 4 real images, the data set has 3: the ball around an'),
        (['kid_efflite40'], 1, DataError, 'at least 2 real images, the data set has 1'),
        (['fd_efflite1'], 100, ConfigError, 'asks for 1 generated images, it needs at least 2'),
        (['is_efflite19'], 100, ConfigError, 'asks for 19 generated images, it needs at least 20: .* always 1'),
        (['fd_efflite40', 'fid50k_ful'], 100, ConfigError, 'nearest: fid50k_full'),
        (['fd_efflite40', 'ppl2_wend'], 100, ConfigError, 'needs a generator'),
    ],
)
def test_what_cannot_be_measured_is_refused_before_an_image_is_read(names, num_reals, error, message):
    def no_fakes(*arguments):
        raise AssertionError('images were made')

    with pytest.raises(error, match=message):
        run(names, reals=unread(num_reals), fakes=no_fakes)


def test_a_detector_without_classes_gives_no_inception_score():
    detector = ToyDetector()
    detector.num_classes = 0
    with pytest.raises(ConfigError, match='no classes'):
        run(['is_efflite60'], detector_for=lambda name: detector)


def test_a_stream_that_ends_early_is_named():
    with pytest.raises(DataError, match='real images for efflite ended after 100 images'):
        run(['fd_efflite40_full'], reals=reference(num_images=120))
    with pytest.raises(DataError, match='generated images for efflite ended after 0 images'):
        run(['fd_efflite40'], fakes=lambda num_images, seed: lambda parts: iter(()))


def test_metrics_whose_network_is_absent_are_told_from_the_rest():
    def build(name):
        if name == 'inception':
            raise UserError('the weights of inception are not on this machine')
        return ToyDetector()

    evaluator = MetricEvaluator(reals=unread(), detector_for=build, distance_for=SquaredPixels)
    for name in ('fd_efflite40', 'ppl2_wend'):
        evaluator.check(name, paths=lambda *walk: iter(()))
    with pytest.raises(UserError, match='the weights of inception are not on this machine'):
        evaluator.check('fid50k_full')


# ---- errors


def test_every_number_has_an_error_where_one_is_asked_for():
    plain, found = run(ALL), run(ALL, replicates=4)
    assert run(ALL, replicates=4) == found
    for name, numbers in plain.items():
        for key, value in numbers.items():
            assert found[name][key] == value
            if key == 'is_efflite60_std':  # a spread itself
                continue
            assert found[name][f'{key}_std'] > 0
            assert found[name][f'{key}_low95'] < value < found[name][f'{key}_high95']
        assert list(found[name])[: len(numbers)] == list(numbers)


def test_halves_must_be_large_enough_too():
    with pytest.raises(
        ConfigError, match='asks for 39 generated images, it needs at least 40 with its error from halves'
    ):
        run(['is_efflite39'], replicates=2)


# ---- paths and pairs


def test_path_lengths_come_from_the_paths_of_the_name():
    calls = []

    def paths(path, seed, num_pairs):
        calls.append((path, seed, num_pairs))
        ends = torch.stack([torch.zeros(1, 8, 8), torch.full((1, 8, 8), 1e-4)])  # [2, C, H, W]
        return lambda parts: (ends.expand(len(part), -1, -1, -1, -1) for part in parts)

    found = run(['ppl2_wend100', 'ppl_zfull60'], paths=paths, seed=7, distance_for=SquaredPixels)
    # Asked for all of them before the first one is measured.
    walks = [(parse_metric(name).path, 7, n) for name, n in (('ppl2_wend100', 100), ('ppl_zfull60', 60))]
    assert calls == walks * 2
    # Grey is tiled to three channels; a crop has a quarter of the pixels.
    assert found['ppl2_wend100'] == {'ppl2_wend100': pytest.approx(3 * 64, rel=1e-6)}
    assert found['ppl_zfull60'] == {'ppl_zfull60': pytest.approx(3 * 16, rel=1e-6)}


def test_the_pairs_closest_to_copies_are_kept_for_a_sheet():
    copied = pixels(40, seed=0)
    copied[17] = REALS[71]
    evaluator = MetricEvaluator(reals=reference(), detector_for=lambda name: ToyDetector())
    evaluator.evaluate(['mem_efflite40_full'], fakes=lambda num_images, seed: stream(copied))
    sheet = evaluator.sheets['mem_efflite40_full']
    assert (sheet.fakes[0], sheet.reals[0][0]) == (17, 71)


def test_the_record_names_what_decides_the_number():
    evaluator = MetricEvaluator(reals=reference(name='peeps'), detector_for=lambda name: ToyDetector())
    assert evaluator.provenance('fd_efflite40') == {
        'detector': 'efflite',
        'digest': 'toy',
        'preprocessing': 'toy',
        'num_reals': 40,
        'reals': 'peeps',
        'num_fakes': 40,
    }


@pytest.mark.parametrize(
    ('batch', 'message'),
    [
        (np.zeros((2, 3, 4, 4), np.float32), 'uint8 images in .*float32'),
        (torch.zeros(2, 3, 4, 4), 'uint8 images in .*float32'),
        (np.zeros((2, 4, 4, 3), np.uint8), r'\[N, C, H, W\].*\[2, 4, 4, 3\]'),
        (np.zeros((3, 4, 4), np.uint8), r'\[3, 4, 4\]'),
    ],
)
def test_anything_but_uint8_images_is_refused(batch, message):
    with pytest.raises(DataError, match=message):
        run(['fd_efflite40'], reals=Reference(images=lambda parts: iter([batch]), num_images=100))
