"""Recipes of the project, without those of plug-ins that other tests of the process have loaded."""

from __future__ import annotations

from training.registry import RECIPES


def own_recipes() -> list[str]:
    """Returns the names of the project's recipes, sorted: the order of registration is that of the imports."""
    RECIPES.load_all()
    return sorted(name for name in RECIPES.names() if RECIPES.module_of(name).startswith(('training.', 'extensions.')))
