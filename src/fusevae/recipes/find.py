"""Recipes by name. A recipe is a file of this folder with a function ``recipe``; ``mnist_vae.py`` is ``mnist-vae``.

A mapping ``reads`` in it says how its data are best read: ``reads = {"tokens": "characters", "stream": 256}``.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusevae.core.errors import InputError, near

if TYPE_CHECKING:
    from fusevae.training.experiment import Experiment


def recipes() -> dict[str, str]:
    """What there is, by name: the first line of each recipe's docstring. Nothing is imported, so it takes no time.

    Example:
        >>> recipes()["mnist-vae"][:23]
        'VAE on binarized images'
    """
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(part, ast.FunctionDef) and part.name == "recipe" for part in tree.body):
            found[path.stem.replace("_", "-")] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


def reads(name: str) -> dict[str, Any]:
    """How the data of a recipe are best read: the mapping ``reads`` in its file of settings of
    :class:`fusevae.Source`, if there is one.

    Example:
        >>> reads("mnist-vae")
        {}
    """
    find(name)
    return dict(getattr(importlib.import_module(_module(name)), "reads", {}))


def find(name: str) -> Callable[..., Experiment]:
    """The function ``recipe(data, **options)`` of that name, or :class:`InputError` with near matches."""
    if name not in (known := recipes()):
        raise InputError(f"unknown recipe {name!r} (a file of your own is given as my.yaml){near(name, known)}")
    recipe: Callable[..., Experiment] = importlib.import_module(_module(name)).recipe
    return recipe


def _module(name: str) -> str:
    return f"fusevae.recipes.{name.replace('-', '_')}"
