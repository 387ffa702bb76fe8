"""Shared by all tests: one thread (bits are compared), and the embedded data set's path."""

import gc
import pathlib
import signal
import sys
from collections.abc import Iterator

import pytest
import torch

from dnnlib.registry import Registry
from tests.support.browser import browser as browser  # a fixture

torch.set_num_threads(1)

ROOT = pathlib.Path(__file__).resolve().parent.parent
NEEDS_CUDA = 'needs a CUDA device, and PyTorch finds none here'  # why a test marked `gpu` skips itself


def pytest_configure(config: pytest.Config) -> None:
    """Hears Ctrl-C where a shell has started the tests in the background: commands leave an ignored signal ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked `gpu` skip themselves where there is no CUDA device."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker('gpu'):
            item.add_marker(pytest.mark.skip(reason=NEEDS_CUDA))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Exempts what is imported and collected from garbage collection, which readers of films ask for at every file."""
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Ends the exemption: modules that are imported for the summary look for their referrers."""
    gc.unfreeze()


@pytest.fixture(scope='session')
def root() -> pathlib.Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope='session')
def golden() -> pathlib.Path:
    """Numbers from the official implementation, see tests/golden."""
    return ROOT / 'tests' / 'golden'


@pytest.fixture(autouse=True)
def plugins_leave() -> Iterator[None]:
    """Forgets the plug-in files that a test has loaded, with the names that they have registered.

    Otherwise the next test that loads such a file depends on what is left of it.
    """
    before = set(sys.modules)
    yield
    if not (plugins := [name for name in sys.modules if name.startswith('plugin_') and name not in before]):
        return
    for name in plugins:
        del sys.modules[name]
    values = [value for module in list(sys.modules.values()) for value in list(vars(module).values())]
    for registry in {id(value): value for value in values if type(value) is Registry}.values():
        for name in [name for name in registry.names() if registry.module_of(name) in plugins]:
            del registry._values[name], registry._modules[name]
    from metrics.detectors.table import DETECTORS

    for name in [name for name, row in DETECTORS.items() if row.module in plugins]:
        del DETECTORS[name]
