"""Jobs of generate.py: what a command line asks for, the names of its sheets, and what cannot be drawn."""

import types
from pathlib import Path

import pytest
import torch

from dnnlib.errors import ConfigError
from ganfoundry.class_option import NO_LABEL, Label
from ganfoundry.jobs import Job, check_size, job_of, one_label, parse_grid, parse_wanted
from ganfoundry.latent_options import Seeds, parse_seeds
from ganfoundry.points import PointList, stored_point
from training.interface import ImageSpec
from training.run.latents import Latents, write_latents


class Plain:
    """A generator without a W space."""

    z_dim, c_dim = 2, 0


def network(c_dim=0, class_names=()):
    module = Plain()
    module.c_dim = c_dim
    return types.SimpleNamespace(module=module, class_names=class_names, sha256='aa')


def job(seeds=None, latents=(), projected_w=None, class_text=None, grid=None, psi=1, **kind):
    return job_of(parse_wanted(seeds, latents, projected_w, class_text, grid), network(**kind), psi)


def test_a_grid_has_columns_and_rows():
    assert parse_grid('8x4') == (8, 4)
    for text in ('8', '0x4', '8x', 'x', '8x4x2', '10000x1'):
        with pytest.raises(ConfigError, match=f'--grid={text}: expected COLUMNSxROWS'):
            parse_grid(text)


def test_a_grid_without_seeds_is_filled_and_has_a_place_for_each_seed():
    assert list(job(grid='3x2').points.seeds) == list(range(6))
    assert list(job('7-9,7', grid='2x2').points.seeds) == [7, 8, 9, 7]
    with pytest.raises(ConfigError, match='--grid=2x1 has fewer places than the 3 --seeds'):
        job('7-9', grid='2x1')
    with pytest.raises(ConfigError, match='--seeds is needed'):
        job()


@pytest.mark.parametrize(
    ('arguments', 'name'),
    [
        ({'seeds': '0-3', 'grid': '2x2'}, 'grid-seeds0-3'),
        ({'seeds': '0,5-6', 'grid': '2x2', 'psi': 0.7}, 'grid-seeds0,5-6-trunc0.7'),
        ({'grid': '1x1', 'class_text': 'a/b c', 'c_dim': 2, 'class_names': ('x', 'a/b c')}, 'grid-seeds0-a_b_c'),
        ({'class_text': 'all', 'c_dim': 2}, 'grid-seeds0-7-classes'),
        ({'class_text': 'all', 'c_dim': 1}, 'grid-seeds0-7-classes'),
    ],
)
def test_a_sheet_is_called_after_what_it_shows(arguments, name):
    assert job(**arguments).name == name


def test_the_name_of_a_sheet_fits_a_file_system():
    seeds = ','.join(str(seed) for seed in range(0, 4000, 2))
    name = job(seeds, grid='50x50', class_text='猫' * 200, c_dim=1, class_names=('猫' * 200,)).name
    assert len(f'{name}.png'.encode()) < 255


def test_every_class_has_a_row_of_the_same_seeds():
    found = job('4-5', class_text='all', c_dim=3, class_names=('a', 'b', 'c'))
    assert (found.columns, found.rows) == (2, ('a', 'b', 'c'))
    assert [(p.origin['seed'], p.c.argmax().item()) for p in found.points] == [
        (4, 0), (5, 0), (4, 1), (5, 1), (4, 2), (5, 2)]  # fmt: skip
    with pytest.raises(ConfigError, match='one row per class and one column per seed, 2x3; drop --grid'):
        job('4-5', class_text='all', grid='2x2', c_dim=3)


def test_two_points_of_one_name_are_refused(tmp_path):
    paths = []
    for folder in ('a', 'b'):
        (tmp_path / folder).mkdir()
        paths.append(str(tmp_path / folder / 'me.npz'))
        write_latents(Path(paths[-1]), Latents(space='z', points=torch.randn(2, 2)))
    with pytest.raises(ConfigError, match=r'two points would be written as me-0000\.png'):
        job(latents=paths)
    assert len(job(latents=paths, grid='2x2').points) == 4
    assert [point.name for point in job(projected_w=paths[0]).points] == ['proj00', 'proj01']
    write_latents(Path(paths[0]), Latents(space='z', points=torch.randn(2, 2), c=torch.eye(2)))
    with pytest.raises(ConfigError, match='--class=all: these latents have their label already'):
        job(latents=paths[:1], class_text='all', c_dim=2)


def test_statistics_are_measured_for_one_class():
    label = Label(torch.tensor([1.0, 0.0]), '0', 'a')
    points = [stored_point('a', 'z', torch.zeros(2), torch.tensor([0.0, 1.0]))]
    assert one_label(PointList(parse_seeds('3'), 2, label)).tolist() == [1, 0]
    assert one_label(PointList(Seeds(()), 2, NO_LABEL, points)).tolist() == [0, 1]
    with pytest.raises(ConfigError, match='--recalibrate measures for one class'):
        one_label(PointList(parse_seeds('3'), 2, label, points))


def test_a_sheet_beyond_the_memory_is_refused():
    spec = ImageSpec(resolution=1024, channels=3, label_dim=0, num_images=1)
    check_size(Job(points=PointList(parse_seeds('0-63'), 2, NO_LABEL)), spec)
    with pytest.raises(ConfigError, match=r'a sheet of 1000 images of 1024x1024 has 3\.1 GB'):
        check_size(Job(points=PointList(parse_seeds('0-999'), 2, NO_LABEL)), spec)
