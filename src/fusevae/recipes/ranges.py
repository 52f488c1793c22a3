"""What of a recipe is tuned: the ranges that stand beside it, or usual ones around its own defaults.

A recipe says ``ranges = {"recipe.latent": [8, 16, 32], "training.learning_rate": (1e-4, 1e-2)}`` beside it: a list are
choices, a pair two ends, on a logarithmic scale where both are above 0.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fusevae.core.errors import InputError
from fusevae.training.configuration import Node
from fusevae.training.settings import Training

Range = list[Any] | tuple[float, float]
WIDTHS = ("latent", "width", "hidden", "channels", "components")  # options whose halves and doubles are tried
RATE, DECAY = 4.0, 10.0  # the learning rate is tried from a fourth to four times, a weight decay from a tenth to ten
DROPOUT = (0.0, 0.5)
STEPS = 4  # of a range that is a pair, from one end to the other


def ranges_of(recipe: Callable[..., Any], node: Node) -> dict[str, Range]:
    """The ranges of a recipe whose configuration, with its defaults, is ``node``; by the setting's name.

    Example:
        >>> from fusevae.training.recipes import find
        >>> list(ranges_of(find("text-vae"), {}))
        ['recipe.latent', 'recipe.width', 'recipe.dropout', 'training.batch_size', 'training.learning_rate']
    """
    own = getattr(recipe, "ranges", getattr(sys.modules.get(recipe.__module__), "ranges", None))
    if own is not None:
        return {name: _checked(name, value) for name, value in own.items()}
    usual = dict(Training()._arguments) | dict(node.get("training") or {})
    rate, batch, decay = usual["learning_rate"], usual["batch_size"], usual["weight_decay"]
    found: dict[str, Range] = {}
    for name, option in inspect.signature(recipe).parameters.items():
        value = option.default
        if name in WIDTHS and sized(value):
            near = [scaled(value, 1, 2), value, scaled(value, 2, 1)]
            found[f"recipe.{name}"] = [coded(each) for i, each in enumerate(near) if each not in near[:i]]
        elif name == "dropout" and isinstance(value, float):
            found["recipe.dropout"] = DROPOUT
    found["training.batch_size"] = sorted({max(2, batch // 4), max(2, batch // 2), batch, 2 * batch})
    found["training.learning_rate"] = (rate / RATE, rate * RATE)
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
        value = coded(value)
        inside = value in values if isinstance(values, list) else value is not None and values[0] <= value <= values[1]
        if inside:
            found[path] = value
    return found


def sized(value: Any) -> bool:
    """Whether an option is a width, or some of them."""
    each = value if isinstance(value, (tuple, list)) else (value,)
    return bool(each) and all(isinstance(one, int) and not isinstance(one, bool) for one in each)


def scaled(value: Any, by: int, over: int) -> Any:
    """A width, or some, times ``by / over``.

    Example:
        >>> scaled(5, 1, 2), scaled((64, 32), 2, 1)
        (2, [128, 64])
    """
    if isinstance(value, (tuple, list)):
        return [scaled(one, by, over) for one in value]
    return max(1, value * by // over)


def moves(
    ranges: Mapping[str, Range], at: Mapping[str, Any], first: str = "", smaller: bool = False
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The settings one step away from ``at``, each with the name of what is changed: of ``first`` before all others,
    then of each one way, then of each the other way. The first way is up, of choices down where ``smaller`` are wanted
    first; of a range from 0 (dropout) it is down.

    Example:
        >>> [each[name] for name, each in moves({"a": [1, 2, 4], "b": (1.0, 16.0)}, {"a": 2, "b": 2.0})]
        [4, 4.0, 1, 1.0]
    """
    near = {name: steps(values, at[name], smaller) for name, values in ranges.items() if at.get(name) is not None}
    order = [(first, value) for value in near.pop(first, [])]
    order += [(name, values[i]) for i in (0, 1) for name, values in near.items() if i < len(values)]
    for name, value in order:
        yield name, {**at, name: value}


def steps(values: Range, now: Any, smaller: bool = False) -> list[Any]:
    """What is one step away from ``now`` within a range, the first way first."""
    if isinstance(values, list):
        place = values.index(now)
        near = [values[i] for i in (place + 1, place - 1) if 0 <= i < len(values)]
        return near[::-1] if smaller else near
    low, high = values
    far = (high / low) ** (1 / STEPS) if low > 0 else (high - low) / STEPS
    near = [now * far, now / far] if low > 0 else [now - far, now + far]
    return [value for each in near if (value := min(high, max(low, each))) != now]


def coded(value: Any) -> Any:
    """A choice as a study keeps it, which knows no lists: these as JSON.

    Example:
        >>> coded((256, 256)), coded(8), plain({"recipe.hidden": coded((256, 256)), "recipe.kind": "add"})
        ('[256, 256]', 8, {'recipe.hidden': [256, 256], 'recipe.kind': 'add'})
    """
    return json.dumps(value) if isinstance(value, (list, tuple)) else value


def plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they are meant, of those that a study keeps."""
    return {n: json.loads(v) if isinstance(v, str) and v.startswith("[") else v for n, v in params.items()}


def _checked(name: str, value: Any) -> Range:
    if name.partition(".")[0] not in ("recipe", "training"):
        raise InputError(f"ranges has {name!r}: expected recipe.OPTION or training.SETTING")
    if isinstance(value, list) and value:
        return [coded(each) for each in value]
    if isinstance(value, tuple) and len(value) == 2 and value[0] < value[1]:
        return value
    raise InputError(f"the range of {name} is {value!r}: expected a list of choices, or a pair (low, high)")
