"""Paths through keyframes: exact at the keyframes, closed, smooth, and of the length of latents."""

import numpy as np
import pytest

from ganfoundry.gen_video.paths import cells_of, closed_path, closed_path_on_sphere

PATHS = (closed_path, closed_path_on_sphere)


@pytest.fixture
def keyframes() -> np.ndarray:
    return np.random.RandomState(3).randn(5, 40).astype(np.float32)


@pytest.mark.parametrize('path_of', PATHS)
@pytest.mark.parametrize('interpolation', ['cubic', 'linear'])
@pytest.mark.parametrize('count', [1, 2, 5])
def test_every_keyframe_is_shown_exactly(path_of, interpolation, count, keyframes):
    path = path_of(keyframes[:count], 12, interpolation)
    assert path.shape == (12 * count, 40)
    np.testing.assert_array_equal(path[::12].astype(np.float32), keyframes[:count])


@pytest.mark.parametrize('path_of', PATHS)
@pytest.mark.parametrize('count', [2, 3, 5])
def test_no_step_of_the_cycle_is_much_longer_than_the_others(path_of, count, keyframes):
    path = path_of(keyframes[:count], 60)
    steps = np.linalg.norm(np.roll(path, -1, axis=0) - path, axis=1)
    assert steps.max() < 3 * np.median(steps)


@pytest.mark.parametrize('path_of', PATHS)
def test_the_velocity_has_no_jump_at_a_keyframe_nor_at_the_seam(path_of, keyframes):
    path = path_of(keyframes, 400)
    velocity = np.roll(path, -1, axis=0) - path
    jumps = np.linalg.norm(np.roll(velocity, -1, axis=0) - velocity, axis=1)
    assert jumps.max() < 0.02 * np.linalg.norm(velocity, axis=1).mean()


def test_points_between_latents_have_the_length_of_latents(keyframes):
    lengths = np.linalg.norm(keyframes, axis=1)
    along = np.linalg.norm(closed_path_on_sphere(keyframes, 30), axis=1)
    assert 0.9 * lengths.min() < along.min()
    assert along.max() < 1.1 * lengths.max()
    straight = np.linalg.norm(closed_path(keyframes, 30), axis=1)
    assert straight.min() < 0.85 * lengths.min()  # the fault that the sphere avoids


def test_points_of_any_shape_have_a_path():
    points = np.random.RandomState(0).randn(3, 4, 6)
    np.testing.assert_array_equal(closed_path(points, 7)[::7], points)


def test_labels_on_a_linear_path_remain_blends():
    labels = np.eye(3)
    path = closed_path(labels, 8, 'linear')
    np.testing.assert_allclose(path.sum(axis=1), 1)
    assert path.min() >= 0


@pytest.mark.parametrize(
    ('keyframes', 'cells', 'per_cell', 'expected'),
    [
        (4, 2, 2, [[0, 1], [2, 3]]),
        (3, 2, 2, [[0, 1], [2, 0]]),
        (1, 2, 1, [[0], [0]]),
    ],
)
def test_cells_take_consecutive_keyframes_and_repeat_them_in_turn(keyframes, cells, per_cell, expected):
    assert cells_of(keyframes, cells, per_cell).tolist() == expected
