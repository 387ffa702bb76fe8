"""Pages: one file, nothing from elsewhere, and charts that can be read by mouse and keyboard."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest

from ganfoundry.report.blocks import Command, Section, Table
from ganfoundry.report.charts import Chart, Series
from ganfoundry.report.page import asset, page_html, policy
from tests.support.browser import Browser

EVIL = '</script><script>document.title = "evil"</script><img src="http://example.invalid/x.png" onerror="alert(1)">'
CHART = Chart(
    title='FD',
    series=[
        Series(name='fd', x=[0, 100, 300], y=[90, 50, 20.5], low=[80, 45, 19], high=[99, 55, 22], points=True, best=2),
        Series(name=EVIL, x=[50, 100], y=[float('nan'), 60]),
    ],
)  # fmt: skip
SECTIONS = [
    Section(title='Curves', blocks=[CHART, Table(headers=['field', 'value'], rows=[['cfg', EVIL]])]),
    Section(title='Commands', blocks=[Command(text='python train.py')]),
    Section(title='Nothing', blocks=[]),
]


def write(folder: Path, **options) -> str:
    """Writes the page of this file and returns its address."""
    path = folder / 'page.html'
    path.write_text(page_html('Demo', SECTIONS, lead=EVIL, **options), 'utf-8')
    return path.as_uri()


def test_the_policy_has_the_digests_of_the_one_style_and_the_one_script():
    html = page_html('Demo', SECTIONS)
    for name in ('style', 'script'):
        (text,) = re.findall(f'<{name}>(.*?)</{name}>', html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy()
    assert "connect-src 'self'" not in policy()
    assert "connect-src 'self'" in policy(live=True)


def test_a_section_without_contents_is_left_out():
    assert 'Nothing' not in page_html('Demo', SECTIONS)


def test_the_page_carries_the_license_of_uplot():
    assert asset('uPlot.LICENSE') in page_html('Demo', [])


@pytest.mark.slow
@pytest.mark.parametrize(('width', 'dark'), [(1280, False), (360, True)])
def test_a_page_asks_nothing_and_fits(browser: Browser, tmp_path: Path, width: int, dark: bool):
    address = write(tmp_path)
    browser.show(address, width=width, dark=dark)
    assert browser.messages() == []
    assert [place for place in browser.requests() if place.startswith(('http', 'file'))] == [address]
    assert browser.driver.title == 'Demo'
    assert browser.driver.execute_script('return document.documentElement.scrollWidth') == width
    assert browser.driver.execute_script('return document.querySelectorAll("#main img").length') == 0


@pytest.mark.slow
def test_arrow_keys_read_the_values_of_a_chart(browser: Browser, tmp_path: Path):
    from selenium.webdriver.common.keys import Keys

    browser.show(write(tmp_path))
    plot = browser.driver.find_element('css selector', '.plot')
    value = browser.driver.find_element('css selector', '.legend .value')
    assert value.text == '20.5 (19 to 22), best 20.5 at 300'
    plot.send_keys(Keys.HOME, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert value.text == '50 (45 to 55)'
    plot.send_keys(Keys.ESCAPE)
    assert value.text == '20.5 (19 to 22), best 20.5 at 300'


@pytest.mark.slow
def test_a_curve_can_be_switched_off(browser: Browser, tmp_path: Path):
    browser.show(write(tmp_path))
    picture = 'return document.querySelector(".plot canvas").toDataURL()'
    before = browser.driver.execute_script(picture)
    button = browser.driver.find_element('css selector', '.legend button')
    button.click()
    assert button.get_attribute('aria-pressed') == 'false'
    assert browser.driver.execute_script(picture) != before
