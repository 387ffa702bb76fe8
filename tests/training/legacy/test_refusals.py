"""What is no StyleGAN2 is refused by name: other architectures, arguments without a network, tables that are none."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from dnnlib.errors import CheckpointError, UnsafeModelFile
from tests.support.official_layout import G_KWARGS, WIDTHS, dumps, generator, official_file, persistent, tf_network
from training.legacy.convert import load_official


def refusal(path: Path) -> str:
    """The message with which a file is refused."""
    with pytest.raises(CheckpointError) as caught:
        load_official(path)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


def write(tmp_path: Path, G_kwargs: dict[str, Any] | None = None, name: str = 'Generator', **state: Any) -> Path:
    """A file with one generator, some of it changed."""
    kwargs = G_KWARGS | {'mapping_kwargs': {'num_layers': 2}, 'synthesis_kwargs': {**WIDTHS}} | (G_kwargs or {})
    return official_file(tmp_path / 'a.pkl', G_ema=persistent(generator(), name, kwargs, **state))


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'conv_kernel': 1}, "made with 'conv_kernel', which is not known here"),
        ({'extra_kwargs': {}}, "made with 'extra_kwargs', which is not known here"),
        ({'mapping_kwargs': {'depth': 2}}, "mapping_kwargs={'depth': 2}; known are activation, embed_features"),
        ({'mapping_kwargs': {'num_layers': 10**9}}, 'made with map_depth=1000000000, more than 64'),
        ({'synthesis_kwargs': {'use_noise': False}}, 'made with use_noise=False, which no network here has'),
        ({'synthesis_kwargs': {'activation': 'swish'}}, "made with activation='swish', which no network here has"),
        ({'synthesis_kwargs': {'resample_filter': [1, 2, 1]}}, r'made with resample_filter=\[1, 2, 1\]'),
        ({'img_resolution': 12}, 'made with arguments that no network here takes: resolution=12'),
        ({'img_resolution': '8'}, "made with img_resolution='8', which is not a size"),
        ({'synthesis_kwargs': {'channel_base': 'big'}}, 'expected a whole number'),
        ({'z_dim': 7}, r'mapping\.fc0\.weight is \[5, 6\] torch.float32, expected \[5, 7\]'),
        ({'c_dim': 2}, r'mapping\.embed\.weight is missing'),
        ({'img_resolution': 16}, r'synthesis\.b16\S+ is missing.*and \d+ more'),
    ],
)
def test_arguments_without_a_network_are_named(tmp_path: Path, kwargs: dict[str, Any], message: str) -> None:
    assert re.search(message, refusal(write(tmp_path, kwargs)))


def test_other_architectures_are_recognised_by_name(tmp_path: Path) -> None:
    T = generator()
    T.synthesis.input = torch.nn.Linear(2, 2)
    path = official_file(tmp_path / 'a.pkl', G_ema=persistent(T, 'Generator', G_KWARGS))
    assert 'a StyleGAN3 generator (configuration T or R)' in refusal(path)
    assert 'a StyleGAN-XL generator' in refusal(write(tmp_path, name='SuperresGenerator'))
    assert 'an object of the class EG3D' in refusal(write(tmp_path, name='EG3D'))
    path.write_bytes(b'\x80\x04\x8c\x11training.networks\x8c\x09Generator\x93)\x81.')
    assert 'this is an R3GAN generator; only StyleGAN2 networks are read' in refusal(path)
    path.write_bytes(b'\x80\x04\x8c\x0adill._dill\x8c\x0a_load_type\x93\x8c\x04type\x85R.')
    assert 'this is written with dill, as StyleGAN-XL does' in refusal(path)
    path.write_bytes(b'\x80\x04]q\x00.')
    assert 'holds a list; expected a dict with G, D and G_ema' in refusal(path)
    path.write_bytes(dumps({'training_set_kwargs': None}))
    assert 'holds no generator' in refusal(path)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'fmap_const': 64}, "made with 'fmap_const', which is not known here"),
        ({'nonlinearity': 'relu'}, "made with nonlinearity='relu', which no network here has"),
        ({'resample_kernel': [1, 2, 1]}, r'made with resample_kernel=\[1, 2, 1\], expected 4 numbers'),
        ({'mapping_layers': 4}, 'has no variable mapping/Dense2/weight'),
        (
            {'mapping_layers': 1},
            r"holds \['mapping/Dense1/bias', 'mapping/Dense1/weight'\], which a StyleGAN2 of these",
        ),
        ({'latent_size': 7}, r'mapping\.fc0\.weight is \[5, 6\] torch.float32, expected \[5, 7\]'),
        ({'mapping_fmaps': 9}, 'made with mapping_fmaps=9, expected 5'),
    ],
)
def test_a_tensorflow_network_that_is_another_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    kwargs = {'num_channels': 3, 'resolution': 8, 'fmap_base': 16, 'fmap_max': 4, 'latent_size': 6, 'dlatent_size': 5}
    G = tf_network(generator(), {**kwargs, 'mapping_layers': 2, **change})
    path = tmp_path / 'a.pkl'
    path.write_bytes(dumps((G, G, G)))
    with pytest.raises(CheckpointError, match=message):
        load_official(path)


def test_tables_of_a_module_that_are_none_are_refused(tmp_path: Path) -> None:
    w = torch.ones(1)
    child = persistent(torch.nn.Linear(1, 1), 'Linear')
    for state, message in (
        ({'_parameters': {'a.b': w}}, "_parameters holds 'a.b', which is not a name"),
        ({'_parameters': {'a': 'text'}}, 'a is not a tensor'),
        ({'_parameters': {'a': w, 'b': w}}, 'b is not a tensor, or occurs in two places'),
        ({'_modules': {'a': 'text'}}, 'a is not a module'),
        ({'_modules': {'a': child, 'b': child}}, 'b is not a module, or occurs in two places'),
        ({'_modules': []}, '_modules: expected no hooks, and a table'),
        ({'_forward_hooks': {0: 'hook'}}, '_forward_hooks.*: expected no hooks'),
        ({'_non_persistent_buffers_set': ['a']}, '_non_persistent_buffers_set is not a set'),
        ({'_init_kwargs': {'z_dim': {1: 2}}}, 'a dict where plain values are expected'),
        ({'_init_args': (6,)}, 'without its keyword arguments'),
    ):
        with pytest.raises(UnsafeModelFile, match=message):
            load_official(write(tmp_path, **state))


def test_the_stand_ins_of_these_tests_are_not_what_is_read(tmp_path: Path) -> None:
    """A file that this repository's own classes could not load at all: there is no such module to import."""
    assert importlib.util.find_spec('torch_utils.persistence') is None
    load_official(write(tmp_path))
