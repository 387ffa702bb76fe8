"""Tests of images as output: ranges, files of every number of channels, and sheets."""

import numpy as np
import PIL.Image
import pytest
import torch

from torch_utils.images import fits_png, from_pixels, grid_shape, save_npy, save_png, shown, tile, to_uint8, to_uint16


def noise(shape: tuple[int, ...], bits: int = 8) -> np.ndarray:
    return np.random.RandomState(0).randint(0, 2**bits, shape).astype(f'u{bits // 8}')


# --- ranges ------------------------------------------------------------------


def test_every_pixel_survives_the_network_range_in_8_and_16_bits():
    for dtype, back in ((np.uint8, to_uint8), (np.uint16, to_uint16)):
        pixels = torch.from_numpy(np.arange(np.iinfo(dtype).max + 1, dtype=dtype))
        img = from_pixels(pixels)
        assert (img.dtype, float(img[0]), float(img[-1])) == (torch.float32, -1, 1)
        assert torch.equal(back(img), pixels)
        assert back(torch.tensor([-9.0, 9.0])).tolist() == [0, len(pixels) - 1]


def test_8_bits_of_a_drawing_are_the_8_bits_of_its_16():
    from training.data.stored_image import to_8_bits

    pixels = torch.from_numpy(np.arange(65536, dtype=np.uint16))
    assert np.array_equal(to_uint8(from_pixels(pixels)).numpy(), to_8_bits(pixels.numpy()))


# --- files -------------------------------------------------------------------


@pytest.mark.parametrize(
    ('channels', 'bits', 'mode'), [(1, 8, 'L'), (2, 8, 'LA'), (3, 8, 'RGB'), (4, 8, 'RGBA'), (1, 16, 'I;16')]
)
def test_a_png_holds_the_pixels_and_names_their_kind(tmp_path, channels, bits, mode):
    pixels = noise((channels, 6, 9), bits)
    assert fits_png(pixels)
    save_png(torch.from_numpy(pixels), tmp_path / 'a.png', {'seed': 3})
    with PIL.Image.open(tmp_path / 'a.png') as picture:
        assert (picture.mode, picture.size, picture.text) == (mode, (9, 6), {'seed': '3'})
        assert np.array_equal(np.asarray(picture).reshape(6, 9, channels), pixels.transpose(1, 2, 0))


@pytest.mark.parametrize(('channels', 'bits'), [(5, 8), (3, 16), (0, 8)])
def test_what_no_png_holds_is_refused_by_name_and_written_as_an_array(tmp_path, channels, bits):
    pixels = noise((channels, 6, 9), bits)
    assert not fits_png(pixels)
    with pytest.raises(ValueError, match=rf'a\.png: a PNG holds .*, not {channels} of uint{bits}'):
        save_png(pixels, tmp_path / 'a.png')
    save_npy(pixels, tmp_path / 'a.npy')
    assert [path.name for path in tmp_path.iterdir()] == ['a.npy']
    stored = np.load(tmp_path / 'a.npy', allow_pickle=False)
    assert stored.dtype == pixels.dtype
    assert np.array_equal(stored, pixels.transpose(1, 2, 0))


# --- sheets ------------------------------------------------------------------


def test_sheets_are_as_wide_and_high_as_their_images():
    images = noise((5, 4, 3, 7))
    sheet = tile(images, 3)
    assert sheet.shape == (4, 6, 21)
    for i, image in enumerate(images):
        row, column = divmod(i, 3)
        assert np.array_equal(sheet[:, 3 * row : 3 * row + 3, 7 * column : 7 * column + 7], image)
    assert not sheet[:, 3:, 14:].any()  # clear if there is alpha


def test_of_five_channels_or_more_the_first_three_are_shown():
    images = noise((2, 6, 3, 7))
    assert np.array_equal(shown(images), images[:, :3])
    assert np.array_equal(shown(images[0]), images[0, :3])
    assert shown(images[:, :4]).shape == (2, 4, 3, 7)


@pytest.mark.parametrize(
    ('size', 'shape'), [((256, 384), (20, 16)), ((384, 256), (30, 11)), ((64, 128), (32, 32)), ((720, 1280), (7, 6))]
)
def test_columns_follow_the_width_and_rows_the_height(size, shape):
    assert grid_shape(*size) == shape


@pytest.mark.parametrize('size', [(8, 128), (128, 8), (64, 96)])
def test_a_small_sheet_is_about_square(size):
    columns, rows = grid_shape(*size, limit=64)
    assert 32 < columns * rows <= 64
    assert 1 / 3 < columns * size[1] / (rows * size[0]) < 3


def test_pixels_survive_the_network_range():
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(from_pixels(pixels) + 1e-6), pixels)
    assert to_uint8(torch.tensor([-9.0, 9.0])).tolist() == [0, 255]


@pytest.mark.parametrize('channels', [1, 3])
def test_a_sheet_is_filled_row_by_row(tmp_path, channels):
    import PIL.Image

    images = np.stack([np.full([channels, 2, 3], i, np.uint8) for i in range(5)])
    save_png(tile(images, 3), tmp_path / 'x.png', {'seed': 7, 'note': 'hello'})
    with PIL.Image.open(tmp_path / 'x.png') as picture:
        assert picture.mode == {1: 'L', 3: 'RGB'}[channels]
        assert picture.size == (9, 4)
        assert picture.text == {'seed': '7', 'note': 'hello'}
        pixels = np.asarray(picture).reshape(4, 9, channels)[..., 0]
    assert pixels[::2, ::3].tolist() == [[0, 1, 2], [3, 4, 0]]


@pytest.mark.parametrize(
    ('resolution', 'shape'), [(32, (32, 32)), (128, (32, 32)), (256, (30, 16)), (512, (15, 8)), (1024, (7, 4))]
)
def test_sheets_have_the_sizes_that_users_know(resolution, shape):
    assert grid_shape(resolution, resolution) == shape
    assert np.prod(grid_shape(resolution, resolution, limit=100)) <= 100


@pytest.mark.gpu
def test_16_bit_pixels_are_on_a_gpu_what_they_are_on_a_cpu():
    """PyTorch has no arithmetic for uint16 there, only copies and casts."""
    pixels = torch.from_numpy(np.arange(2**16, dtype=np.uint16))
    on_gpu = from_pixels(pixels.to('cuda', non_blocking=True))
    assert torch.equal(on_gpu.cpu(), from_pixels(pixels))
    assert torch.equal(to_uint16(on_gpu).cpu(), pixels)
