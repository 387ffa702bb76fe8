"""Plan of a comparison: rows, seeds, budget and measurements, and the flags of train.py that follow from them.

Every run sees the same data, budget and --batch. All else is its recipe's, except for fields that belong to the
recipe's own length, which is thousands of kimg:

- `lr_decay_kimg` keeps its share of the run: recipe's decay / recipe's kimg * kimg of the run;
- `schedule.kimg`, and the half-life `schedule.ema_kimg` at its end, keep their shares of the run, too;
- an average of weights without a ramp gets `ema.rampup=0.05`: its half-life is at most a twentieth of the images shown.

--set overrides both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from dnnlib.errors import ConfigError
from ganfoundry.commands import train
from ganfoundry.compare.rows import Row
from ganfoundry.options import TrainFlags
from ganfoundry.runs import new_run
from training import plan as costs
from training.config import RunConfig
from training.interface import ImageSpec
from training.registry import RECIPES

TICKS_PER_MEASUREMENT = 2
RUNGS = (0.25, 0.5)  # shares of the length after which halving decides

Budget = Literal['kimg', 'hours', 'macs']
Halving = Literal['off', 'noise', 'strict']
BUDGETS: tuple[Budget, ...] = get_args(Budget)
HALVINGS: tuple[Halving, ...] = get_args(Halving)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Settings of a comparison.

    Attributes:
        rows: What is compared.
        seeds: Training seeds; every row is trained from each.
        kimg: Length of a run; under budget 'macs' that of the first row, under 'hours' that of the schedules.
        batch: Images per step.
        metrics: Names; the first one decides, and none disables measurements.
        images: Largest number of images that a metric generates; None: as its name says.
        measurements: Measurements in the course of a run.
        budget: What is equal in all runs: images, hours, or multiply-adds.
        hours: Wall time of a run under budget 'hours'.
        halving: Whether rows leave early: 'noise' asks for significance, 'strict' is the textbook form.
        shared: Flags of train.py for every run: data, size, machine.
        jobs: Number of simultaneous runs.
        threads: CPU threads of a run.
        devices: Numbers of the GPUs that runs are distributed over; empty on a CPU and with a launcher.
        launcher: Words before the command of a run, such as ('srun', '--gres=gpu:1').
        command: The command line.
    """

    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    kimg: int
    batch: int
    metrics: tuple[str, ...]
    images: int | None = None
    measurements: int = 8
    budget: Budget = 'kimg'
    hours: float | None = None
    halving: Halving = 'off'
    shared: tuple[str, ...] = ()
    jobs: int = 1
    threads: int = 1
    devices: tuple[int, ...] = ()
    launcher: tuple[str, ...] = ()
    command: tuple[str, ...] = ()

    @property
    def metric(self) -> str | None:
        """The metric that decides."""
        return self.metrics[0] if self.metrics else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Size of one run, forward and in one direction. macs: multiply-adds of one image through G and D."""

    kimg: int
    macs: int
    config: RunConfig


def check_plan(plan: Plan) -> None:
    """Refuses settings that exclude each other."""
    if (plan.budget == 'hours') != (plan.hours is not None):
        raise ConfigError('--budget=hours and --hours=H belong together: every run trains for H hours')
    if plan.halving == 'off':
        return
    if plan.metric is None:
        raise ConfigError('--halving decides by a metric; name one with --metric')
    if plan.budget == 'hours':
        raise ConfigError('--halving needs runs of a known length; take --budget=kimg or --budget=macs')
    if plan.measurements % 4:
        raise ConfigError(
            f'--measurements={plan.measurements}: --halving decides at a quarter and at half of the length; take a '
            f'multiple of 4'
        )
    if plan.halving == 'noise' and len(plan.seeds) < 2:
        raise ConfigError('--halving drops a row that is significantly worse, which one seed never shows; name --seeds')


def budget_flags(cfg: str, spec: ImageSpec, kimg: int) -> tuple[str, ...]:
    """Returns the flags that adapt a recipe to a length; see the top of the file.

    Args:
        cfg: Name of the recipe.
        spec: Facts of the images.
        kimg: Length of the run.
    """
    try:
        recipe = RECIPES.get(cfg).make(spec, 1)
    except ConfigError:  # it cannot draw such images: its runs will say so, and be reported
        return ()
    flags = []
    if recipe.lr_decay_kimg > 0:
        flags.append(f'--set=lr_decay_kimg={recipe.lr_decay_kimg / recipe.kimg * kimg:g}')
    if recipe.ema.kimg > 0 and recipe.ema.rampup is None:
        flags.append('--set=ema.rampup=0.05')
    flags += [f'--set={path}={value * kimg / recipe.kimg:g}' for path, value in kimg_of_schedule(recipe).items()]
    return tuple(flags)


def kimg_of_schedule(recipe: RunConfig) -> dict[str, float]:
    """Returns the lengths of a recipe's schedules by path; nothing if its values are constant."""
    lengths = {'schedule.kimg': recipe.schedule.kimg, 'schedule.ema_kimg': recipe.schedule.ema_kimg}
    return {path: value for path, value in lengths.items() if value}


def run_flags(plan: Plan, row: Row, seed: int, spec: ImageSpec, kimg: int) -> tuple[str, ...]:
    """Returns the flags of train.py that decide a run.

    Args:
        plan: The plan.
        row: Its row.
        seed: Its training seed.
        spec: Facts of the images.
        kimg: Its length.
    """
    tick = kimg / plan.measurements / TICKS_PER_MEASUREMENT
    flags = [f'--cfg={row.cfg}', f'--kimg={kimg}', f'--batch={plan.batch}']
    flags += [f'--metrics={",".join(plan.metrics) or "none"}', f'--tick={tick:g}', f'--snap={TICKS_PER_MEASUREMENT}']
    flags += [f'--metrics-images={plan.images}'] if plan.images and plan.metrics else []
    flags += ['--keep=1', '--set=grid_images=64', *plan.shared]
    return (*flags, *budget_flags(row.cfg, spec, kimg), f'--seed={seed}', *row.flags)


def config_of(flags: tuple[str, ...]) -> tuple[RunConfig, ImageSpec]:
    """Returns the config and the facts of the run that train.py would make of these flags. Raises ConfigError."""
    with train.main.make_context('train.py', list(flags)) as context:
        run = new_run(TrainFlags(**{**context.params, 'dry_run': True}))
    return run.cfg, run.dataset.spec


def cost_of(plan: Plan, row: Row, spec: ImageSpec, kimg: int) -> Cost | None:
    """Returns the cost of a run of a row; None if train.py refuses its flags, which its runs will report.

    Args:
        plan: The plan.
        row: The row.
        spec: Facts of the images.
        kimg: Length of the run.
    """
    try:
        cfg, facts = config_of(run_flags(plan, row, plan.seeds[0], spec, kimg))
        return Cost(kimg=kimg, macs=costs.total_macs(cfg, facts), config=cfg)
    except ConfigError:
        return None


def row_costs(plan: Plan, spec: ImageSpec) -> dict[str, Cost | None]:
    """Returns the cost of a run of each row, by label.

    Under budget 'macs' every row gets the multiply-adds that the first row needs for `plan.kimg`, rounded to whole
    kimg, and at least 1.

    Raises:
        ConfigError: If the first row, which sets the budget, cannot be trained.
    """
    found = {row.label: cost_of(plan, row, spec, plan.kimg) for row in plan.rows}
    if plan.budget != 'macs':
        return found
    first = found[plan.rows[0].label]
    if first is None:
        raise ConfigError(
            f'--budget=macs: the first row sets the budget, and {plan.rows[0].label} cannot be trained; put another '
            f'row first'
        )
    total = plan.kimg * first.macs
    lengths = {label: max(round(total / cost.macs), 1) for label, cost in found.items() if cost is not None}
    rows = {row.label: row for row in plan.rows}
    return {label: cost_of(plan, rows[label], spec, lengths[label]) if cost else None for label, cost in found.items()}


def snapshot_moments(cfg: RunConfig) -> list[int]:
    """Returns the numbers of images at which a run makes its measured snapshots, as `training.loop` does."""
    moments, nimg, start, tick = [], 0, 0, 0
    while nimg < cfg.kimg * 1000:
        nimg += cfg.batch
        done = nimg >= cfg.kimg * 1000
        if done or nimg == cfg.batch or nimg >= start + cfg.tick * 1000:
            if done or (tick > 0 and tick % cfg.snap == 0):
                moments.append(nimg)
            start, tick = nimg, tick + 1
    return moments


def rung(cfg: RunConfig, share: float) -> int:
    """Returns the first measured moment, in images, of at least this share of a run's length."""
    return next(nimg for nimg in snapshot_moments(cfg) if nimg >= share * cfg.kimg * 1000)
