"""The answers of the server: pictures, their names, mistakes in words, and a queue that empties itself."""

import http.client
import io
import re
import threading
import time

import numpy as np
import PIL.Image
import psutil
import pytest

from ganfoundry.explore.command_line import Machine
from ganfoundry.explore.studio import Studio, StudioOptions
from tests.ganfoundry.explore.conftest import PEEPS

pytest.importorskip('starlette')
pytest.importorskip('uvicorn')

from tests.support.explorer import Served


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """The latents file of the command line."""
    return tmp_path_factory.mktemp('explorer') / 'latents.npz'


@pytest.fixture(scope='module')
def served(place):
    """A running explorer of the example network."""
    options = StudioOptions(networks=(str(PEEPS),), bookmarks=str(place), machine=Machine(device='cpu'))
    served = Served(Studio(options))
    yield served
    served.close()


def hold(served):
    """Keeps the worker thread busy; returns the event that lets it go on."""
    begun, leave = threading.Event(), threading.Event()
    served.renderer.submit(lambda _: (begun.set(), leave.wait(20)))
    assert begun.wait(10)
    return leave


def wait_for(condition):
    for _ in range(200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError('it did not happen within 10 s')


def test_the_page_and_its_files_are_served_and_nothing_else(served):
    page = served.ask('/')
    assert page.status == 200
    assert page.headers['content-type'].startswith('text/html')
    text = page.body.decode()
    files = re.findall(r'(?:href|src)="(static/[\w.]+)"', text)
    assert len(files) >= 9
    for file in files:
        assert served.ask(f'/{file}').status == 200, file
    assert not re.search(r'\son\w+=|<script>|style=|https?://', text)
    for path in ('/static/', '/static/../server.py', '/static/%2e%2e/server.py', '/server.py', '/static//etc/passwd'):
        assert served.ask(path).status == 404, path


def test_no_file_of_the_page_names_another_host_or_puts_text_into_html():
    from ganfoundry.explore.server import PAGE

    for path in PAGE.iterdir():
        text = path.read_text().replace('http://www.w3.org/2000/svg', '')
        assert '//cdn' not in text
        assert not re.search(r'https?://|innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(', text), path


def test_a_picture_has_a_name_and_is_not_sent_twice(served):
    first = served.ask('/image', 'seed=3&psi=0.7')
    assert (first.status, first.headers['content-type']) == (200, 'image/png')
    assert float(first.headers['x-seconds']) > 0
    again = served.ask('/image', 'psi=0.7&seed=3', if_none_match=first.headers['etag'])
    assert (again.status, again.body) == (304, b'')
    draft = served.ask('/image', 'seed=3&psi=0.7&draft=1')
    assert draft.headers['content-type'] == 'image/webp'
    names = {first.headers['etag'], draft.headers['etag'], served.ask('/image', 'seed=4').headers['etag']}
    assert len(names) == 3
    with PIL.Image.open(io.BytesIO(first.body)) as png, PIL.Image.open(io.BytesIO(draft.body)) as webp:
        assert np.array_equal(np.asarray(png), np.asarray(webp.convert('RGB')))


def test_a_kept_picture_is_drawn_once(served):
    served.ask('/image', 'seed=5')
    leave = hold(served)
    assert served.ask('/image', 'seed=5').status == 200  # the thread is busy
    leave.set()


@pytest.mark.parametrize(
    ('path', 'query', 'message'),
    [
        ('/image', 'seed=x', 'seed=x: expected a whole number'),
        ('/image', 'side=2', 'side=2: expected 0 or 1'),
        ('/image', 'side=1', 'side=1: no such picture'),
        ('/image', 'snapshot=../../etc/passwd', 'has no snapshot of this name'),
        ('/image', 'start=/etc/passwd', 'no stored point of this server'),
        ('/image', 'class=3', 'this network is unconditional'),
        ('/image', 'path=/etc/passwd', 'path: no setting of the explorer'),
        ('/nearest', 'seed=x', 'seed=x: expected a whole number'),
        ('/training', 'index=0', 'ask for the nearest training image first'),
    ],
)
def test_a_mistake_is_an_answer_in_words(served, path, query, message):
    answer = served.ask(path, query)
    assert answer.status == 422
    assert message in answer.json['error']
    assert '\n' not in answer.json['error']


@pytest.mark.parametrize(
    'body', [b'', b'[]', b'{}', b'{"views": []}', b'{"views": [1]}', b'{"views": "x"}', b'\xff', b'[' * 100000]
)
def test_a_body_that_is_none_is_refused(served, body):
    for path in ('/command', '/bookmarks', '/latents.npz'):
        assert served.ask(path, views=body).status == 422


def test_a_body_that_is_too_large_is_refused(served):
    answer = served.ask('/bookmarks', views=b' ' * (2**20 + 1))
    assert answer.status == 422
    assert 'save fewer bookmarks at a time' in answer.json['error']


def test_bookmarks_are_downloaded_and_saved_where_the_command_line_says(served, place):
    views = ['seed=3', 'x=0.5&psi=0.7']
    download = served.ask('/latents.npz', views=views)
    assert not place.exists()
    assert served.ask('/bookmarks', views=views).json == {'indices': [0, 1]}
    assert place.read_bytes() == download.body
    command = served.ask('/command', views=['x=0.5&psi=0.7']).json['command']
    assert f'--latents={place}:1' in command
    for query in ('path=/tmp/other.npz', 'bookmarks=/tmp/other.npz'):
        assert served.ask('/bookmarks', views=[query]).status == 422


def test_a_request_that_only_changes_something_by_get_does_not_exist(served):
    for path in ('/command', '/bookmarks', '/latents.npz'):
        assert served.ask(path).status == 405


def test_a_newer_request_of_a_tab_ends_the_one_that_waits(served):
    leave = hold(served)
    answers = {}

    def ask(seed, tab):
        answers[seed] = served.ask('/image', f'seed={seed}', x_tab=tab).status

    threads = []
    for seed, tab in ((10, 'a'), (11, 'b'), (12, 'a')):
        threads.append(threading.Thread(target=ask, args=(seed, tab)))
        threads[-1].start()
        wait_for(lambda: served.renderer.num_waiting == min(len(threads), 2))
        time.sleep(0.2)
    wait_for(lambda: answers == {10: 204})
    leave.set()
    for thread in threads:
        thread.join(20)
    assert answers == {10: 204, 11: 200, 12: 200}


def test_a_closed_tab_frees_its_queue(served):
    leave = hold(served)
    connections = []
    for tab in range(3):
        connections.append(http.client.HTTPConnection('127.0.0.1', served.local.port, timeout=10))
        path = f'/image?token={served.local.token}&seed={tab}'
        connections[-1].request('GET', path, headers={'x-tab': str(tab)})
    wait_for(lambda: served.ask('/status').json == {'waiting': 3})  # which answers although the thread is busy
    for connection in connections[:2]:
        connection.close()
    wait_for(lambda: served.renderer.num_waiting == 1)
    leave.set()
    assert connections[2].getresponse().read()[:4] == b'\x89PNG'
    connections[2].close()
    assert served.ask('/image', 'seed=7').status == 200


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_frames(studio, narrow):
    served = Served(studio(narrow('dcgan')))

    def draw(first, last):
        for frame in range(first, last):
            assert served.ask('/image', f'draft=1&x={frame / 1000}', x_tab='drag').status == 200
        return psutil.Process().memory_info().rss

    before = draw(0, 100)
    assert draw(100, 250) - before < 20e6
    served.close()


def test_a_fault_of_the_program_is_no_mistake_of_the_user(served, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError('a bug')

    with monkeypatch.context() as patched:
        patched.setattr('ganfoundry.explore.studio.Studio.picture', fail)
        assert served.ask('/image', 'seed=99').status == 500
    assert served.ask('/image', 'seed=99').status == 200
