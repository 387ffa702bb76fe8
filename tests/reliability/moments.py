"""A plug-in of train.py that strikes at a chosen moment of a run.

The plan, a JSON list in the file that RELIABILITY_PLAN names, holds [moment, count, action] triples. The first of them
is armed: at the count-th call of the moment's function from then on, the triple leaves the plan, a record of the moment
is appended to `reached.jsonl` in the same folder, the next triple is armed, and the action is done, before the function
does anything.

moment: a key of MOMENTS. action: 'SIGKILL', 'SIGTERM' or 'SIGINT' to this process; 'SIGTERM twice'; 'fail' and 'full'
raise what a bug and a full disk raise; 'nan' makes D's next gradient NaN; 'hang' sleeps forever, 'pause' for three
polls of the watchdog. A rank after an @ limits the action to that rank (never its launcher): 'SIGKILL@1'.
"""

from __future__ import annotations

import errno
import functools
import importlib
import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch_utils.watchdog import POLL_S

MOMENTS = {
    'phase': 'training.step:TrainStep.run_phase',  # a network's turn within a step
    'flush': 'dnnlib.files:fsync_path',  # called before and after every rename of a file or a state folder
    'rename': 'os:replace',
    'removal': 'dnnlib.files:remove',
    'line': 'dnnlib.files:append_line',  # a line of stats.jsonl or of a metric
    'sheet': 'training.run.sheets:SampleSheet.save_fakes',
    'snapshot': 'training.loop:save_snapshot',
    'state': 'torch_utils.checkpoint:save_state',
    'metric': 'ganfoundry.subjects:generated',
    'open board': 'training.run.board:Board.__init__',
    'board': 'training.run.board:Board.add',
}


def arm(plan: Path) -> None:
    """Wraps the function of the plan's first triple."""
    todo = json.loads(plan.read_text())
    if not todo:
        return
    moment, count, action = todo[0]
    action, _, rank = action.partition('@')
    if rank and os.environ.get('RANK') != rank:
        return
    module, _, path = MOMENTS[moment].partition(':')
    owner, calls = importlib.import_module(module), 0
    *parents, name = path.split('.')
    for parent in parents:
        owner = getattr(owner, parent)
    original = getattr(owner, name)

    @functools.wraps(original)
    def strike(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count:
            setattr(owner, name, original)
            write_plan(plan, todo[1:])
            note(plan.with_name('reached.jsonl'), moment, args)
            arm(plan)
            act(action, args)
        return original(*args, **kwargs)

    setattr(owner, name, strike)


def write_plan(path: Path, plan: Sequence[Sequence[Any]]) -> None:
    """Replaces a plan as a whole, because another process reads it meanwhile."""
    new = path.with_suffix('.new')
    new.write_text(json.dumps(plan))
    os.rename(new, path)  # not os.replace, which is one of MOMENTS


def note(path: Path, moment: str, args: tuple[Any, ...]) -> None:
    """Appends to a file when and where the run was struck.

    Args:
        path: `reached.jsonl`.
        moment: A key of MOMENTS.
        args: Arguments of the function that was struck.
    """
    nimg = getattr(getattr(args[0], 'state', None), 'nimg', None) if args else None
    with path.open('a') as file:
        file.write(json.dumps({'moment': moment, 'time': time.time(), 'nimg': nimg, 'pid': os.getpid()}) + '\n')


def act(action: str, args: tuple[Any, ...]) -> None:
    """Does the action of a triple."""
    if action == 'fail':
        raise RuntimeError('planted failure')
    if action == 'full':
        raise OSError(errno.ENOSPC, 'planted: no space left on device')
    if action in ('hang', 'pause'):
        time.sleep(1000 if action == 'hang' else 3 * POLL_S)
        return None
    if action == 'nan':
        return poison(args[0].state.D)
    name, _, twice = action.partition(' ')
    for _ in range(2 if twice else 1):
        os.kill(os.getpid(), signal.Signals[name])


def poison(network: Any) -> None:
    """Makes the network's next gradient NaN, once."""
    weight = next(network.parameters())

    def spoil(gradient: Any) -> Any:
        hook.remove()
        return gradient * float('nan')

    hook = weight.requires_grad_(True).register_hook(spoil)
    weight.requires_grad_(False)


arm(Path(os.environ['RELIABILITY_PLAN']))
