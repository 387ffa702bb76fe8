"""Options of a command in sections: `--help` lists them by subject."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar('F', bound=Callable[..., Any])


class SectionOption(click.Option):
    """An option that belongs to a section of `--help`."""

    def __init__(self, *args: Any, section: str, **attributes: Any) -> None:
        """Makes an option of click; `section` is the heading under which it is listed."""
        super().__init__(*args, **attributes)
        self.section = section


class SectionCommand(click.Command):
    """A command whose `--help` lists the options by section, in the order in which the sections first occur."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the sections; options without one follow as `Other`."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if (record := param.get_help_record(ctx)) is not None:
                title = param.section if isinstance(param, SectionOption) else 'Other'
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def section(title: str) -> Callable[..., Callable[[F], F]]:
    """Returns click's `option` for the options of a section."""

    def option(*names: str, **attributes: Any) -> Callable[[F], F]:
        return click.option(*names, cls=SectionOption, section=title, **attributes)

    return option
