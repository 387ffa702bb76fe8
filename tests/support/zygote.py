"""Server that starts processes without the seconds that importing takes: it imports once and forks for every request.

A forked child leaves `serve` with its request and ends like the process of an ordinary command line, with exit handlers
and an exit code; only the modules are not torn down, which would take as long as many a command. Requests and answers
are lines of JSON on stdin and stdout. The client is tests/support/forks.py.

The forkserver of multiprocessing does not serve here: its children import the test runner and end in their own ways.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

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


def run_module(name: str, *arguments: str) -> None:
    """Runs a module as `python -m name arguments` does."""
    sys.argv = [name, *arguments]
    runpy.run_module(name, run_name='__main__', alter_sys=True)


def die_with_parent() -> None:
    """Asks the kernel to kill this process when its parent ends: nothing outlives the tests."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def end_with(task: Callable[[], object]) -> NoReturn:
    """Carries out a task and ends the process as the interpreter does: threads, exit handlers, streams, exit code."""
    code: object = 0
    try:
        task()
    except SystemExit as ended:
        code = ended.code
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        if isinstance(error, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        code = 120
    os._exit(code or 0)


def main() -> None:
    """Imports, reports that it is ready, and serves."""
    die_with_parent()
    for module in PRELOADED:
        importlib.import_module(module)
    gc.freeze()  # a child that collects garbage would copy the pages of everything imported
    print(json.dumps('ready'), flush=True)
    if (request := serve()) is not None:
        end_with(lambda: become(request))


if __name__ == '__main__':
    main()
