"""Machine without weights of detectors and without a network."""

import pytest

from metrics.detectors import weights


def isolate(monkeypatch: pytest.MonkeyPatch, folder) -> None:
    """Moves the cache to an empty folder, forgets every path that was named, and forbids the network."""
    monkeypatch.setenv('GANFOUNDRY_CACHE', str(folder / 'cache'))
    monkeypatch.setenv('GANFOUNDRY_OFFLINE', '1')
    monkeypatch.delenv(weights.FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(weights, '_paths', {})
    monkeypatch.setattr(weights, '_in_package', lambda edition: None)
