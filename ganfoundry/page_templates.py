"""Templates of pages: they escape what they insert, and a name that is missing is an error."""

from __future__ import annotations

import jinja2


def page_templates(package: str) -> jinja2.Environment:
    """Returns the templates in the folder `templates` of a package."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
