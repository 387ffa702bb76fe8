"""Server that starts processes without the seconds that importing takes: it imports once and forks for every request.

A forked child leaves `serve` with its request and runs like the process of an ordinary command line: it ends at the end
of the module, with exit handlers and an exit code. Requests and answers are lines of JSON on stdin and stdout. The
client is tests/support/forks.py.

The forkserver of multiprocessing does not serve here: its children import the test runner and end in their own ways.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import runpy
import signal
import sys
from typing import Any

PRELOADED = (
    'ganfoundry.commands.train', 'ganfoundry.commands.generate', 'ganfoundry.commands.calc_metrics',
    'ganfoundry.trainer', 'ganfoundry.generate', 'ganfoundry.measuring', 'metrics.detectors.efficientnet',
    'training.run.board',
    'torch._dynamo',  # the first module on the meta device imports it, which takes seconds
)  # fmt: skip
PR_SET_PDEATHSIG = 1  # prctl(2)


def serve() -> dict[str, Any] | None:
    """Answers requests until stdin ends (None), or returns, in a child, the request that the child carries out."""
    for line in sys.stdin:
        request = json.loads(line)
        if 'call' in request:
            pid = os.fork()
            if pid == 0:
                return request
            answer = pid
        else:
            done, status = os.waitpid(request['pid'], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if done else None
        print(json.dumps(answer), flush=True)
    return None


def become(request: dict[str, Any]) -> None:
    """Carries out a request in a session of its own.

    The request holds `call` ('module:function') and its `args`, `cwd`, the whole `env`, and the paths of the files
    `output` and `errors`, to which stdout and stderr are appended.
    """
    os.setsid()
    die_with_parent()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts tests in the background without it
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.chdir(request['cwd'])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for name, descriptor in (('output', 1), ('errors', 2)):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    os.environ.clear()
    os.environ.update(request['env'])
    module, _, function = request['call'].partition(':')
    getattr(importlib.import_module(module), function)(*request['args'])


def run_script(path: str, *arguments: str) -> None:
    """Runs a script as `python path arguments` does."""
    sys.argv = [path, *arguments]
    runpy.run_path(path, run_name='__main__')


def die_with_parent() -> None:
    """Asks the kernel to kill this process when its parent ends: nothing outlives the tests."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Imports, reports that it is ready, and serves."""
    die_with_parent()
    for module in PRELOADED:
        importlib.import_module(module)
    print(json.dumps('ready'), flush=True)
    if (request := serve()) is not None:
        become(request)


if __name__ == '__main__':
    main()
