"""Passes as graphs: their functions, run without graphs, have the bits of the ordinary step at fixed addresses."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.support.narrow import narrow
from tests.support.steps import CPU, assert_same, resumed, tiny, train
from torch_utils.distributed import World
from torch_utils.graphs import NotRecorded, Tape
from training import step as step_module
from training.augment.config import AugmentConfig
from training.build import build
from training.config import LossConfig, PathLengthConfig, R1Config
from training.data.dataset import DataConfig, ImageDataset
from training.graphs import GraphPasses, NetworkPass, make_passes, why_not
from training.passes import Passes
from training.registry import RECIPES
from training.step import TrainStep

NUM_STEPS = 4


@pytest.fixture
def functions(monkeypatch):
    """Returns a function that makes later steps take the functions of graphs."""

    def make(cfg, state, fakes, device, world):
        return GraphPasses(cfg, state, fakes, world, record=False)

    return lambda: monkeypatch.setattr(step_module, 'make_passes', make)


CHANGES: dict[str, dict[str, Any]] = {
    'mixed': {'style_mixing_prob': 0.5},
    'unmixed': {'style_mixing_prob': 0.0},
    'one micro-batch': {'batch_gpu': 4},
    'augmented': {'aug': AugmentConfig(kind='fixed', p=0.8)},
    'adaptive': {'aug': AugmentConfig(kind='ada', p=0.5, interval=1)},
    'pseudo-real': {'aug': AugmentConfig(kind='apa', p=0.5)},
    'in every step': {'r1': R1Config(interval=None), 'pl': PathLengthConfig(interval=None)},
    'masked': {'on_nan': 'mask'},
}


@pytest.mark.parametrize('name', CHANGES)
def test_the_functions_have_the_bits_of_the_ordinary_step(dataset, functions, name):
    lazy = {'r1': R1Config(interval=2), 'pl': PathLengthConfig(interval=2)}
    cfg = dataclasses.replace(tiny(dataset), **(lazy | CHANGES[name]))
    expected, _ = train(cfg, dataset, NUM_STEPS)
    functions()
    state, step = train(cfg, dataset, NUM_STEPS)
    assert_same(state, expected)
    assert {net for _, net in step.passes._passes} == {'G', 'D', 'pl'}


@pytest.mark.parametrize('name', ['auto', 'ifgan', 'giu', 'sngan'])
def test_every_kind_of_network_has_the_bits_of_the_ordinary_step(functions, name):
    data = ImageDataset(DataConfig(resolution=32, cond=True))
    cfg = narrow(RECIPES.get(name).make(data.spec, 1))
    expected, _ = train(cfg, data, 3)
    functions()
    state, step = train(cfg, data, 3)
    assert_same(state, expected)
    assert {('Dmain', 'G'), ('Dmain', 'D')} <= set(step.passes._passes)


def test_a_run_without_graphs_resumes_with_them_to_the_same_bits(dataset, functions):
    cfg = tiny(dataset, r1=R1Config(interval=2), pl=PathLengthConfig(interval=2))
    expected, _ = train(cfg, dataset, 6)
    half, _ = train(cfg, dataset, 3)
    functions()
    assert_same(resumed(cfg, dataset, half, 3), expected)


class Reads(TorchDispatchMode):
    """Finds the tensors that operators read or write and that were not made since the mode began."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, torch.UntypedStorage] = {}
        self.found: dict[int, torch.Tensor] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        for x in tree_leaves((args, kwargs)):
            if isinstance(x, torch.Tensor) and x.numel() and _address(x) not in self.made:
                self.found[_address(x)] = x
        out = func(*args, **(kwargs or {}))
        for x in tree_leaves(out):
            if isinstance(x, torch.Tensor) and x.numel() and _address(x) not in self.found:
                self.made[_address(x)] = x.untyped_storage()  # kept, so that its address is not used again
        return out


def _address(x: torch.Tensor) -> int:
    return x.untyped_storage().data_ptr()


def test_passes_read_and_write_declared_tensors_alone(dataset, functions):
    """A graph reads and writes fixed addresses, so that it may use only tensors that the step keeps."""
    cfg = tiny(dataset, r1=R1Config(interval=2), pl=PathLengthConfig(interval=2), style_mixing_prob=1.0)
    functions()
    state, step = train(cfg, dataset, NUM_STEPS)
    passes = step.passes
    assert set(passes._passes) == {('Gmain', 'G'), ('Gmain', 'D'), ('Dmain', 'G'), ('Dmain', 'D'), ('Greg', 'pl')}
    for (phase, _), network_pass in passes._passes.items():
        net = getattr(state, phase[0])
        net.requires_grad_(True)
        for x in network_pass.tape.changed:  # filters prepared from buffers are made again, as before a recording
            torch.autograd.graph.increment_version(x)
        with Reads() as reads:
            network_pass._forward()
            if network_pass.differentiable:
                network_pass._backward()
        net.requires_grad_(False)
        tensors = [*network_pass.inputs, network_pass.gradient, *network_pass.tape.changed]
        tensors += [*state.G.parameters(), *state.D.parameters()]
        declared = {_address(x) for x in tensors}
        unknown = [list(x.shape) for address, x in reads.found.items() if address not in declared]
        assert not unknown, f'{phase}: {unknown}'
        assert reads.made


def test_inputs_and_gradients_keep_their_addresses(dataset, functions):
    cfg = tiny(dataset, r1=R1Config(interval=2), pl=PathLengthConfig(interval=2))
    functions()
    _, step = train(cfg, dataset, NUM_STEPS)

    def addresses() -> list[int]:
        passes = step.passes._passes.values()
        tensors = [x for p in passes for x in (*p.inputs, p.gradient, *(x.grad for x in p.wanted), *p.tape.changed)]
        return [x.data_ptr() for x in tensors]

    before = addresses()
    for _ in range(2):
        step(torch.full([4, 3, 8, 8], 99, dtype=torch.uint8), torch.zeros(4, 0))
    assert addresses() == before


@pytest.mark.parametrize(
    ('changes', 'phase', 'reason'),
    [
        ({'deterministic': True}, 'Gmain', '--deterministic'),
        ({'loss': LossConfig(kind='relativistic')}, 'Dmain', 'loss.kind=relativistic compares two passes of D'),
        ({'r1': R1Config(interval=None, shared=True)}, 'Dmain', 'r1 reads more of a pass than its result'),
        ({'pl': PathLengthConfig(weight=0)}, 'Greg', 'only path lengths'),
        ({}, 'Dreg', 'second derivatives'),
    ],
)
def test_phases_that_cannot_be_recorded_say_why(dataset, changes, phase, reason):
    cfg = tiny(dataset, **changes)
    state = build(cfg, dataset.spec, CPU)
    assert reason in (why_not(phase, cfg, state, World()) or '')


def test_networks_of_plug_ins_are_recorded_only_if_they_declare_it(dataset):
    cfg = tiny(dataset)
    state = build(cfg, dataset.spec, CPU)
    assert why_not('Gmain', cfg, state, World()) is None

    class Foreign(type(state.G)):
        pass

    state.G.__class__ = Foreign
    assert 'Foreign of a plug-in' in (why_not('Gmain', cfg, state, World()) or '')
    Foreign.capturable = True
    assert why_not('Gmain', cfg, state, World()) is None


@pytest.mark.parametrize('failing', [None, 'D'])
def test_a_phase_is_reported_when_its_passes_have_been_recorded(dataset, monkeypatch, capsys, failing):
    cfg = tiny(dataset, r1=R1Config(interval=2), pl=PathLengthConfig(interval=2))
    recorded = []

    def record(tape, device, pool):  # without graphs a tape runs its functions as they are
        if failing is not None and pool == failing:
            raise NotRecorded('too large')
        recorded.append(pool)

    def make(cfg, state, fakes, device, world):
        passes = GraphPasses(cfg, state, fakes, world, record=True)
        passes._pools = {'G': 'G', 'D': 'D'}
        return passes

    monkeypatch.setattr(Tape, 'record', record)
    monkeypatch.setattr(step_module, 'make_passes', make)
    _, step = train(cfg, dataset, 1)
    assert not recorded
    assert capsys.readouterr().err.splitlines() == [
        'graphs: Dreg: no CUDA graphs; it is rare, and takes second derivatives of its own'
    ]
    for _ in range(3):
        step(torch.full([4, 3, 8, 8], 99, dtype=torch.uint8), torch.zeros(4, 0))
    assert recorded
    text = 'its passes are CUDA graphs' if failing is None else 'no CUDA graphs; D: too large'
    greg = 'graphs: Greg: its passes are CUDA graphs'
    expected = [f'graphs: Gmain: {text}', f'graphs: Dmain: {text}', greg]
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith('graphs: ')] == expected


def test_a_cpu_has_ordinary_passes(dataset):
    cfg = dataclasses.replace(tiny(dataset), graphs='auto')
    step = TrainStep(cfg, build(cfg, dataset.spec, CPU), dataset, CPU)
    assert type(step.passes) is Passes
    assert type(make_passes(cfg, step.state, step.fakes, torch.device('cuda'), World())) is GraphPasses


def test_a_second_pass_before_the_gradient_of_the_first_is_refused():
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.zeros(2)
    network_pass = NetworkPass(lambda x: (x @ weight, {}), [torch.ones(3, 2)], [3], [weight], [])
    result = network_pass([torch.ones(3, 2)])
    with pytest.raises(AssertionError, match='overwrite'):
        network_pass([torch.ones(3, 2)])
    result.sum().backward()
    assert weight.grad.tolist() == [3, 3]
