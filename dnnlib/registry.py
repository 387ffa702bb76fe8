"""Registry of plug-ins by name: one class, three doors.

A name is looked up (1) among the registered values, those of the project's own modules first, (2) in a module of the
same name inside one of the registry's packages (`extensions/NAME.py`), which is imported only then, (3) behind an entry
point of an installed distribution. A `--plugin` file registers itself when `load_file` imports it: door 1.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar

from dnnlib.errors import ConfigError, UserError
from dnnlib.paths import user_path

T = TypeVar('T')


def suggest(name: str, known: Iterable[str]) -> str:
    """Returns the end of an unknown-name error: the nearest name, if there is one, and all known names."""
    known = sorted(known)
    return f'{did_you_mean(name, known)}known: {", ".join(known) or "none"}'


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns the question for the nearest name, with a blank at its end, or '' if none is near. Case is ignored."""
    by_case = {each.casefold(): each for each in known}  # 'FID' is as near to 'fid' as can be
    near = difflib.get_close_matches(name.casefold(), by_case, n=1, cutoff=0.5)
    return f"did you mean '{by_case[near[0]]}'? " if near else ''


class Registry(Generic[T]):
    """Mapping of names to values of one kind.

    Attributes:
        kind: Noun for a value, for messages ('recipe').
    """

    def __init__(
        self,
        kind: str,
        *,
        builtin: tuple[str, ...] = (),
        packages: tuple[str, ...] = (),
        entry_points: str | None = None,
    ) -> None:
        """Makes an empty registry.

        Args:
            kind: Noun for a value, for messages ('recipe').
            builtin: Modules that register values, imported at the first look-up.
            packages: Packages in which `get` looks for a module with the name of the value.
            entry_points: Entry-point group of installed distributions, or None.
        """
        self.kind = kind
        self._builtin = builtin
        self._packages = packages
        self._entry_points = entry_points
        self._values: dict[str, T] = {}
        self._modules: dict[str, str] = {}

    def register(self, name: str, value: T, *, module: str) -> T:
        """Adds a value.

        Args:
            name: Name of the value.
            value: The value.
            module: Module that registers it.

        Returns:
            The value.

        Raises:
            ConfigError: If another module has taken the name.
        """
        if name in self._values and self._modules[name] != module:
            raise ConfigError(
                f"the {self.kind} '{name}' is registered twice: by {self._modules[name]} and by {module}; rename one"
            )
        self._values[name] = value
        self._modules[name] = module
        return value

    def get(self, name: str) -> T:
        """Returns the value of a name; imports its plug-in if necessary, whose import errors surface.

        Errors of an entry point name it. Raises ConfigError for an unknown name, and for a plug-in's name that one of
        the packages has, too.
        """
        for open_door in (self._load_builtin, lambda: self._open_door(name), self.load_all):
            if name not in self._values:
                open_door()
        if name not in self._values:
            way_out = '' if self._entry_points is None else '; those of a plug-in need --plugin=FILE'
            raise ConfigError(f"unknown {self.kind} '{name}': {suggest(name, self._values)}{way_out}")
        if not self._is_own(self._modules[name]):
            self._load_packages()
        return self._values[name]

    def names(self) -> list[str]:
        """Returns every registered name in the order of registration; after `load_all`, those of all plug-ins."""
        return list(self._values)

    def module_of(self, name: str) -> str:
        """Returns the module that registered a name."""
        return self._modules[name]

    def load_all(self) -> None:
        """Imports every plug-in behind the three doors."""
        self._load_builtin()
        self._load_packages()
        for point in self._points():
            _load(point)

    def _load_builtin(self) -> None:
        for module in self._builtin:
            importlib.import_module(module)

    def _load_packages(self) -> None:
        for package in self._packages:
            for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
                _import(f'{package}.{info.name}')

    def _is_own(self, module: str) -> bool:
        return module in self._builtin or module.startswith(tuple(f'{package}.' for package in self._packages))

    def _open_door(self, name: str) -> None:
        for package in self._packages:
            if name.isidentifier() and importlib.util.find_spec(f'{package}.{name}') is not None:
                _import(f'{package}.{name}')
        for point in self._points():
            if point.name == name:
                _load(point)

    def _points(self) -> list[importlib.metadata.EntryPoint]:
        if self._entry_points is None:
            return []
        return list(importlib.metadata.entry_points(group=self._entry_points))


def load_file(path: str | Path) -> ModuleType:
    """Imports a plug-in from a file outside the packages (`--plugin=FILE`), once per path.

    Raises an error that names the file if it does not exist or cannot be imported.
    """
    path = Path(user_path(str(path))).resolve()
    if not path.is_file():
        raise ConfigError(f'--plugin: no such file: {path}')
    name = f'plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}'
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f'--plugin: not a Python file: {path}')
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with imported(f'--plugin={path}', str(path)):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import(module: str) -> None:
    """Imports a module of a package. Its errors surface unchanged, except for the end of the process."""
    with _not_ended(module):
        importlib.import_module(module)


def _load(point: importlib.metadata.EntryPoint) -> None:
    """Imports the module of an entry point."""
    with imported(f'entry point {point.name} = {point.value} of {point.group}'):
        point.load()


@contextlib.contextmanager
def _not_ended(what: str) -> Iterator[None]:
    """Raises ConfigError, which names the code, if it calls `sys.exit`."""
    try:
        yield
    except SystemExit as error:
        raise ConfigError(f'{what}: calls sys.exit({error.code!r}) while it is imported') from error


@contextlib.contextmanager
def imported(what: str, file: str = '') -> Iterator[None]:
    """Turns every error of the user's code into one that names it, so that none passes for an ordinary end.

    Args:
        what: Name of the code.
        file: Its file, of which the message names the line.

    Raises:
        ConfigError: The code has called `sys.exit`.
        ImportError: It has failed; the cause is its own error, whose traceback is kept.
        UserError: Its own error for users.
    """
    try:
        with _not_ended(what):
            yield
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        if isinstance(error, SyntaxError) and error.filename == file:
            lines = [error.lineno]
        line = f' (line {lines[-1]})' if lines else ''
        reason = ' '.join(traceback.format_exception_only(error)[-1].split())
        raise ImportError(f'{what}: cannot be imported: {reason}{line}') from error


def source_of(module: str) -> dict[str, str]:
    """Returns location and digest of a module's code, {'module', 'file', 'sha256'}, for a run's record.

    The cells of a notebook have no file: both are ''.
    """
    file = getattr(sys.modules[module], '__file__', None)
    digest = '' if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return {'module': module, 'file': file or '', 'sha256': digest}
