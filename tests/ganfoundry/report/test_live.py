"""The server of a live report: guarded, and quick to show what a run adds."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from ganfoundry.report.live import live_app
from ganfoundry.report.live_updates import LiveReport
from ganfoundry.report.page import policy
from ganfoundry.report.run_report import open_runs
from ganfoundry.serving import LocalServer, ServingOptions
from tests.support.browser import Browser
from tests.support.run_folders import files_of, metric_line, sheet_pixels, tick_line
from torch_utils.images import save_png
from training.run.run_folder import RunFolder

pytest.importorskip('starlette')
pytest.importorskip('uvicorn')
WITHIN_S = 2.0  # a new tick is shown within this time
LOADED = 10  # times slower that a machine with other work may be


class Served:
    """A live report in a thread of this process."""

    def __init__(self, run: Path) -> None:
        self.local = LocalServer('report.py --watch', ServingOptions(port=0))
        app = live_app(LiveReport(open_runs([run]), self.local.token), lambda: self.local.is_stopping)
        self.server = self.local.uvicorn_server(self.local.guarded(app, open_paths=(), csp=policy(live=True)))
        self.thread = threading.Thread(target=self.server.run, kwargs={'sockets': [self.local.socket]})
        self.thread.start()

    def stop(self) -> None:
        """Ends the server."""
        self.server.should_exit = True
        self.thread.join(timeout=30)
        self.local.close()


@pytest.fixture
def served(finished: Path) -> Iterator[Served]:
    """The live report of a run."""
    server = Served(finished)
    yield server
    server.stop()


def append(path: Path, text: str) -> None:
    """Appends text to a file."""
    with path.open('a') as file:
        file.write(text)


def test_requests_need_the_token_and_reach_no_file_of_their_choice(served: Served):
    address, query = f'http://127.0.0.1:{served.local.port}', {'token': served.local.token}
    for path in ('/', '/events', '/sheet/0/0', '/reals/0'):
        assert requests.get(address + path, timeout=30).status_code == 403
        assert requests.get(address + path, params={'token': 'x' * 32}, timeout=30).status_code == 403
    rebound = {'Host': 'evil.example'}
    assert requests.get(address, params=query, headers=rebound, timeout=30).status_code == 403
    page = requests.get(address, params=query, timeout=30)
    assert page.status_code == 200
    assert page.headers['content-security-policy'].startswith("default-src 'none'; script-src 'sha256-")
    assert requests.get(f'{address}/sheet/0/2000', params=query, timeout=30).headers['content-type'] == 'image/webp'
    for path in ('/sheet/0/3', '/sheet/9/0', '/sheet/0/..%2f..%2fetc', '/sheet/-1/0', '/etc/passwd', '/reals/5'):
        assert requests.get(address + path, params=query, timeout=30).status_code == 404


@pytest.mark.slow
def test_a_tick_a_metric_and_a_sheet_show_up_and_the_run_is_left_as_it_is(
    browser: Browser, served: Served, finished: Path
):
    from selenium.webdriver.support.wait import WebDriverWait

    before = files_of(finished)
    browser.show(served.local.url)
    wait = WebDriverWait(browser.driver, WITHIN_S * LOADED, poll_frequency=0.1)
    lead = browser.driver.find_element('id', 'lead')
    loss = 'return Charts.drawn.get("losses").chart.spec.series[0].x.at(-1)'
    wait.until(lambda _: browser.driver.execute_script('return document.documentElement.dataset.ready'))
    append(finished / 'stats.jsonl', tick_line(8, 8000))
    wait.until(lambda _: 'Finished at 8 of 6 kimg' in lead.text)
    assert browser.driver.execute_script(loss) == 8
    append(finished / 'metric-fd_efflite1k.jsonl', metric_line(8000, 55))
    values = browser.driver.find_element('css selector', '[data-chart="fd-efflite1k"] .value')
    wait.until(lambda _: values.text == '55 (53 to 57), best 55 at 8')
    save_png(sheet_pixels(8000), RunFolder(finished).sheet(8000), {'nimg': 8000})
    slider = browser.driver.find_element('id', 'sheet-slider')
    wait.until(lambda _: slider.get_attribute('aria-valuetext').startswith('8 kimg, fd_efflite1k 55'))
    wait.until(
        lambda _: 'sheet/0/8000' in browser.driver.find_element('css selector', '.sheet-frame img').get_attribute('src')
    )
    append(finished / 'log.txt', 'WARNING: the metric has become worse 3 times in a row; stop <b>here</b>\n')
    wait.until(lambda _: 'Advice: stop <b>here</b>.' in browser.driver.find_element('tag name', 'main').text)
    browser.check_quiet()
    changed = {'stats.jsonl', 'metric-fd_efflite1k.jsonl', 'log.txt', 'fakes000008.png'}
    after = files_of(finished)
    assert {name: after[name] for name in before if name not in changed} == {
        name: found for name, found in before.items() if name not in changed
    }
    assert set(after) - set(before) <= changed


@pytest.mark.slow
def test_a_page_says_when_its_server_is_gone(browser: Browser, finished: Path):
    from selenium.webdriver.support.wait import WebDriverWait

    server = Served(finished)
    browser.show(server.local.url)
    banner = browser.driver.find_element('id', 'connection')
    time.sleep(0.5)
    assert not banner.is_displayed()
    server.stop()
    WebDriverWait(browser.driver, 20).until(lambda _: banner.is_displayed())
    assert 'The server does not answer' in banner.text
