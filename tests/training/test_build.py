"""From a config to a state: what is built, and what is refused first."""

import pytest
import torch

from dnnlib.errors import ConfigError
from tests.support.steps import CPU, tiny
from training.augment.config import AugmentConfig
from training.build import build, build_networks, resolve_precision, tf32_by_default
from training.config import PathLengthConfig, R1Config


@pytest.mark.parametrize('pipe', ['filter', 'bgcf', 'bgcfn', 'bgcfnc'])
def test_images_too_small_for_the_filter_are_refused_before_training(dataset, pipe):
    cfg = tiny(dataset, aug=AugmentConfig(kind='ada', pipe=pipe))
    with pytest.raises(
        ConfigError, match=rf'--augpipe={pipe}: its filter needs images from 22x22 up, the data are 8x8'
    ):
        build_networks(cfg, dataset.spec)


def test_a_precision_is_resolved_for_the_device():
    assert resolve_precision('auto', CPU) in ('bf16', 'fp32')
    assert resolve_precision('fp16', CPU) == 'fp16'


def test_float32_is_tf32_only_on_a_gpu_and_only_where_other_blocks_are_lowered():
    cuda = torch.device('cuda')
    assert [tf32_by_default(precision, cuda) for precision in ('bf16', 'fp16', 'fp32')] == [True, True, False]
    assert not any(tf32_by_default(precision, CPU) for precision in ('bf16', 'fp16', 'fp32'))


def test_only_active_terms_and_needed_parts_are_built(dataset):
    state = build(tiny(dataset), dataset.spec, CPU)
    assert list(state.terms) == ['r1', 'pl']
    assert list(state.parts) == ['guardian']
    assert state.pl_mean is state.terms['pl'].mean
    assert state.controller is None
    bare = tiny(dataset, r1=R1Config(gamma=0), pl=PathLengthConfig(weight=0))
    assert build(bare, dataset.spec, CPU).terms == {}
    assert build(bare, dataset.spec, CPU).pl_mean == 0


def test_two_builds_have_the_same_weights_and_another_seed_has_others(dataset):
    first, second, other = (build(tiny(dataset, seed=seed), dataset.spec, CPU) for seed in (0, 0, 1))
    assert all(torch.equal(value, second.tensors()[name]) for name, value in first.tensors().items())
    assert not torch.equal(first.G.mapping.fc0.weight, other.G.mapping.fc0.weight)
    assert torch.equal(first.G.mapping.fc0.weight, first.G_ema.mapping.fc0.weight)
