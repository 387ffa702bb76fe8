"""--translate and --rotate: their values, their matrix, and networks without such a transform."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dnnlib.errors import ConfigError
from extensions.layers.stylegan3_config import StyleGAN3Config
from extensions.stylegan3 import StyleGAN3Generator
from ganfoundry.gen_video.content import VideoOptions
from ganfoundry.gen_video.film import run_video
from ganfoundry.generate import GenerateOptions, run_generate
from ganfoundry.pictures import read_png
from ganfoundry.transform_option import Transform, apply_transform, parse_transform
from tests.support.stylegan3 import GOLDEN
from training.interface import ImageSpec

PICKLE = str(GOLDEN / 'stylegan3_official_layout_t32.pkl')
SQUARE = ImageSpec(resolution=16, channels=3, label_dim=0, num_images=1)


def generator(spec: ImageSpec = SQUARE) -> StyleGAN3Generator:
    torch.manual_seed(0)
    config = StyleGAN3Config(z_dim=4, w_dim=4, channel_base=128, channel_max=8, num_layers=4)
    return StyleGAN3Generator(config, spec).requires_grad_(False)


def test_a_picture_moves_right_and_down_by_shares_of_its_size() -> None:
    G, z = generator(), torch.randn(1, 4)
    still = G(z, None)
    apply_transform(G, parse_transform('0.25,-0.125', None), SQUARE, 'it')
    moved = G(z, None)
    assert (moved[..., :-2, 4:] - still[..., 2:, :-4]).abs().mean() < 0.05 * still.std()


def test_a_picture_turns_counter_clockwise() -> None:
    G, z = generator(), torch.randn(1, 4)
    config = StyleGAN3Config(z_dim=4, w_dim=4, channel_base=128, channel_max=8, num_layers=4, conv_kernel=1)
    torch.manual_seed(0)
    G = StyleGAN3Generator(config, SQUARE).requires_grad_(False)
    still = G(z, None)
    apply_transform(G, parse_transform(None, 90), SQUARE, 'it')
    expected = still.rot90(1, dims=(2, 3))  # rows grow downward: counter-clockwise on the screen
    assert (G(z, None) - expected).abs().mean() < 0.1 * still.std()


def test_shares_of_a_wide_picture_are_those_of_its_width() -> None:
    wide = ImageSpec(resolution=16, channels=3, label_dim=0, num_images=1, base=(4, 8))
    matrix = Transform(translate=(0.5, 0.5)).matrix(wide)
    assert matrix[:2, 2].tolist() == [1.0, 0.5]


@pytest.mark.parametrize('text', ['0.1', '0.1,0.2,0.3', 'left', '0.1,nan', ''])
def test_a_translation_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r'--translate=.*: expected two shares of width and height, such as 0.1,-0.2'):
        parse_transform(text, None)


def test_a_rotation_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ConfigError, match='--rotate=inf: expected degrees'):
        parse_transform(None, float('inf'))


def test_a_network_without_a_transform_is_refused_and_needs_none_to_stay() -> None:
    net = torch.nn.Linear(1, 1)
    apply_transform(net, Transform(), SQUARE, 'net.pkl')
    with pytest.raises(ConfigError, match=r'net\.pkl takes no transform of its input, as StyleGAN3 does; drop them'):
        apply_transform(net, Transform(rotate=3), SQUARE, 'net.pkl')


def test_a_moved_picture_says_how_and_is_drawn_again_from_that(tmp_path: Path) -> None:
    first, again, still = (tmp_path / name for name in ('first', 'again', 'still'))
    common = {'network': PICKLE, 'device': 'cpu'}
    run_generate(GenerateOptions(**common, seeds='0', translate='0.1,-0.2', rotate=30, outdir=str(first)))
    run_generate(GenerateOptions(**common, seeds='0', outdir=str(still)))
    picture = first / 'seed0000.png'
    run_generate(GenerateOptions(**common, picture=str(picture), outdir=str(again)))
    assert (again / picture.name).read_bytes() == picture.read_bytes()
    text, plain = (read_png(folder / picture.name)[0] for folder in (first, still))
    assert (text['translate'], text['rotate']) == ('[0.1, -0.2]', '30')
    assert 'translate' not in plain


def test_a_film_moves_its_pictures(tmp_path: Path) -> None:
    frames = {}
    for name, options in (('still', {}), ('moved', {'rotate': 90.0})):
        folder = tmp_path / name
        folder.mkdir()
        run_video(VideoOptions(network=PICKLE, device='cpu', seeds='0,1', w_frames=1, output=str(folder), **options))
        frames[name] = (folder / 'frame000000.png').read_bytes()
        assert ('"rotate": 90.0' in (folder / 'frames.json').read_text()) == (name == 'moved')
    assert frames['still'] != frames['moved']
