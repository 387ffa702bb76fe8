"""Features: the first component is NumPy's, and every stage of every discriminator has a row."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dnnlib.errors import CheckpointError, ConfigError
from ganfoundry.inspection.features import check_images, first_component, inspect_features
from tests.support.stored import make_set
from training.data.dataset import DataConfig, ImageDataset
from training.run.snapshot import load_snapshot


def test_the_component_is_that_of_a_singular_value_decomposition() -> None:
    features = torch.randn([3, 6, 4, 5], generator=torch.Generator().manual_seed(0)) * torch.arange(1, 7)[:, None, None]
    projection, share = first_component(features)
    rows = features.double().permute(0, 2, 3, 1).reshape(-1, 6).numpy()
    rows = rows - rows.mean(axis=0)
    _, values, axes = np.linalg.svd(rows, full_matrices=False)
    axis = axes[0] * np.sign(axes[0][np.abs(axes[0]).argmax()])
    np.testing.assert_allclose(projection, (rows @ axis).reshape(3, 4, 5), rtol=1e-9, atol=1e-9)
    assert share == pytest.approx(values[0] ** 2 / (values**2).sum(), rel=1e-9)


def test_equal_features_have_no_component() -> None:
    projection, share = first_component(torch.ones([2, 3, 4, 4]))
    assert share == 0
    assert not projection.any()


def test_every_stage_of_every_network_has_a_row(drawing_of, tmp_path) -> None:
    reals = ImageDataset(DataConfig(path=make_set(tmp_path / 'set', (3, 32, 32), n=5)))
    snapshots = [load_snapshot(drawing_of(cfg).network.path) for cfg in ('squeeze', 'igan')]
    check_images(reals, snapshots)
    found = inspect_features(snapshots, reals, 4, torch.device('cpu'))
    names = [name for name, _ in found.rows]
    assert names[0] == 'real images'
    assert {len(images) for _, images in found.rows} == {4}
    assert [name for name in names if name.startswith('1 ')] == [f'1 squeeze {r}x{r}' for r in (32, 16, 8, 4)]
    assert [name for name in names if name.startswith('2 ')] == [f'2 igan {r}x{r}' for r in (16, 8, 4)]
    assert all(
        0 < layer['share_of_variance'] <= 1 for net in found.facts['networks'].values() for layer in net.values()
    )
    reals.close()


def test_images_that_a_network_does_not_see_and_exports_without_d_are_refused(drawing_of, tmp_path) -> None:
    snapshot = load_snapshot(drawing_of('squeeze').network.path)
    small = ImageDataset(DataConfig(path=make_set(tmp_path / 'set', (3, 16, 16))))
    with pytest.raises(ConfigError, match=r'sees images of 32x32 with 3 channels, and .* has 16x16'):
        check_images(small, [snapshot])
    small.close()
    for name in [name for name in snapshot.tensors if name.startswith('D.')]:
        del snapshot.tensors[name]
    fitting = ImageDataset(DataConfig(path=make_set(tmp_path / 'fit', (3, 32, 32))))
    with pytest.raises(CheckpointError, match='has no discriminator'):
        inspect_features([snapshot], fitting, 2, torch.device('cpu'))
    fitting.close()
