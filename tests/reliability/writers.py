"""Processes that do one thing over and over, so that they can be killed while they do it."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch

from dnnlib.files import sweep
from torch_utils.checkpoint import list_states, prune_states, save_state


def write_states(root: str) -> None:
    """Saves a state of 200 kB after the other, for ever, keeping two, and prints the name of each that is saved."""
    folder = Path(root)
    folder.mkdir(exist_ok=True)
    sweep(folder)
    begin = max((int(path.name) for path in list_states(folder)), default=-1) + 1
    for n in itertools.count(begin):
        tensors = {f'w{i}': torch.full([100, 100], float(n + i)) for i in range(5)}
        save_state(folder, f'{n:09d}', tensors, {'nimg': n})
        print(f'{n:09d}', flush=True)
        prune_states(folder, keep=2, protected=set(), warn=print)
