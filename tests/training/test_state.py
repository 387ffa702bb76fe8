"""The state of a run: what is saved, and what loads."""

import json
from types import SimpleNamespace

import pytest
import torch

from dnnlib.errors import CheckpointError
from tests.support.steps import CPU, tiny, train
from training.augment.config import AugmentConfig
from training.build import build


def test_a_state_from_before_augmentation_was_known_loads_and_begins_at_p(dataset):
    half, _ = train(tiny(dataset), dataset, 2)
    scalars = json.loads(json.dumps(half.scalars()))
    scalars = {name: scalars[name] for name in ('nimg', 'step', 'tick', 'tick_start_nimg', 'stats')}
    state = build(tiny(dataset, aug=AugmentConfig(kind='ada', p=0.2)), dataset.spec, CPU)
    state.load(half.tensors(), scalars, 'test')
    assert state.controller.p == 0.2
    assert state.controller.state_dict()['sums'] == [0, 0]


def test_a_state_of_another_architecture_is_refused_by_its_first_tensors(dataset):
    state = build(tiny(dataset), dataset.spec, CPU)
    tensors, scalars = state.tensors(), state.scalars()
    less = {name: value for name, value in tensors.items() if name != 'pl_mean'}
    with pytest.raises(CheckpointError, match=r'here\.zip: a state of another architecture: lacks pl_mean'):
        state.load(less, scalars, 'here.zip')
    with pytest.raises(CheckpointError, match=r'has D\.new, unknown here'):
        state.load(tensors | {'D.new': tensors['pl_mean']}, scalars, 'here')
    wide = tensors | {'D.b4.out.bias': tensors['D.b4.out.bias'].expand(3)}
    with pytest.raises(CheckpointError, match=r'D\.b4\.out\.bias is \[3\] there and \[1\] here'):
        state.load(wide, scalars, 'here')


def test_a_part_whose_state_json_cannot_hold_is_named(dataset):
    state = build(tiny(dataset), dataset.spec, CPU)
    state.parts['mine'] = SimpleNamespace(state_dict=lambda: {'mean': torch.zeros(2)})
    with pytest.raises(TypeError, match=r"state_dict of 'mine': .*a tensor as tensor\.tolist"):
        state.scalars()


def test_the_mean_path_length_loads_into_the_tensor_of_its_term(dataset):
    half, _ = train(tiny(dataset), dataset, 1)
    assert half.pl_mean != 0
    state = build(tiny(dataset), dataset.spec, CPU)
    state.load(half.tensors(), json.loads(json.dumps(half.scalars())), 'test')
    assert state.terms['pl'].mean == half.pl_mean
    assert state.moving[0] is state.terms['pl'].mean
