"""Tables of command-line options in the pages of this folder: `python docs/flags.py` checks them, `--write` updates.

A page marks each table by two comments; the first names the command and the options by their click names:

    <!-- flags train: data cond subset -->
    <!-- /flags -->
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    'train': 'training.md',
    'generate': 'using.md',
    'style_mixing': 'using.md',
    'gen_video': 'using.md',
    'projector': 'using.md',
    'report': 'report.md',
    'compare': 'compare.md',
    'export': 'export.md',
    'inspect_network': 'inspecting.md',
    'explore': 'explorer.md',
    'calc_metrics': 'metrics.md',
    'log_run': 'logging.md',
}
TABLE = re.compile(r'(<!-- flags (\w+): ([\w ]+) -->\n).*?(<!-- /flags -->)', flags=re.DOTALL)


def options_of(command: str) -> dict[str, click.Option]:
    """Returns the options of a command by their names in Python."""
    main = importlib.import_module(f'ganfoundry.commands.{command}').main
    return {option.name: option for option in main.params if isinstance(option, click.Option) and option.name}


def render(text: str) -> str:
    """Returns a page with its tables brought up to date."""
    return TABLE.sub(lambda match: match[1] + table(match[2], match[3].split()) + match[4], text)


def listed(text: str) -> list[tuple[str, str]]:
    """Returns (command, option) for every row of the tables of a page, in their order."""
    return [(command, name) for _, command, names, _ in TABLE.findall(text) for name in names.split()]


def table(command: str, names: list[str]) -> str:
    """Returns one table in Markdown, with a column of config fields for train.py."""
    options = options_of(command)
    fields = config_fields() if command == 'train' else {}
    rows = [('flag', 'value', 'meaning'), ('---', '---', '---')]
    rows += [(flags_of(options[name]), values_of(options[name]), help_of(options[name])) for name in names]
    if fields:
        columns = ['field', '---', *(', '.join(f'`{path}`' for path in fields.get(name, ())) for name in names)]
        rows = [(*row, field) for row, field in zip(rows, columns, strict=True)]
    return '\n' + ''.join(f'| {" | ".join(row)} |\n' for row in rows) + '\n'


def config_fields() -> dict[str, tuple[str, ...]]:
    """Returns the config fields that each flag of train.py sets."""
    from ganfoundry.options import DATA_FLAGS, FLAGS

    return FLAGS | {flag: (f'data.{field}',) for flag, field in DATA_FLAGS.items()}


def flags_of(option: click.Option) -> str:
    """Returns the spellings of an option, such as `-n`, `--dry-run`."""
    return ', '.join(f'`{spelling}`' for spelling in [*option.opts, *option.secondary_opts])


def values_of(option: click.Option) -> str:
    """Returns the choices, the metavar or the type of an option; nothing for a switch."""
    if isinstance(option.type, click.Choice):
        return ', '.join(f'`{choice}`' for choice in option.type.choices)
    if option.is_flag:
        return ''
    kind = option.type.name.upper().removesuffix(' RANGE')
    return escaped(option.metavar or {'INTEGER': 'INT', 'BOOLEAN': 'BOOL'}.get(kind, kind))


def help_of(option: click.Option) -> str:
    """Returns the help text of an option, with its default if `--help` shows it."""
    text = escaped(option.help or '')
    return f'{text}  [default: {option.default}]'.strip() if option.show_default else text


def escaped(text: str) -> str:
    """Returns `text` for a cell of a table in Markdown."""
    return text.replace('|', '\\|')


def main() -> int:
    """Checks or writes every page; returns the exit code."""
    stale = []
    for page in PAGES.values():
        path = ROOT / 'docs' / page
        text = path.read_text()
        if (new := render(text)) != text:
            stale.append(page)
            if '--write' in sys.argv:
                path.write_text(new)
    if stale and '--write' not in sys.argv:
        print(f'out of date: {", ".join(stale)}; python docs/flags.py --write', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
