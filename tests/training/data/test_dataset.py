"""Reading a data set: layout, labels, subset, mirror, resolution, processes."""

import io
import json
import multiprocessing
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from dnnlib.errors import ConfigError, DataError
from tests.support import stored
from tests.support.pictures import data_refusal, png, write_folder, write_zip
from training.data.dataset import DataConfig, ImageDataset, read_spec
from training.interface import ImageSpec


def pixels(seed: int, size: int = 8, channels: int = 3) -> np.ndarray:
    """Returns noise, uint8 [C, H, W].

    Args:
        seed: Seed of the noise.
        size: H and W.
        channels: C.
    """
    return np.random.RandomState(seed).randint(0, 256, [channels, size, size]).astype(np.uint8)


def encode(array: np.ndarray, kind: str = 'png', **options: object) -> bytes:
    """Returns uint8 [C, H, W] as an image file."""
    image = Image.fromarray(array[0] if len(array) == 1 else array.transpose(1, 2, 0))
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def ten_files(labels: object = None) -> dict[str, bytes]:
    """Returns ten 8x8 RGB PNGs, and labels for them."""
    files = {f'{i // 5:05d}/img{i:08d}.png': encode(pixels(i)) for i in range(10)}
    if labels is None:
        labels = [[name, i % 3] for i, name in enumerate(files)]
    return {**files, 'dataset.json': json.dumps({'labels': labels}).encode()}


def test_embedded_set_is_what_its_page_says():
    dataset = ImageDataset(DataConfig(cond=True))
    assert dataset.spec == ImageSpec(resolution=64, channels=3, label_dim=7, num_images=4096)
    assert dataset.name == 'peeps64'
    assert dataset.filename(4095) == '00004/img00004095.png'
    assert np.bincount(dataset.labels(np.arange(4096)).argmax(axis=1)).min() > 300
    image, label = dataset[0]
    assert (image.dtype, image.shape, label.dtype, label.tolist()) == (
        'uint8',
        (3, 64, 64),
        'float32',
        [0, 0, 1] + [0] * 4,
    )


@pytest.mark.parametrize('method', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_and_folder_hold_the_same_data_set(tmp_path, method):
    files = ten_files()
    from_zip = ImageDataset(DataConfig(path=write_zip(tmp_path / 'set.zip', files, method), cond=True))
    from_folder = ImageDataset(DataConfig(path=write_folder(tmp_path / 'set', files), cond=True))
    assert from_zip.name == from_folder.name == 'set'
    assert from_zip.spec == from_folder.spec == read_spec(DataConfig(path=str(tmp_path / 'set.zip'), cond=True))
    for i in range(10):
        assert np.array_equal(from_zip.image(i), pixels(i))
        assert np.array_equal(from_folder.image(i), pixels(i))
        assert from_zip.label(i).tolist() == from_folder.label(i).tolist() == np.eye(3)[i % 3].tolist()
        assert from_zip.filename(i) == from_folder.filename(i) == f'{i // 5:05d}/img{i:08d}.png'


def test_order_is_that_of_names_not_of_the_archive(tmp_path):
    files = dict(reversed(ten_files().items()))
    dataset = ImageDataset(DataConfig(path=write_zip(tmp_path / 'set.zip', files)))
    assert np.array_equal(dataset.image(3), pixels(3))


def test_without_cond_labels_are_zero_wide_and_not_even_read(tmp_path):
    files = ten_files() | {'dataset.json': b'not json'}
    dataset = ImageDataset(DataConfig(path=write_zip(tmp_path / 'set.zip', files)))
    assert dataset.spec.label_dim == 0
    assert dataset.label(3).shape == (0,)
    assert dataset.labels([1, 2]).shape == (2, 0)
    assert dataset.classes([1, 2]) is None


def test_vector_labels_come_as_they_are(tmp_path):
    names = list(ten_files())[:10]
    files = ten_files([[name, [i / 4, -1, 2.5]] for i, name in enumerate(names)])
    dataset = ImageDataset(DataConfig(path=write_zip(tmp_path / 'set.zip', files), cond=True))
    assert dataset.spec.label_dim == 3
    assert dataset.labels([9, 1]).tolist() == [[2.25, -1, 2.5], [0.25, -1, 2.5]]
    assert dataset.classes([9, 1]) is None


def test_labels_are_found_by_name_in_any_order_with_either_slash(tmp_path):
    names = list(ten_files())[:10]
    files = ten_files([[name.replace('/', '\\'), i] for i, name in reversed(list(enumerate(names)))])
    dataset = ImageDataset(DataConfig(path=write_zip(tmp_path / 'set.zip', files), cond=True))
    assert dataset.labels(range(10)).argmax(axis=1).tolist() == list(range(10))
    assert dataset.classes([7, 0]).tolist() == [7, 0]


def test_class_numbers_may_leave_gaps(tmp_path):
    names = list(ten_files())[:10]
    dataset = ImageDataset(
        DataConfig(path=write_zip(tmp_path / 'set.zip', ten_files([[name, 4] for name in names])), cond=True)
    )
    assert dataset.label(0).tolist() == [0, 0, 0, 0, 1]


def test_changing_a_label_in_hand_leaves_the_data_set_alone(tmp_path):
    names = list(ten_files())[:10]
    path = write_zip(tmp_path / 'set.zip', ten_files([[name, [1.0]] for name in names]))
    dataset = ImageDataset(DataConfig(path=path, cond=True))
    dataset.labels(range(10))[:] = 5
    assert dataset.label(0).tolist() == [1.0]


def test_subset_is_the_official_choice(tmp_path):
    path = write_zip(tmp_path / 'set.zip', ten_files())
    dataset = ImageDataset(DataConfig(path=path, subset=4, cond=True), seed=0)
    assert [int(dataset.filename(i)[-6:-4]) for i in range(4)] == [2, 4, 8, 9]
    assert np.array_equal(dataset.image(2), pixels(8))
    assert dataset.labels(range(4)).argmax(axis=1).tolist() == [2, 1, 2, 0]
    others = ImageDataset(DataConfig(path=path, subset=4), seed=1)
    assert [others.filename(i) for i in range(4)] != [dataset.filename(i) for i in range(4)]


def test_mirror_follows_subset_and_flips_left_to_right(tmp_path):
    path = write_zip(tmp_path / 'set.zip', ten_files())
    dataset = ImageDataset(DataConfig(path=path, subset=4, mirror=True, cond=True))
    assert len(dataset) == dataset.spec.num_images == 8
    for i in range(4):
        assert np.array_equal(dataset.image(i + 4), dataset.image(i)[:, :, ::-1])
        assert dataset.label(i + 4).tolist() == dataset.label(i).tolist()
        assert dataset.filename(i + 4) == dataset.filename(i)


def test_lower_resolution_is_the_mean_of_blocks(tmp_path):
    path = write_zip(tmp_path / 'set.zip', {f'{i}.png': encode(pixels(i, size=16)) for i in range(9)})
    dataset = ImageDataset(DataConfig(path=path, resolution=8))
    assert dataset.spec.resolution == 8
    mean = pixels(5, size=16).reshape(3, 8, 2, 8, 2).astype(np.float64).mean(axis=(2, 4))
    assert np.abs(dataset.image(5) - mean).max() <= 0.5


@pytest.mark.parametrize(('kind', 'options'), [('png', {}), ('webp', {'lossless': True}), ('jpeg', {'quality': 95})])
@pytest.mark.parametrize('channels', [1, 3])
def test_png_jpeg_webp_in_grey_and_rgb(tmp_path, kind, options, channels):
    smooth = np.broadcast_to(np.arange(0, 256, 16, dtype=np.uint8), [channels, 16, 16])
    path = write_folder(tmp_path / 'set', {f'A.{kind.upper()}': encode(smooth, kind, **options)})
    if (kind, channels) == ('webp', 1):
        channels = 3  # WebP has no grey
    dataset = ImageDataset(DataConfig(path=path))
    assert dataset.spec == ImageSpec(resolution=16, channels=channels, label_dim=0, num_images=1)
    assert np.abs(dataset.image(0).astype(int) - smooth).max() <= (8 if kind == 'jpeg' else 0)


def test_other_and_hidden_files_are_passed_over(tmp_path):
    clutter = {'readme.txt': b'', 'a.gif': b'GIF89a', '._a.png': b'x', '__MACOSX/._a.png': b'x', '.thumbs/a.png': b'x'}
    path = write_folder(tmp_path / 'set', {'a.png': encode(pixels(0)), **clutter})
    assert len(ImageDataset(DataConfig(path=path))) == 1
    assert (
        len(ImageDataset(DataConfig(path=write_zip(tmp_path / 'set.zip', {'a.png': encode(pixels(0)), **clutter}))))
        == 1
    )


def test_names_need_not_be_ascii(tmp_path):
    files = {
        'größe/写真.png': encode(pixels(1)),
        'dataset.json': json.dumps({'labels': [['größe/写真.png', 1]]}).encode(),
    }
    for path in (write_zip(tmp_path / 'set.zip', files), write_folder(tmp_path / 'set', files)):
        dataset = ImageDataset(DataConfig(path=path, cond=True))
        assert dataset.filename(0) == 'größe/写真.png'
        assert np.array_equal(dataset.image(0), pixels(1))


def test_parts_are_the_images_of_their_positions(tmp_path):
    dataset = ImageDataset(DataConfig(path=write_zip(tmp_path / 'set.zip', ten_files()), mirror=True))
    first, second = dataset.parts([range(3, 11), range(18, 20)])
    assert np.array_equal(first, np.stack([dataset.image(i) for i in range(3, 11)]))
    assert np.array_equal(second, np.stack([dataset.image(i) for i in (18, 19)]))


def test_iteration_and_indices_end_where_the_set_ends(tmp_path):
    dataset = ImageDataset(DataConfig(path=write_zip(tmp_path / 'set.zip', ten_files())))
    assert len(list(dataset)) == 10
    for index in (-1, 10):
        with pytest.raises(IndexError):
            dataset.image(index)


def test_pickled_copy_reads_on_its_own_and_holds_no_handle(tmp_path):
    dataset = ImageDataset(DataConfig(path=write_zip(tmp_path / 'set.zip', ten_files()), cond=True))
    dataset.image(0)
    copy = pickle.loads(pickle.dumps(dataset))
    dataset.close()
    assert np.array_equal(copy.image(7), pixels(7))
    assert np.array_equal(dataset.image(7), pixels(7))


def _read_many(dataset: ImageDataset, wrong: 'multiprocessing.Queue') -> None:
    wrong.put(sum(not np.array_equal(dataset.image(i % 10), pixels(i % 10)) for i in range(500)))


def test_zip_handle_never_crosses_a_fork(tmp_path):
    dataset = ImageDataset(DataConfig(path=write_zip(tmp_path / 'set.zip', ten_files())))
    dataset.image(0)  # the parent holds an open handle
    context = multiprocessing.get_context('fork')
    wrong = context.Queue()
    children = [context.Process(target=_read_many, args=(dataset, wrong)) for _ in range(3)]
    for child in children:
        child.start()
    _read_many(dataset, wrong)
    assert sum(wrong.get(timeout=60) for _ in range(4)) == 0
    for child in children:
        child.join()


@pytest.mark.slow
def test_reading_configs_needs_no_torch(root):
    code = 'import sys, training.data.dataset; sys.exit("torch" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], cwd=root).returncode == 0


@pytest.mark.parametrize(
    ('size', 'near'),
    [((300, 200), '288x192'), ((17, 17), '16x16'), ((4, 4), '8x8'), ((300, 2), '128x8'), ((18, 9), '18x8')],
)
def test_first_image_of_a_size_that_cannot_be_trained_on(tmp_path, size, near):
    path = write_zip(tmp_path / 'a.zip', {'x.png': png(size)})
    message = data_refusal(DataError, path)
    assert f'{path}: x.png: is {size[0]}x{size[1]}; to train, both sides must be 4 to 64 pixels doubled' in message
    command = f'python dataset_tool.py --source={path} --dest={path[:-4]}-{near}.zip --resolution={near}'
    assert message.endswith(f'{command} --transform=center-crop')


def test_later_image_of_another_size(tmp_path):
    path = write_zip(tmp_path / 'a.zip', {'a.png': png((16, 16)), 'b.png': png((8, 8))})
    message = data_refusal(DataError, path, 1)
    assert 'b.png: is 8x8, but the first image (a.png) is 16x16; all must be equal' in message
    assert '--resolution=16x16' in message


def test_grey_among_rgb(tmp_path):
    path = write_zip(tmp_path / 'a.zip', {'a.png': png(), 'b.png': png(mode='L')})
    message = data_refusal(DataError, path, 1)
    assert 'b.png: is gray, but the first image (a.png) is RGB; all must be equal' in message
    assert 'python dataset_tool.py --source=' in message


def test_options_out_of_range():
    assert data_refusal(ConfigError, None, subset=0).startswith('--subset=0: must be at least 1')
    assert data_refusal(ConfigError, None, subset=5000).startswith('--subset=5000: must be between 1 and 4096')
    assert 'must be a power of two, at least 8' in data_refusal(ConfigError, None, resolution=48)
    assert 'must be a power of two, at least 8' in data_refusal(ConfigError, None, resolution=4)
    assert 'are 64x64, and are never enlarged; choose 64 or less' in data_refusal(ConfigError, None, resolution=128)
    assert data_refusal(ConfigError, '').startswith('--data is empty')


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
    files = {f'{name}.{kind}': stored.encode(stored.noise(0, shape, bits), kind) for name, (shape, bits, kind) in zip(
        'ab', (first, second), strict=True)}  # fmt: skip
    text = data_refusal(DataError, write_zip(tmp_path / 'a.zip', files), 1)
    assert f'b.{second[2]}: {message}; all must be equal. Try: python dataset_tool.py' in text


def test_a_resolution_above_the_data_names_their_own(tmp_path):
    path = stored.make_set(tmp_path / 'a.zip', (3, 32, 48))
    message = data_refusal(ConfigError, path, resolution=64)
    assert 'are 48x32, and are never enlarged; choose 32 or less' in message
