"""Transfer learning: a new run that starts from the networks of another, and says which tensors it took."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from dnnlib.errors import CheckpointError
from torch_utils.checkpoint import TENSORS, Tensors, load_state, load_tensors
from training.legacy import is_pickle, load_official
from training.state import TrainState


def load_source(path: Path) -> Tensors:
    """Tensors of a snapshot file, an official pickle, or a training state (its folder, or the tensors file in it)."""
    if path.name == TENSORS:
        path = path.parent
    if path.is_dir():
        return load_state(path)[0]
    if is_pickle(path):
        return load_official(path).tensors
    if path.suffix != '.safetensors':
        raise CheckpointError(f'--resume={path}: expected a .safetensors or .pkl file, a run folder, auto or latest')
    return load_tensors(path)[0]


def transfer(state: TrainState, source: Tensors, say: Callable[[str], None]) -> None:
    """Copies every tensor of G, D and G_ema whose name and shape fit; reports the rest by name.

    A snapshot holds no G: G then starts from G_ema. Raises CheckpointError when nothing at all fits.
    """
    has_raw_G = any(name.startswith('G.') for name in source)
    total = 0
    for prefix in ('G', 'D', 'G_ema'):
        origin = 'G_ema' if prefix == 'G' and not has_raw_G else prefix
        there = {name.removeprefix(f'{origin}.'): t for name, t in source.items() if name.startswith(f'{origin}.')}
        taken, problems = _copy_matching(getattr(state, prefix), there, prefix)
        total += taken
        say(f'transfer: {prefix} took {taken} tensors' + (f', not {len(problems)}:' if problems else ''))
        for problem in problems:
            say(f'  {problem}')
    if total == 0:
        raise CheckpointError('--resume: no tensor of that file fits this run; it is of another architecture')


@torch.no_grad()
def _copy_matching(net: torch.nn.Module, there: Tensors, prefix: str) -> tuple[int, list[str]]:
    """Number of tensors copied, and a line for each that was not."""
    own = net.state_dict()
    taken, problems = 0, [f'{prefix}.{name}: not in this network' for name in there if name not in own]
    for name, tensor in own.items():
        if name not in there:
            problems.append(f'{prefix}.{name}: not in the file, keeps its initial value')
        elif there[name].shape != tensor.shape:
            shapes = f'{list(there[name].shape)} in the file, {list(tensor.shape)} here'
            problems.append(f'{prefix}.{name}: {shapes}, keeps its initial value')
        else:
            tensor.copy_(there[name])
            taken += 1
    return taken, problems
