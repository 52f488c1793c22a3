"""What of a recipe is tuned: the ranges that stand beside it, or usual ones around its own defaults.

A recipe says ``ranges = {"recipe.latent": [8, 16, 32], "training.learning_rate": (1e-4, 1e-2)}`` beside it: a list are
choices, a pair two ends, on a logarithmic scale where both are above 0.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fusevae.core.errors import InputError
from fusevae.training.configuration import Node
from fusevae.training.settings import Training

Range = list[Any] | tuple[float, float]
WIDTHS = ("latent", "width")  # options whose halves and doubles are tried
RATE, DECAY = 4.0, 10.0  # the learning rate is tried from a fourth to four times, a weight decay from a tenth to ten
DROPOUT = (0.0, 0.5)
STEPS = 4  # of a range that is a pair, from one end to the other


def ranges_of(recipe: Callable[..., Any], node: Node) -> dict[str, Range]:
    """The ranges of a recipe whose configuration, with its defaults, is ``node``; by the setting's name.

    Example:
        >>> from fusevae.recipes.find import find
        >>> list(ranges_of(find("text-vae"), {}))
        ['training.learning_rate', 'training.batch_size', 'recipe.latent', 'recipe.width', 'recipe.dropout']
    """
    own = getattr(recipe, "ranges", getattr(sys.modules.get(recipe.__module__), "ranges", None))
    if own is not None:
        return {name: _checked(name, value) for name, value in own.items()}
    usual = dict(Training()._arguments) | dict(node.get("training") or {})
    rate, batch, decay = usual["learning_rate"], usual["batch_size"], usual["weight_decay"]
    found: dict[str, Range] = {"training.learning_rate": (rate / RATE, rate * RATE)}
    found["training.batch_size"] = sorted({max(2, batch // 4), max(2, batch // 2), batch, 2 * batch})
    for name, option in inspect.signature(recipe).parameters.items():
        value = option.default
        if name in WIDTHS and isinstance(value, int) and not isinstance(value, bool):
            found[f"recipe.{name}"] = [max(1, value // 2), value, 2 * value]
        elif name == "dropout" and isinstance(value, float):
            found["recipe.dropout"] = DROPOUT
    if decay > 0:
        found["training.weight_decay"] = (decay / DECAY, decay * DECAY)
    return found


def defaults(recipe: Callable[..., Any], node: Node, ranges: Mapping[str, Range]) -> dict[str, Any]:
    """What the recipe has for each by itself, where that is known and within the range."""
    found = {}
    for path, values in ranges.items():
        section, _, name = path.partition(".")
        if section == "recipe":
            option = inspect.signature(recipe).parameters.get(name)
            value = None if option is None else option.default
        else:
            value = (dict(Training()._arguments) | dict(node.get("training") or {})).get(name)
        inside = value in values if isinstance(values, list) else value is not None and values[0] <= value <= values[1]
        if inside:
            found[path] = value
    return found


def moves(ranges: Mapping[str, Range], at: Mapping[str, Any], first: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """The settings one step away from ``at``, each with the name of what is changed; of ``first`` before all others.

    Example:
        >>> [each[name] for name, each in moves({"a": [1, 2, 4], "b": (1.0, 16.0)}, {"a": 2, "b": 2.0})]
        [1, 4, 4.0, 1.0]
    """
    for name, values in sorted(ranges.items(), key=lambda one: one[0] != first):
        if (now := at.get(name)) is None:
            continue
        if isinstance(values, list):
            place = values.index(now)
            near = [values[i] for i in (place - 1, place + 1) if 0 <= i < len(values)]
        else:
            low, high = values
            far = (high / low) ** (1 / STEPS) if low > 0 else (high - low) / STEPS
            near = [now * far, now / far] if low > 0 else [now - far, now + far]
            near = [min(high, max(low, each)) for each in near]
        for value in near:
            if value != now:
                yield name, {**at, name: value}


def _checked(name: str, value: Any) -> Range:
    if name.partition(".")[0] not in ("recipe", "training"):
        raise InputError(f"ranges has {name!r}: expected recipe.OPTION or training.SETTING")
    if isinstance(value, list) and value:
        return value
    if isinstance(value, tuple) and len(value) == 2 and value[0] < value[1]:
        return value
    raise InputError(f"the range of {name} is {value!r}: expected a list of choices, or a pair (low, high)")
