"""Blocks of a page: each has a template, and text stays text in all of them."""

from __future__ import annotations

import pytest

from ganfoundry.report.blocks import Command, Facts, Fold, Notice, Paragraph, Picture, Section, Table, walk
from ganfoundry.report.charts import Chart, Series
from ganfoundry.report.page import section_html

EVIL = '"><script>alert(1)</script>\'{{ 7 * 7 }}'
BLOCKS = [
    Paragraph(text=EVIL),
    Notice(text=EVIL, label=EVIL),
    Facts(pairs=[(EVIL, EVIL)]),
    Table(headers=[EVIL], rows=[[EVIL, EVIL]], caption=EVIL),
    Command(text=EVIL, label=EVIL),
    Picture(uri=EVIL, alt=EVIL, caption=EVIL),
    Chart(title=EVIL, series=[Series(name=EVIL, x=[0], y=[1])], note=EVIL),
    Fold(title=EVIL, blocks=[Paragraph(text=EVIL)]),
]


@pytest.mark.parametrize('block', BLOCKS, ids=lambda block: block.kind)
def test_text_stays_text_in_every_block(block):
    html = section_html(Section(title=EVIL, blocks=[block]))
    assert '<script' not in html
    assert '&lt;script&gt;' in html
    assert '{{ 7 * 7 }}' in html


def test_blocks_within_folds_are_found():
    inner = Paragraph(text='a')
    outer = Fold(title='b', blocks=[Fold(title='c', blocks=[inner])])
    assert list(walk([outer])) == [outer, outer.blocks[0], inner]
