"""NVIDIA's network pickles as data: their objects, tensors by name, and the arguments of the networks.

A persistent object consists of the name of its class, the source text of its module and its attributes. NVIDIA's loader
executes that text; here it is hashed for the record and dropped.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from dnnlib.errors import CheckpointError, FileError, UnsafeModelFile
from dnnlib.pickles.inert_numpy import NUMPY_HANDLERS
from dnnlib.pickles.inert_pickle import PLAIN_HANDLERS, Handler, Handlers, Node, Pending, read_pickle
from dnnlib.regular_file import open_regular
from torch_utils.checkpoint import Tensors
from training.legacy.module import Module
from training.legacy.r3gan_classes import HANDLERS as R3GAN_HANDLERS
from training.legacy.torch_blobs import TorchHandlers

PERSISTENT_VERSION = 6
MAX_PLAIN_VALUES = 10_000  # limit for the arguments of one network
_NAME = re.compile(r'\w{1,100}', re.ASCII)


class TFNetwork(Node):
    """A TensorFlow network, `dnnlib.tflib.network.Network`; `state` holds its attributes."""

    def __init__(self, state: dict[Any, Any]) -> None:
        self.state = state

    def children(self) -> Iterable[Any]:
        """Returns the state."""
        return (self.state,)


class _TFNetworkWithoutState(Pending):
    """A TensorFlow network whose state has not been read yet."""

    def __init__(self, args: tuple[Any, ...]) -> None:
        if args:
            raise ValueError('expected no argument')

    def build(self, state: Any) -> TFNetwork:
        """Returns the network with its state."""
        if type(state) is not dict:
            raise ValueError('expected its attributes')
        return TFNetwork(state)


class _Persistent:
    """The handler of persistent objects in one file; a source text that many objects share is hashed once."""

    def __init__(self) -> None:
        self.hashes: dict[str, str] = {}

    def __call__(self, args: tuple[Any, ...]) -> Module:
        match args:
            case (
                {
                    'type': 'class',
                    'version': int(version),
                    'module_src': str(source),
                    'class_name': str(name),
                    'state': dict(state),
                },
            ):
                if version != PERSISTENT_VERSION:
                    raise ValueError(f'version {version}; known is {PERSISTENT_VERSION}')
                if source not in self.hashes:
                    data = source.encode('utf-8', 'surrogatepass')
                    self.hashes[source] = hashlib.sha256(data).hexdigest()
                return Module(name, self.hashes[source], state)
        raise ValueError('not a persistent object: expected type, version, module_src, class_name, state')


def _foreign(what: str) -> Handler:
    """Returns the handler of a known class that is not supported."""

    def refuse(args: tuple[Any, ...]) -> Any:
        raise ValueError(f'this is {what}; only StyleGAN2 and R3GAN networks are read, --inspect shows what is inside')

    return refuse


# Files that look like NVIDIA's.
_FOREIGN: Handlers = {
    ('dill._dill', '_create_type'): _foreign('written with dill, as StyleGAN-XL does'),
    ('dill._dill', '_load_type'): _foreign('written with dill, as StyleGAN-XL does'),
    ('dill._dill', '_create_function'): _foreign('written with dill, as StyleGAN-XL does'),
    ('dill._dill', '_import_module'): _foreign('written with dill, as StyleGAN-XL does'),
}


def handlers_for(where: str, file_bytes: int, *, inert: bool = False) -> Handlers:
    """Returns handlers for everything that NVIDIA's files call, from every version of Python, PyTorch and NumPy.

    Args:
        where: Name of the file in messages.
        file_bytes: Size of the file, which limits the memory of all tensors.
        inert: Whether to omit the handlers of known unsupported classes, so that they are labeled like any other.
    """
    return {
        **({} if inert else {**_FOREIGN, **R3GAN_HANDLERS}),
        **NUMPY_HANDLERS,
        **TorchHandlers(where, file_bytes).handlers,
        ('torch_utils.persistence', '_reconstruct_persistent_obj'): _Persistent(),
        ('dnnlib.util', 'EasyDict'): PLAIN_HANDLERS['collections', 'OrderedDict'],  # both are dicts, filled afterwards
        ('dnnlib.tflib.network', 'Network'): _TFNetworkWithoutState,
        ('dnnlib', 'EasyDict'): PLAIN_HANDLERS['collections', 'OrderedDict'],
    }


def read_network_pickle(path: Path, *, inert: bool = False) -> Any:
    """Returns the contents of a network pickle: dicts and tuples of `Module` or `TFNetwork`, tensors, plain values.

    With `inert`, unknown objects are labeled instead of being an error. Raises CheckpointError when the file cannot be
    read, and UnsafeModelFile, which names the object, for contents that are not data.
    """
    try:
        with open_regular(path) as file:
            handlers = handlers_for(str(path), os.fstat(file.fileno()).st_size, inert=inert)
            return read_pickle(file, handlers, where=str(path), inert=inert)
    except FileError as error:
        raise CheckpointError(str(error)) from None
    except OSError as error:
        raise CheckpointError(f'{path}: cannot be read ({error.strerror or error})') from None


def is_pickle(path: Path) -> bool:
    """Whether a file is a pickle, by its extension, or by its first bytes if the extension is another."""
    if path.suffix in ('.pkl', '.safetensors'):
        return path.suffix == '.pkl'
    try:
        with open_regular(path) as file:
            start = file.read(9)
    except OSError:
        return False
    # A safetensors file begins with the length of a JSON header, which may look like a protocol, and with the header.
    return start[:1] == b'\x80' and start[1:2] in (b'\2', b'\3', b'\4', b'\5') and start[8:] != b'{'


def state_dict(module: Module, where: str) -> Tensors:
    """Returns parameters and persistent buffers by their dotted names, in the order of torch's own `state_dict`.

    Raises UnsafeModelFile for hooks, for invalid names, and for modules or tensors that occur in two places.
    """
    tensors: Tensors = {}
    seen: set[int] = set()

    def visit(node: Any, prefix: str) -> None:
        """Adds the tensors of a module and its submodules."""
        if not isinstance(node, Module) or id(node) in seen:
            raise UnsafeModelFile(f'{where}: {prefix[:-1] or "it"} is not a module, or occurs in two places')
        seen.add(id(node))
        for name, value in _table(node, '_parameters', prefix, where) + _buffers(node, prefix, where):
            if value is None:
                continue
            if not isinstance(value, torch.Tensor) or id(value) in seen:
                raise UnsafeModelFile(f'{where}: {prefix}{name} is not a tensor, or occurs in two places')
            seen.add(id(value))
            tensors[prefix + name] = value
        for name, child in _table(node, '_modules', prefix, where):
            if child is not None:
                visit(child, f'{prefix}{name}.')

    visit(module, '')
    return tensors


def _buffers(node: Module, prefix: str, where: str) -> list[tuple[str, Any]]:
    """Returns the persistent buffers of a module; the arguments are those of `_table`."""
    hidden = node.state.get('_non_persistent_buffers_set', set())
    if type(hidden) is not set:
        raise UnsafeModelFile(f'{where}: {prefix}_non_persistent_buffers_set is not a set')
    return [(name, value) for name, value in _table(node, '_buffers', prefix, where) if name not in hidden]


def _table(node: Module, key: str, prefix: str, where: str) -> list[tuple[str, Any]]:
    """Returns the entries of a table of a module, whose hooks must be empty.

    Args:
        node: The module.
        key: Name of the table.
        prefix: Dotted path of the module, with a dot at its end.
        where: Name of the network in messages.

    Raises:
        UnsafeModelFile: There are hooks, no table, or invalid names.
    """
    hooks = [name for name, value in node.state.items() if str(name).endswith('_hooks') and value not in ({}, None)]
    table = node.state.get(key)
    if hooks or type(table) is not dict:
        raise UnsafeModelFile(f'{where}: {prefix}{ascii(hooks[0]) if hooks else key}: expected no hooks, and a table')
    bad = [name for name in table if type(name) is not str or not _NAME.fullmatch(name)]
    if bad:
        raise UnsafeModelFile(f'{where}: {prefix}{key} holds {ascii(bad[0])[:80]}, which is not a name')
    return list(table.items())


def arguments(module: Module, where: str) -> dict[str, Any]:
    """Returns the keyword arguments of the constructor of an object, as plain values of JSON."""
    args, kwargs = module.state.get('_init_args', ()), module.state.get('_init_kwargs')
    if args not in ((), []) or type(kwargs) is not dict:
        raise UnsafeModelFile(f'{where}: a {ascii(module.class_name)[:80]} without its keyword arguments')
    copied: dict[str, Any] = plain(kwargs, f'{where}: the arguments of {ascii(module.class_name)[1:-1][:80]}')
    return copied


def plain(value: Any, where: str) -> Any:
    """Copies a value of None, bools, numbers, text, lists and dicts. Raises UnsafeModelFile for anything else."""
    left = MAX_PLAIN_VALUES

    def copy(value: Any) -> Any:
        """Copies a part."""
        nonlocal left
        left -= 1
        if left < 0:
            raise UnsafeModelFile(f'{where}: more than {MAX_PLAIN_VALUES} values')
        if value is None or type(value) in (bool, int, float, str):
            return value
        if type(value) in (list, tuple):
            return [copy(item) for item in value]
        if type(value) is dict and all(type(key) is str for key in value):
            return {key: copy(item) for key, item in value.items()}
        raise UnsafeModelFile(f'{where}: a {type(value).__name__} where plain values are expected')

    return copy(value)
