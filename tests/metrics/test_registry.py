"""Registration of kinds of metrics: contradictions are refused, and what a plug-in declares takes effect."""

import pytest
import torch

from dnnlib.errors import ConfigError
from metrics.registry import METRICS, Metric, register_metric
from metrics.spec import metric_names, official_names, parse_metric

METRICS.load_all()


@pytest.fixture
def kinds(monkeypatch):
    """The registry, restored after the test."""
    monkeypatch.setattr(METRICS, '_values', dict(METRICS._values))
    monkeypatch.setattr(METRICS, '_modules', dict(METRICS._modules))


class Zero(Metric):
    """0, whatever the images are."""

    def of(self, chosen, seed):
        return {'': 0.0}


def test_a_kind_decides_its_names_and_their_checks(kinds):
    register_metric('mine', pattern='mine_{}10k4', uses_reals=False, neighbors=4, min_images=3, lower_is_better=True)(
        Zero
    )
    spec = parse_metric('mine_efflite2k7')
    assert (spec.kind, spec.neighbors, spec.min_images, spec.needs_reals) == ('mine', 7, 16, False)
    assert parse_metric('mine_efflite2k').neighbors == 4
    assert spec.lower_is_better
    with pytest.raises(ConfigError, match='mine_DETECTOR10k4'):
        parse_metric('mine_efflite2k_full')


def test_a_kind_may_have_official_names_and_a_bound_on_the_reals(kinds):
    register_metric(
        'far', pattern='far_{}50k_full', official='fad', detector='inception', max_reals=10, lower_is_better=False
    )(Zero)
    assert {'fad50k_full', 'fad50k'} <= set(official_names())
    spec = parse_metric('fad5k_full')
    assert (spec.kind, spec.detector, spec.num_reals(1000)) == ('far', 'inception', 10)


def test_a_kind_of_paths_takes_the_names_of_paths(kinds):
    register_metric('bend', stream='paths', uses_reals=False, lower_is_better=True)(Zero)
    assert parse_metric('bend2_zend64').path.sampling == 'end'
    assert 'bend2_wend' in metric_names()
    assert 'bend2_wend' not in official_names()


@pytest.mark.parametrize(
    ('name', 'fields', 'message'),
    [
        ('My', {'pattern': 'My_{}50k'}, 'lower-case letters'),
        ('mine', {}, "the usual one is 'mine_{}50k_full'"),
        ('mine', {'pattern': 'other_{}50k'}, "the usual one is 'mine_{}50k_full'"),
        ('mine', {'pattern': 'mine_{}50k5'}, "the usual one is 'mine_{}50k_full'"),
        ('mine', {'pattern': 'mine_{}50k_full', 'uses_reals': False}, "the usual one is 'mine_{}50k'"),
        ('mine', {'pattern': 'mine_{}50k_full', 'official': 'me'}, 'comes with its detector'),
        ('mine', {'stream': 'paths'}, 'a metric of paths has no pattern'),
        ('mine', {'stream': 'paths', 'uses_reals': False, 'official': 'path'}, 'is its name'),
        ('mine2', {'stream': 'paths', 'uses_reals': False}, 'for paths it is letters alone'),
        ('mine', {'pattern': 'mine_{}50k', 'official': 'fid', 'detector': 'vgg16'}, "'fd' has the official name 'fid'"),
        ('fd', {'pattern': 'fd_{}50k'}, 'registered twice: by metrics.kinds.frechet and by'),
    ],
)
def test_a_registration_that_cannot_work_is_refused_with_its_name(kinds, name, fields, message):
    with pytest.raises(ConfigError, match=message) as caught:
        register_metric(name, lower_is_better=True, **fields)(Zero)
    assert f"the metric '{name}'" in str(caught.value)


def test_the_base_class_measures_the_whole_by_all_positions():
    class Last(Metric):
        """The last position."""

        def of(self, chosen, seed):
            return {'': float(chosen[-1]) + seed}

    from metrics.measurement import MetricInputs

    metric = Last(MetricInputs(num_items=5, distances=torch.zeros(5)))
    assert metric.whole(10) == {'': 14.0}
    assert metric.sheet() is None
