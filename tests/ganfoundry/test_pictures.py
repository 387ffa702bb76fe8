"""Pictures on the disk: the same one by its text may be written again, another one and any other file may not."""

import json

import numpy as np
import pytest

from dnnlib.errors import ConfigError
from ganfoundry.class_option import NO_LABEL
from ganfoundry.latent_options import parse_seeds
from ganfoundry.pictures import check_free, check_names_free, interruptible, read_png, read_text
from ganfoundry.points import PointList
from torch_utils.images import save_png

IMAGE = np.zeros([3, 4, 6], np.uint8)
INFO = {'network_sha256': 'aa', 'truncation_psi': 1, 'seed': 3, 'class_name': 'Füchsin 猫'}


def test_text_is_read_as_it_was_written(tmp_path):
    save_png(IMAGE, tmp_path / 'a.png', INFO)
    text, width = read_png(tmp_path / 'a.png')
    assert width == 6
    assert text == {key: value if isinstance(value, str) else json.dumps(value) for key, value in INFO.items()}
    assert read_text(tmp_path / 'absent.png') is None
    (tmp_path / 'b.png').write_bytes(b'no picture')
    assert read_text(tmp_path / 'b.png') is None


def test_only_the_same_picture_is_replaced(tmp_path):
    path = tmp_path / 'a.png'
    check_free(path, INFO, overwrite=False)
    save_png(IMAGE, path, {**INFO, 'batch': [0, 8]})
    check_free(path, {**INFO, 'batch': [1, 2]}, overwrite=False)  # the batch is no part of what is shown
    for other in ({**INFO, 'seed': 4}, {**INFO, 'noise_mode': 'none'}, {'network_sha256': 'aa'}):
        with pytest.raises(ConfigError, match=r'a\.png: exists and is another picture; .* add --overwrite'):
            check_free(path, other, overwrite=False)
        check_free(path, other, overwrite=True)
    (tmp_path / 'b.png').write_text('mine')
    with pytest.raises(ConfigError, match=r'b\.png: exists and is another picture'):
        check_free(tmp_path / 'b.png', INFO, overwrite=False)


def test_a_folder_may_hold_pictures_of_other_names(tmp_path):
    points = PointList(parse_seeds('0-4000000000'), 4, NO_LABEL)
    save_png(IMAGE, tmp_path / 'other.png', {})
    save_png(IMAGE, tmp_path / 'seed0003.png', {**INFO, 'seed': 3, 'class_idx': None})
    check_names_free(tmp_path, points, INFO)
    save_png(IMAGE, tmp_path / 'seed4000000000.png', {})
    with pytest.raises(ConfigError, match=r'seed4000000000\.png'):
        check_names_free(tmp_path, points, INFO)


def test_ctrl_c_is_one_sentence_and_exit_code_130(capsys):
    with pytest.raises(SystemExit) as ended, interruptible('a.png is not written'):
        raise KeyboardInterrupt
    assert ended.value.code == 130
    assert capsys.readouterr().err == '\nstopped: a.png is not written\n'
