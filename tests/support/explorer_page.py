"""The page of the explorer in a real browser, as a user handles it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.support.browser import Browser

READY = "return document.body.dataset.ready === 'yes'"
SHOWN = "return document.querySelectorAll('#sides figure')[{}].dataset.shown"
# The pixels of a picture as the browser has decoded them, RGBA.
PIXELS = """
const image = document.querySelectorAll('#sides img')[arguments[0]];
const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
const context = canvas.getContext('2d');
context.drawImage(image, 0, 0);
return [canvas.height, canvas.width, [...context.getImageData(0, 0, canvas.width, canvas.height).data]];
"""
SET = """
const element = document.getElementById(arguments[0]);
element.value = arguments[1];
for (const name of ['input', 'change']) element.dispatchEvent(new Event(name, { bubbles: true }));
"""


class Page:
    """The explorer in the browser."""

    def __init__(self, browser: Browser) -> None:
        self.browser, self.driver = browser, browser.driver

    def js(self, code: str, *args: Any) -> Any:
        """Returns the result of JavaScript."""
        return self.driver.execute_script(code, *args)

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Waits until something is true."""
        for _ in range(300):
            if condition():
                return
            time.sleep(0.05)
        raise AssertionError(f'15 s without {what}; {self.js("return document.body.innerText")}')

    def open(self, url: str, **how: Any) -> None:
        """Opens the page and waits for its controls and its final picture."""
        self.driver.get('about:blank')  # a new fragment alone would not load the page
        self.browser.show(url, **how)
        self.wait(lambda: self.js(READY), 'controls')
        self.settle()

    def settle(self, side: int = 0) -> str:
        """Waits until the picture of the present settings is there; returns its query."""
        self.wait(lambda: (self.js(SHOWN.format(side)) or '').endswith(' false'), 'a picture')
        return str(self.js(SHOWN.format(side))).removesuffix(' false')

    def pixels(self, side: int = 0) -> np.ndarray:
        """Returns the picture on the screen, uint8 [H, W, 3]."""
        height, width, data = self.js(PIXELS, side)
        return np.array(data, np.uint8).reshape(height, width, 4)[:, :, :3]

    def set(self, key: str, value: str) -> None:
        """Gives a control a value, as a user does."""
        self.js(SET, key, value)

    def click(self, key: str) -> None:
        """Presses a button."""
        self.js('document.getElementById(arguments[0]).click()', key)

    def text(self, key: str) -> str:
        """Returns the text of an element."""
        return str(self.js('return document.getElementById(arguments[0]).innerText', key))

    def hidden(self, key: str) -> bool:
        """Returns whether an element takes no place."""
        return bool(self.js('return document.getElementById(arguments[0]).offsetParent === null', key))

    def address(self) -> str:
        """Returns the settings in the address."""
        time.sleep(0.3)
        return str(self.js('return location.hash.slice(1)'))

    def point_at(self, x: float, y: float, kind: str, buttons: int = 1) -> None:
        """Moves the mouse to a place of the plane, from -1 to 1."""
        place = 'const b = document.getElementById("plane").getBoundingClientRect();'
        left, top = self.js(
            f'{place} return [b.left + b.width * (1 + arguments[0]) / 2, b.top + b.height * (1 - arguments[1]) / 2]',
            x,
            y,
        )
        event = {'type': kind, 'x': left, 'y': top, 'button': 'left', 'buttons': buttons, 'clickCount': 1}
        self.driver.execute_cdp_cmd('Input.dispatchMouseEvent', event)

    def press(self, key: str) -> None:
        """Presses a key in the element that has the focus."""
        for kind in ('keyDown', 'keyUp'):
            self.driver.execute_cdp_cmd('Input.dispatchKeyEvent', {'type': kind, 'key': key, 'code': key})
