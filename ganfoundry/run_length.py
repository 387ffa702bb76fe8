"""Settings that follow from the length of a run."""

from __future__ import annotations

from typing import Any

from dnnlib.errors import ConfigError
from training.config import RunConfig


def decay_of_length(cfg: RunConfig, changes: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Returns the change of `lr_decay_kimg` that follows from --kimg, by path, and a note on it.

    A recipe's decay keeps its share of the run: at its own length, a short run would begin at a small part of the
    learning rates and train next to nothing.

    Args:
        cfg: Config of the recipe.
        changes: Changes that the command line makes; one of `lr_decay_kimg` itself stays.
    """
    kimg = changes.get('kimg', cfg.kimg)
    if cfg.lr_decay_kimg == 0 or kimg == cfg.kimg or 'lr_decay_kimg' in changes:
        return {}, ()
    decay = cfg.lr_decay_kimg / cfg.kimg * kimg
    other = cfg.lr_decay_kimg if cfg.lr_decay_kimg <= kimg else 0
    note = (
        f'--kimg={kimg}: the learning rates fall over the last {decay:g} kimg, as large a share as in '
        f'--cfg={cfg.cfg}; --set lr_decay_kimg={other:g} {"keeps its length" if other else "keeps them constant"}'
    )
    return {'lr_decay_kimg': decay}, (note,)


def check_decay(cfg: RunConfig) -> None:
    """Refuses a decay of the learning rates that is longer than the run. Only new runs are checked."""
    if cfg.lr_decay_kimg > cfg.kimg:
        raise ConfigError(
            f'lr_decay_kimg={cfg.lr_decay_kimg:g}: longer than the run, whose learning rates would begin at '
            f'{cfg.kimg / cfg.lr_decay_kimg:.0%}; at most --kimg={cfg.kimg}, or --set lr_decay_kimg=0'
        )
