"""Decoding of any picture file: upright, in sRGB, with its bits and its alpha."""

import functools
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from dnnlib.errors import DataError
from tests.support.pictures import encoded, hwc, noise, noise_16, npy
from training.data.convert.decode import decode_picture, read_npy
from training.data.convert.png import encode_png
from training.data.picture_file import TooManyPixelsError
from training.data.stored_image import to_8_bits

ORIENTATION = 0x0112


@functools.cache
def profile(name: str) -> bytes:
    """Returns an ICC profile; 'swapped' is sRGB with red and blue exchanged."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile('LAB' if name == 'LAB' else 'sRGB')).tobytes()
    if name == 'swapped':
        data = data.replace(b'rXYZ', b'tmp!').replace(b'bXYZ', b'rXYZ').replace(b'tmp!', b'bXYZ')
    return data


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('kind', ['PNG', 'TIFF'])
def test_exif_orientation_is_applied(orientation, kind):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(noise(0, 5, 3), kind, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(decode_picture(data, 'x', 8).pixels, hwc(upright))


@pytest.mark.parametrize('bits', [8, 16])
def test_exif_orientation_of_16_bits(bits):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    grey = noise_16(0, 5, 3, 1)
    pixels = decode_picture(encoded(Image.fromarray(grey[..., 0]), exif=exif), 'x', bits).pixels
    turned = np.rot90(grey, -1)
    assert np.array_equal(pixels, turned if bits == 16 else np.round(turned / 257).astype(np.uint8))


@pytest.mark.parametrize(
    ('image', 'channels', 'is_color'),
    [
        (noise(0, mode='L').convert('1'), 1, False),
        (noise(0, mode='L'), 1, False),
        (noise(0, mode='LA'), 2, False),
        (noise(0), 3, True),
        (noise(0, mode='RGBA'), 4, True),
        (noise(0).quantize(16), 3, True),
    ],
)
def test_channels_are_those_of_the_picture(image, channels, is_color):
    decoded = decode_picture(encoded(image), 'x', 8)
    assert decoded.is_color == is_color
    expected = image.convert({1: 'L', 2: 'LA', 3: 'RGB', 4: 'RGBA'}[channels])
    assert np.array_equal(decoded.pixels, hwc(expected))


def test_a_transparent_palette_entry_and_colour_become_alpha():
    palette = noise(0).quantize(4)
    for image in (palette, noise(0), noise(0, mode='L')):
        key = 1 if image.mode == 'P' else (0 if image.mode == 'L' else (1, 2, 3))
        decoded = decode_picture(encoded(image, transparency=key), 'x', 8)
        assert decoded.pixels.shape[2] in (2, 4)
    index = np.asarray(palette)
    alpha = decode_picture(encoded(palette, transparency=1), 'x', 8).pixels[..., 3]
    assert np.array_equal(alpha, np.where(index == 1, 0, 255))


def test_cmyk_becomes_rgb():
    image = Image.new('CMYK', (8, 8), (255, 0, 0, 0))
    pixels = decode_picture(encoded(image, 'JPEG', quality=100), 'x', 8).pixels
    assert pixels.shape == (8, 8, 3)
    assert np.abs(pixels.astype(int) - (0, 255, 255)).max() < 5


def test_a_colour_profile_is_applied():
    for mode in ('RGB', 'RGBA'):
        image = noise(0, mode=mode)
        pixels = decode_picture(encoded(image, icc_profile=profile('swapped')), 'x', 8).pixels
        expected = hwc(image).copy()
        expected[..., :3] = expected[..., 2::-1]
        assert np.abs(pixels.astype(int) - expected).max() <= 2
        if mode == 'RGBA':
            assert np.array_equal(pixels[..., 3], hwc(image)[..., 3])


def test_a_profile_that_is_srgb_leaves_every_pixel_alone():
    for image in (noise(0), noise(0, mode='L'), noise(0, mode='RGBA')):
        decoded = decode_picture(encoded(image, icc_profile=profile('sRGB')), 'x', 8)
        assert np.array_equal(decoded.pixels, hwc(image))
        assert decoded.profile == ''


def test_a_broken_or_foreign_profile_is_ignored_and_told():
    for data in (b'no profile', profile('LAB'), profile('sRGB')[:200]):
        decoded = decode_picture(encoded(noise(0), icc_profile=data), 'x', 8)
        assert decoded.profile == 'broken'
        assert np.array_equal(decoded.pixels, hwc(noise(0)))


def test_a_profile_of_16_bits_is_applied_in_8_and_told_in_16():
    data = encoded(Image.fromarray(noise_16(0, channels=1)[..., 0]), icc_profile=profile('sRGB'))
    assert decode_picture(data, 'x', 8).profile == ''
    assert decode_picture(data, 'x', 16).profile == 'kept'


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
def test_16_bit_png_is_read_in_full_and_rounded_to_8(channels):
    pixels = noise_16(0, channels=channels)
    data = encode_png(pixels)
    assert np.array_equal(decode_picture(data, 'x', 16).pixels, pixels)
    assert np.array_equal(decode_picture(data, 'x', 8).pixels, np.round(pixels * (255 / 65535)).astype(np.uint8))


@pytest.mark.parametrize('mode', ['I;16', 'I;16B'])
def test_16_bit_grey_tiff(mode):
    pixels = noise_16(0, channels=1)
    order = '>u2' if mode == 'I;16B' else '<u2'
    image = Image.frombytes(mode, (16, 16), pixels.astype(order).tobytes())
    assert np.array_equal(decode_picture(encoded(image, 'TIFF'), 'x', 16).pixels, pixels)


def tiff_16_bit_rgb(pixels: np.ndarray) -> bytes:
    """Returns an uncompressed TIFF of one strip, which Pillow cannot write, from uint16 [H, W, 3]."""
    height, width, _ = pixels.shape
    values = 8 + 2 + 12 * 9 + 4  # offset of the bits of the three channels
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, values), (259, 3, 1, 1), (262, 3, 1, 2),
            (273, 4, 1, values + 6), (277, 3, 1, 3), (278, 3, 1, height), (279, 4, 1, pixels.nbytes)]  # fmt: skip
    entries = b''.join(struct.pack('<HHII', *tag) for tag in tags)
    header = b'II*\0' + struct.pack('<IH', 8, len(tags)) + entries + bytes(4)
    return header + struct.pack('<3H', 16, 16, 16) + pixels.astype('<u2').tobytes()


def test_16_bit_colour_tiff_is_never_cut_to_8_bits_in_silence():
    pixels = noise_16(0)
    data = tiff_16_bit_rgb(pixels)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels >> 8)  # what Pillow makes of it
    try:
        import tifffile  # noqa: F401
    except ImportError:
        with pytest.raises(DataError, match='pip install tifffile, or save it as a 16-bit PNG'):
            decode_picture(data, 'a.tif', 8)
    else:
        assert np.array_equal(decode_picture(data, 'a.tif', 16).pixels, pixels)


@pytest.mark.parametrize('mode', ['I', 'F'])
def test_32_bits_are_refused_by_name(mode):
    with pytest.raises(DataError, match=rf'a\.tif: has 32-bit pixels \(mode {mode}\)'):
        decode_picture(encoded(Image.new(mode, (8, 8)), 'TIFF'), 'a.tif', 16)


@pytest.mark.parametrize('kind', ['PNG', 'WEBP', 'GIF', 'TIFF'])
def test_more_than_one_picture_in_a_file_is_refused(kind):
    data = encoded(noise(0), kind, save_all=True, append_images=[noise(1)])
    with pytest.raises(DataError, match=r'(an animation of|holds) 2 frames'):
        decode_picture(data, 'x', 8)


@pytest.mark.parametrize('dtype', ['u1', '<u2', '>u2'])
@pytest.mark.parametrize('shape', [(4, 6), (4, 6, 1), (4, 6, 7)])
def test_npy_planes(dtype, shape):
    pixels = noise_16(0, 6, 4, 7).reshape(-1)[: np.prod(shape)].reshape(shape).astype(dtype)
    for order in 'CF':
        read = read_npy(npy(np.asarray(pixels, order=order)), 'x')
        assert read.dtype.isnative
        assert np.array_equal(read, pixels.reshape(4, 6, -1))
    assert decode_picture(npy(pixels), 'x', 16).is_planes == (len(shape) == 3 and shape[2] == 7)


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (npy(np.zeros([4, 4, 3], np.float32)), 'holds float32; expected uint8 or uint16'),
        (npy(np.zeros([4], np.uint8)), r'has the shape \[4\]; expected'),
        (npy(np.zeros([4, 4, 0], np.uint8)), 'has the shape'),
        (npy(np.zeros([4, 4, 3], np.uint8))[:-1], 'is cut short or damaged'),
        (npy(np.zeros([4, 4, 3], np.uint8)).replace(b'(4, 4, 3)', b'(9**9, 4)'), 'cannot be read as a NumPy array'),
        (npy(np.zeros([4, 4, 3], np.uint8)).replace(b'(4, 4, 3), }   ', b'(4, 4, 3000), }'), 'is cut short or damaged'),
        (b'\x93NUMPY\x09\x00abc', 'cannot be read as a NumPy array'),
        (b'\x93NUMPY', 'cannot be read as a NumPy array'),
    ],
)
def test_bad_npy_files(data, message):
    with pytest.raises(DataError, match=message):
        decode_picture(data, 'a.npy', 8)


def test_object_arrays_are_refused_and_not_unpickled():
    buffer = io.BytesIO()
    np.save(buffer, np.array([[{}]], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match='holds object'):
        decode_picture(buffer.getvalue(), 'a.npy', 8)


def tiff_of(pixels: np.ndarray, orientation: int, icc: bytes | None, **options: object) -> bytes:
    """Returns a TIFF that tifffile has written."""
    tifffile = pytest.importorskip('tifffile', reason='the tiff extra is not installed')
    file = io.BytesIO()
    pixels = pixels.squeeze(2) if pixels.shape[2] == 1 else pixels
    options = {'photometric': 'rgb' if pixels.ndim == 3 else 'minisblack', **options}
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        options['extrasamples'] = [2]
    tifffile.imwrite(file, pixels, extratags=[(274, 'H', 1, orientation, True)], iccprofile=icc, **options)
    return file.getvalue()


def png_of(pixels: np.ndarray, orientation: int, icc: bytes | None, *, exif_last: bool) -> bytes:
    """Returns a PNG with a color profile, and with EXIF before or after its pixels.

    Args:
        pixels: uint8 or uint16 [H, W, C].
        orientation: Value for EXIF.
        icc: Color profile; None: none.
        exif_last: Whether the chunk eXIf follows the pixels.
    """
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    body = exif.tobytes().removeprefix(b'Exif\0\0')
    data = encode_png(pixels)
    head = b'' if icc is None else chunk(b'iCCP', b'x\0\0' + zlib.compress(icc))
    turned = chunk(b'eXIf', body)
    at = len(data) - 12 if exif_last else 33
    data = data[:at] + turned + data[at:]
    return data[:33] + head + data[33:]


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body))


WRITERS = {
    'PNG': functools.partial(png_of, exif_last=False),
    'PNG, EXIF last': functools.partial(png_of, exif_last=True),
    'TIFF': tiff_of,
}


@pytest.mark.parametrize('writer', WRITERS)
@pytest.mark.parametrize('stored', [8, 16])
@pytest.mark.parametrize('channels', [1, 3, 4])
@pytest.mark.parametrize('bits', [8, 16])
def test_every_property_comes_from_the_decoder_that_gave_the_pixels(writer, stored, channels, bits):
    """Size, orientation, color profile and alpha of one picture, in every form in which it can be stored."""
    deep = noise_16(0, 5, 3, channels)
    pixels = deep if stored == 16 else (deep >> 8).astype(np.uint8)
    for orientation in range(1, 9):
        data = WRITERS[writer](pixels, orientation, None)
        found = decode_picture(data, 'x', bits)
        expected = upright(pixels, orientation)
        assert found.pixels.dtype == (np.uint16 if min(stored, bits) == 16 else np.uint8)
        assert np.array_equal(found.pixels, expected if stored == bits or bits == 16 else to_8_bits(expected))
        assert found.is_color == (channels > 1)
    if channels == 1:
        return  # 'swapped' exchanges red and blue
    found = decode_picture(WRITERS[writer](pixels, 6, profile('swapped')), 'x', bits)
    plain = upright(pixels, 6)
    if stored == bits == 16:
        assert (found.profile, found.pixels.tolist()) == ('kept', plain.tolist())
    else:
        assert found.profile == ''
        swapped = to_8_bits(plain)[..., [2, 1, 0, 3][:channels]].astype(int)
        assert np.abs(found.pixels - swapped).max() <= 2
    if channels == 4 and not (stored == bits == 16):
        assert np.array_equal(found.pixels[..., 3], to_8_bits(plain)[..., 3])


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Returns pixels [H, W, C] turned by an EXIF orientation, by quarter turns and mirroring."""
    turns, mirrored = {1: (0, 0), 2: (0, 1), 3: (2, 0), 4: (2, 1), 5: (3, 1), 6: (3, 0), 7: (1, 1), 8: (1, 0)}[
        orientation
    ]
    turned = np.rot90(pixels, turns)
    return turned[:, ::-1] if mirrored else turned


@pytest.mark.parametrize('stored', [np.uint8, np.uint16])
def test_a_negative_is_shown_as_it_is_meant(stored):
    pixels = noise_16(0, 5, 3, 1).astype(stored)
    data = tiff_of(pixels, 1, None, photometric='miniswhite')
    assert np.array_equal(decode_picture(data, 'x', 16).pixels, np.iinfo(stored).max - pixels)


def test_the_orientation_that_older_programs_write_as_text_is_applied_to_16_bits():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    body = exif.tobytes()
    text = f'\nexif\n{len(body):8d}\n{body.hex()}\n'
    pixels = noise_16(0, 5, 3)
    data = encode_png(pixels)
    data = data[:33] + chunk(b'tEXt', b'Raw profile type exif\0' + text.encode()) + data[33:]
    assert np.array_equal(decode_picture(data, 'x', 16).pixels, np.rot90(pixels, -1))


def test_warnings_of_libraries_are_not_shown():
    image = noise(0).quantize(4)
    data = encoded(image, transparency=b'\x00\xff')  # Pillow warns where it converts this to RGBA
    decode_picture(data, 'x', 8)
    exif = encoded(noise(0), 'JPEG', exif=b'Exif\0\0II*\0\x08\0\0\0\xff\xff')
    decode_picture(exif, 'x', 8)  # Pillow warns of corrupt EXIF


def large_jpeg(width: int, height: int, orientation: int = 1) -> bytes:
    """Returns a JPEG of one color, which compresses well."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(Image.new('L', (width, height), 99), 'JPEG', exif=exif)


def test_a_large_jpeg_is_decoded_at_the_largest_allowed_fraction():
    data = large_jpeg(12000, 9000, 6)
    assert decode_picture(data, 'x', 8, (32, 32)).pixels.shape == (6000, 4500, 1)
    assert decode_picture(data, 'x', 8, (6000, 4500)).pixels.shape == (6000, 4500, 1)
    for target in (None, (6001, 32), (4500, 6000)):
        with pytest.raises(TooManyPixelsError, match=r'12000x9000; .* --resolution=4096x4096 or less'):
            decode_picture(data, 'x', 8, target)


def test_a_jpeg_that_pillow_refuses_to_open_is_decoded_at_a_fraction():
    data = large_jpeg(16000, 12000)
    assert decode_picture(data, 'x', 8, (32, 32)).pixels.shape == (6000, 8000, 1)


@pytest.mark.parametrize('kind', ['PNG', 'WEBP', 'TIFF', 'BMP'])
def test_other_large_pictures_are_refused_with_a_way_out(kind, monkeypatch):
    monkeypatch.setattr('training.data.picture_file.MAX_PIXELS', 100)
    with pytest.raises(TooManyPixelsError, match=r'a: is 16x16; .* make it smaller first'):
        decode_picture(encoded(noise(0), kind), 'a', 8, (4, 4))
