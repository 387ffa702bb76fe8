"""FID's Inception: the official network at every tap, resize and all, whichever file its weights come in."""

import json
import warnings

import numpy as np
import pytest
import torch

from dnnlib.errors import UserError
from metrics.detectors.inception import InceptionV3, average_pool
from metrics.detectors.inception_detector import InceptionDetector, by_order, read_official_inception
from metrics.detectors.network_detector import load_network
from metrics.detectors.random_weights import random_weights
from metrics.detectors.weights import Weights, digest_of

TAPS = ('64', '192', '768', '2048', 'logits_unbiased', 'logits')
SIZES = ('64x64', '29x37')


@pytest.fixture(scope='module')
def numbers(golden):
    """Inputs and outputs of torch-fidelity's network with weights drawn by name."""
    with np.load(golden / 'inception_random_weights.npz') as file:
        return {name: torch.from_numpy(file[name]) for name in file if name != 'meta'}


@pytest.fixture(scope='module')
def tensors():
    return random_weights(InceptionV3)


@pytest.fixture(scope='module')
def detector():
    return InceptionDetector.random()


def relative(found, expected):
    """Largest error as a share of the largest number of each image."""
    assert found.shape == expected.shape
    return float(((found - expected).abs().amax(dim=1) / expected.abs().amax(dim=1)).max())


def test_the_state_dict_is_the_official_one(golden, tensors):
    official = json.loads((golden / 'inception_state_dict.json').read_text())
    assert {name: list(tensor.shape) for name, tensor in tensors.items()} == official


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('folded', [False, True])
def test_every_tap_is_that_of_the_official_network(size, folded, numbers, tensors, detector):
    network = detector.network
    if not folded:
        network = load_network(InceptionV3, Weights(dict(tensors), '', ''))
    with torch.inference_mode():
        taps = network(detector.prepare(numbers[f'x_{size}']))
    assert tuple(taps) == TAPS
    for tap in TAPS:
        assert relative(taps[tap], numbers[f'{size}.{tap}']) < 1e-5, tap


def test_the_detector_takes_images_of_any_size_to_official_features(detector, numbers):
    for size in SIZES:
        found = detector(numbers[f'x_{size}'])
        assert relative(found.pooled, numbers[f'{size}.2048']) < 1e-5
        assert relative(found.probabilities, numbers[f'{size}.logits_unbiased'].softmax(dim=1)) < 1e-5
        assert (found.pooled.dtype, found.pooled.shape[1]) == (torch.float32, detector.feature_dim)
        assert found.probabilities.shape[1] == detector.num_classes


def test_features_repeat_grey_is_tiled_and_chunks_keep_the_order(detector, numbers, monkeypatch):
    gray = numbers['x_29x37'][:2, :1]
    whole = detector(gray).pooled
    assert torch.equal(detector(gray.repeat(1, 3, 1, 1)).pooled, whole)
    monkeypatch.setattr(detector, 'chunk_size', 1)
    assert relative(detector(gray).pooled, whole) < 1e-6


def test_average_pools_leave_the_padding_out():
    ones = torch.ones(1, 1, 4, 4)
    assert torch.equal(average_pool(ones), ones)


# --- StyleGAN2-ADA's TorchScript file ----------------------------------------


def unnamed(tensors, **leaves):
    """The tensors under names that say nothing of the layer, as a foreign file may have them."""
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
