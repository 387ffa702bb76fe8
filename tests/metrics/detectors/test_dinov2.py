"""DINOv2: the class token of a folder's network, and a clear message if something is missing."""

import importlib.util
import sys

import pytest
import torch

from dnnlib.errors import UserError
from metrics.detectors.dinov2 import DinoV2Small
from metrics.detectors.table import available, get_detector, set_path
from metrics.detectors.vgg import normalize
from tests.support.no_weights import isolate

IMAGES = (torch.arange(2 * 3 * 20 * 24).view(2, 3, 20, 24) * 7 % 256).to(torch.uint8)
needs_transformers = pytest.mark.skipif(
    importlib.util.find_spec('transformers') is None, reason='needs the package transformers: pip install transformers'
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The smallest possible network with the width of dinov2s, in the folder of detectors."""
    from transformers import Dinov2Config, Dinov2Model

    isolate(monkeypatch, tmp_path)
    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=384, num_hidden_layers=1, num_attention_heads=6, image_size=224, patch_size=56)
    Dinov2Model(config).save_pretrained(tmp_path / 'dinov2-small')
    return tmp_path / 'dinov2-small'


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    isolate(monkeypatch, tmp_path)
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with pytest.raises(UserError, match='dinov2s needs the package transformers: pip install transformers'):
        get_detector('dinov2s')


@needs_transformers
def test_features_are_the_class_token(folder, monkeypatch):
    monkeypatch.setenv('GANFOUNDRY_DETECTORS', str(folder.parent))
    assert available('dinov2s')
    assert not available('dinov2')
    detector = get_detector('dinov2s')
    found = detector(IMAGES)
    assert found.pooled.shape == (2, detector.feature_dim)
    assert found.probabilities is None
    assert torch.equal(detector(IMAGES).pooled, found.pooled)
    with torch.inference_mode():
        hidden = detector.network(detector.prepare(IMAGES)).last_hidden_state
    assert torch.allclose(hidden[:, 0], found.pooled, atol=1e-5)
    assert len(detector.digest) == 64


@needs_transformers
def test_images_become_whole_grey_levels_of_224_pixels(folder):
    set_path(f'dinov2s={folder}')
    x = DinoV2Small().prepare(IMAGES)
    assert x.shape == (2, 3, 224, 224)
    levels = torch.arange(256.0).view(256, 1, 1, 1).expand(-1, 3, -1, -1)
    allowed = normalize(levels)[:, 0].flatten()
    assert (x[0, 0].flatten()[:, None] - allowed).abs().amin(dim=1).max() < 1e-5


@needs_transformers
def test_weights_that_are_lacking_are_refused(folder):
    from safetensors.torch import load_file, save_file

    set_path(f'dinov2s={folder}')
    tensors = load_file(folder / 'model.safetensors')
    first = next(iter(sorted(tensors)))
    save_file({name: t for name, t in tensors.items() if name != first}, folder / 'model.safetensors', {'format': 'pt'})
    with pytest.raises(UserError, match='lacks 1 tensor'):
        get_detector('dinov2s')
    (folder / 'model.safetensors').unlink()
    with pytest.raises(UserError, match='--detector-path=dinov2s=FOLDER'):
        get_detector('dinov2s')
    set_path(f'dinov2={folder}')
    with pytest.raises(UserError, match='dinov2'):
        get_detector('dinov2')


@needs_transformers
def test_offline_and_absent_is_one_sentence(monkeypatch, tmp_path):
    isolate(monkeypatch, tmp_path)
    monkeypatch.setenv('HF_HUB_CACHE', str(tmp_path))
    assert not available('dinov2s')
    with pytest.raises(UserError, match='facebook/dinov2-small'):
        get_detector('dinov2s')
