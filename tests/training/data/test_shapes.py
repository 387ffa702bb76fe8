"""Sizes, channels and depths of the images that can be trained on: split, stored, read, refused."""

import io
import pathlib
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dnnlib.errors import ConfigError, DataError
from ganfoundry.targets import reference_images
from tests.support.pictures import write_zip
from training.build import build_networks
from training.data.array_file import read_header, read_pixels
from training.data.dataset import DataConfig, ImageDataset
from training.data.loader import data_loader
from training.data.shapes import nearest_size, split_size
from training.data.stored_image import box_mean, to_8_bits
from training.interface import ImageSpec
from training.plan import describe_run
from training.record import to_record
from training.registry import RECIPES
from training.run.snapshot import Snapshot

RECIPES.load_all()

# --- sizes -------------------------------------------------------------------


@pytest.mark.parametrize(
    ('size', 'expected'),
    [
        ((64, 64), (64, (4, 4))),
        ((1024, 1024), (1024, (4, 4))),
        ((64, 96), (64, (4, 6))),
        ((96, 64), (64, (6, 4))),
        ((48, 64), (32, (6, 8))),
        ((8, 8), (8, (4, 4))),
        ((704, 1280), (256, (11, 20))),
        ((14, 10), (8, (7, 5))),
        ((8, 128), (8, (4, 64))),
    ],
)
def test_a_size_is_the_smallest_base_doubled(size, expected):
    assert split_size(*size) == expected
    resolution, base = expected
    spec = ImageSpec(resolution=resolution, channels=3, label_dim=0, num_images=1, base=base)
    assert (spec.height, spec.width) == size
    assert spec.pixels == size[0] * size[1]
    assert spec.size_at(4) == base


@pytest.mark.parametrize(
    'size', [(4, 4), (7, 7), (9, 8), (8, 9), (6, 12), (1080, 1920), (1000, 1000), (8, 130), (0, 0)]
)
def test_other_sizes_are_none(size):
    assert split_size(*size) is None


@settings(max_examples=300, deadline=None, derandomize=True)
@given(height=st.integers(1, 3000), width=st.integers(1, 3000))
def test_the_proposed_size_can_be_trained_on_and_keeps_the_picture(height, width):
    h, w = nearest_size(height, width)
    assert split_size(h, w) is not None
    assert h <= max(height, 8)
    assert w <= max(width, 8)
    if min(height, width) >= 32 and max(height, width) <= 8 * min(height, width):
        assert h * w >= 0.75 * height * width
    assert nearest_size(h, w) == (h, w)


def test_half_pixels_of_an_odd_base_count_as_one():
    spec = ImageSpec(resolution=8, channels=3, label_dim=0, num_images=1, base=(5, 6))
    assert [spec.size_at(res) for res in (2, 4, 8)] == [(3, 3), (5, 6), (10, 12)]


# --- kinds of images ---------------------------------------------------------


def noise(seed: int, shape: tuple[int, ...], bits: int) -> np.ndarray:
    """[C, H, W]"""
    return np.random.RandomState(seed).randint(0, 2**bits, shape).astype(f'u{bits // 8}')


def encode(pixels: np.ndarray, kind: str) -> bytes:
    """[C, H, W] as a file of this kind."""
    buffer = io.BytesIO()
    if kind == 'npy':
        np.save(buffer, pixels.transpose(1, 2, 0))
    else:
        image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
        image.save(buffer, format=kind, **({'lossless': True, 'exact': True} if kind == 'webp' else {}))
    return buffer.getvalue()


def make_set(path: pathlib.Path, shape: tuple[int, ...], bits: int = 8, kind: str = 'png', n: int = 3) -> str:
    return write_zip(path, {f'{i}.{kind}': encode(noise(i, shape, bits), kind) for i in range(n)})


KINDS = [
    ((1, 16, 16), 8, 'png'),
    ((2, 16, 16), 8, 'png'),
    ((4, 16, 16), 8, 'png'),
    ((4, 16, 24), 8, 'webp'),
    ((3, 24, 16), 8, 'png'),
    ((1, 16, 24), 16, 'png'),
    ((3, 20, 12), 16, 'npy'),
    ((1, 16, 16), 8, 'npy'),
    ((6, 16, 24), 16, 'npy'),
    ((5, 16, 16), 8, 'npy'),
]


@pytest.mark.parametrize(('shape', 'bits', 'kind'), KINDS)
def test_every_kind_comes_back_as_it_was_stored(tmp_path, shape, bits, kind):
    dataset = ImageDataset(DataConfig(path=make_set(tmp_path / 'a.zip', shape, bits, kind), mirror=True))
    resolution, base = split_size(*shape[1:])
    assert dataset.spec == ImageSpec(
        resolution=resolution, channels=shape[0], label_dim=0, num_images=6, base=base, bits=bits
    )
    for i in range(3):
        image = dataset.image(i)
        assert image.dtype == f'uint{bits}'
        assert np.array_equal(image, noise(i, shape, bits))
        assert np.array_equal(dataset.image(i + 3), image[:, :, ::-1])
        assert dataset.image(i + 3).flags.c_contiguous
    (batch,) = dataset.parts([range(3)])
    assert batch.dtype == np.uint8
    expected = np.stack([noise(i, shape, bits) for i in range(3)])
    assert np.array_equal(batch, expected if bits == 8 else np.round(expected * (255 / 65535)))


@pytest.mark.parametrize('order', ['<', '>'])
@pytest.mark.parametrize('fortran', [False, True])
def test_arrays_are_read_in_any_byte_order_and_memory_order(tmp_path, order, fortran):
    pixels = noise(0, (8, 12, 5), 16)  # [H, W, C]
    buffer = io.BytesIO()
    stored = pixels.astype(f'{order}u2')
    np.save(buffer, np.asfortranarray(stored) if fortran else stored)
    dataset = ImageDataset(DataConfig(path=write_zip(tmp_path / 'a.zip', {'A.NPY': buffer.getvalue()})))
    assert dataset.image(0).dtype == np.uint16
    assert dataset.image(0).dtype.isnative
    assert np.array_equal(dataset.image(0), pixels.transpose(2, 0, 1))


def test_an_array_without_a_channel_axis_is_grey(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, noise(0, (8, 8), 8))
    dataset = ImageDataset(DataConfig(path=write_zip(tmp_path / 'a.zip', {'a.npy': buffer.getvalue()})))
    assert np.array_equal(dataset.image(0), noise(0, (8, 8), 8)[None])


@pytest.mark.parametrize(('shape', 'bits', 'kind'), KINDS)
def test_a_lower_resolution_keeps_the_base_and_averages_each_channel(tmp_path, shape, bits, kind):
    shape = (shape[0], 2 * shape[1], 2 * shape[2])
    path = make_set(tmp_path / 'a.zip', shape, bits, kind)
    stored = ImageDataset(DataConfig(path=path)).spec
    dataset = ImageDataset(DataConfig(path=path, resolution=stored.resolution // 2))
    assert (dataset.spec.base, dataset.spec.bits) == (stored.base, bits)
    c, h, w = shape
    blocks = noise(1, shape, bits).reshape(c, h // 2, 2, w // 2, 2)
    expected = np.floor(blocks.mean(axis=(2, 4)) + 0.5)
    assert np.array_equal(dataset.image(1), expected)
    assert dataset.image(1).shape == (c, dataset.spec.height, dataset.spec.width)


@pytest.mark.parametrize('factor', [2, 4, 16, 32])
def test_pillow_averages_the_same_numbers(factor):
    pixels = noise(0, (3, 64, 96), 8)
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    assert np.array_equal(np.asarray(image.reduce(factor)).transpose(2, 0, 1), box_mean(pixels, factor))


def test_averages_of_bright_16_bit_blocks_do_not_overflow():
    assert (box_mean(np.full([1, 512, 512], 65535, np.uint16), 256) == 65535).all()


def test_8_bits_of_16_are_the_nearest():
    values = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(to_8_bits(values), np.round(values * (255 / 65535)))


@pytest.mark.parametrize('num_workers', [0, 2])
@pytest.mark.parametrize(('shape', 'bits', 'kind'), [((6, 8, 12), 16, 'npy'), ((4, 16, 8), 8, 'png')])
def test_workers_deliver_what_the_data_set_holds(tmp_path, shape, bits, kind, num_workers):
    dataset = ImageDataset(DataConfig(path=make_set(tmp_path / 'a.zip', shape, bits, kind)))
    with data_loader(dataset, start_nimg=0, batch_size=3, seed=0, num_workers=num_workers) as loader:
        images, _ = next(loader)
    assert images.numpy().dtype == f'uint{bits}'
    expected = {noise(i, shape, bits).tobytes() for i in range(3)}
    assert {image.numpy().tobytes() for image in images} == expected


# --- refused -----------------------------------------------------------------


def refusal(path: str, index: int = 0, **options: object) -> str:
    with pytest.raises((ConfigError, DataError)) as caught:
        ImageDataset(DataConfig(path=path, **options)).image(index)
    assert '\n' not in str(caught.value)
    assert path in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ('first', 'second', 'message'),
    [
        (((3, 16, 16), 8, 'png'), ((3, 16, 24), 8, 'png'), 'is 24x16, but the first image (a.png) is 16x16'),
        (((3, 16, 16), 8, 'png'), ((4, 16, 16), 8, 'png'), 'is RGBA, but the first image (a.png) is RGB'),
        (((1, 16, 16), 16, 'png'), ((1, 16, 16), 8, 'png'), 'is gray, but the first image (a.png) is 16-bit gray'),
        (((1, 16, 16), 8, 'png'), ((2, 16, 16), 8, 'png'), 'is gray with alpha, but the first image (a.png) is gray'),
        (((5, 16, 16), 8, 'npy'), ((6, 16, 16), 8, 'npy'), 'is 6 channels, but the first image (a.npy) is 5 channels'),
        (((3, 16, 16), 8, 'png'), ((3, 16, 16), 16, 'npy'), 'is 16-bit RGB, but the first image (a.png) is RGB'),
    ],
)
def test_an_image_of_another_kind_names_both(tmp_path, first, second, message):
    files = {f'{name}.{kind}': encode(noise(0, shape, bits), kind) for name, (shape, bits, kind) in zip(
        'ab', (first, second), strict=True)}  # fmt: skip
    text = refusal(write_zip(tmp_path / 'a.zip', files), 1)
    assert f'b.{second[2]}: {message}; all must be equal. Try: python dataset_tool.py' in text


def array(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


GOOD = array(np.zeros([8, 8, 3], np.uint8))


def with_header(header: str) -> bytes:
    """A version 1.0 file of 192 zero bytes under this header."""
    text = header.encode('latin1')
    return b'\x93NUMPY\x01\x00' + len(text).to_bytes(2, 'little') + text + bytes(192)


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (b'', 'a.npy: is empty'),
        (b'PK\x03\x04', 'a.npy: is not a NumPy array (.npy)'),
        (GOOD[:9], 'a.npy: cannot be read as a NumPy array ('),
        (GOOD[:-1], 'a.npy: is cut short or damaged (319 bytes; its header promises 320)'),
        (GOOD + b'x', 'a.npy: is cut short or damaged (321 bytes; its header promises 320)'),
        (GOOD.replace(b'\x01\x00', b'\x03\x00', 1), 'a.npy: cannot be read as a NumPy array (format 3.0)'),
        (array(np.zeros([8, 8, 3])), 'a.npy: holds float64; expected uint8 or uint16'),
        (array(np.zeros([8, 8, 3], np.int16)), 'a.npy: holds int16; expected uint8 or uint16'),
        (array(np.zeros([8, 8, 3], np.uint32)), 'a.npy: holds uint32; expected uint8 or uint16'),
        (array(np.zeros([8], np.uint8)), 'a.npy: has the shape [8]; expected [height, width, channels]'),
        (array(np.zeros([8, 8, 0], np.uint8)), 'a.npy: has the shape [8, 8, 0]; expected'),
        (array(np.zeros([2, 8, 8, 3], np.uint8)), 'a.npy: has the shape [2, 8, 8, 3]; expected'),
        (array(np.zeros([3, 64, 64], np.uint8)), 'a.npy: is 64x3; to train, both sides must be 4 to 64 pixels'),
        (with_header("{'descr': '|O', 'fortran_order': False, 'shape': (8, 8, 3)}"), 'a.npy: holds object; expected'),
        (
            with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (8, 8, 999999999999)}"),
            'is cut short or damaged',
        ),
        (
            with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (99999, 99999)}"),
            'a.npy: is 99999x99999; images of more than 67108864 pixels are refused',
        ),
        (with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (-8, -8, 3)}"), 'has the shape [-8, -8, 3]'),
        (with_header('__import__("os").getcwd()'), 'a.npy: cannot be read as a NumPy array ('),
        (with_header('[' * 9000), 'a.npy: cannot be read as a NumPy array ('),
    ],
)
def test_arrays_that_are_no_images(tmp_path, data, message):
    assert message in refusal(write_zip(tmp_path / 'a.zip', {'a.npy': data}))


def test_a_pickled_array_is_refused_and_never_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self) -> tuple:
            return pytest.fail, ('unpickled',)

    buffer = io.BytesIO()
    np.save(buffer, np.array([[Bomb()]], dtype=object), allow_pickle=True)
    assert 'a.npy: holds object' in refusal(write_zip(tmp_path / 'a.zip', {'a.npy': buffer.getvalue()}))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(where=st.integers(0, 127), what=st.binary(min_size=1, max_size=6))
def test_a_damaged_array_header_reads_as_an_array_or_names_the_file(where, what):
    data = bytearray(GOOD)
    data[where : where + len(what)] = what
    try:
        header = read_header(bytes(data), 'a.npy')
        shape = read_pixels(header, bytes(data)).shape
        message = ''
    except DataError as error:
        message = str(error)
    assert message.startswith('a.npy: ') or shape == (header.channels, header.height, header.width)


def test_a_resolution_above_the_data_names_their_own(tmp_path):
    path = make_set(tmp_path / 'a.zip', (3, 32, 48))
    message = refusal(path, resolution=64)
    assert 'are 48x32, and are never enlarged; choose 32 or less' in message


# --- plans -------------------------------------------------------------------


def landscape(resolution: int) -> ImageSpec:
    return ImageSpec(resolution=resolution, channels=4, label_dim=0, num_images=10, base=(4, 6))


def test_an_architecture_that_needs_larger_images_names_both_sizes():
    with pytest.raises(ConfigError, match='--cfg=igan: draws images from 48x32 up, the data are 24x16; use larger'):
        build_networks(RECIPES.get('igan').make(landscape(16), 1), landscape(16))


def test_the_plan_counts_the_pixels_that_there_are():
    text = describe_run(RECIPES.get('auto').make(landscape(32), 1), landscape(32), 'run')
    assert 'Images: 10 of 48x32 (base 6x4, doublings 3), 4 channels of 8 bits' in text
    square = describe_run(RECIPES.get('auto').make(landscape(32), 1), replace(landscape(32), base=(4, 4)), 'run')
    assert 'Images: 10 of 32x32, 4 channels of 8 bits' in square

    def macs(plan: str) -> float:
        return float(re.search(r'Forward of one image: G ([\d.]+) G ', plan)[1])

    assert macs(text) == pytest.approx(1.5 * macs(square), rel=0.02)


@pytest.mark.parametrize('base', [(4, 4), (4, 6), (7, 5), (20, 15), (64, 64)])
@pytest.mark.parametrize('resolution', [32, 64, 256, 512])
def test_every_recipe_makes_a_run_of_every_shape(resolution, base):
    spec = ImageSpec(resolution=resolution, channels=4, label_dim=0, num_images=10, base=base)
    for name in RECIPES.names():
        for num_gpus in (1, 2):
            assert RECIPES.get(name).make(spec, num_gpus).batch_gpu >= 1


@pytest.mark.parametrize('name', ['squeeze', 'gconv-stylegan2', 'igan', 'ifgan', 'giu'])
def test_rules_by_pixels_see_no_difference_between_shapes(name):
    wide = ImageSpec(resolution=128, channels=3, label_dim=0, num_images=1, base=(4, 16))  # 128 x 512
    square = ImageSpec(resolution=256, channels=3, label_dim=0, num_images=1)
    assert wide.pixels == square.pixels
    assert RECIPES.get(name).make(wide, 1).batch_gpu == RECIPES.get(name).make(square, 1).batch_gpu


def test_self_attention_stays_on_maps_of_a_thousand_pixels():
    def stages(base: tuple[int, int]) -> tuple[int, ...]:
        spec = ImageSpec(resolution=128, channels=3, label_dim=0, num_images=1, base=base)
        return RECIPES.get('sagan').make(spec, 1).generator.attention

    assert stages((4, 4)) == (16, 32)  # 1,024 pixels at 32
    assert stages((4, 6)) == (8, 16)  # 1,536
    assert stages((20, 15)) == (4, 8)


def test_metrics_refuse_data_of_another_shape(tmp_path):
    cfg = RECIPES.get('auto').make(landscape(16), 1)
    cfg = replace(cfg, data=DataConfig(path=make_set(tmp_path / 'a.zip', (4, 16, 24))))
    snapshot = Snapshot(path=tmp_path, tensors={}, record=to_record(cfg, landscape(16)), nimg=0)
    assert len(reference_images(snapshot, None, None)) == 3
    for shape in ((4, 24, 16), (3, 16, 24)):
        with pytest.raises(DataError, match='metrics compare images of one shape'):
            reference_images(snapshot, make_set(tmp_path / 'b.zip', shape), None)
    deeper = make_set(tmp_path / 'c.zip', (4, 16, 24), 16, 'npy')  # metrics see 8 bits of it
    assert reference_images(snapshot, deeper, None).spec.bits == 16
