"""Tools that build the native operations: their places, their flags, and the meaning of their error messages."""

from __future__ import annotations

import functools
import os
import platform
import re
import shlex
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import torch

from torch_utils.ops.toolchain.nvcc import EXTRA
from torch_utils.ops.toolchain.probe import first_line

# PyTorch's headers require c++20 from 2.13 on, and g++ supports it from 10 on. -march=native ties a library to this
# CPU's features, which are therefore part of its key.
CXX_FLAGS = ('-O3', '-std=c++20', '-march=native', '-fopenmp', '-fPIC')
TORCH_LIBRARIES = ('c10', 'torch', 'torch_cpu')
GET_CXX = 'install g++ 11 or later (Debian, Ubuntu: apt install g++; conda: conda install gxx)'
GET_NINJA = 'pip install ninja'


class BuildError(Exception):
    """Native operations cannot be built here; one line says what is missing and the way out."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """Tools that compile C++ sources into a shared library for PyTorch.

    Attributes:
        cxx: Path of g++.
        ninja: Path of ninja.
        cxx_version: First line of `g++ --version`.
        compile_flags: Flags of the compiler.
        link_flags: Flags of the linker.
    """

    cxx: str
    ninja: str
    cxx_version: str
    compile_flags: tuple[str, ...]
    link_flags: tuple[str, ...]

    def identity(self) -> list[str]:
        """Returns everything except the sources that the machine code depends on. Paths of tools do not matter."""
        abi = f'cxx11abi={torch.compiled_with_cxx11_abi()}'
        return [*CXX_FLAGS, *TORCH_LIBRARIES, abi, torch.__version__, self.cxx_version, *cpu_features()]

    def units(self, folder: Path) -> list[Path]:
        """Returns the sources to compile, sorted; those for CUDA only have a name like bias_act_cuda.cpp."""
        return sorted(path for path in folder.rglob('*.cpp') if not is_for_cuda(path))

    def inputs(self, folder: Path) -> list[Path]:
        """Returns the sources and the files that they include, sorted."""
        return sorted([*self.units(folder), *(path for path in folder.rglob('*.h') if not is_for_cuda(path))])

    def compilers(self, folder: Path) -> dict[str, tuple[str, ...]]:
        """Returns the compile command by suffix of the source; includes are relative to `folder`."""
        return {'.cpp': (self.cxx, *self.compile_flags, f'-I{folder}')}

    def linker(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Returns the link command, before the objects and after them."""
        return (self.cxx,), self.link_flags


def is_for_cuda(path: Path) -> bool:
    """Returns whether a C++ file belongs to the library of the CUDA operations only."""
    return path.stem.endswith('_cuda')


def find_toolchain() -> Toolchain:
    """Returns the tools of this machine. BuildError names a missing one."""
    cxx, ninja = find_cxx(), find_ninja()
    if cxx is None:
        raise BuildError(f'there is no g++ on the PATH; {GET_CXX}')
    if ninja is None:
        raise BuildError(f'there is no ninja on the PATH or next to {sys.executable}; {GET_NINJA}')
    version = first_line([cxx, '--version'])
    if version is None:
        raise BuildError(f'{cxx} does not run; {GET_CXX}')
    root = Path(torch.__path__[0])
    includes = (root / 'include', root / 'include/torch/csrc/api/include', sysconfig.get_path('include'))
    return Toolchain(
        cxx=cxx,
        ninja=ninja,
        cxx_version=version,
        compile_flags=(
            *CXX_FLAGS,
            f'-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}',
            *(flag for folder in includes for flag in ('-isystem', str(folder))),
        ),
        link_flags=('-shared', '-fopenmp', f'-L{root / "lib"}', *(f'-l{name}' for name in TORCH_LIBRARIES)),
    )


def find_cxx() -> str | None:
    """Returns the path of g++, or None."""
    return shutil.which('g++')


def find_ninja() -> str | None:
    """Returns the path of ninja, or None. pip installs it next to Python, which may not be on the PATH."""
    return shutil.which('ninja') or shutil.which('ninja', path=os.path.dirname(sys.executable))


@functools.cache
def cpu_features() -> tuple[str, ...]:
    """Returns the CPU's architecture and instruction-set extensions, sorted, by their Linux names."""
    try:
        info = Path('/proc/cpuinfo').read_text(encoding='utf-8')
    except OSError:
        info = ''
    found = re.search(r'^(?:flags|Features)\s*:(.*)$', info, re.MULTILINE)
    return (platform.machine(), *sorted(found.group(1).split() if found else [platform.processor()]))


def ninja_file(tools: Toolchain, folder: Path, library: Path) -> str:
    """Returns the text of a build.ninja that compiles every source of a folder and links them.

    Args:
        tools: The tools.
        folder: Folder of the sources.
        library: Path of the library to make.
    """
    sources = tools.units(folder)
    objects = [f'{i}-{source.stem}.o' for i, source in enumerate(sources)]
    before, behind = tools.linker()
    lines = [
        *(
            f'rule compile{suffix}\n  command = {_command(*command)} -c $in -o $out'
            for suffix, command in tools.compilers(folder).items()
        ),
        'rule link',
        f'  command = {_command(*before)} $in {_command(*behind)} -o $out',
        *(f'build {obj}: compile{source.suffix} {_path(source)}' for obj, source in zip(objects, sources, strict=True)),
        f'build {_path(library)}: link {" ".join(objects)}',
        f'default {_path(library)}',
    ]
    return '\n'.join(lines) + '\n'


def _command(*words: str) -> str:
    return shlex.join(words).replace('$', '$$')


def _path(path: Path) -> str:
    return re.sub(r'([$ :])', r'$\1', str(path))


# Pattern of a compiler's log, the missing piece, the way out; the first match counts.
_COMPLAINTS = (
    (r'No space left on device', 'the disk is full', 'free some space, or set GANFOUNDRY_CACHE and TMPDIR elsewhere'),
    (r'Killed signal|virtual memory exhausted|[Cc]annot allocate memory', 'memory ran out', 'free some and try again'),
    (
        r'fatal error: (Python\.h): No such file',
        "the header {} is missing: Python's development files are not installed",
        'Debian, Ubuntu: apt install python3-dev',
    ),
    (
        r'fatal error: (\S+): No such file',
        'the header {} is missing',
        'reinstall PyTorch if it is one of its own, else install the package that has it',
    ),
    (
        r'nvcc fatal\s*: (Unsupported gpu architecture .*)',
        'nvcc is older than the GPU: {}',
        f'{EXTRA}, or install a newer CUDA toolkit',
    ),
    (
        r'error.*(unsupported GNU version)',
        'nvcc does not know this g++: {}',
        'install the older g++ that nvcc names, or a newer CUDA toolkit',
    ),
    (r'unrecognized command[- ]line option .([-+=\w]+)', 'g++ is too old, it does not know {}', GET_CXX),
    (r'(?:cannot find|library not found for) (-l\S+?):? *(?:\n|$|No such)', 'the library {} is missing', GET_CXX),
    (r'^(\S+:\d+:\d+: (?:fatal )?error: .*)$', 'a source does not compile: {}', 'report this with the log'),
)


def explain(log: str) -> str:
    """Returns one line for a failed build's log: what is missing or wrong, and the way out."""
    for pattern, missing, way_out in _COMPLAINTS:
        if found := re.search(pattern, log, re.MULTILINE):
            return f'{missing.format(*found.groups())}; {way_out}'
    last = log.strip().splitlines()[-1:] or ['it said nothing']
    return f'the compiler stopped: {last[0]}; report this with the log'
