"""The contract of every kind of metric. Registering a kind enrolls it here, as it does the one of examples/."""

import dataclasses
import math
import sys

import pytest
import torch

from dnnlib.errors import ConfigError, DataError
from dnnlib.registry import load_file
from metrics.detectors.interface import Features
from metrics.evaluate import MetricEvaluator, serve
from metrics.extraction import Extraction, requirements
from metrics.measurement import ImageSample, MetricInputs
from metrics.reference import Reference
from metrics.registry import METRICS
from metrics.spec import MoveSpec, metric_names, official_names, parse_metric, with_count
from tests.conftest import ROOT
from tests.support.ranks import run_ranks

METRICS.load_all()
KINDS = [*sorted(METRICS.names()), 'shift']
COUNT = 40
CLASSES = 4


@pytest.fixture(scope='module', autouse=True)
def example():
    """The metric of examples/, registered for this module alone."""
    name = load_file(ROOT / 'examples' / 'my_metric.py').__name__
    yield
    del METRICS._values['shift'], METRICS._modules['shift'], sys.modules[name]


class ToyDetector:
    """Pixels as features, and confident classes; bitwise independent of the batch."""

    name = 'efflite'
    digest = preprocessing = 'toy'
    feature_dim, num_classes = 12, CLASSES

    def __call__(self, images):
        rows = torch.as_tensor(images).flatten(1).float()  # [N, 12]
        logits = torch.stack([rows[:, k::CLASSES].sum(dim=1) for k in range(CLASSES)], dim=1)
        return Features(rows, (logits / 8).softmax(dim=1))


class ToyDistance:
    """Squared distance of pixels."""

    digest = preprocessing = 'toy'

    def distance(self, a, b):
        return (a - b).square().sum(dim=(1, 2, 3))


def pictures(num_images, seed):
    """Returns dark images in which one class of pixels is brighter."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 60, (num_images, 12), generator=draw)
    images += 60 * (torch.arange(12) % CLASSES == torch.arange(num_images)[:, None] % CLASSES)
    return images.to(torch.uint8).view(num_images, 3, 2, 2)


def constant(num_images):
    """Returns one white image, again and again: far from every real one, and without any variety."""
    return torch.full((num_images, 3, 2, 2), 255, dtype=torch.uint8)


def stream(images):
    return lambda parts: (images[part.start : part.stop] for part in parts)


def reference(images):
    return Reference(images=stream(images), num_images=len(images), name='toy')


REALS = pictures(100, seed=1000)


def fakes(num_images, seed):
    return stream(pictures(num_images, seed))


def paths(path, seed, num_pairs):
    if isinstance(path, MoveSpec):
        return moves(seed, num_pairs)
    ends = torch.rand(num_pairs, 2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return stream(ends)


def moves(seed, num_images, noise=0.1):
    """Returns a stream of pairs of equal images with different noise, moved by nothing."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.rand(num_images, 1, 3, 16, 16, generator=draw)
    images = images + noise * torch.rand(num_images, 2, 3, 16, 16, generator=draw)
    return lambda parts: ((images[part.start : part.stop], torch.zeros(2)) for part in parts)


def name_of(kind, count=COUNT):
    """Returns the name of a kind over the toy detector, with few images."""
    found = METRICS.get(kind)
    if found.stream == 'moves':
        return with_count(found.pattern, count)
    return f'{kind}2_zend{count}' if found.stream == 'paths' else with_count(found.pattern.format('efflite'), count)


def evaluator(reals=REALS, **options):
    fields = {'reals': reference(reals), 'detector_for': lambda name: ToyDetector(), 'distance_for': ToyDistance}
    return MetricEvaluator(**(fields | options))


def measure(name, *, seed=3, fakes=fakes, paths=paths, **options):
    return evaluator(**options).evaluate([name], fakes=fakes, paths=paths, seed=seed)[name]


def instance(kind):
    """Measures one metric without the evaluator."""
    found, spec = METRICS.get(kind), parse_metric(name_of(kind))
    if found.stream == 'moves':
        sums = 1 + torch.rand(COUNT, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        return found.make(MetricInputs(num_items=COUNT, distances=sums))
    if found.stream == 'paths':
        distances = torch.rand(COUNT, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        return found.make(MetricInputs(num_items=COUNT, distances=distances))

    def sample(images, count):
        extraction = Extraction(ToyDetector.feature_dim, requirements(found.needs, count, one_by_one=True))
        extraction.append(ToyDetector()(images))
        return ImageSample(extraction, count)

    reals = sample(REALS, spec.num_reals(len(REALS))) if found.uses_reals else None
    fake = sample(pictures(COUNT, 5), COUNT)
    return found.make(MetricInputs(num_items=COUNT, fakes=fake, reals=reals, neighbors=spec.neighbors))


@pytest.mark.parametrize('kind', KINDS)
def test_its_names_are_read_and_written(kind):
    found = METRICS.get(kind)
    own = [name for name in metric_names() if parse_metric(name).kind == kind]
    assert set(found.official_names) <= set(official_names())
    assert set(found.official_names) <= set(own)
    for name in own:
        spec = parse_metric(name)
        assert (spec.name, spec.num_fakes, spec.neighbors) == (name, 50_000, found.neighbors)
        assert spec.needs_reals == found.uses_reals
        for count in (7, 500, 2000):
            smaller = parse_metric(with_count(name, count))
            assert dataclasses.replace(spec, name=smaller.name, num_fakes=count) == smaller
    if found.official and found.stream == 'images':
        official, ours = parse_metric(found.official_names[0]), found.pattern.format(found.detector)
        assert dataclasses.replace(official, name=ours) == parse_metric(ours)


@pytest.mark.parametrize('kind', KINDS)
def test_a_count_of_neighbors_and_full_are_read_only_where_they_mean_something(kind):
    found = METRICS.get(kind)
    images = found.stream == 'images'
    for text, allowed in (('2k7', found.neighbors > 0), ('2k_full', found.uses_reals), ('2k', images)):
        name = f'{kind}_efflite{text}'
        if allowed:
            assert parse_metric(name).kind == kind
        else:
            with pytest.raises(ConfigError, match='unknown metric'):
                parse_metric(name)


@pytest.mark.parametrize('kind', KINDS)
def test_its_numbers_are_a_function_of_the_seed(kind):
    name = name_of(kind)
    first = measure(name)
    assert list(first)
    assert all(key == name or key.startswith(f'{name}_') for key in first)
    assert all(math.isfinite(value) for value in first.values())
    assert measure(name, batch_size=7) == first
    assert measure(name, seed=4) != first


@pytest.mark.parametrize('kind', KINDS)
def test_all_positions_give_the_whole(kind):
    metric = instance(kind)
    whole, every = metric.whole(2), metric.of(torch.arange(COUNT), 2)
    assert list(whole) == list(every)
    assert every == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize('kind', KINDS)
def test_some_positions_give_the_same_suffixes_and_no_metric_changes_by_being_asked(kind):
    metric = instance(kind)
    whole = metric.whole(2)
    half = metric.of(torch.arange(0, COUNT, 2), 7)
    assert list(half) == list(whole)
    assert metric.of(torch.arange(0, COUNT, 2), 7) == half
    assert metric.whole(2) == whole
    assert instance(kind).whole(2) == whole


@pytest.mark.parametrize('kind', KINDS)
def test_halves_give_every_number_an_error_unless_it_is_exempt(kind):
    name, exempt = name_of(kind), METRICS.get(kind).without_error
    plain, found = measure(name), measure(name, replicates=3)
    for key, value in plain.items():
        assert found[key] == value
        if key.removeprefix(f'{name}_') in exempt:
            assert f'{key}_low95' not in found
        else:
            assert found[f'{key}_std'] >= 0
            assert found[f'{key}_low95'] <= value <= found[f'{key}_high95']
    assert len(found) == 4 * len(plain) - 3 * len(exempt)


@pytest.mark.parametrize('kind', KINDS)
def test_the_least_number_of_images_is_enough_and_one_less_is_refused(kind):
    spec = parse_metric(name_of(kind))
    least = spec.min_images
    assert all(math.isfinite(value) for value in measure(name_of(kind, least), reals=REALS[:least]).values())
    if least > 1 and kind != 'shift':  # an example need not give the reason
        with pytest.raises(
            ConfigError, match=rf'asks for {least - 1} .*generated images, it needs at least {least}: \w'
        ):
            measure(name_of(kind, least - 1))
    with pytest.raises(ConfigError, match=rf'asks for {2 * least - 1} .*generated images'):
        measure(name_of(kind, 2 * least - 1), replicates=2)
    if spec.needs_reals:
        with pytest.raises(DataError, match=f'at least {least} real images, the data set has {least - 1}'):
            measure(name_of(kind), reals=REALS[: least - 1])


@pytest.mark.parametrize('kind', KINDS)
def test_real_images_are_read_only_if_it_compares_with_them(kind):
    read = []

    def images(parts):
        for part in parts:
            read.append(part)
            yield REALS[part.start : part.stop]

    counted = Reference(images=images, num_images=len(REALS))
    toys = {'detector_for': lambda name: ToyDetector(), 'distance_for': ToyDistance}
    MetricEvaluator(reals=counted, **toys).evaluate([name_of(kind)], fakes=fakes, paths=paths)
    assert bool(read) == METRICS.get(kind).uses_reals


@pytest.mark.parametrize('kind', KINDS)
def test_better_images_have_the_better_first_number(kind):
    """New images like the real ones against one white image; a kind that asks for something else says so here."""
    copies = {'mem'}  # its better images are new ones, its worse ones copies
    better, worse = stream(pictures(COUNT, 5)), stream(constant(COUNT))
    if kind in copies:
        better, worse = worse, stream(REALS[:COUNT])

    def steps(length):
        ends = torch.rand(COUNT, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        ends[:, 1] = ends[:, 0] + length * ends[:, 1]

        def walk(path, seed, num_pairs):
            return moves(0, COUNT, noise=length) if isinstance(path, MoveSpec) else stream(ends)

        return walk

    good, bad = (
        measure(name_of(kind), fakes=lambda num_images, seed, images=images: images, paths=steps(length))
        for images, length in ((better, 0.1), (worse, 1.0))
    )
    good, bad = next(iter(good.values())), next(iter(bad.values()))
    assert good < bad if METRICS.get(kind).lower_is_better else good > bad


@pytest.mark.parametrize('kind', KINDS)
def test_its_sheet_shows_images_of_the_streams(kind):
    metric = instance(kind)
    metric.whole(2)
    sheet = metric.sheet()
    if sheet is None:
        return
    assert sheet.caption
    assert set(sheet.fakes) <= set(range(COUNT))
    assert len(sheet.reals) == len(sheet.fakes)
    assert len({len(row) for row in sheet.reals}) == 1
    assert {position for row in sheet.reals for position in row} <= set(range(len(REALS)))


def test_two_processes_measure_what_one_measures():
    names = [name_of(kind) for kind in KINDS]
    alone = evaluator(batch_size=7).evaluate(names, fakes=fakes, paths=paths)

    def task(world):
        ours, results = evaluator(batch_size=7, world=world), None
        share = lambda given: serve(given, world, torch.device('cpu'), lambda: (ours, fakes, paths))  # noqa: E731
        with world.rank0_section('metrics', lambda: False, share) as leads:
            if leads:
                results = ours.evaluate(names, fakes=fakes, paths=paths)
        return results

    assert run_ranks(2, task) == [alone, None]
