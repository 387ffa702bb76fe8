"""Options with a fixed set of values: a near miss proposes the meant one."""

from __future__ import annotations

from typing import Any

import click

from dnnlib.registry import did_you_mean


class Choice(click.Choice):  # type: ignore[type-arg]  # generic since click 8.2
    """A choice of click whose error ends with the nearest value."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns the chosen value."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            hint = did_you_mean(str(value), [str(choice) for choice in self.choices]).strip()
            if not hint:
                raise
            self.fail(f'{error.message.rstrip(".")}; {hint}', param, ctx)
