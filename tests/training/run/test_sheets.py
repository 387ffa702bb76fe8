"""Sample sheets: a function of data and seed, rows of one class, and images of constant noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.networks import tiny_G
from tests.support.runs import make_zip
from training.data.dataset import DataConfig, ImageDataset
from training.run.sheets import SampleSheet


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_zip(tmp_path_factory.mktemp('sheets') / 'tiny.zip', num_images=12)


def sheet(data: Path, seed: int = 0, cond: bool = False, limit: int = 9) -> SampleSheet:
    return SampleSheet(ImageDataset(DataConfig(path=str(data), cond=cond)), 8, seed, limit)


def test_latents_are_a_function_of_the_seed(data: Path) -> None:
    first, again, other = sheet(data), sheet(data), sheet(data, seed=1)
    assert torch.equal(first.z, again.z)
    assert not torch.equal(first.z, other.z)
    assert first.z.shape[1] == 8


def test_with_labels_every_row_shows_one_class(data: Path) -> None:
    made = sheet(data, cond=True)
    rows = made.c.argmax(dim=1).reshape(-1, made.columns)
    assert (rows == rows[:, :1]).all()
    assert rows[:, 0].tolist() == [row % 3 for row in range(len(rows))]


def test_real_images_are_written_as_they_are(data: Path, tmp_path: Path) -> None:
    made = sheet(data)
    made.save_reals(tmp_path / 'reals.png')
    with Image.open(tmp_path / 'reals.png') as picture:
        pixels = np.asarray(picture)
    first = ImageDataset(DataConfig(path=str(data))).image(int(made._indices[0]))
    assert (pixels[:16, :16].transpose(2, 0, 1) == first).all()


@pytest.mark.parametrize('is_new', [True, False])
def test_a_run_decodes_its_real_images_once(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_new: bool
) -> None:
    made, image, read = sheet(data), ImageDataset.image, []
    fakes = torch.randint(0, 256, [len(made.z), 3, 16, 16], dtype=torch.uint8)
    expected = sheet(data).diversity(fakes)

    def counted(self: ImageDataset, index: int) -> np.ndarray:
        read.append(index)
        return image(self, index)

    monkeypatch.setattr(ImageDataset, 'image', counted)
    if is_new:  # a continued run has the sheet of real images already
        made.save_reals(tmp_path / 'reals.png')
    assert made.diversity(fakes) == made.diversity(fakes) == expected
    assert read == made._indices.tolist()


def test_fakes_do_not_depend_on_the_batch_and_are_written_as_they_are(data: Path, tmp_path: Path) -> None:
    made, G = sheet(data), tiny_G().eval()
    whole = made.draw_fakes(G, 4)
    made.save_fakes(whole, tmp_path / 'a.png', {'nimg': 0})
    assert whole.shape == (len(made.z), 1, 16, 16)
    assert whole.dtype == torch.uint8
    single = made.draw_fakes(G, 1)
    assert (whole.int() - single.int()).abs().max() <= 1  # convolutions of another batch may round otherwise
    with Image.open(tmp_path / 'a.png') as picture:
        assert (np.asarray(picture)[:16, :16] == whole[0, 0].numpy()).all()
