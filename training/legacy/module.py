"""Modules of PyTorch in official files, as data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dnnlib.pickles.inert_pickle import Node


class Module(Node):
    """A module; `state` holds its attributes.

    class_name: name of its class; with the module's name if it was pickled by reference.
    source_sha256: hash of the source text of a persistent object; empty for one pickled by reference.
    """

    def __init__(self, class_name: str, source_sha256: str, state: dict[Any, Any]) -> None:
        self.class_name, self.source_sha256, self.state = class_name, source_sha256, state

    def children(self) -> Iterable[Any]:
        """Returns the state."""
        return (self.state,)
