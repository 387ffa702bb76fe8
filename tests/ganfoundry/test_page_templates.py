"""Templates escape what they insert, and refuse a name that nobody gave."""

from __future__ import annotations

import jinja2
import pytest

from ganfoundry.page_templates import page_templates


@pytest.mark.parametrize('package', ['ganfoundry.report', 'ganfoundry.export'])
def test_text_stays_text_and_a_missing_name_is_an_error(package: str) -> None:
    templates = page_templates(package)
    assert templates.from_string('{{ x }}').render(x='<script>') == '&lt;script&gt;'
    with pytest.raises(jinja2.UndefinedError):
        templates.from_string('{{ y }}').render()
    assert templates.list_templates()
