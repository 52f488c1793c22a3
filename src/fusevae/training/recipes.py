"""Recipes by name: the library's own, each a file of ``recipes/``, and those of one's own package.

A recipe is a function ``recipe(data, **options)`` that gives an :class:`Experiment`; ``mnist_vae.py`` is ``mnist-vae``.
A mapping ``reads`` beside it says how its data are best read: ``reads = {"tokens": "characters", "stream": 256}``.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusevae.core.errors import InputError, near

if TYPE_CHECKING:
    from fusevae.training.experiment import Experiment

FOLDER = Path(__file__).parent.parent / "recipes"


def recipes() -> dict[str, str]:
    """What there is, by name: the first line of each recipe's docstring. Nothing is imported, so it takes no time.

    Example:
        >>> recipes()["mnist-vae"][:23]
        'VAE on binarized images'
    """
    found = {}
    for path in sorted(FOLDER.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(part, ast.FunctionDef) and part.name == "recipe" for part in tree.body):
            found[path.stem.replace("_", "-")] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


def find(name: str) -> Callable[..., Experiment]:
    """The function ``recipe(data, **options)`` of that name.

    Args:
        name: of one of the library's recipes, or ``"package.module:function"`` for one of your own. Its module is
            imported, so name only one that you trust.

    Raises :class:`InputError` for an unknown name, with near matches.

    Example:
        >>> from fusevae import DataSpec
        >>> experiment = find("mnist-vae")(DataSpec((1, 8, 8), "uint8", 0, 16), latent=3)
        >>> experiment.model.latents.prior.shape
        (3,)
    """
    if ":" not in name:
        if name not in (known := recipes()):
            raise InputError(
                f"unknown recipe {name!r} (one of your own is given as package.module:function, on the command line "
                f"also as my.yaml){near(name, known)}"
            )
    module, function = _place(name)
    try:
        recipe: Callable[..., Experiment] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"the recipe {name!r} can't be imported ({error}): check the name, package.module:function, and the Python "
            "path"
        ) from None
    return recipe


def reads(recipe: str | Callable[..., Experiment]) -> dict[str, Any]:
    """How the data of a recipe are best read: the mapping ``reads`` beside it of settings of :class:`fusevae.Source`,
    if there is one.

    Example:
        >>> reads("mnist-vae")
        {}
    """
    if isinstance(recipe, str):
        find(recipe)
    module = _place(recipe)[0] if isinstance(recipe, str) else recipe.__module__
    beside = getattr(sys.modules.get(module), "reads", {})
    return dict(beside) if isinstance(beside, Mapping) else {}


def _place(name: str) -> tuple[str, str]:
    """The module of a recipe, and its name there."""
    module, colon, function = name.partition(":")
    return (module, function) if colon else (f"fusevae.recipes.{name.replace('-', '_')}", "recipe")


def trusted(name: str | None) -> list[str]:
    """The package of a recipe of one's own, which naming it trusts; of another recipe, nothing.

    Example:
        >>> trusted("mine.recipes:small"), trusted("mnist-vae")
        (['mine'], [])
    """
    return [name.partition(":")[0].partition(".")[0]] if name and ":" in name else []
