"""Samples of a comparison: labels of real images, diversity, and the sheet."""

import numpy as np
import pytest
import torch

from ganfoundry.compare import samples
from ganfoundry.compare.samples import as_picture, draw_samples, draw_sheet, real_samples, sample_diversity
from tests.support.runs import make_zip
from training.data.dataset import DataConfig, ImageDataset


def test_samples_have_the_labels_of_the_real_images(tmp_path, monkeypatch):
    dataset = ImageDataset(DataConfig(path=str(make_zip(tmp_path / 'a.zip', num_images=40)), cond=True))
    reals, labels = real_samples(dataset)
    assert reals.shape == (40, 3, 16, 16)
    assert labels.shape == (40, 3)
    assert labels.sum(dim=1).tolist() == [1] * 40  # one class each: no training image has an empty label
    bright = reals[:, :, 6, 6].argmax(dim=1)  # the square has the color of its class
    assert bright.tolist() == labels.argmax(dim=1).tolist()
    drawn = []

    class Labels(torch.nn.Module):
        """Generator that records its labels."""

        z_dim = 4

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, z, c, **rest):
            drawn.append(c)
            return z[:, :3, None, None].expand(-1, 3, 16, 16)

    monkeypatch.setattr(samples, 'load_snapshot', lambda path: None)
    monkeypatch.setattr(samples, 'load_generator', lambda *rest: Labels())
    images = draw_samples(tmp_path / 'x.safetensors', labels)
    assert images.shape == (samples.NUM_SAMPLES, 3, 16, 16)
    assert torch.equal(torch.cat(drawn), labels[[seed % 40 for seed in range(samples.NUM_SAMPLES)]])


def test_samples_are_compared_with_the_real_images_of_their_class():
    labels = torch.eye(2)[[0, 1, 0, 1]]
    reals = torch.tensor([0, 100, 8, 120])[:, None, None, None].expand(4, 3, 4, 4)
    samples = torch.tensor([10, 50, 14, 55, 10, 50])[:, None, None, None].expand(6, 3, 4, 4)  # classes 0 1 0 1 0 1
    found = sample_diversity(samples, reals, labels)
    first, second = (4 + 4) / 3 / 8, (5 + 5) / 3 / 20
    assert found.mean == pytest.approx((first + second) / 2)
    assert found.least == pytest.approx(second)


@pytest.mark.parametrize(('channels', 'mode'), [(1, 'L'), (2, 'L'), (3, 'RGB'), (4, 'RGBA'), (6, 'RGB')])
def test_images_of_any_number_of_channels_are_shown(channels, mode):
    assert as_picture(np.zeros([channels, 4, 6], dtype=np.uint8)).mode == mode


def test_the_sheet_has_a_strip_per_row_and_keeps_the_shape_of_the_images():
    images = torch.full([20, 3, 16, 32], 255, dtype=torch.uint8)
    sheet = draw_sheet([('real images', images), ('none', None)])
    assert sheet.size == (200 + 12 * 64, 2 * 32)
