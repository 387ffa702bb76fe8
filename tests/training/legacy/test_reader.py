"""Reading of network pickles: every protocol, buffers, malformed modules, and detection of pickles."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import extensions.dcgan  # noqa: F401  registers the discriminator that a test names
from dnnlib.errors import CheckpointError, UnsafeModelFile
from tests.support.official_layout import (
    D_KWARGS,
    G_KWARGS,
    WIDTHS,
    discriminator,
    generator,
    official_file,
    one_generator_file,
    persistent,
)
from training.legacy.convert import load_official
from training.legacy.reader import is_pickle
from training.run.snapshot import load_snapshot
from training.run.transfer import load_source


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_every_protocol_gives_the_same_networks(tmp_path: Path, protocol: int) -> None:
    """Python 3.7 wrote protocol 3, 3.8 protocol 4, 3.14 protocol 5."""
    G, D = generator(), discriminator()
    G_kwargs = G_KWARGS | {'mapping_kwargs': {'num_layers': 2}, 'synthesis_kwargs': {**WIDTHS}}
    path = official_file(
        tmp_path / 'a.pkl',
        protocol,
        G=persistent(generator(7), 'Generator', G_kwargs),
        D=persistent(D, 'Discriminator', D_KWARGS | WIDTHS),
        G_ema=persistent(G, 'Generator', G_kwargs),
        augment_pipe=None,
    )
    tensors = load_source(str(path)).tensors
    assert {name.split('.')[0] for name in tensors} == {'G', 'D', 'G_ema'}
    for prefix, net in (('G.', generator(7)), ('G_ema.', G), ('D.', D)):
        own = net.state_dict()
        assert list(own) == [name.removeprefix(prefix) for name in tensors if name.startswith(prefix)]
        assert all(torch.equal(tensors[prefix + name], value) for name, value in own.items())


def test_buffers_that_are_not_persistent_are_left_out(tmp_path: Path) -> None:
    G = generator()
    G.mapping.register_buffer('cache', torch.ones(3), persistent=False)
    stub = persistent(G, 'Generator', G_KWARGS | {'mapping_kwargs': {'num_layers': 2}, 'synthesis_kwargs': {**WIDTHS}})
    stub.meta['state']['_modules']['mapping'].meta['state']['_non_persistent_buffers_set'] = {'cache'}
    tensors = load_official(official_file(tmp_path / 'a.pkl', G_ema=stub)).tensors
    assert [name.removeprefix('G_ema.') for name in tensors] == list(generator().state_dict())


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
            load_official(one_generator_file(tmp_path, **state))


def test_a_file_is_known_by_its_name_or_its_first_bytes(tmp_path: Path, golden: Path) -> None:
    cached = tmp_path / '0123abcd'
    shutil.copy(golden / 'official_layout_cond.pkl', cached)
    assert is_pickle(cached)
    cached.write_bytes((0x0480).to_bytes(8, 'little') + b'{"a":1}')  # the length of a header that looks like a protocol
    assert not is_pickle(cached)
    assert is_pickle(Path('absent.pkl'))
    with pytest.raises(CheckpointError, match=r'absent\.pkl: no such file'):
        load_snapshot(Path('absent.pkl'))
