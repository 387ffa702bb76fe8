"""Check of the CUDA sources: compiles each for every supported architecture and prints registers and spills per kernel.

A warning is a failure, and so is a kernel that keeps values in local memory, because they do not fit into registers or
are indexed at run time. Needs nvcc but no GPU; without nvcc it says so and succeeds. `make cuda-check` runs it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from torch_utils.ops.toolchain.nvcc import NVCC_FLAGS, find_nvcc, way_to_nvcc

CSRC = Path(__file__).resolve().parent.parent / 'csrc'
ARCHITECTURES = ('75', '80', '86', '89', '90', '100')  # Turing, Ampere (A100, RTX 30), Ada, Hopper, Blackwell
STRICT = ('-Werror=all-warnings', '-Xcompiler=-Wall,-Wextra,-Werror', '-Xptxas=-v')
NUM_THREADS = 2  # architectures that nvcc compiles at once
NAME_WIDTH = 72


@dataclass(frozen=True, slots=True)
class Usage:
    """Resources of a multiprocessor that a kernel takes per thread.

    Attributes:
        registers: Number of registers.
        spill_bytes: Bytes stored to and loaded from local memory.
        stack_bytes: Bytes of local memory, spills included.
    """

    registers: int
    spill_bytes: int = 0
    stack_bytes: int = 0

    def __str__(self) -> str:
        return f'{self.registers}' + (f' +{self.stack_bytes}B' if self.stack_bytes else '')


Table = dict[str, dict[str, Usage]]  # mangled kernel name -> architecture -> usage


def parse_usage(log: str) -> Table:
    """Parses the output of `ptxas -v`; other lines are skipped."""
    table: Table = defaultdict(dict)
    kernel, arch, spilled, stack = '', '', 0, 0
    for line in log.splitlines():
        if found := re.search(r"Compiling entry function '(\S+)' for 'sm_(\d+)\w*'", line):
            kernel, arch, spilled, stack = found.group(1), found.group(2), 0, 0
        elif found := re.search(r'(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads', line):
            stack, spilled = int(found.group(1)), int(found.group(2)) + int(found.group(3))
        elif kernel and (found := re.search(r'Used (\d+) registers', line)):
            table[kernel][arch] = Usage(int(found.group(1)), spilled, stack)
            kernel = ''
    return dict(table)


def known_architectures(nvcc: str) -> list[str]:
    """Returns the `ARCHITECTURES` that this nvcc supports: a new nvcc drops old ones, an old one lacks new ones."""
    known = subprocess.run([nvcc, '--list-gpu-code'], capture_output=True, text=True, check=True).stdout.split()
    return [arch for arch in ARCHITECTURES if f'sm_{arch}' in known]


def compile_source(nvcc: str, source: Path, include_dir: Path, architectures: list[str]) -> tuple[bool, str]:
    """Compiles a source without linking.

    Args:
        nvcc: Path of nvcc.
        source: The `.cu` file.
        include_dir: Folder to which includes are relative.
        architectures: Compute capabilities, such as '90'.

    Returns:
        Whether it compiles without a warning, and the output of the compiler.
    """
    targets = [f'-gencode=arch=compute_{arch},code=sm_{arch}' for arch in architectures]
    with tempfile.TemporaryDirectory() as tmp:
        output = [f'-I{include_dir}', '-c', str(source), '-o', f'{tmp}/{source.stem}.o']
        command = [nvcc, *NVCC_FLAGS, *STRICT, f'--threads={NUM_THREADS}', *targets, *output]
        done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode == 0, done.stdout + done.stderr


def demangle(names: list[str]) -> list[str]:
    """Returns readable C++ names without the launcher's wrapper; unchanged without c++filt."""
    if not names or shutil.which('c++filt') is None:
        return names
    plain = subprocess.run(['c++filt'], input='\n'.join(names), capture_output=True, text=True, check=True).stdout
    names = [re.sub(r'^void |\(anonymous namespace\)::|ganfoundry::', '', name) for name in plain.splitlines()]
    return [re.sub(r'^kernel<(.*?) ?>\(.*\)$', r'\1', name) for name in names]


def format_table(table: Table, architectures: list[str]) -> str:
    """Formats a row per kernel and a column per architecture: registers per thread, and bytes of local memory."""
    lines = [
        f'{"registers (+ bytes of local memory)":{NAME_WIDTH}}'
        + ''.join(f'{"sm_" + arch:>12}' for arch in architectures)
    ]
    for name, usage in zip(demangle(list(table)), table.values(), strict=True):
        short = name if len(name) < NAME_WIDTH else f'{name[: NAME_WIDTH - 2]}…'
        lines.append(f'{short:{NAME_WIDTH}}' + ''.join(f'{usage.get(arch, "-")!s:>12}' for arch in architectures))
    return '\n'.join(lines)


def check_sources(source_dir: Path = CSRC) -> int:
    """Compiles a folder's `*.cu`, prints tables and errors, and returns the number of failures."""
    nvcc, sources = find_nvcc(), sorted(source_dir.rglob('*.cu'))
    if nvcc is None:
        print(f'cuda-check: there is no nvcc, nothing compiled; {way_to_nvcc(None)}')
        return 0
    if not sources:
        print(f'cuda-check: no CUDA sources in {source_dir}')
        return 0
    architectures = known_architectures(nvcc)
    if left_out := [f'sm_{arch}' for arch in ARCHITECTURES if arch not in architectures]:
        print(f'cuda-check: {nvcc} does not know {", ".join(left_out)}; left out')
    failures = 0
    for source in sources:
        fine, log = compile_source(nvcc, source, source_dir, architectures)
        table = parse_usage(log)
        spilling = [name for name, usage in table.items() if any(of.stack_bytes for of in usage.values())]
        verdict = 'does not compile' if not fine else 'keeps numbers in local memory' if spilling else 'compiles'
        print(f'\n{source.name}: {verdict}')
        print(format_table(table, architectures) if fine else log)
        failures += not fine or bool(spilling)
    return failures


if __name__ == '__main__':
    sys.exit(min(check_sources(), 1))
