"""The worker thread: newest request of a tab first, nothing lost, nothing drawn for nobody, and bounded memory."""

import threading
from concurrent.futures import CancelledError

import pytest

from ganfoundry.explore.renderer import Renderer, SupersededError


class Gate:
    """Work that begins when it is asked for and ends when the test says so."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self, owned):
        self.begun.set()
        assert self.open.wait(10)
        return 'gate'


@pytest.fixture
def renderer():
    renderer = Renderer(lambda: threading.get_ident(), num_results=3)
    yield renderer
    renderer.close()


@pytest.fixture
def busy(renderer):
    """A gate that the thread waits at."""
    gate = Gate()
    renderer.submit(gate)
    assert gate.begun.wait(10)
    yield gate
    gate.open.set()


def test_one_thread_makes_the_thing_and_does_all_work(renderer):
    threads = {renderer.submit(lambda made: (made, threading.get_ident())).result(10) for _ in range(5)}
    assert len(threads) == 1
    ((made, worked),) = threads
    assert made == worked != threading.get_ident()


def test_a_newer_request_of_a_tab_replaces_the_one_that_waits(renderer, busy):
    old = renderer.submit(lambda _: 'old', tab='a')
    other = renderer.submit(lambda _: 'other', tab='b')
    new = renderer.submit(lambda _: 'new', tab='a')
    assert renderer.num_waiting == 2
    with pytest.raises(SupersededError):
        old.result(10)
    busy.open.set()
    assert (new.result(10), other.result(10)) == ('new', 'other')


def test_a_tab_that_asks_often_keeps_its_turn(renderer, busy):
    order = []
    renderer.submit(lambda _: order.append('a1'), tab='a')
    last = renderer.submit(lambda _: order.append('b'), tab='b')
    renderer.submit(lambda _: order.append('a2'), tab='a')
    busy.open.set()
    last.result(10)
    assert order == ['a2', 'b']


def test_requests_without_a_tab_do_not_replace_each_other(renderer, busy):
    futures = [renderer.submit(lambda _, n=n: n) for n in range(3)]
    busy.open.set()
    assert [future.result(10) for future in futures] == [0, 1, 2]


def test_dropped_and_cancelled_work_is_never_done(renderer, busy):
    done = []
    dropped = renderer.submit(lambda _: done.append('dropped'), tab='a')
    cancelled = renderer.submit(lambda _: done.append('cancelled'), tab='b')
    renderer.drop(dropped)
    assert renderer.num_waiting == 1
    assert cancelled.cancel()
    replaced = renderer.submit(lambda _: done.append('c'), tab='b')
    busy.open.set()
    replaced.result(10)
    assert done == ['c']
    with pytest.raises(CancelledError):
        cancelled.result(10)


def test_a_result_is_kept_by_its_key_and_the_oldest_leaves(renderer):
    calls = []

    def draw(key):
        return renderer.submit(lambda _: calls.append(key) or key, key=key).result(10)

    for key in 'abcab':
        assert draw(key) == key
    assert calls == ['a', 'b', 'c']
    draw('d')  # c leaves, which was used before a and b
    draw('a'), draw('c')
    assert calls == ['a', 'b', 'c', 'd', 'c']


def test_an_error_reaches_the_asker_and_the_thread_lives(renderer):
    def fail(owned):
        raise ValueError('no')

    with pytest.raises(ValueError, match='no'):
        renderer.submit(fail, key='k').result(10)
    assert renderer.submit(lambda _: 1, key='k').result(10) == 1


def test_an_error_of_the_making_reaches_the_maker():
    def make():
        raise OSError('no network')

    with pytest.raises(OSError, match='no network'):
        Renderer(make)
