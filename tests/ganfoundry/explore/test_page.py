"""The page in a real browser: pictures to the bit, drags, addresses, keyboard, small screens, lost servers."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from dnnlib.errors import ConfigError
from ganfoundry.explore.command_line import Machine
from ganfoundry.explore.nearest import Nearest, TrainingImages
from ganfoundry.explore.studio import Studio, StudioOptions
from tests.ganfoundry.explore.conftest import LABELED, PEEPS

pytest.importorskip('starlette')
pytest.importorskip('uvicorn')

from tests.support.explorer import Served
from tests.support.explorer_page import READY, Page


@pytest.fixture
def page(browser):
    return Page(browser)


@pytest.fixture(scope='module')
def peeps(tmp_path_factory):
    """A running explorer of the example network."""
    path = tmp_path_factory.mktemp('explorer') / 'latents.npz'
    options = StudioOptions(networks=(str(PEEPS),), bookmarks=str(path), machine=Machine(device='cpu'))
    served = Served(Studio(options))
    yield served
    served.close()


@pytest.fixture
def serve(studio):
    """A function that serves networks; everything is closed at the end."""
    running = []

    def start(*networks, **options) -> Served:
        running.append(Served(studio(*networks), **options))
        return running[-1]

    yield start
    for served in running:
        served.close()


def png(data: bytes) -> np.ndarray:
    with PIL.Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert('RGB'))


def test_the_picture_is_that_of_generate_and_follows_the_controls(page, peeps, generated):
    page.open(f'{peeps.url}#seed=3&psi=0.7')
    command = peeps.ask('/command', views=[page.settle()]).json['command']
    assert '--seeds=3' in command
    assert np.array_equal(page.pixels(), generated(command)[1])
    for changes in ({'seed': '4'}, {'slider-sefa-1': '2'}, {'noise': 'none'}, {'slider-truncation-': '0.3'}):
        before = page.pixels()
        for key, value in changes.items():
            page.set(key, value)
        command = peeps.ask('/command', views=[page.settle()]).json['command']
        assert np.array_equal(page.pixels(), generated(command)[1]), changes
        assert not np.array_equal(page.pixels(), before), changes
    page.browser.check_quiet()


def test_a_drag_changes_the_picture_and_a_reload_keeps_it(page, peeps):
    page.open(peeps.url)
    before = page.pixels()
    page.point_at(0, 0, 'mousePressed')
    for step in range(1, 20):
        page.point_at(step / 25, step / 50, 'mouseMoved')
    page.point_at(0.8, 0.4, 'mouseReleased', 0)
    query = page.settle()
    assert 'x=0.' in query
    dragged = page.pixels()
    assert not np.array_equal(dragged, before)
    assert np.array_equal(dragged, png(peeps.ask('/image', query).body))
    assert int(page.js("return document.querySelector('#sides figure').dataset.frames")) > 2
    page.address()
    page.driver.refresh()
    page.wait(lambda: page.js(READY), 'controls')
    assert page.settle() == query
    assert np.array_equal(page.pixels(), dragged)
    page.set('slider-truncation-', '0')
    page.settle()
    flat = page.pixels()
    for x, y in ((-0.5, 0.3), (0.9, -0.9)):
        page.point_at(x, y, 'mousePressed')
        page.point_at(x, y, 'mouseReleased', 0)
        page.settle()
        assert np.abs(page.pixels().astype(int) - flat).max() <= 1  # equal up to the last bit of a sum
    page.browser.check_quiet()


def test_it_works_by_keyboard_and_every_control_has_a_label(page, peeps):
    page.open(peeps.url)
    page.js("document.getElementById('plane').focus()")
    for key in ('ArrowRight', 'ArrowRight', 'ArrowUp', '+'):
        page.press(key)
    assert page.settle() == 'x=0.1&y=0.05&distance=1.1'
    page.press('Home')
    assert page.settle() == 'distance=1.1'
    unlabeled = page.js("""
        return [...document.querySelectorAll('input, select, textarea, button, [tabindex]')].filter((element) =>
          !(element.labels?.length || element.textContent.trim() || element.getAttribute('aria-label')))
          .map((element) => element.outerHTML);
    """)
    assert unlabeled == []
    ids = page.js("return [...document.querySelectorAll('[id]')].map((element) => element.id)")
    assert len(ids) == len(set(ids))
    page.browser.check_quiet()


def test_the_layer_strip_mixes_and_is_absent_without_w(page, peeps, serve, narrow):
    page.open(peeps.url)
    assert len(page.js("return [...document.querySelectorAll('#strip input')]")) == 12
    page.js("document.querySelectorAll('#strip input')[3].click()")
    assert page.settle() == 'styles=3'
    page.click('styles-all')
    query = page.settle()
    assert np.array_equal(page.pixels(), png(peeps.ask('/image', 'seed=3').body))
    assert 'styles=0%2C1%2C2' in query
    page.open(serve(narrow('dcgan')).url)
    assert page.hidden('layers')
    assert page.hidden('noise-rows')
    assert not page.hidden('recalibrate-row')
    assert page.js("return document.getElementById('pca').childElementCount") == 0
    page.browser.check_quiet()


def test_classes_blend_and_hostile_names_stay_text(page, serve, narrow):
    served = serve(narrow('squeeze', LABELED))
    page.open(served.url)
    names = page.js("return [...document.getElementById('class').options].map((option) => option.text)")
    assert names == ['cat', '<script>alert(1)</script>', 'fox']
    page.set('class', '1')
    assert page.settle() == 'class=1'
    page.set('class2', '2')
    page.set('share', '0.3')
    assert page.settle() == 'class=1%3A0.70%2B2%3A0.30'
    blend = page.pixels()
    page.open(f'{served.url}#class=1:0.70%2B2:0.30')
    assert page.js("return ['class', 'class2', 'share'].map((id) => document.getElementById(id).value)") == [
        '1',
        '2',
        '0.3',
    ]
    assert np.array_equal(page.pixels(), blend)
    page.browser.check_quiet()


def test_bookmarks_are_kept_opened_and_saved(page, peeps):
    page.open(f'{peeps.url}#seed=3')
    page.js('localStorage.clear()')
    page.driver.refresh()
    page.wait(lambda: page.js(READY), 'controls')
    page.click('bookmark')
    page.set('seed', '4')
    page.settle()
    page.click('bookmark')
    page.click('keep')
    page.wait(lambda: 'has these bookmarks as --latents=' in page.text('message'), 'the answer')
    assert Path(peeps.ask('/info').json['bookmarks']).exists()
    page.driver.refresh()
    page.wait(lambda: page.js(READY), 'controls')
    page.wait(
        lambda: page.js("return document.querySelectorAll('#bookmark-list img[src^=blob]').length") == 2, 'images'
    )
    page.js("document.querySelector('#bookmark-list button').click()")
    assert page.settle() == 'seed=3'
    page.js("[...document.querySelectorAll('#tools button')][0].click()")
    page.wait(lambda: '--seeds=3' in page.js("return document.getElementById('command').value"), 'the command')
    page.browser.check_quiet()


def test_two_networks_stand_side_by_side(page, serve, narrow):
    served = serve(PEEPS, narrow('squeeze', LABELED))
    page.open(f'{served.url}#seed=3')
    page.settle(1)
    for side, query in enumerate((page.settle(0), page.settle(1))):
        assert np.array_equal(page.pixels(side), png(served.ask('/image', f'side={side}&{query}').body))
    assert page.text('title') == 'peeps32.safetensors | squeeze-3.safetensors'
    page.browser.check_quiet()


def test_a_run_has_a_slider_over_its_snapshots_and_its_name_stays_text(page, serve, narrow, tmp_path):
    run = tmp_path / '00000-<img src=x onerror=alert(1)>'
    run.mkdir()
    for kimg, cfg in ((0, 'auto'), (100, 'squeeze'), (200, 'auto')):
        shutil.copy(narrow(cfg), run / f'network-snapshot-{kimg:06d}.safetensors')
    served = serve(run)
    page.open(f'{served.url}#seed=3')
    assert page.text('title') == run.name
    assert page.js("return document.querySelectorAll('h1 *').length") == 0
    page.wait(lambda: page.js("return document.getElementById('slider-snapshot').max") == '2', 'the snapshots')
    newest = page.pixels()
    page.set('slider-snapshot', '1')
    query = page.settle()
    assert query == 'seed=3&snapshot=network-snapshot-000100'
    assert not np.array_equal(page.pixels(), newest)
    assert np.array_equal(page.pixels(), png(served.ask('/image', query).body))
    page.set('slider-snapshot', '2')
    assert page.settle() == 'seed=3'
    page.browser.check_quiet()


def test_the_nearest_training_image_is_shown_or_a_sentence_says_what_is_missing(page, peeps, monkeypatch):
    nearest = "[...document.querySelectorAll('#tools button')][2].click()"
    page.open(peeps.url)

    def missing(self, image):
        raise ConfigError('the cache has no features of <b>the training images</b>')

    with monkeypatch.context() as patched:
        patched.setattr(TrainingImages, 'nearest', missing)
        page.js(nearest)
        page.wait(lambda: 'features of <b>the training images</b>' in page.text('message'), 'a sentence')
        assert page.hidden('nearest')
    page.browser.messages()  # of the refusal
    found = Nearest(index=7, ratio=0.5, detector='efflite', num_images=40)
    data = peeps.ask('/image', 'seed=9').body
    monkeypatch.setattr(TrainingImages, 'nearest', lambda self, image: found)
    monkeypatch.setattr(TrainingImages, 'png', lambda self, index: data)
    page.js(nearest)
    page.wait(lambda: not page.hidden('nearest'), 'the image')
    text = 'Nearest of 40 training images by efflite: number 7, at 0.50 times the distance to its own nearest neighbor.'
    assert page.text('nearest-text') == text
    page.wait(lambda: page.js("return document.getElementById('nearest-image').naturalWidth") == 32, 'its pixels')
    page.browser.check_quiet()


@pytest.mark.parametrize('dark', [False, True])
def test_it_fits_small_and_large_screens_light_and_dark(page, peeps, dark):
    for width in (360, 1280):
        page.open(peeps.url, width=width, dark=dark)
        assert page.js('return document.documentElement.scrollWidth') == width
        color = page.js('return getComputedStyle(document.body).backgroundColor')
        assert (sum(json.loads(color.replace('rgb(', '[').replace(')', ']'))) < 150) == dark
    page.browser.check_quiet()


def test_a_wrong_token_opens_nothing(page, peeps):
    page.browser.show(f'http://127.0.0.1:{peeps.local.port}/?token=wrong')
    assert 'The token is missing or wrong' in page.js('return document.body.innerText')
    assert page.js("return document.querySelectorAll('img, script').length") == 0


def test_a_lost_server_is_a_banner_and_the_page_recovers(page, serve, monkeypatch):
    monkeypatch.setenv('GANFOUNDRY_TOKEN', 'the-token-of-this-test')
    served = serve(PEEPS)
    port = served.local.port
    page.open(f'{served.url}#seed=3')
    served.close()
    page.wait(lambda: not page.hidden('banner'), 'a banner')
    assert 'The server does not answer' in page.text('banner')
    assert page.js("return document.getElementById('banner').getAttribute('role')") == 'alert'
    page.set('seed', '5')  # the page keeps what is set meanwhile
    again = serve(PEEPS, port=port)
    page.wait(lambda: page.hidden('banner'), 'the end of the banner')
    assert page.settle() == 'seed=5'
    assert np.array_equal(page.pixels(), png(again.ask('/image', 'seed=5').body))
    again.close()
    monkeypatch.setenv('GANFOUNDRY_TOKEN', 'another-token-of-this-test')
    other = serve(PEEPS, port=port)
    page.wait(lambda: 'has another token' in page.text('banner'), 'a question for the token')
    page.set('banner-address', other.url)
    page.js("document.getElementById('banner-form').requestSubmit()")
    page.wait(lambda: page.hidden('banner'), 'the end of the banner')
    assert page.settle() == 'seed=5'
    page.browser.messages()  # of the requests that failed


def test_a_slow_network_says_how_long_it_took_and_draws_the_newest_position(page, peeps, monkeypatch):
    page.open(peeps.url)
    drawn = []
    draw = Studio.picture

    def slow(self, side, view, *, draft):
        drawn.append(view.seed)
        picture = draw(self, side, view, draft=draft)
        time.sleep(0.8)
        return dataclasses.replace(picture, seconds=1.9)

    monkeypatch.setattr(Studio, 'picture', slow)
    for seed in range(100, 120):
        page.set('seed', str(seed))
        time.sleep(0.02)
    page.wait(lambda: 'drawing …' in page.js("return document.querySelector('.note').innerText"), 'a sign of life')
    page.settle()
    page.wait(lambda: 'drawing took' in page.js("return document.querySelector('.note').innerText"), 'the duration')
    assert drawn[-1] == 119
    assert len(drawn) < 10
    page.browser.check_quiet()


def test_a_tab_that_closes_frees_its_queue(page, peeps):
    page.open(peeps.url)
    leave, begun = threading.Event(), threading.Event()
    peeps.renderer.submit(lambda _: (begun.set(), leave.wait(20)))
    begun.wait(10)
    page.set('seed', '200')
    page.wait(lambda: peeps.renderer.num_waiting == 1, 'a request')
    page.driver.get('about:blank')
    page.wait(lambda: peeps.renderer.num_waiting == 0, 'an empty queue')
    leave.set()
