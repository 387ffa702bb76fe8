"""A run that continues: its recorded config, changed by the flags of this launch, and its data, wherever they are."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path

from dnnlib.errors import CheckpointError, ConfigError, UserError
from ganfoundry import options, processes, same_data
from ganfoundry.options import TrainFlags
from ganfoundry.runs import Run, all_changes, check, every_launch
from torch_utils.checkpoint import list_states
from torch_utils.devices import pick_device
from torch_utils.distributed import World
from training.build import tf32_by_default
from training.config import RunConfig, apply_overrides, differences, with_precision
from training.record import from_record
from training.run.run_folder import RunFolder
from training.run.transfer import Source, load_source


def continued_run(folder: RunFolder, flags: TrainFlags, world: World | None = None) -> Run:
    """Returns a run with its recorded config, changed by the flags that are given now. A note names each change.

    Args:
        folder: The run folder.
        flags: The command line.
        world: The processes that train. All of them call this function; rank 0 compares the data.
    """
    device = pick_device(flags.device)
    record = folder.record()
    old, spec = from_record(record)
    check_same(old, flags)
    wanted = flags.wanted_precision
    cfg = old
    if wanted not in ('auto', old.precision):
        cfg = replace(with_precision(old, wanted), allow_tf32=tf32_by_default(wanted, device))
    num_gpus = processes.num_processes(flags.gpus, device, recorded=old.gpus)
    changed = same_data.moved(apply_overrides(cfg, all_changes(flags, cfg, num_gpus)), flags.data)
    cfg = options.with_fewer_images(flags.metrics_images, changed)
    check_frozen(old, cfg)
    dataset = same_data.open_data(cfg)
    check(cfg, dataset)

    def about_data() -> list[str]:
        return [
            *same_data.check_data(record, old, cfg, dataset, spec),
            *same_data.check_metric_data(record, cfg),
        ]

    notes = options.notes_on(flags) + dataset.notes + tuple((world or World()).shared(about_data))
    notes += tuple(f'changed for this launch: {path} {was} -> {now}' for path, was, now in differences(old, cfg))
    origin = record.get('source')
    return Run(
        cfg=cfg,
        dataset=dataset,
        device=device,
        notes=notes,
        run_id=folder.run_id(),
        source=first_networks(origin) if origin and not list_states(folder.states) else None,
        origin=origin,
        again=(*every_launch(flags), *changes_again(old, cfg)),
    )


def first_networks(origin: dict[str, str]) -> Source:
    """Returns the networks from which a run begins again that was killed before its first state.

    Raises CheckpointError if they are gone.
    """
    is_here = Path(origin['file']).exists()
    try:
        return load_source(origin['file'] if is_here else origin.get('url', origin['file']), origin['sha256'])
    except UserError as error:
        if is_here or 'url' in origin:
            raise
        raise CheckpointError(
            f'{error}: this run has no state yet and would begin from these networks again; put them back, or begin a '
            f'new run with --resume=NEW_PATH'
        ) from None


def check_frozen(old: RunConfig, cfg: RunConfig) -> None:
    """Refuses a change of --freezed: the optimizer keeps state for unfrozen layers only."""
    before, now = (getattr(c.discriminator, 'freezed', 0) for c in (old, cfg))
    if before != now:
        raise ConfigError(f'--freezed={now}: this run began with {before} and continues with it; drop the flag')


def check_same(old: RunConfig, flags: TrainFlags) -> None:
    """Refuses flags that change a run's architecture, seed or use of the data."""
    began = {'cfg': old.cfg, 'seed': old.seed}
    began |= {flag: getattr(old.data, field) for flag, field in options.DATA_FLAGS.items() if flag != 'data'}
    for flag, before in began.items():
        now = getattr(flags, flag)
        if now is not None and now != before:
            raise ConfigError(f'--{flag}={now}: this run began with {before} and continues with it; drop the flag')


def changes_again(old: RunConfig, cfg: RunConfig) -> tuple[str, ...]:
    """Returns the options of this launch without which the recorded run would not find its data."""
    words = []
    if cfg.data.path != old.data.path:
        words.append(f'--data={cfg.data.path}')
    if cfg.metric_data != old.metric_data:
        words.append(f'--metric-data={cfg.metric_data or "none"}')
    if cfg.data_check != old.data_check:
        words.append(f'--set=data_check={cfg.data_check}')
    return tuple(words)


def continue_command(folder: Path, words: tuple[str, ...]) -> str:
    """Returns the command that continues a run.

    Args:
        folder: The run folder.
        words: Further options.
    """
    program = 'python train.py' if Path(sys.argv[0]).name == 'train.py' else 'ganfoundry train'
    return f'{program} {shlex.join([f"--resume={folder}", *words])}'
