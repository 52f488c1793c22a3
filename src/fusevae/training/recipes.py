"""Recipes by name: the library's own, each a file of ``recipes/``, and those of one's own package.

A recipe is a function ``recipe(data, **options)`` that gives an :class:`Experiment`; ``binary_vae.py`` is
``binary-vae``. Beside it stand ``modality = "images"``, the kind of data that it is for (or several), and, where they
are best read in a way of their own, a mapping ``reads = {"tokens": "characters", "stream": 256}``.
"""

from __future__ import annotations

import ast
import functools
import importlib
import logging
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusevae.core.errors import InputError, near

if TYPE_CHECKING:
    from fusevae.core.spec import DataSpec
    from fusevae.training.experiment import Experiment

FOLDER = Path(__file__).parent.parent / "recipes"

#: names of before, by which recipes are found as well
RENAMED = {
    "captions-autoencoder": "text-autoencoder",
    "captions-vae-lstm": "text-vae-lstm",
    "captions-vae-transformer": "text-vae",
    "captions-vq": "text-vq",
    "digits-vae": "logistic-vae",
    "mnist-vae": "binary-vae",
}


def recipes() -> dict[str, str]:
    """What there is, by name: the first line of each recipe's docstring. Nothing is imported, so it takes no time.

    Example:
        >>> recipes()["binary-vae"][:23]
        'VAE on binarized images'
    """
    return {name: (ast.get_docstring(tree) or "").partition("\n")[0] for name, tree in _files().items()}


def kinds() -> dict[str, tuple[str, ...]]:
    """For which modalities each is, by name; nothing is imported for it either.

    Example:
        >>> kinds()["maf"]
        ('images', 'tables')
    """
    found = {}
    for name, tree in _files().items():
        values = {ast.unparse(part.targets[0]): part.value for part in tree.body if isinstance(part, ast.Assign)}
        found[name] = _several(ast.literal_eval(values["modality"]) if "modality" in values else ())
    return found


def find(name: str) -> Callable[..., Experiment]:
    """The function ``recipe(data, **options)`` of that name; called with data that it is not for, it refuses them in a
    line, with what fits.

    Args:
        name: of one of the library's recipes, or ``"package.module:function"`` for one of your own. Its module is
            imported, so name only one that you trust.

    Raises :class:`InputError` for an unknown name, with near matches.

    Example:
        >>> from fusevae import DataSpec
        >>> experiment = find("binary-vae")(DataSpec((1, 8, 8), "uint8", 0, 16), latent=3)
        >>> experiment.model.latents.prior.shape
        (3,)
    """
    if name in RENAMED:
        logging.getLogger("fusevae").warning("the recipe %s is called %s now", name, RENAMED[name])
        name = RENAMED[name]
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
    return _checked(recipe, name)


def reads(recipe: str | Callable[..., Experiment]) -> dict[str, Any]:
    """How the data of a recipe are best read: the mapping ``reads`` beside it of settings of :class:`fusevae.Source`,
    if there is one.

    Example:
        >>> reads("binary-vae")
        {}
    """
    beside = _beside(find(recipe) if isinstance(recipe, str) else recipe, "reads", {})
    return dict(beside) if isinstance(beside, Mapping) else {}


def modalities_of(recipe: str | Callable[..., Experiment]) -> tuple[str, ...]:
    """The kinds of data that a recipe is for: ``modality`` of the function or beside it; none where it doesn't say.

    Example:
        >>> modalities_of("maf")
        ('images', 'tables')
    """
    return _several(_beside(find(recipe) if isinstance(recipe, str) else recipe, "modality", ()))


def fits(recipe: str | Callable[..., Experiment], data: DataSpec) -> str | None:
    """Why a recipe does not take such data, in a line; None where it does. The recipe is made; where that takes long,
    with the options ``outline`` beside it, which leave that out.

    Example:
        >>> from fusevae import DataSpec
        >>> fits("conv-vae", DataSpec((1, 8, 8), "uint8", 0, 16)), fits("text-vae", DataSpec((1, 8, 8)))
        (None, 'this recipe is for text, the data have shape (1, 8, 8): give --data a .txt, .jsonl or .smi')
    """
    made = find(recipe) if isinstance(recipe, str) else recipe
    try:
        made(data, **_beside(made, "outline", {}))
    except InputError as error:
        return str(error)
    return None


def take(data: DataSpec, n: int = 1000) -> str:
    """What to do about a recipe that doesn't fit: take one that the modality recommends for ``n`` such examples."""
    from fusevae.data.modality import modality_of

    others = [choice.recipe for choice in modality_of(data).recommend(data, n)]
    return f"take {', '.join(others[:4])}" if others else "take another (fusevae recipes lists them)"


def today(text: str) -> str:
    """A text with the names of before as those of today.

    Example:
        >>> today("mnist-vae, 2 epochs")
        'binary-vae, 2 epochs'
    """
    return re.sub(rf"\b({'|'.join(RENAMED)})\b", lambda match: RENAMED[match[0]], text)


def trusted(name: str | None) -> list[str]:
    """The package of a recipe of one's own, which naming it trusts; of another recipe, nothing.

    Example:
        >>> trusted("mine.recipes:small"), trusted("binary-vae")
        (['mine'], [])
    """
    return [name.partition(":")[0].partition(".")[0]] if name and ":" in name else []


def _checked(recipe: Callable[..., Experiment], name: str) -> Callable[..., Experiment]:
    """The same recipe, but data that it is not for are refused before any work; the training of one of the library's
    own is as long as so many examples want it."""
    from fusevae.training.configuration import one_line, recipe_options
    from fusevae.training.sizing import sized

    ours_alone = ":" not in name

    @functools.wraps(recipe)
    def checking(data: DataSpec, *args: Any, **options: Any) -> Experiment:
        ours = modalities_of(checking)
        if data.modality and ours and data.modality not in ours:
            raise InputError(f"{name} is for {' or '.join(ours)}, these data are {data.modality}: {take(data)}")
        options = recipe_options(recipe, name, options)
        try:
            made = recipe(data, *args, **options)
        except InputError:
            raise
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            if not options or not ours_alone:
                raise
            asked = ", ".join(f"{key}={value!r}" for key, value in options.items())
            raise InputError(f"the recipe {name} can't be made with {asked} ({one_line(error)}): mend them") from error
        seen = data
        for view in made.views:
            seen = view.spec(seen)
        return made.replaced(training=sized(data, made.training)) if ours_alone else made

    checking.__module__ = _place(name)[0]  # beside which it says more of itself, wherever the function is from
    return checking


def _place(name: str) -> tuple[str, str]:
    """The module of a recipe, and its name there."""
    module, colon, function = name.partition(":")
    return (module, function) if colon else (f"fusevae.recipes.{name.replace('-', '_')}", "recipe")


@functools.cache
def _files() -> dict[str, ast.Module]:
    """The files of recipes, parsed, by the name of the recipe."""
    parsed = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.py"))}
    return {
        path.stem.replace("_", "-"): tree
        for path, tree in parsed.items()
        if any(isinstance(part, ast.FunctionDef) and part.name == "recipe" for part in tree.body)
    }


def _several(said: str | tuple[str, ...]) -> tuple[str, ...]:
    return (said,) if isinstance(said, str) else tuple(said)


def _beside(function: Callable[..., Any], name: str, default: Any) -> Any:
    """What a recipe says of itself: an attribute of the function, else of its module."""
    return getattr(function, name, getattr(sys.modules.get(function.__module__), name, default))
