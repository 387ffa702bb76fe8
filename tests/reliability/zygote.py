"""Starts processes without the seconds that importing takes: imports once, then forks for every request.

A forked child leaves `serve` with its request and goes on as the process of an ordinary command line would: it ends at
the end of the module, with exit handlers and an exit code. Requests and answers are lines of JSON on stdin and stdout.

Not multiprocessing's forkserver: its children import the test runner and end in ways of their own.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
from typing import Any

PRELOADED = (
    'ganfoundry.commands.train', 'ganfoundry.runs', 'ganfoundry.commands.calc_metrics', 'ganfoundry.snapshot_metrics',
    'training.loop', 'training.data.loader', 'training.run.sheets',
    'training.build',
    'training.step', 'training.run.transfer', 'metrics.evaluate', 'metrics.detectors.efficientnet',
    'torch.utils.tensorboard',
    'torch._dynamo',  # the first module on the meta device imports it, which takes seconds
)  # fmt: skip
PR_SET_PDEATHSIG = 1  # prctl(2)


def serve() -> dict[str, Any] | None:
    """Answers requests until stdin ends (None), or returns, in a child, the request that is to be carried out."""
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
    """Carries out a request in a session of its own: {'call': 'module:function', 'args', 'env', 'output'}."""
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # nothing outlives the tests
    output = os.open(request['output'], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(request['env'])
    module, _, function = request['call'].partition(':')
    getattr(importlib.import_module(module), function)(*request['args'])


def main() -> None:
    """Imports, says that it is ready, and serves."""
    for module in PRELOADED:
        importlib.import_module(module)
    print(json.dumps('ready'), flush=True)
    if (request := serve()) is not None:
        become(request)


if __name__ == '__main__':
    main()
