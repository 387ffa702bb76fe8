"""Weights of Inception in StyleGAN2-ADA's TorchScript file: recognized by name or order, refused in doubt."""

import warnings

import pytest
import torch

from dnnlib.errors import UserError
from metrics.detectors.inception import InceptionV3
from metrics.detectors.inception_detector import by_order, read_official_inception
from metrics.detectors.network_detector import load_network
from metrics.detectors.random_weights import random_weights
from metrics.detectors.weights import Weights, digest_of


@pytest.fixture(scope='module')
def tensors():
    return random_weights(InceptionV3)


def unnamed(tensors, **leaves):
    """Renames the tensors so that the names do not identify the layer, as in a foreign file."""
    leaves = {'weight': 'gamma', 'bias': 'beta', 'running_mean': 'mean', 'running_var': 'var'} | leaves
    result = {}
    for index, (name, tensor) in enumerate(tensors.items()):
        layer, _, leaf = name.rpartition('.')
        if leaf == 'num_batches_tracked':
            continue
        vector = tensor.ndim == 1 and not layer.startswith('fc')
        result[f'layers.n{index}.{leaves[leaf] if vector else leaf}'] = tensor
    return result


def test_a_torchscript_file_with_our_names_gives_its_tensors(tmp_path, tensors):
    network = load_network(InceptionV3, Weights(dict(tensors), '', ''))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # TorchScript is deprecated; the official file is one
        torch.jit.trace(network, torch.zeros(1, 3, 299, 299), strict=False, check_trace=False).save(tmp_path / 'i.pt')
    found = read_official_inception(tmp_path / 'i.pt')
    assert digest_of(found) == digest_of(tensors)


def test_tensors_without_names_are_told_apart_by_their_order(tensors):
    assert digest_of(by_order(unnamed(tensors))) == digest_of(tensors)


def test_absent_scales_are_one_and_folded_norms_the_identity(tensors):
    foreign = {name: tensor for name, tensor in unnamed(tensors).items() if not name.endswith('.gamma')}
    found = by_order(foreign)
    assert found.keys() == tensors.keys()
    assert all((tensor == 1).all() for name, tensor in found.items() if name.endswith('bn.weight'))

    foreign = {name: tensor for name, tensor in foreign.items() if not name.endswith(('.mean', '.var'))}
    network = load_network(InceptionV3, Weights(by_order(foreign), '', ''))
    layer, x = network.Mixed_7a.branch3x3_1, torch.rand(1, 768, 2, 2)
    expected = torch.nn.functional.conv2d(x, layer.conv.weight, layer.bn.bias).relu()
    assert torch.allclose(layer(x), expected, rtol=1e-5, atol=1e-5)


def test_an_order_that_is_not_certain_is_refused(tensors):
    swapped = {}
    for name, tensor in tensors.items():  # every block with its pool's branch first
        block, _, rest = name.partition('.')
        if rest.startswith('branch1x1.'):
            pool = f'{block}.branch_pool.'
            swapped |= {other: value for other, value in tensors.items() if other.startswith(pool)}
        swapped.setdefault(name, tensor)
    foreign = list(unnamed(tensors).items())
    for wrong, message in (
        (unnamed(swapped), 'Mixed_5b.branch1x1 should have one kernel'),
        (dict(foreign[1:]), 'do not make 94 layers'),
        (dict(foreign[:-1]), 'classifier'),
        (unnamed(tensors, running_var='deviation'), "a vector 'deviation'"),
        (unnamed(tensors, running_var='mean'), "a vector 'mean'"),
    ):
        with pytest.raises(ValueError, match=message):
            by_order(wrong)


def test_a_refused_file_is_answered_with_the_one_that_works(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.jit.trace(torch.nn.Linear(2, 3), torch.zeros(1, 2)).save(tmp_path / 'other.pt')
    with pytest.raises(UserError, match=r'other\.pt.*weights-inception-2015-12-05-6726825d\.pth'):
        read_official_inception(tmp_path / 'other.pt')
