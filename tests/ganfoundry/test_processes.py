"""Numbers of processes, and the micro-batches by which they share a batch."""

import sys
from dataclasses import replace

import pytest
import torch

from dnnlib.errors import ConfigError
from ganfoundry import processes
from tests.conftest import ROOT
from training.interface import ImageSpec
from training.recipes import auto
from training.registry import Recipe

CPU = torch.device('cpu')
SPEC = ImageSpec(resolution=64, channels=3, label_dim=0, num_images=100)
NOTHING = {'batch': None, 'batch_gpu': None, 'deterministic': None, 'mbstd_group': None}


def config(batch, batch_gpu, **changes):
    return replace(auto(SPEC, 1), batch=batch, batch_gpu=batch_gpu, **changes)


def test_a_script_is_started_again_by_its_path_and_the_module_by_its_name(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['/usr/bin/ganfoundry', 'train', '--gpus=8'])
    assert processes.command_line() == sys.argv
    monkeypatch.setattr(sys, 'argv', [str(ROOT / 'ganfoundry' / '__main__.py'), 'train'])
    assert processes.command_line() == ['-m', 'ganfoundry', 'train']


def test_the_number_is_the_flag_or_that_of_the_run_or_that_of_the_launcher(monkeypatch):
    assert processes.num_processes(None, CPU) == 1
    assert processes.num_processes(None, CPU, recorded=4) == 4
    assert processes.num_processes(2, CPU, recorded=4) == 2
    with pytest.raises(ConfigError, match='--gpus must be at least 1'):
        processes.num_processes(0, CPU)
    monkeypatch.setenv('RANK', '0')
    monkeypatch.setenv('WORLD_SIZE', '3')
    monkeypatch.setenv('MASTER_ADDR', 'localhost')
    monkeypatch.setenv('MASTER_PORT', '29500')
    assert processes.num_processes(None, CPU, recorded=4) == processes.num_processes(3, CPU) == 3
    with pytest.raises(ConfigError, match='--gpus=2: torchrun has started 3 processes'):
        processes.num_processes(2, CPU)


def test_a_gpu_is_needed_for_each_process(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    assert processes.num_processes(2, torch.device('cuda')) == 2
    with pytest.raises(ConfigError, match='--gpus=3: PyTorch sees 2 here'):
        processes.num_processes(3, torch.device('cuda'))


@pytest.mark.parametrize(
    ('cfg', 'num_gpus', 'given', 'expected'),
    [
        (config(32, 16), 2, {}, 16),  # the recipe's, which two processes share
        (config(32, 32), 2, {}, 16),  # the next smaller one
        (config(32, 16), 2, {'batch_gpu': 8}, None),
        (config(32, 32), 1, {'deterministic': True}, 8),  # four processes could share it
        (config(32, 32, deterministic=True), 1, {}, 8),
        (config(32, 32, deterministic=True), 1, {'deterministic': False}, 32),
        (config(32, 16), 2, {'batch': 64}, None),
        (config(48, 16), 1, {'deterministic': True, 'mbstd_group': 4}, 12),
    ],
)
def test_micro_batches_are_shared(cfg, num_gpus, given, expected):
    changes = processes.shares(cfg, num_gpus, **{**NOTHING, **given})
    assert changes == {'gpus': num_gpus} | ({} if expected is None else {'batch_gpu': expected})


def test_a_batch_that_four_processes_cannot_share_is_refused_under_deterministic():
    with pytest.raises(ConfigError, match='--batch=6: under --deterministic it must be a multiple of 4'):
        processes.shares(config(8, 8), 1, **{**NOTHING, 'batch': 6, 'deterministic': True})


@pytest.mark.parametrize(('deterministic', 'own_batch', 'num'), [(0, 0, 6), (0, 1, 4), (1, 0, 1), (1, 1, 1)])
def test_a_recipe_is_made_for_a_number_that_can_share_its_batch(monkeypatch, deterministic, own_batch, num):
    recipe = Recipe(name='any', paper='none', make=lambda spec, num_gpus: num_gpus)
    monkeypatch.setattr(processes.RECIPES, 'get', lambda name: recipe)
    assert processes.recipe(None, SPEC, 6, deterministic=bool(deterministic), own_batch=bool(own_batch)) == num
