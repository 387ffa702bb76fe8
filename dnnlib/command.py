"""The way of a command from its call to its exit code."""

from __future__ import annotations

import atexit
import io
import os
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from dnnlib import streams
from dnnlib.errors import UserError
from dnnlib.log import shown
from dnnlib.signals import recorded_interrupts
from dnnlib.torch_defaults import set_torch_defaults

_unsafe = threading.Event()  # set by `skip_finalization`


def run_command(main: Callable[[], object]) -> None:
    """Runs a command with `set_torch_defaults`; a UserError becomes one line on stderr and exit code 2.

    Nothing that happens to stderr ends the command. Output that stdout did not take is an error. Ctrl-C, which click
    turns into exit code 1, is 130. One of several processes (WORLD_SIZE), and a process that has called
    `skip_finalization`, end with `end_process`, also after an error, whose traceback is printed.
    """
    set_torch_defaults()
    streams.open_missing()
    escape_names()
    with streams.lossy_stderr():
        code: str | int | None
        try:
            code = _code_of(main)
        except BaseException as error:
            if _finalizes():
                raise
            sys.excepthook(type(error), error, error.__traceback__)
            code = 130 if isinstance(error, KeyboardInterrupt) else 1
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
        lost = streams.finish_stdout()
        if lost and not code:
            print(f'Error: the output cannot be written: {lost}', file=sys.stderr)
        if lost is not None:
            code = code or 1
        if not _finalizes():
            end_process(code)
    if code:
        sys.exit(code)


def skip_finalization() -> None:
    """Makes `run_command` end this process with `end_process`: a thread may be inside PyTorch when the command ends."""
    _unsafe.set()


def _finalizes() -> bool:
    """Returns whether the interpreter may be finalized at the end of the command."""
    return os.environ.get('WORLD_SIZE', '1') == '1' and not _unsafe.is_set()


def _code_of(main: Callable[[], object]) -> str | int | None:
    """Runs a command and returns its exit code, or the text of `sys.exit`."""
    with recorded_interrupts() as interrupts:
        try:
            main()
        except UserError as error:
            print_error(error)
            return 2
        except SystemExit as ended:
            return 130 if interrupts else ended.code
    return 0


def escape_names() -> None:
    r"""Makes stdout print `\xe4` for a character that the locale's encoding does not have, as stderr does.

    Names of files may hold bytes that no encoding decodes; printing them must not end a command.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')


def end_process(code: int | None) -> NoReturn:
    """Ends this process like `sys.exit(code)`, with exit handlers, without the interpreter's finalization.

    A thread of a collective or of autograd may still hold the last reference to a Python object, or a thread of Python
    may be inside an operator. If it asks for the interpreter's lock after finalization has begun, Python 3.11 ends the
    thread by unwinding its stack. C++ does not allow that in a destructor: the process ends with SIGABRT ("terminate
    called without an active exception"), although its work is complete.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons, as the interpreter does
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        streams.drop_unwritable(stream)
    os._exit(code or 0)


def print_error(error: UserError) -> None:
    """Prints one line on stderr, in which addresses have no secrets, and names no control characters.

    In a run of several processes, all except the first add their rank (RANK).
    """
    rank = os.environ.get('RANK', '0')
    who = '' if rank == '0' else f' (rank {rank})'
    print(f'Error{who}: {shown(" ".join(str(error).split()))}', file=sys.stderr)
