"""The metric div: spread of features within classes, relative to the real images'."""

import pytest
import torch

from dnnlib.errors import DataError
from metrics.detectors.interface import Features
from metrics.extraction import Extraction, requirements
from metrics.kinds.diversity import ClassDiversity, class_diversity, total_variance
from metrics.measurement import ImageSample, MetricInputs

D = 5


def features(n, seed=0):
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_ratio_is_that_of_the_spreads_whatever_lies_between_the_classes():
    real, classes = features(40), torch.arange(40) % 4
    fake = 0.5 * real + 100 * classes[:, None]
    mean, least = class_diversity(real, classes, fake, classes)
    assert mean == pytest.approx(0.5)
    assert least == pytest.approx(0.5)


def test_one_picture_of_a_class_is_the_minimum():
    real, classes = features(40), torch.arange(40) % 4
    fake = real.clone()
    fake[classes == 2] = real[2]
    mean, least = class_diversity(real, classes, fake, classes)
    assert (mean, least) == (pytest.approx(0.75), 0)


def test_it_equals_the_definition_by_pairs():
    x = features(7)
    pairs = torch.cdist(x, x).square().sum() / (7 * 6)  # mean squared distance of two different items
    assert total_variance(x) == pytest.approx(pairs.item() / 2)


def test_too_few_images_of_every_class_are_an_error():
    with pytest.raises(DataError, match='two different real images'):
        class_diversity(features(4), torch.arange(4), features(4), torch.arange(4))
    with pytest.raises(DataError, match='two different real images'):
        class_diversity(torch.ones(4, D), torch.zeros(4), features(4), torch.zeros(4))


def sample(rows, classes):
    extraction = Extraction(D, requirements('features', len(rows)))
    extraction.append(Features(rows, None))
    return ImageSample(extraction, len(rows), classes=None if classes is None else lambda n: classes[:n])


@pytest.mark.parametrize('labeled', ['both', 'reals', 'fakes', 'neither'])
def test_without_classes_on_either_side_all_images_are_one_class(labeled):
    real, fake, classes = features(40).float(), features(20, seed=1).float(), torch.arange(40) % 4
    fake += 10 * classes[:20, None]
    metric = ClassDiversity(
        MetricInputs(
            num_items=20,
            reals=sample(real, classes if labeled in ('both', 'reals') else None),
            fakes=sample(fake, classes[:20] if labeled in ('both', 'fakes') else None),
        )
    )
    mean = metric.whole(0)['mean']
    assert (mean < 2) == (labeled == 'both')
