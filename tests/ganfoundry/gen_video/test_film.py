"""Films of a trained network: exact frames, equal bytes, no seam, constant memory, playable after Ctrl-C."""

import json

import av
import imageio.v3 as iio
import numpy as np
import psutil
import pytest
import torch

import ganfoundry as gf
from dnnlib.errors import UserError
from ganfoundry.commands import gen_video
from ganfoundry.gen_video import film
from tests.examples.test_networks import PATH as NETWORK
from torch_utils.images import save_png
from training.run.latents import Latents, write_latents

SEEDS = range(8, 16)  # the batch of generate.py, so that both draw the same batches
ALL_FORMATS = ('film.mp4', 'film.webm', 'film.mkv', 'film.gif', 'film.webp', 'film')


@pytest.fixture(scope='module')
def network():
    return gf.load(NETWORK, device='cpu')


def make(*args):
    """Runs a command line of gen_video.py."""
    gen_video.main([str(arg) for arg in args], standalone_mode=False)


def make_film(tmp_path, *args, name='film.mkv'):
    """Returns the frames of a film, [F, H, W, 3]."""
    make(f'--network={NETWORK}', '--device=cpu', f'--output={tmp_path / name}', *args)
    return read(tmp_path / name)


def read(path):
    return iio.imread(path, plugin='pyav')


@pytest.fixture(scope='module')
def cycle(tmp_path_factory):
    """A film that passes eight seeds, twelve frames each."""
    return make_film(tmp_path_factory.mktemp('cycle'), '--seeds=8-15', '--w-frames=12')


def test_keyframes_are_the_images_of_generate_py(cycle, network):
    assert cycle.shape == (96, 32, 32, 3)
    np.testing.assert_array_equal(cycle[::12], network.images(SEEDS))


def test_no_step_of_the_cycle_jumps_the_closing_one_included(cycle):
    steps = np.abs(np.roll(cycle, -1, axis=0).astype(float) - cycle).mean(axis=(1, 2, 3))
    neighbors = np.maximum(np.roll(steps, 1), np.roll(steps, -1))
    assert (steps <= 1.7 * neighbors).all()  # a cycle that lacks its last two frames has a ratio of 1.86
    assert steps.min() > 0


def test_h264_is_close_to_what_was_drawn(cycle, tmp_path):
    """Twice the size, since H.264 stores colors at half the resolution: of 32 pixels, 16 would remain."""
    decoded = make_film(tmp_path, '--seeds=8-15', '--w-frames=12', '--upscale=2', name='film.mp4')
    error = ((decoded.astype(float) - cycle.repeat(2, axis=1).repeat(2, axis=2)) ** 2).mean()
    assert 10 * np.log10(255**2 / error) >= 32


@pytest.mark.parametrize('name', ALL_FORMATS)
def test_two_runs_give_equal_bytes(name, tmp_path):
    contents = []
    for part in ('a', 'b'):
        (tmp_path / part).mkdir()
        make(f'--network={NETWORK}', '--seeds=0-3', '--grid=2x1', '--w-frames=2', f'--output={tmp_path / part / name}')
        files = sorted(path for path in (tmp_path / part).rglob('*') if path.is_file())
        contents.append([(path.relative_to(tmp_path / part), path.read_bytes()) for path in files])
    assert contents[0] == contents[1]
    assert contents[0]


def test_frames_size_and_rate_are_as_asked(tmp_path):
    frames = make_film(
        tmp_path, '--seeds=0-5', '--grid=3x1', '--w-frames=5', '--fps=24', '--upscale=2', name='film.mp4'
    )
    assert frames.shape == (10, 64, 192, 3)
    with av.open(str(tmp_path / 'film.mp4')) as opened:
        assert opened.streams.video[0].average_rate == 24
        comment = json.loads(opened.metadata['comment'])
    assert comment['network'] == 'peeps32.safetensors'
    assert [point['seed'] for point in comment['keyframes']] == list(range(6))


def test_keyframes_are_repeated_in_turn_where_there_are_too_few(tmp_path, network):
    frames = make_film(tmp_path, '--seeds=0-2', '--grid=2x1', '--num-keyframes=2', '--w-frames=2')
    images = network.images(range(3))
    close = {'atol': 1, 'rtol': 0}  # other batches than those of `images`
    np.testing.assert_allclose(frames[0].astype(int), np.concatenate(images[[0, 2]], axis=1), **close)
    np.testing.assert_allclose(frames[2].astype(int), np.concatenate(images[[1, 0]], axis=1), **close)


def test_latents_are_keyframes_and_a_seed_shuffles_them(tmp_path, network):
    ws = network.module.mapping(network.latents([5, 9]), torch.zeros(2, 0))
    write_latents(tmp_path / 'me.npz', Latents(space='w', points=ws))
    frames = make_film(tmp_path, f'--latents={tmp_path / "me.npz"}', '--w-frames=2')
    np.testing.assert_allclose(frames[[0, 2]].astype(int), network.images([5, 9]), atol=1)
    shuffled = make_film(tmp_path, '--seeds=5,9', '--w-frames=2', '--shuffle-seed=1', name='b.mkv')
    order = np.random.RandomState(1).permutation(2)
    np.testing.assert_allclose(shuffled[[0, 2]].astype(int), network.images(np.array([5, 9])[order]), atol=1)


def test_a_sweep_of_truncation_ends_at_its_ends(tmp_path, network):
    frames = make_film(tmp_path, '--seeds=7', '--sweep=trunc:0..1', '--w-frames=5')
    assert len(frames) == 5
    for index, psi in ((0, 0), (2, 0.5), (4, 1)):
        np.testing.assert_allclose(frames[index].astype(int), network.images([7], psi=psi)[0], atol=1)


def test_a_sweep_there_and_back_has_no_seam(tmp_path, network):
    frames = make_film(tmp_path, '--seeds=7', '--sweep=direction:0:-2..2', '--w-frames=8', '--there-and-back')
    for index in range(1, 4):
        np.testing.assert_allclose(frames[index].astype(int), frames[8 - index], atol=1)
    assert np.abs(frames[0].astype(int) - frames[4]).mean() > 5


def test_a_sweep_of_noise_returns_and_changes_details_alone(tmp_path, network):
    frames = make_film(tmp_path, '--seeds=7', '--sweep=noise', '--w-frames=6').astype(float)
    np.testing.assert_allclose(frames[0], network.images([7])[0], atol=1)
    noise = np.abs(frames[3] - frames[0]).mean()
    assert 0 < noise < np.abs(network.images([7])[0].astype(float) - network.images([8])[0]).mean() / 2


def test_a_path_through_z_is_another(cycle, tmp_path):
    frames = make_film(tmp_path, '--seeds=8-15', '--w-frames=12', '--space=z')
    np.testing.assert_array_equal(frames[::12], cycle[::12])
    assert not np.array_equal(frames[6], cycle[6])


def test_ctrl_c_leaves_a_playable_film_of_the_frames_so_far(tmp_path, monkeypatch, capsys):
    count = 0

    def interrupt(*args, **how):
        nonlocal count
        count += 1
        if count > 5:
            raise KeyboardInterrupt
        return np.full([32, 32, 3], count, np.uint8)

    monkeypatch.setattr(film, 'frame_of', interrupt)
    with pytest.raises(SystemExit) as ended:
        make_film(tmp_path, '--seeds=0-3')
    assert ended.value.code == 130
    assert 'film.mkv has 5 of 480 frames' in capsys.readouterr().err
    assert read(tmp_path / 'film.mkv')[:, 0, 0, 0].tolist() == [1, 2, 3, 4, 5]


def test_the_time_lapse_of_a_run_has_its_sheets(tmp_path):
    run = tmp_path / 'run'
    run.mkdir()
    for nimg in (0, 1000):
        save_png(np.full([1, 64, 128], nimg // 10, np.uint8), run / f'fakes{nimg // 1000:06d}.png', {'nimg': nimg})
    make(f'--run={run}', f'--output={tmp_path / "a.mkv"}')
    assert read(tmp_path / 'a.mkv')[:, 0, 0, 0].tolist() == [0, 100]


@pytest.mark.parametrize('flag', ['--latents=a.npz', '--class=1', '--trunc=0', '--grid=2x2', '--there-and-back'])
def test_a_time_lapse_refuses_options_of_a_network(tmp_path, flag):
    with pytest.raises(UserError, match=f'{flag.partition("=")[0]}: --run shows the sheets of a run'):
        make('--run=run', flag, f'--output={tmp_path / "a.mkv"}')


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(tmp_path):
    rss = []

    def look(*args, **how):
        rss.append(psutil.Process().memory_info().rss)
        return frame_of(*args, **how)

    frame_of = film.frame_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(film, 'frame_of', look)
        make(f'--network={NETWORK}', '--seeds=0-3', '--w-frames=500', f'--output={tmp_path / "a.mp4"}')
    assert len(rss) == 2000
    assert rss[-1] - rss[200] < 100 * 2**20


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['--seeds=0-3', '--output=a.avi'], 'unknown ending; choose one of .mp4'),
        (['--seeds=0-2', '--grid=2x1'], '3 keyframes do not fill 2 cells equally; give a multiple of 2 --seeds, or'),
        (['--seeds=0'], 'nothing would move; give 2 --seeds or more'),
        (['--seeds=0-3', '--noise-mode=random'], 'flickers in a film; take const or none, or --sweep=noise'),
        (['--seeds=0-3', '--class=1'], 'this network is unconditional; drop --class'),
        (['--seeds=0', '--sweep=class'], 'this network is unconditional; sweep another setting'),
        (['--seeds=0-1', '--sweep=trunc:0..1'], 'one seed per cell, and there are 2 for the 1 of --grid=1x1'),
        (['--seeds=0', '--sweep=direction:999'], 'this network has directions 0 to 127'),
        (['--seeds=0-3', '--background=white'], '--background=white: expected checker, or a color'),
        (['--seeds=0-3', '--trunc=nan'], '--trunc=nan'),
        (['--seeds=0-3', '--recalibrate'], 'this network has no batch normalization'),
        ([], '--seeds or --latents is needed'),
    ],
)
def test_wrong_input_is_one_line_and_nothing_is_made(args, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = args if any(arg.startswith('--output') for arg in args) else [*args, '--output=a.mkv']
    with pytest.raises(UserError) as error:
        make(f'--network={NETWORK}', *args)
    assert message in str(error.value)
    assert '\n' not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_film_that_exists_is_not_replaced_without_a_word(tmp_path):
    path = tmp_path / 'a.gif'
    path.write_text('mine')
    with pytest.raises(UserError, match='exists; choose another --output, or add --overwrite'):
        make(f'--network={NETWORK}', '--seeds=0-1', f'--output={path}')
    assert path.read_text() == 'mine'
    make(f'--network={NETWORK}', '--seeds=0-1', '--w-frames=1', f'--output={path}', '--overwrite')
    assert path.read_bytes().startswith(b'GIF89a')
