"""A process that runs command lines of one tree in forked children, so that importing PyTorch is paid for once.

    PYTHONPATH=TREE python -P bench/zygote.py TREE

A request is a line of JSON on stdin: {'script', 'argv', 'folder', 'output', 'env', 'stop_at', 'limit_s'}. The answer
is a line of JSON on stdout: {'code', 'foreign'}. A child runs the script as `python SCRIPT ARGV` would, in `folder`,
with its stdout and stderr in OUTPUT.out and OUTPUT.err, and ends as that process would, with exit handlers and an exit
code. After every child this process imports the modules that the child has imported, so that later children have them;
it knows no module by name.

`foreign` lists files outside the tree that were imported under the names of the tree's packages.

-P keeps the folder of this file out of the module path: bench/metrics.py is not the package.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any


def serve(tree: Path) -> dict[str, Any] | None:
    """Answers requests until stdin ends. Returns None then, and the request in the child that is to carry it out."""
    for line in sys.stdin:
        request = json.loads(line)
        learned = Path(request['output'] + '.modules')
        pid = os.fork()
        if pid == 0:
            atexit.register(write_modules, learned)
            return request
        _, status = os.waitpid(pid, 0)
        modules = json.loads(learned.read_text()) if learned.exists() else {}
        learned.unlink(missing_ok=True)
        answer = {'code': os.waitstatus_to_exitcode(status), 'foreign': foreign(modules, tree)}
        print(json.dumps(answer), flush=True)
        if not answer['foreign']:
            preload(modules)
    return None


def write_modules(path: Path) -> None:
    """Writes the files of the modules that this process has imported, by name."""
    modules = {name: module for name, module in sys.modules.items() if name != '__main__'}
    path.write_text(json.dumps({name: getattr(module, '__file__', None) or '' for name, module in modules.items()}))


def foreign(modules: dict[str, str], tree: Path) -> list[str]:
    """Returns the imported files that have the name of one of the tree's packages and lie outside the tree."""
    own = {path.parent.name for path in tree.glob('*/__init__.py')} | {path.stem for path in tree.glob('*.py')}
    inside = f'{tree}{os.sep}'
    files = [file for name, file in modules.items() if name.partition('.')[0] in own and file]
    return sorted(file for file in files if not file.startswith(inside))


def preload(modules: dict[str, str]) -> None:
    """Imports what a child has imported. A file loaded by --plugin has no importable name and is left out."""
    for name in modules:
        if name not in sys.modules:
            try:
                importlib.import_module(name)
            except ImportError:
                continue


def become(request: dict[str, Any]) -> None:
    """Carries out a request in a session of its own, up to the end of the script."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream, suffix in ((1, '.out'), (2, '.err')):
        os.dup2(os.open(request['output'] + suffix, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    os.environ.update(request['env'])
    os.chdir(request['folder'])
    signal.alarm(request['limit_s'])  # ends a process that hangs
    if request['stop_at']:
        stop_at(f'{os.sep}state{os.sep}{request["stop_at"]:09d}')
    sys.argv = [request['script'], *request['argv']]
    runpy.run_path(request['script'], run_name='__main__')


def stop_at(state: str) -> None:
    """Sends this process SIGTERM as soon as it renames a folder to a path that ends with `state`.

    The shortest run is of 1000 images; this ends it after a few steps, at the same one every time, by the way on which
    a batch system ends it. Once only: the run then saves that state again, and a second SIGTERM ends it at once.
    """
    asked = False

    def watch(event: str, args: tuple[Any, ...]) -> None:
        nonlocal asked
        if event == 'os.rename' and str(args[1]).endswith(state) and not asked:
            asked = True
            os.kill(os.getpid(), signal.SIGTERM)

    sys.addaudithook(watch)


def main() -> None:
    """Serves; in a child, becomes the process that was requested."""
    importlib.import_module('torch')
    if (request := serve(Path(sys.argv[1]))) is not None:
        become(request)


if __name__ == '__main__':
    main()
