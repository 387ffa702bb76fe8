"""Blocks of a page: paragraphs, notices, facts, tables, commands, pictures. Text of any origin stays text.

`ganfoundry.report.charts.Chart` is a block, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol


class Block(Protocol):
    """Part of a section. `kind` names the macro of templates/blocks.html that draws it."""

    kind: ClassVar[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A part of a page with a heading.

    Attributes:
        title: The heading, unique within the page.
        blocks: The contents; a section without any is left out.
    """

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, kw_only=True, slots=True)
class Paragraph:
    """Plain text."""

    kind: ClassVar[str] = 'paragraph'
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """Highlighted text. label: words before it, such as the moment that it belongs to."""

    kind: ClassVar[str] = 'notice'
    text: str
    label: str = ''
    level: Literal['note', 'warning', 'error'] = 'warning'


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """Names with values."""

    kind: ClassVar[str] = 'facts'
    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows of text; the first cell of a row is its heading.

    Attributes:
        headers: Headings of the columns.
        rows: One text per column.
        caption: Sentence above the table.
    """

    kind: ClassVar[str] = 'table'
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ''


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A command line with a button that copies it. label: sentence above it."""

    kind: ClassVar[str] = 'command'
    text: str
    label: str = ''


@dataclass(frozen=True, kw_only=True, slots=True)
class Preformatted:
    """Text whose line breaks and spaces count."""

    kind: ClassVar[str] = 'preformatted'
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A picture.

    Attributes:
        uri: Address of the picture, usually that of `ganfoundry.report.embedding.data_uri`.
        alt: Description for people who do not see it.
        caption: Sentence below it.
    """

    kind: ClassVar[str] = 'picture'
    uri: str
    alt: str
    caption: str = ''


@dataclass(frozen=True, kw_only=True, slots=True)
class Fold:
    """Blocks that are hidden until the reader opens them."""

    kind: ClassVar[str] = 'fold'
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sheets:
    """Sample sheets, whose pictures are in the page's data."""

    kind: ClassVar[str] = 'sheets'


def walk(blocks: Sequence[Block]) -> Iterator[Block]:
    """Yields all blocks, also those within folds."""
    for block in blocks:
        yield block
        if isinstance(block, Fold):
            yield from walk(block.blocks)
