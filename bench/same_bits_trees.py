"""Command lines of one tree: a process that runs them, cases in folders of their own, the --cfg names that exist."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

sys.path.append(str(Path(__file__).resolve().parent))  # last: bench/metrics.py is not the package

import fingerprint
from same_bits_cases import Case, Step

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 300  # longest time of one command line
ENVIRONMENT = {
    'OMP_NUM_THREADS': '1',
    'MKL_NUM_THREADS': '1',
    'GOMP_SPINCOUNT': '1000',
    'CUDA_VISIBLE_DEVICES': '',
    'DNNLIB_CACHE_DIR': 'cache',  # statistics of real images are compared too; native operations keep their own cache
    'GANFOUNDRY_ALLOW_TORCHSCRIPT': '1',
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """The files that a case has left, and the reason why it failed, '' if it did not."""

    files: fingerprint.Fingerprint
    failure: str = ''


class Zygote:
    """A process of one tree that runs its command lines, see bench/zygote.py."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self._process = subprocess.Popen(
            [sys.executable, '-P', str(ROOT / 'bench' / 'zygote.py'), str(tree)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **ENVIRONMENT, 'PYTHONPATH': str(tree)},
        )  # fmt: skip

    def run(self, step: Step, folder: Path, name: str) -> tuple[int, str, str]:
        """Runs one command line.

        Args:
            step: The command line.
            folder: Folder to run it in.
            name: Base of the names of the files that receive its output, in the folder above.

        Returns:
            The exit code, and the contents of stdout and stderr.
        """
        output = folder.parent / name
        request = {
            'script': str(self.tree / step.script), 'argv': step.words(folder), 'folder': str(folder),
            'output': str(output), 'env': step.env, 'stop_at': step.stop_at, 'limit_s': LIMIT_S,
        }  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + '\n')
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise click.ClickException(f'{self.tree}: the process that runs its command lines has ended')
        answer = json.loads(line)
        if answer['foreign']:
            raise click.ClickException(f'{self.tree}: imported from another tree: {", ".join(answer["foreign"])}')
        out, err = (Path(f'{output}{suffix}').read_text(errors='replace') for suffix in ('.out', '.err'))
        return answer['code'], out, err

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


def run_case(zygote: Zygote, case: Case, folder: Path) -> Result:
    """Runs the command lines of a case, up to the first that fails.

    Args:
        zygote: Process of the tree.
        case: The case.
        folder: New folder to run it in.

    Returns:
        The fingerprint of what it printed and of the folder.
    """
    folder.mkdir(parents=True)
    if case.start is not None:
        shutil.copytree(case.start, folder / 'run')
    files: fingerprint.Fingerprint = {}
    for number, step in enumerate(case.steps, 1):
        code, out, err = zygote.run(step, folder, f'{folder.name}-{number}')
        if code != step.code:
            last = err.strip().rpartition('\n')[2]
            return Result(files=files, failure=f'{step.script}: exit code {code}, expected {step.code}. {last}')
        lines = '\n'.join(line for line in out.splitlines() if line.startswith('{'))
        files |= {f'output {number}: {key}': value for key, value in fingerprint.of_lines(lines)}
    return Result(files=files | fingerprint.of_folder(folder))


def run_cases(tree: Path, cases: list[Case], folder: Path, num_zygotes: int) -> dict[str, Result]:
    """Runs cases of one tree.

    Args:
        tree: Root of the checkout.
        cases: Cases to run.
        folder: New folder for one folder per case.
        num_zygotes: Cases that run side by side.

    Returns:
        The result of every case, by name.
    """
    waiting: queue.SimpleQueue[Case] = queue.SimpleQueue()
    for case in cases:
        waiting.put(case)
    results: dict[str, Result] = {}

    def work() -> None:
        zygote = Zygote(tree)
        try:
            while True:
                case = waiting.get_nowait()
                results[case.name] = run_case(zygote, case, folder / case.name.replace('/', '-'))
        except queue.Empty:
            return
        finally:
            zygote.close()

    with ThreadPoolExecutor(num_zygotes) as pool:
        for future in [pool.submit(work) for _ in range(min(num_zygotes, len(cases)))]:
            future.result()
    return results


def describe(tree: Path, folder: Path) -> dict[str, dict[str, Any]]:
    """Returns the config of every --cfg of a tree at 32x32, by name: what its dry runs print."""
    folder.mkdir(parents=True)
    zygote, records = Zygote(tree), {}
    try:
        names = [line for line in call(zygote, folder, '--cfg=list').splitlines() if line and not line[0].isspace()]
        plan = ('-n', '-v') if '--verbose' in call(zygote, folder, '--help') else ('-n',)  # older trees have no -v
        for name in names:
            text = call(zygote, folder, *plan, f'--cfg={name}', '--resolution=32', '--device=cpu')
            records[name], _ = json.JSONDecoder().raw_decode(text, text.index('{\n'))
    finally:
        zygote.close()
    return records


def call(zygote: Zygote, folder: Path, *flags: str) -> str:
    """Returns what train.py prints with these flags."""
    code, out, err = zygote.run(Step('train.py', flags), folder, '-'.join(['train', *flags]))
    if code != 0:
        raise click.ClickException(f'train.py {" ".join(flags)}: exit code {code}. {err}')
    return out
