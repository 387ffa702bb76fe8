"""A headless Chromium for tests of pages: the messages of its console and the hosts it asks are part of a test.

Browser tests skip themselves where chromium, chromedriver or selenium is missing. With GANFOUNDRY_BROWSER=required in
the environment, as in .ci/run, they fail instead.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest

OPTIONS = ('--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--hide-scrollbars')
HERE = ('', '127.0.0.1', 'localhost', '[::1]')
LOCAL_SCHEMES = ('file', 'data', 'blob', 'about', 'chrome', 'devtools')


class Browser:
    """A browser with the log of its console and of its requests.

    `driver` is selenium's; the methods here are what every browser test needs.

    Args:
        options: Arguments of Chromium.
    """

    def __init__(self, options: Sequence[str] = OPTIONS) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        chrome = webdriver.ChromeOptions()
        for option in options:
            chrome.add_argument(option)
        chrome.binary_location = shutil.which('chromium') or ''
        chrome.set_capability('goog:loggingPrefs', {'browser': 'ALL', 'performance': 'ALL'})
        self.driver = webdriver.Chrome(options=chrome, service=Service(shutil.which('chromedriver')))
        self.driver.set_script_timeout(60)

    def show(self, address: str, *, width: int = 1280, height: int = 800, dark: bool = False) -> None:
        """Opens a page in a window of a size in CSS pixels, light or dark; forgets the logs of the page before.

        A window cannot be narrower than about 500 pixels, a page can: the size is that of the page.
        """
        self.resize(width, height)
        scheme = {'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}
        self.driver.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': [scheme]})
        self.messages(), self.requests()
        self.driver.get(address)

    def resize(self, width: int, height: int = 800) -> None:
        """Sets the size of the page in CSS pixels."""
        size = {'width': width, 'height': height, 'deviceScaleFactor': 1, 'mobile': False}
        self.driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', size)

    def messages(self) -> list[str]:
        """Returns what the console has said since the last call, of all levels."""
        return [entry['message'] for entry in self.driver.get_log('browser')]

    def requests(self) -> list[str]:
        """Returns the addresses that were asked since the last call."""
        events = [json.loads(entry['message'])['message'] for entry in self.driver.get_log('performance')]
        return [event['params']['request']['url'] for event in events if event['method'] == 'Network.requestWillBeSent']

    def check_quiet(self) -> None:
        """Asserts that the console is empty and that no other host was asked, since the last call."""
        assert self.messages() == []
        foreign = [
            address
            for address in self.requests()
            if urlsplit(address).scheme not in LOCAL_SCHEMES and urlsplit(address).hostname not in HERE
        ]
        assert foreign == []

    def screenshot(self, path: Path) -> None:
        """Saves the whole page as PNG, not only what the window shows."""
        height = self.driver.execute_script('return document.documentElement.scrollHeight')
        width = self.driver.execute_script('return document.documentElement.clientWidth')
        self.resize(width, height)
        self.driver.save_screenshot(str(path))

    def close(self) -> None:
        """Ends the browser."""
        self.driver.quit()


def missing() -> str:
    """Returns what a browser test lacks on this machine, '' if it can run."""
    lacking = [name for name in ('chromium', 'chromedriver') if shutil.which(name) is None]
    try:
        import selenium  # noqa: F401
    except ImportError:
        lacking.append('selenium')
    return ', '.join(lacking)


@pytest.fixture(scope='session')
def browser() -> Iterator[Browser]:
    """One headless browser for all tests of a process; skips, or fails where a browser is required."""
    if lacking := missing():
        reason = f'no {lacking}: apt-get install chromium chromium-driver; make setup-all'
        if os.environ.get('GANFOUNDRY_BROWSER') == 'required':
            pytest.fail(reason)
        pytest.skip(reason)
    chromium = Browser()
    yield chromium
    chromium.close()
