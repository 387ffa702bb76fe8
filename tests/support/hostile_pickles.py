"""Pickles that attack the process that loads them, its memory or its time, by name. `CORPUS[name]` is a file.

Each could be given to `training.legacy` as a network: most are `{'G_ema': ATTACK}`.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile

CANARY = 'touch PWNED'
MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
PROTOCOL = pickle.dumps(1001, 2)
SYSTEM = pickle.dumps({'protocol_version': 1001, 'little_endian': True, 'type_sizes': {}}, 2)


def text(value: str) -> bytes:
    """Returns the opcode of a str."""
    data = value.encode()
    return b'X' + struct.pack('<I', len(data)) + data


def data(value: bytes) -> bytes:
    """Returns the opcode of a bytes object."""
    return b'B' + struct.pack('<I', len(value)) + value


def number(value: int) -> bytes:
    """Returns the opcode of an int."""
    size = value.bit_length() // 8 + 1
    return b'\x8a' + bytes([size]) + value.to_bytes(size, 'little', signed=True)


def numbers(values: tuple[int, ...]) -> bytes:
    """Returns the opcodes of a tuple of int."""
    return b'(' + b''.join(map(number, values)) + b't'


def name(module: str, attribute: str) -> bytes:
    """Returns the opcodes of a global, by STACK_GLOBAL."""
    return text(module) + text(attribute) + b'\x93'


def call(module: str, attribute: str, *args: bytes) -> bytes:
    """Returns the opcodes of a call of a global."""
    return name(module, attribute) + b'(' + b''.join(args) + b't' + b'R'


def network(attack: bytes) -> bytes:
    """Returns a file whose network is `attack`."""
    return b'\x80\x04}' + text('G_ema') + attack + b's.'


def blob(
    kind: str = 'FloatStorage', numel: int = 1, device: str = 'cpu', content: bytes = b'\0' * 4, **parts: bytes
) -> bytes:
    """Returns a storage as `torch.save` wrote it before 1.6.

    Args:
        kind: Class of the storage.
        numel: Number of elements that it promises.
        device: Device that it names.
        content: Bytes of the elements.
        parts: Replacements of its five pickles, by name.
    """
    promise = b'(' + text('storage') + f'ctorch\n{kind}\n'.encode() + text('7') + text(device) + number(numel) + b'Nt'
    pickles = {
        'magic': MAGIC,
        'protocol': PROTOCOL,
        'system': SYSTEM,
        'promise': b'\x80\x02' + promise + b'Q.',
        'keys': pickle.dumps(['7'], 2),
        **parts,
    }
    return b''.join(pickles.values()) + struct.pack('<q', numel) + content


def storage(payload: bytes) -> bytes:
    """Returns the opcodes of a call that loads a storage."""
    return call('torch.storage', '_load_from_bytes', data(payload))


def tensor(
    offset: int = 0,
    size: tuple[int, ...] = (1,),
    stride: tuple[int, ...] = (1,),
    hooks: bytes = b'}',
    payload: bytes | None = None,
) -> bytes:
    """Returns the opcodes of a call that makes a tensor.

    Args:
        offset: First element in the storage.
        size: Shape.
        stride: Strides in elements.
        hooks: Opcodes of the backward hooks.
        payload: The storage; by default one number.
    """
    parts = (storage(payload or blob()), number(offset), numbers(size), numbers(stride), b'\x89', hooks)
    return call('torch._utils', '_rebuild_tensor_v2', *parts)


def module(state: bytes, version: int = 6) -> bytes:
    """Returns the opcodes of a persistent module with a state (a dict)."""
    meta = b'}(' + text('type') + text('class') + text('version') + number(version)
    meta += text('module_src') + text('import os') + text('class_name') + text('Generator') + text('state') + state
    return call('torch_utils.persistence', '_reconstruct_persistent_obj', meta + b'u')


def tables(**entries: bytes) -> bytes:
    """Returns the attributes of a module that holds only `entries`."""
    arguments = b''.join(text(key) + b'K\x08' for key in ('z_dim', 'w_dim', 'img_resolution', 'img_channels', 'c_dim'))
    known = {
        '_parameters': b'}',
        '_buffers': b'}',
        '_modules': b'}',
        '_init_kwargs': b'}(' + arguments + b'u',
        **entries,
    }
    return b'}(' + b''.join(text(key) + value for key, value in known.items()) + b'u'


def array(dtype: bytes, shape: tuple[int, ...], content: bytes) -> bytes:
    """Returns the opcodes of a NumPy array.

    Args:
        dtype: Opcodes of its dtype.
        shape: Shape.
        content: Opcodes of its bytes.
    """
    made = call('numpy.core.multiarray', '_reconstruct', name('numpy', 'ndarray'), numbers((0,)), data(b'b'))
    return made + b'(' + number(1) + numbers(shape) + dtype + b'\x89' + content + b'tb'


def dtype(code: str, fields: bytes = b'N') -> bytes:
    """Returns the opcodes of a NumPy dtype."""
    made = call('numpy', 'dtype', text(code), b'\x89', b'\x88')
    return made + b'(' + number(3) + text('<') + b'N' + b'N' + fields + number(-1) + number(-1) + number(0) + b'tb'


def zipped() -> bytes:
    """Returns the format of torch.save since 1.6: a zip with a pickle in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        archive.writestr('archive/data.pkl', b'\x80\x02cos\nsystem\n' + text(CANARY) + b'\x85R.')
        archive.writestr('archive/version', b'3')
    return buffer.getvalue()


# A tensor of all of memo entry 0, a storage of 10**5 elements.
WHOLE_TENSOR = call(
    'torch._utils', '_rebuild_tensor_v2', b'h\x00', b'K\x00', numbers((10**5,)), numbers((1,)), b'\x89', b'}'
)
SYSTEM_CALL = b'\x80\x02cos\nsystem\n' + text(CANARY) + b'\x85R.'
LAUGHS = b')' + b''.join(b'\x94h' + bytes([i]) + b'\x86' for i in range(60))  # x = (x, x), sixty times

CORPUS = {
    # what runs code in pickle
    'os.system': b'\x80\x02cos\nsystem\n' + text(CANARY) + b'\x85R.',
    'posix.system': network(call('posix', 'system', text(CANARY))),
    'builtins.eval': network(call('builtins', 'eval', text('__import__("os").system("touch PWNED")'))),
    'builtins.exec': network(call('builtins', 'exec', text('import os'))),
    'builtins.getattr': network(call('builtins', 'getattr', name('os', 'system'), text('__call__'))),
    'subprocess.Popen': network(call('subprocess', 'Popen', text(CANARY))),
    'operator.attrgetter': network(call('operator', 'attrgetter', text('system'))),
    'pkgutil.resolve_name': network(call('pkgutil', 'resolve_name', text('os:system'))),
    'importlib.import_module': network(call('importlib', 'import_module', text('antigravity'))),
    'numpy runstring': network(call('numpy.testing._private.utils', 'runstring', text('import os'), b'}')),
    'numpy.load': network(call('numpy', 'load', text('x.npy'))),
    'torch.load': network(call('torch.serialization', 'load', text('x.pt'))),
    'torch.hub': network(call('torch.hub', 'load', text('user/repo'), text('model'))),
    'socket': network(call('socket', 'create_connection', numbers((1, 2)))),
    'dotted name': network(call('collections', '__builtins__.eval', text('1'))),
    'dotted name of the list': network(call('collections', 'OrderedDict.fromkeys', text('1'))),
    'prefix of the list': network(call('torch._utils', '_rebuild_tensor', b'K\x01')),
    'look-alike letters': network(call('t\u043erch._utils', '_rebuild_parameter', b'N', b'\x89', b'}')),
    'full-width letters': network(call('collections', '\uff2frderedDict')),
    'name as bytes': b'\x80\x04' + data(b'os') + data(b'system') + b'\x93.',
    'name that may only be mentioned': network(call('numpy', 'ndarray', numbers((2,)))),
    'BUILD on a function': network(name('collections', 'OrderedDict') + b'}' + text('x') + b'Nsb'),
    'BUILD on a dict': network(call('collections', 'OrderedDict') + b'}' + text('__class__') + b'Nsb'),
    'BUILD with slots': network(call('collections', 'OrderedDict') + b'N}' + text('x') + b'Ns\x86b'),
    'call of what a call made': network(call('collections', 'OrderedDict') + b')R'),
    # opcodes that honest files do not have
    'INST': b'\x80\x02(' + text(CANARY) + b'ios\nsystem\n.',
    'OBJ': b'\x80\x02(ccollections\nOrderedDict\n' + text(CANARY) + b'o.',
    'EXT1': b'\x80\x02\x82\x01.',
    'EXT4': b'\x80\x02\x84\x01\0\0\0.',
    'NEWOBJ_EX': network(name('collections', 'OrderedDict') + b')}\x92'),
    'STRING': b"\x80\x02S'\\x41'\n.",
    'UNICODE': b'\x80\x02V\\u0041\n.',
    'PERSID': b'\x80\x02Pstorage\n.',
    'BINPERSID': network(text('storage') + b'Q'),
    'NEXT_BUFFER': b'\x80\x05\x97.',
    'READONLY_BUFFER': b'\x80\x05' + data(b'x') + b'\x98.',
    'DUP': b'\x80\x02]2a.',
    'LONG4': b'\x80\x02\x8b\xff\xff\xff\x7f' + b'\x01' * 1000 + b'.',
    'long integer': b'\x80\x02\x8a\xff' + b'\x7f' * 255 + b'.',
    'protocol 0': b"cos\nsystem\n(S'touch PWNED'\ntR.",
    'protocol 6': b'\x80\x06N.',
    'protocol twice': b'\x80\x04\x80\x04N.',
    # lies about structure
    'frame beyond the end': b'\x80\x04\x95' + struct.pack('<Q', 2**62) + b'N.',
    'frame that ends within an opcode': b'\x80\x04\x95' + struct.pack('<Q', 3) + text('abc') + b'.',
    'frame within a frame': b'\x80\x04\x95' + struct.pack('<Q', 12) + b'\x95' + struct.pack('<Q', 1) + b'N' * 5 + b'.',
    'bytes beyond the end': b'\x80\x04\x8e' + struct.pack('<Q', 2**62) + b'x.',
    'text beyond the end': b'\x80\x04\x8d' + struct.pack('<Q', 2**62) + b'x.',
    'bytes after the end': b'\x80\x04}.' + SYSTEM_CALL,
    'nothing': b'',
    'no end': b'\x80\x04}',
    'empty stack': b'\x80\x04.',
    'no mark': b'\x80\x04}u.',
    'below the mark': b'\x80\x04}(\x85.',
    'two objects': b'\x80\x04}}.',
    'memo entry that does not exist': b'\x80\x04h\x07.',
    'key without a value': b'\x80\x04}(Nu.',
    'duplicate keys': b'\x80\x04}(' + text('G') + b'N' + text('G') + b'Nu.',
    'items for a tuple': b'\x80\x04)Na.',
    'invalid text': b'\x80\x04X\x01\0\0\0\xff.',
    # costs
    'containers that nest deeply': network(b']' * 5000 + b'a' * 4999),
    'tuples that nest deeply': network(b')' + b'\x85' * 100_000),
    'marks that nest deeply': b'\x80\x04' + b'(' * 100_000 + b'.',
    'tuples as a key': b'\x80\x04}' + LAUGHS + b'Ns.',
    'tuples in a set': b'\x80\x04\x8f(' + LAUGHS + b'\x90.',
    'keys of one hash': b'\x80\x04}(' + b''.join(number(i * (2**61 - 1)) + b'N' for i in range(3, 9)) + b'u.',
    'a container in itself': b'\x80\x04}\x94' + text('G_ema') + b'h\x00s.',
    'many containers': network(b'](' + b'}' * 400_000 + b'e'),
    'many memo entries': network(b'N' + b'\x94' * 400_000),
    'much text': network(b'](' + text('x' * 500_000) * 20 + b'e'),
    'one list, many sets': network(
        b'(](' + b''.join(map(number, range(5000))) + b'e\x94](' + call('builtins', 'set', b'h\x00') * 100 + b'et'
    ),
    'one text, many bytes': network(
        b'(' + text('x' * 100_000) + b'\x94](' + call('_codecs', 'encode', b'h\x00', text('latin1')) * 10 + b'et'
    ),
    'encode by another codec': network(call('_codecs', 'encode', text('x'), text('rot13'))),
    # storages and tensors
    'zip as a storage': network(storage(zipped())),
    'pickle as a storage': network(storage(SYSTEM_CALL)),
    'pickle behind the magic number': network(storage(MAGIC + PROTOCOL + SYSTEM_CALL)),
    'call in a storage': network(storage(blob(promise=SYSTEM_CALL))),
    'storage that is none': network(storage(blob(promise=pickle.dumps([1], 2)))),
    'storage in a foreign place': network(storage(blob(device='file:///etc/passwd'))),
    'storage on meta': network(storage(blob(device='meta'))),
    'storage of objects': network(storage(blob(kind='ObjectStorage'))),
    'storage with a view': network(
        storage(
            blob(
                promise=b'\x80\x02('
                + text('storage')
                + b'ctorch\nFloatStorage\n'
                + text('7')
                + text('cpu')
                + b'K\x01'
                + numbers((1, 2))
                + b'tQ.'
            )
        )
    ),
    'storage of another length': network(storage(blob(numel=2))),
    'storage of 2**60 elements': network(storage(blob(numel=2**60))),
    'storage of fewer than no elements': network(storage(blob(numel=-1))),
    'two storages': network(storage(blob(keys=pickle.dumps(['7', '8'], 2)))),
    'big-endian': network(storage(blob(system=pickle.dumps({'little_endian': False}, 2)))),
    'another magic number': network(storage(blob(magic=pickle.dumps(1, 2)))),
    'truth value 2': network(storage(blob(kind='BoolStorage', content=b'\x02'))),
    'stride of 2**40': network(tensor(size=(1, 2), stride=(1, 2**40), payload=blob(numel=2, content=b'\0' * 8))),
    'stride 0 and 2**40 elements': network(tensor(size=(2**40,), stride=(0,))),
    'sizes that multiply beyond 64 bits': network(tensor(size=(2**40, 2**40), stride=(0, 0))),
    'negative stride': network(tensor(size=(1,), stride=(-1,))),
    'negative size': network(tensor(size=(-1,))),
    'negative offset': network(tensor(offset=-1)),
    'offset beyond the storage': network(tensor(offset=1)),
    'nine dimensions': network(tensor(size=(1,) * 9, stride=(1,) * 9)),
    'sizes without strides': network(tensor(size=(1,), stride=())),
    'tensor with hooks': network(tensor(hooks=b'}' + b'K\x00' + text('hook') + b's')),
    'tensor of something else': network(call('torch._utils', '_rebuild_parameter', b'N', b'\x89', b'}')),
    'one storage, many tensors': network(
        b'(' + storage(blob(numel=10**5, content=b'\0' * 400_000)) + b'\x94](' + WHOLE_TENSOR * 60 + b'et'
    ),
    # NumPy
    'array of objects': network(array(dtype('O8'), (1,), b'](' + name('os', 'system') + b'e')),
    'dtype with fields': network(dtype('f4', text('fields'))),
    'dtype by text': network(dtype('i4,i4')),
    'dtype without state': network(call('numpy', 'dtype', text('f4'), b'\x89', b'\x88')),
    'array without state': network(
        call('numpy.core.multiarray', '_reconstruct', name('numpy', 'ndarray'), numbers((0,)), data(b'b'))
    ),
    'array of another class': network(
        call('numpy.core.multiarray', '_reconstruct', name('numpy', 'dtype'), numbers((0,)), data(b'b'))
    ),
    'array of another length': network(array(dtype('f4'), (2**40,), data(b'\0' * 4))),
    'array of fewer than no elements': network(array(dtype('f4'), (-1,), data(b'\0' * 4))),
    'scalar of another length': network(call('numpy.core.multiarray', 'scalar', dtype('f4'), data(b'\0'))),
    # modules
    'module in itself': network(module(b'}\x94(' + text('_modules') + b'}' + text('a') + b'h\x00su')),
    'module of version 7': network(module(tables(), version=7)),
    'module without a state': network(call('torch_utils.persistence', '_reconstruct_persistent_obj', b'}')),
    'module with hooks': network(module(tables(_forward_hooks=b'}' + b'K\x00' + text('hook') + b's'))),
    'module as a parameter': network(module(tables(_parameters=b'}' + text('w') + module(tables()) + b's'))),
    'tensor as a module': network(module(tables(_modules=b'}' + text('w') + tensor() + b's'))),
    'dotted parameter': network(module(tables(_parameters=b'}' + text('a.b') + tensor() + b's'))),
    'tensor as an argument': network(module(tables(_init_kwargs=b'}' + text('z_dim') + tensor() + b's'))),
    'EasyDict with arguments': network(name('dnnlib.util', 'EasyDict') + b'}\x85\x81'),
}
