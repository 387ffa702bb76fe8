"""Rows of a comparison: a --cfg with the flags that are its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dnnlib.errors import ConfigError
from training.registry import RECIPES

ALL = 'all'  # --cfgs=all: every registered recipe
# Widths for a budget of CPU hours, used with --small: at 32x32 the papers' own are too slow for a few cores, unless
# they are small already.
STYLE = ('--cbase=1024', '--cmax=128')
RESIDUAL = ('--set=generator.channel_max=64', '--set=discriminator.channel_max=64')
# At equal widths, the layers and margins of StyleGAN3 cost ten times as much. The discriminator is that of STYLE.
ALIAS_FREE = (*STYLE, '--set=generator.channel_base=512', '--set=generator.channel_max=32')
OF_STYLE = (
    'auto', 'stylegan2', 'paper256', 'paper512', 'paper1024', 'cifar', 'squeeze', 'gconv-stylegan2', 'ifgan',
    'traditional',
)  # fmt: skip
AS_PUBLISHED = (
    'giu', 'giu-base', 'giu-norbn', 'giu-nogiu', 'sngan', 'sagan', 'wgan-gp', 'wgan-gp+2', 'wgan-gp+3', 'lsgan', 'igan',
)  # fmt: skip
SMALL: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(OF_STYLE, STYLE),
    **dict.fromkeys(('stylegan3-t', 'stylegan3-r'), ALIAS_FREE),
    'gconv': RESIDUAL,
    **dict.fromkeys(AS_PUBLISHED, ()),
    'squeeze-small': (),  # 1024 and 128 are its own
    'dcgan': ('--set=generator.channel_base=1024',),
    **dict.fromkeys(('r3gan', 'r3gan-imagenet'), ('--cmax=96',)),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperNumber:
    """A number that a paper reports for a row. source: where, such as 'Table 2, FFHQ at 256x256'."""

    metric: str
    value: float
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the comparison.

    Attributes:
        label: Name in the table, and of its folders.
        cfg: The recipe.
        flags: Its own flags, as train.py takes them.
        paper: Numbers of its paper, which are shown beside the measured ones.
    """

    label: str
    cfg: str
    flags: tuple[str, ...] = ()
    paper: tuple[PaperNumber, ...] = ()


def parse_rows(cfgs: str, sets: Sequence[str], flags: Sequence[str], *, small: bool) -> tuple[Row, ...]:
    """Returns the rows of --cfgs.

    Args:
        cfgs: Comma list of --cfg names or of LABEL=CFG; 'all' for every registered one.
        sets: Items of --set: 'LABEL:FIELD=VALUE' applies to one row, 'FIELD=VALUE' to all.
        flags: Items of --flag, in the same form: '[LABEL:]--NAME=VALUE'.
        small: Whether rows have reduced widths.

    Raises:
        ConfigError: If a name is unknown or occurs twice, or an item belongs to no row.
    """
    if cfgs == ALL:
        RECIPES.load_all()
    names = RECIPES.names() if cfgs == ALL else cfgs.split(',')
    pairs = [(label, cfg or label) for label, _, cfg in (item.strip().partition('=') for item in names)]
    rows = checked_rows([Row(label=label, cfg=cfg) for label, cfg in pairs], f'--cfgs={cfgs}')
    return with_flags(rows, sets, flags, small=small)


def checked_rows(rows: Sequence[Row], where: str) -> tuple[Row, ...]:
    """Returns the rows if each has a name of its own, fit for a folder, and a --cfg that exists.

    Args:
        rows: The rows.
        where: Option or file that they come from, for messages.
    """
    labels = [row.label for row in rows]
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise ConfigError(f'{where}: a name stands there twice ({twice}); tell them apart with LABEL=CFG')
    for row in rows:
        if not row.label or row.label.startswith('.') or any(c in row.label for c in '/\\:=\n\0'):
            raise ConfigError(f"{where}: '{row.label}' cannot name a row; use letters, digits, - and _")
        try:
            RECIPES.get(row.cfg)  # an unknown name is refused before hours of training
        except ConfigError as error:
            raise ConfigError(f'{where}: {error}') from None
    return tuple(rows)


def with_flags(
    rows: Sequence[Row], sets: Sequence[str], flags: Sequence[str], *, small: bool, before: bool = False
) -> tuple[Row, ...]:
    """Returns the rows with the flags of --set and --flag; see `parse_rows`.

    Args:
        rows: Rows without reduced widths.
        sets: Items of --set.
        flags: Items of --flag.
        small: Whether rows have reduced widths.
        before: Whether the flags precede those that a row has, which then win where both set one thing.
    """
    shared: list[str] = []
    own: dict[str, list[str]] = {row.label: [] for row in rows}
    for option, item in [*(('--set', item) for item in sets), *(('--flag', item) for item in flags)]:
        label, colon, setting = item.partition(':')
        if not colon or '=' in label:
            label, setting = '', item
        elif label not in own:
            raise ConfigError(f'{option} {item}: {label} is no row; the rows are {", ".join(own)}')
        if option == '--flag' and not setting.startswith('--'):
            raise ConfigError(f'--flag {item}: expected [LABEL:]--NAME=VALUE, a flag of train.py')
        chosen = own[label] if label else shared
        chosen.append(f'--set={setting}' if option == '--set' else setting)
    own = {label: [*shared, *items] for label, items in own.items()}  # train.py heeds the last: a row's own win
    for row in rows:
        if small and row.cfg not in SMALL and not row.flags and not own[row.label]:
            raise ConfigError(
                f'--small: compare.py has no reduced widths for {row.cfg}; give it its own, '
                f'--set {row.label}:FIELD=VALUE, or leave --small out'
            )
    widths = SMALL if small else {}
    changed = []
    for row in rows:
        first, second = (own[row.label], row.flags) if before else (row.flags, own[row.label])
        changed.append(replace(row, flags=(*widths.get(row.cfg, ()), *first, *second)))
    return tuple(changed)
