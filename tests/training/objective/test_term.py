"""The base class and the registry of terms."""

import importlib.metadata

import pytest
import torch

from dnnlib.errors import ConfigError
from tests.support.steps import CPU, tiny
from training.build import build
from training.config import apply_overrides
from training.objective.lecam import LeCamConfig
from training.objective.losses import LOSSES
from training.objective.term import RESERVED, TERMS, Summand, Term, frequency, has_hook, register_term


def test_a_summand_takes_the_mean_once():
    assert Summand(loss=torch.tensor([[1.0], [3.0]])).mean() == 2
    loss = torch.tensor(4.0)
    assert Summand(loss=loss).mean() is loss
    assert Summand(loss=loss).statistics == {}


def test_only_overridden_hooks_count_and_the_others_raise():
    class Silent(Term):
        def end_step(self):
            pass

    term = Silent(None, None, None, CPU)
    assert has_hook(term, 'end_step')
    assert not has_hook(term, 'attach')
    with pytest.raises(NotImplementedError):
        term.attach(None)


def test_the_plan_has_words_for_every_interval():
    assert frequency(None) == 'in every step'
    assert frequency(16) == 'every 16 steps'


def test_names_that_mean_something_else_are_refused(dataset, monkeypatch):
    state = build(apply_overrides(tiny(dataset), {'aug.kind': 'ada', 'precision': 'fp16'}), dataset.spec, CPU)
    assert set(state.scalars()) == set(RESERVED)
    for name in (*RESERVED, 'two words'):
        with pytest.raises(ValueError, match='not an identifier, or a name that state files use'):
            register_term(name, config=LeCamConfig)
    with pytest.raises(TypeError, match='dict is not derived from TermConfig'):
        register_term('other', config=dict)
    monkeypatch.setattr(TERMS, '_values', dict(TERMS._values))
    monkeypatch.setattr(TERMS, '_modules', dict(TERMS._modules))
    register_term('batch', config=LeCamConfig)(type('Batch', (Term,), {}))
    with pytest.raises(ConfigError, match=r"the term 'batch' of .* has the name of a config field; rename it"):
        apply_overrides(tiny(dataset), {'kimg': 2})


@pytest.mark.parametrize(('registry', 'group'), [(TERMS, 'ganfoundry.terms'), (LOSSES, 'ganfoundry.losses')])
def test_installed_distributions_bring_terms_and_losses(monkeypatch, registry, group):
    value = object()

    class Point:
        name, value, group = 'far', 'far_away', 'of the test'

        def load(self):
            registry.register('far', value, module='far_away')

    monkeypatch.setattr(registry, '_values', dict(registry._values))
    monkeypatch.setattr(registry, '_modules', dict(registry._modules))
    monkeypatch.setattr(importlib.metadata, 'entry_points', lambda group: [Point()] if group == wanted else [])
    wanted = group
    assert registry.get('far') is value
