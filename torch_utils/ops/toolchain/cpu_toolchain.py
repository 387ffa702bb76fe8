"""The tools that native operations are built with: where they are, what they are told, what their complaints mean."""

from __future__ import annotations

import functools
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import torch

PROBE_TIMEOUT_S = 20
# c++20 is what PyTorch's headers ask for from 2.13 on, and g++ has it from 10 on. -march=native ties a library to this
# CPU's features, which therefore stand in its key.
CXX_FLAGS = ('-O3', '-std=c++20', '-march=native', '-fopenmp', '-fPIC')
TORCH_LIBRARIES = ('c10', 'torch', 'torch_cpu')
GET_CXX = 'install g++ 11 or later (Debian, Ubuntu: apt install g++; conda: conda install gxx)'
GET_NINJA = 'pip install ninja'


class BuildError(Exception):
    """Native operations cannot be built here; one line says what is missing and the way out."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """What turns C++ sources into a shared library for PyTorch."""

    cxx: str  # path of g++
    ninja: str  # path of ninja
    cxx_version: str
    compile_flags: tuple[str, ...]
    link_flags: tuple[str, ...]

    def identity(self) -> list[str]:
        """All but the sources that a library's machine code depends on. Where the tools lie does not matter."""
        abi = f'cxx11abi={torch.compiled_with_cxx11_abi()}'
        return [*CXX_FLAGS, *TORCH_LIBRARIES, abi, torch.__version__, self.cxx_version, *cpu_features()]

    def units(self, folder: Path) -> list[Path]:
        """The sources that are compiled, sorted; what is for CUDA alone has a name like bias_act_cuda.cpp."""
        return sorted(path for path in folder.rglob('*.cpp') if not is_for_cuda(path))

    def inputs(self, folder: Path) -> list[Path]:
        """The sources and what they include, sorted."""
        return sorted([*self.units(folder), *(path for path in folder.rglob('*.h') if not is_for_cuda(path))])

    def compilers(self, folder: Path) -> dict[str, tuple[str, ...]]:
        """The command that compiles sources of each suffix; includes are relative to `folder`."""
        return {'.cpp': (self.cxx, *self.compile_flags, f'-I{folder}')}

    def linker(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The command that links, before the objects and behind them."""
        return (self.cxx,), self.link_flags


def is_for_cuda(path: Path) -> bool:
    """Whether a C++ file belongs to the library of the CUDA operations only."""
    return path.stem.endswith('_cuda')


def find_toolchain() -> Toolchain:
    """The tools on this machine. BuildError names the one that is missing."""
    cxx, ninja = find_cxx(), find_ninja()
    if cxx is None:
        raise BuildError(f'there is no g++ on the PATH; {GET_CXX}')
    if ninja is None:
        raise BuildError(f'there is no ninja on the PATH or beside {sys.executable}; {GET_NINJA}')
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
    """The path of g++, or None."""
    return shutil.which('g++')


def find_ninja() -> str | None:
    """The path of ninja, or None. pip puts it beside Python, where no PATH leads unless the venv is activated."""
    return shutil.which('ninja') or shutil.which('ninja', path=os.path.dirname(sys.executable))


def first_line(command: list[str], containing: str = '') -> str | None:
    """The first such line that a command prints; None where the command is absent, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return next((line for line in done.stdout.splitlines() if containing in line), '').strip()


@functools.cache
def cpu_features() -> tuple[str, ...]:
    """The CPU's architecture and instruction-set extensions, sorted, by the names that Linux gives them."""
    try:
        info = Path('/proc/cpuinfo').read_text(encoding='utf-8')
    except OSError:
        info = ''
    found = re.search(r'^(?:flags|Features)\s*:(.*)$', info, re.MULTILINE)
    return (platform.machine(), *sorted(found.group(1).split() if found else [platform.processor()]))


def ninja_file(tools: Toolchain, folder: Path, library: Path) -> str:
    """The text of a build.ninja that compiles every source of a folder and links them into `library`."""
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


# What a compiler's log says, the missing piece, the way out; the first that matches.
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
        'install a newer CUDA toolkit',
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
    """One line from a failed build's log: what is missing or wrong, and the way out."""
    for pattern, missing, way_out in _COMPLAINTS:
        if found := re.search(pattern, log, re.MULTILINE):
            return f'{missing.format(*found.groups())}; {way_out}'
    last = log.strip().splitlines()[-1:] or ['it said nothing']
    return f'the compiler stopped: {last[0]}; report this with the log'
