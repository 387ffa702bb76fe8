"""VGG16: the published network by name, shape and number; the detectors over it."""

import pytest
import torch
from torch import nn

from dnnlib.errors import UserError
from metrics.detectors import vgg
from metrics.detectors.lpips_weights import LAYERS, TRUNK
from metrics.detectors.random_weights import random_weights
from metrics.detectors.vgg import Vgg16, Vgg16Conv, Vgg16ConvDetector, Vgg16Detector, convolutions, taps_of
from metrics.detectors.weights import Weights

# Simonyan and Zisserman, Table 1, D, and where torchvision's state dict has its layers.
WIDTHS = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
IMAGES = (torch.arange(2 * 3 * 24 * 20).view(2, 3, 24, 20) * 7 % 256).to(torch.uint8)


def test_the_state_dict_is_the_published_one_without_the_last_layer():
    with torch.device('meta'):
        found = {name: tuple(tensor.shape) for name, tensor in Vgg16().state_dict().items()}
    expected, channels = {}, 3
    for layer, width in zip(LAYERS, WIDTHS, strict=True):
        expected |= {f'{layer}.weight': (width, channels, 3, 3), f'{layer}.bias': (width,)}
        channels = width
    expected |= {'classifier.0.weight': (4096, 25088), 'classifier.0.bias': (4096,)}
    expected |= {'classifier.3.weight': (4096, 4096), 'classifier.3.bias': (4096,)}
    assert found == expected


def test_taps_are_the_relus_before_each_pool():
    layers = convolutions()
    layers.load_state_dict({name.removeprefix('features.'): t for name, t in random_weights(Vgg16Conv).items()})
    x = torch.rand(1, 3, 32, 48)
    with torch.inference_mode():
        taps = taps_of(layers, x)
        whole = nn.Sequential(*list(layers)[:30])(x)
    assert [tuple(tap.shape[1:]) for tap in taps] == [
        (64, 32, 48),
        (128, 16, 24),
        (256, 8, 12),
        (512, 4, 6),
        (512, 2, 3),
    ]
    assert torch.equal(taps[-1], whole)
    assert all((tap >= 0).all() for tap in taps)


def test_inputs_are_normalised_as_the_network_was_trained():
    x = torch.tensor([0.0, 255.0]).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    found = vgg.normalize(x)
    assert found[0, :, 0, 0].tolist() == pytest.approx([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])
    assert found[1, :, 0, 0].tolist() == pytest.approx([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225])


def test_vgg16_gives_the_second_layer_after_its_relu():
    weights = random_weights(Vgg16Conv)
    u, v = torch.randn(2, 25088, generator=torch.Generator().manual_seed(0)) / 100
    weights |= {'classifier.0.weight': torch.outer(u[:4096], v), 'classifier.0.bias': u[4096:8192]}
    weights |= {'classifier.3.weight': torch.outer(v[:4096], u[:4096]), 'classifier.3.bias': v[4096:8192]}
    detector = Vgg16Detector(weights=Weights(weights, 'digest', 'edition'))
    found = detector(IMAGES[:1])
    with torch.inference_mode():
        x = detector.network.features(detector.prepare(IMAGES[:1])).flatten(start_dim=1)
        hidden = (x @ weights['classifier.0.weight'].T + weights['classifier.0.bias']).clamp(min=0)
        expected = (hidden @ weights['classifier.3.weight'].T + weights['classifier.3.bias']).clamp(min=0)
    assert torch.allclose(found.pooled, expected, rtol=1e-4, atol=1e-6)
    assert 0.1 < (found.pooled == 0).float().mean() < 0.9
    assert found.pooled.shape == (1, detector.feature_dim)
    assert found.probabilities is None
    assert detector.num_classes == 0


def test_an_image_keeps_its_features_in_any_company(monkeypatch):
    detector = Vgg16ConvDetector.random()
    together = detector(IMAGES)
    assert together.pooled.shape == (2, detector.feature_dim)
    assert together.pooled.dtype == torch.float32
    assert together.pooled.std() > 0
    monkeypatch.setattr(detector, 'chunk_size', 1)
    assert torch.allclose(detector(IMAGES).pooled, together.pooled, rtol=1e-5, atol=1e-6)


def test_the_official_file_is_read_by_its_names(monkeypatch, tmp_path):
    official = {}
    for index in range(13):
        official |= {f'layers.conv{index + 1}.{leaf}': torch.full([1], index) for leaf in ('weight', 'bias')}
    for index in (1, 2, 3):
        official |= {f'layers.fc{index}.{leaf}': torch.full([1], 100 + index) for leaf in ('weight', 'bias')}
    monkeypatch.setattr(vgg, 'read_torchscript', lambda path: official)
    found = vgg.read_official_vgg(tmp_path / 'vgg16.pt')
    assert [int(found[f'{layer}.weight']) for layer in LAYERS] == list(range(13))
    assert (int(found['classifier.0.bias']), int(found['classifier.3.weight'])) == (101, 102)
    assert found.keys() == {*TRUNK, *(f'classifier.{i}.{leaf}' for i in (0, 3) for leaf in ('weight', 'bias'))}
    del official['layers.fc2.weight']
    with pytest.raises(UserError, match=r'vgg16\.pt.*layers\.fc2\.weight.*vgg16-397923af\.pth'):
        vgg.read_official_vgg(tmp_path / 'vgg16.pt')
