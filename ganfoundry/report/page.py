"""Self-contained pages: one file in HTML with style, script, charts and pictures, which asks no other file.

    html = page_html('Comparison', lead='squeeze is the best.', sections=[
        Section(title='Curves', blocks=[Chart(title='FD', series=[...]), Table(headers=..., rows=...)]),
    ])

Everything that `sections` contain is escaped. A Content-Security-Policy with the digests of style and script forbids
everything else, so that a browser would not execute what an escape might miss.
"""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from markupsafe import Markup

from ganfoundry import __version__
from ganfoundry.content_policy import digest_source
from ganfoundry.page_templates import page_templates
from ganfoundry.report.blocks import Section, walk
from ganfoundry.report.charts import Chart, identifier

STYLES = ('uPlot.min.css', 'page.css')
SCRIPTS = ('uPlot.iife.min.js', 'charts.js', 'sheets.js', 'live.js', 'page.js')
NOTICE = 'uPlot.LICENSE'  # of the first script
NOWHERE = "base-uri 'none'; form-action 'none'"  # directives that `ganfoundry.serving` adds itself


@functools.cache
def asset(name: str) -> str:
    """Returns the text of a file of the package."""
    return importlib.resources.files('ganfoundry.report').joinpath('assets', name).read_text('utf-8')


@functools.cache
def style() -> str:
    """Returns the style of every page."""
    return '\n'.join(asset(name) for name in STYLES)


@functools.cache
def script() -> str:
    """Returns the script of every page, with the license of uPlot."""
    return '\n'.join([f'/*!\n{asset(NOTICE)}*/', *(asset(name) for name in SCRIPTS)])


def policy(*, live: bool = False) -> str:
    """Returns the Content-Security-Policy of a page. live: whether the page asks its server for more."""
    own = " 'self'" if live else ''
    parts = [
        "default-src 'none'",
        f'script-src {digest_source(script())}',
        f'style-src {digest_source(style())}',
        f'img-src data:{own}',
        *(["connect-src 'self'"] if live else []),
    ]
    return '; '.join(parts)


@functools.cache
def templates() -> jinja2.Environment:
    """Returns the templates of the package, which escape what they insert."""
    environment = page_templates('ganfoundry.report')
    environment.filters['identifier'] = identifier
    environment.policies['json.dumps_kwargs'] = {'allow_nan': False, 'separators': (',', ':')}
    return environment


def page_html(
    title: str,
    sections: Sequence[Section],
    *,
    lead: str = '',
    data: Mapping[str, Any] | None = None,
    live: bool = False,
) -> str:
    """Returns a page.

    Args:
        title: Title of the page.
        sections: Its parts.
        lead: Sentence below the title.
        data: Further data of the page's script, by name, as JSON holds them.
        live: Whether the page is served, and asks its server for more.
    """
    shown = [section for section in sections if section.blocks]
    charts = {
        block.identifier: block.data()
        for section in shown
        for block in walk(section.blocks)
        if isinstance(block, Chart)
    }
    return (
        templates()
        .get_template('page.html')
        .render(
            title=title,
            lead=lead,
            sections=shown,
            data={'charts': charts, **(data or {})},
            policy=f'{policy(live=live)}; {NOWHERE}',
            style=Markup(style()),
            script=Markup(script()),
            version=__version__,
        )
    )


def section_html(section: Section) -> str:
    """Returns the inside of a section, for a page that replaces one."""
    return templates().get_template('section.html').render(section=section)
