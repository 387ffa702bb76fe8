"""The explorer: first picture, frames per second of a drag, cost of serving a frame, memory over many frames.

    python bench/explore.py --network=examples/networks/peeps32.safetensors

Needs the extras serve and browser, chromium and chromedriver. The server is a process of its own, as for a user. The
cost of serving is what a request takes beyond the drawing, with an untrained narrow network of 256x256 pixels.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import click
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere

from dnnlib.command import run_command
from dnnlib.errors import UserError
from tests.support.browser import Browser
from tests.support.narrow import make_snapshot
from training.interface import ImageSpec

ROOT = Path(__file__).resolve().parent.parent
DRAG_S = 3.0
OVERHEAD_FRAMES = 100
MEMORY_FRAMES = 2000
WARM_FRAMES = 200
READY = "return document.body.dataset.ready === 'yes' && document.querySelector('#sides figure').dataset.shown"
FRAMES = "return Number(document.querySelector('#sides figure').dataset.frames)"
# Milliseconds from the beginning of the navigation to the first picture, as the page has seen it.
FIRST_PICTURE = """
const image = performance.getEntriesByType('resource').find((entry) => entry.name.includes('/image?'));
return image.responseEnd;
"""
# Moves a pointer over the plane for some seconds, 60 times per second; returns the pictures per second meanwhile.
DRAG = """
const [seconds, done] = arguments;
const plane = document.getElementById('plane');
const box = plane.getBoundingClientRect();
const figure = document.querySelector('#sides figure');
plane.setPointerCapture = () => {};
plane.hasPointerCapture = () => true;
const send = (kind, t) => plane.dispatchEvent(new PointerEvent(kind, {
  pointerId: 1, bubbles: true,
  clientX: box.left + box.width * (0.5 + 0.4 * Math.cos(t)), clientY: box.top + box.height * (0.5 + 0.4 * Math.sin(t)),
}));
const began = performance.now();
const first = Number(figure.dataset.frames);
send('pointerdown', 0);
const step = () => {
  const passed = (performance.now() - began) / 1000;
  if (passed < seconds) {
    send('pointermove', passed);
    setTimeout(step, 1000 / 60);
  } else {
    const frames = Number(figure.dataset.frames) - first;
    send('pointerup', passed);
    done(frames / passed);
  }
};
step();
"""


class Server(NamedTuple):
    """A running explorer. url: with the token. ready_s: seconds from the command to the address."""

    process: subprocess.Popen[str]
    url: str
    ready_s: float

    def image(self, query: str) -> tuple[float, float]:
        """Asks for a picture; returns the seconds of the request and those of the drawing within it."""
        began = time.perf_counter()
        with urllib.request.urlopen(f'{self.url.replace("/?", "/image?")}&{query}') as response:
            response.read()
            return time.perf_counter() - began, float(response.headers['x-seconds'])

    def rss_mb(self) -> float:
        """Returns the resident memory in MB."""
        return psutil.Process(self.process.pid).memory_info().rss / 1e6


@contextmanager
def served(network: Path) -> Iterator[Server]:
    """Runs explore.py until the end of the block. Raises UserError if it ends before it serves."""
    args = [sys.executable, str(ROOT / 'explore.py'), f'--network={network}', '--port=0', '--device=cpu']
    began = time.perf_counter()
    with subprocess.Popen(args, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = ''
        while 'token=' not in line:
            if not (line := process.stdout.readline()):
                raise UserError(f'explore.py ended with exit code {process.wait()}; its error is above')
        yield Server(process, line.strip(), time.perf_counter() - began)
        process.terminate()


def in_browser(server: Server) -> tuple[float, float]:
    """Returns the seconds to the first picture, the median of five navigations, and the frames per second of a drag."""
    browser = Browser()
    try:
        browser.driver.set_script_timeout(60)
        first = []
        for _ in range(5):
            browser.show('about:blank')
            browser.show(server.url)
            while not browser.driver.execute_script(READY):
                time.sleep(0.05)
            first.append(browser.driver.execute_script(FIRST_PICTURE) / 1000)
        rate = browser.driver.execute_async_script(DRAG, DRAG_S)
        return statistics.median(first), rate
    finally:
        browser.close()


def overhead_ms(server: Server, query: str) -> float:
    """Returns the median of milliseconds that a request takes beyond the drawing, every picture a new one."""
    found = [server.image(f'{query}&seed={seed}') for seed in range(OVERHEAD_FRAMES)]
    return statistics.median(total - drawing for total, drawing in found) * 1000


def growth_mb(server: Server) -> float:
    """Returns the growth of the memory from WARM_FRAMES to MEMORY_FRAMES pictures, in MB."""
    for frame in range(WARM_FRAMES):
        server.image(f'draft=1&x={frame / MEMORY_FRAMES}')
    before = server.rss_mb()
    for frame in range(WARM_FRAMES, MEMORY_FRAMES):
        server.image(f'draft=1&x={frame / MEMORY_FRAMES}')
    return server.rss_mb() - before


@click.command()
@click.option('--network', default='examples/networks/peeps32.safetensors', show_default=True)
def main(network: str) -> None:
    """Prints the rows of a table in Markdown."""

    def row(what: str, measured: str) -> None:
        print(f'| {what} | {measured} |', flush=True)

    print('| what | measured |\n|---|---|')
    with served(Path(network)) as server:
        row('address after the command', f'{server.ready_s:.1f} s')
        first, rate = in_browser(server)
        row('first picture after navigation', f'{first:.2f} s')
        row(f'pictures in a drag of {DRAG_S:.0f} s', f'{rate:.0f} per second')
        row(f'growth of RSS from {WARM_FRAMES} to {MEMORY_FRAMES} pictures', f'{growth_mb(server):+.1f} MB')
    with tempfile.TemporaryDirectory() as folder:
        spec = ImageSpec(resolution=256, channels=3, label_dim=0, num_images=1)
        with served(make_snapshot(Path(folder) / 'narrow.safetensors', 'auto', spec)) as server:
            for kind, query in (('WebP of a drag', 'draft=1'), ('PNG', '')):
                row(f'serving a frame of 256x256, {kind}', f'{overhead_ms(server, query):.1f} ms')


if __name__ == '__main__':
    run_command(main)
