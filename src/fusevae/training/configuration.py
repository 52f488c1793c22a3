"""Configuration: an experiment as plain data, from YAML, from overrides, and back to YAML. There is one format."""

from __future__ import annotations

import copy
import inspect
import os
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.budget import within_memory
from fusevae.core.description import Trust, build, describe, fit_type, library_classes, resolve
from fusevae.core.errors import InputError, near
from fusevae.core.migration import migrated
from fusevae.core.stored import check_sizes
from fusevae.core.untrusted import LONGEST, from_yaml, text_of
from fusevae.training.experiment import Experiment

Node = dict[str, Any]

#: options of recipes that say how many of something there are, of which there may be none
LEFT_OUT = ("blocks", "flow", "segment", "transforms")

#: the class of a setting whose class is left out
USUAL = {"data": "Source", "objective": "ELBO", "training": "Training"}
NAMED = "data.columns."  # what stands below is the name of a column, whatever signs are in it


def read(path: str | Path) -> Node:
    """The configuration in a YAML file, not yet built.

    Its keys are the arguments of :class:`Experiment`: ``model``, ``data``, ``views``, ``objective``, ``training``,
    ``seed``.
    """
    path = Path(path)
    if not os.path.exists(path):
        raise InputError(f"no configuration at {path}: give a recipe (fusevae recipes lists them) or a YAML file")
    node = from_yaml(text_of(path, "configuration", LONGEST), str(path))
    if not isinstance(node, dict):
        raise InputError(f"{path} holds no settings: expected the keys model, data, training ... of a configuration")
    return migrated(complete(node))


def complete(node: Mapping[str, Any]) -> Node:
    """The same configuration with the classes that may be left out; ``data`` may be a path alone."""
    found = {"class": "Experiment", **node}
    if found["class"] != "Experiment":
        raise InputError(
            f"the configuration is of class {found['class']!r}: expected an Experiment, or leave class out"
        )
    if isinstance(found.get("data"), str):
        found["data"] = {"path": found["data"]}
    for key, name in USUAL.items():
        if isinstance(found.get(key), Mapping):
            found[key] = {"class": name, **found[key]}
        elif found.get(key, "") is None:  # an empty section of a YAML file
            del found[key]
    for key in ("model", *USUAL):
        if key in found and not isinstance(found[key], Mapping):
            raise InputError(f"{key} is {one_line(repr(found[key]), 60)}: expected the settings of a part")
    return found


def override(node: Node, settings: Sequence[str], trust: Trust = ()) -> Node:
    """A copy of ``node`` with each ``"path.to.setting=VALUE"`` put in its place; VALUE is YAML.

    A class name in the place of a part swaps the part's class and keeps the arguments that both classes have.

    Example:
        >>> override({"training": {"class": "Training", "epochs": 20}}, ["training.epochs=3"])
        {'training': {'class': 'Training', 'epochs': 3}}
    """
    node = copy.deepcopy(node)
    for setting in settings:
        path, value = parse(setting)
        named = path.startswith(NAMED)
        *parents, last = (*NAMED.split(".")[:-1], path.removeprefix(NAMED)) if named else path.split(".")
        if last == "class" and named:
            raise InputError(
                f"{setting!r} names a column 'class', which a configuration has another use for: rename it"
            )
        if last == "class":  # the same as naming the part itself
            if not parents:
                raise InputError(f"{setting!r} would change what a configuration is: name a part, model=... say")
            *parents, last = parents
        place: Any = node
        done: list[str] = []
        for key in parents:
            place, done = _child(place, key, done), [*done, key]
        _put(place, last, value, done, trust)
    return node


def parted(settings: Sequence[str], of: str) -> tuple[list[str], list[str]]:
    """The settings of a section, and the others.

    Example:
        >>> parted(["data.size=[8,8]", "training.epochs=3"], "data")
        (['data.size=[8,8]'], ['training.epochs=3'])
    """
    ours = [setting for setting in settings if setting.split("=")[0].split(".")[0].strip() == of]
    return ours, [setting for setting in settings if setting not in ours]


def changed(artifact: Artifact, settings: Sequence[str], trust: Trust = ()) -> Artifact:
    """The same weights in a model with other settings, each as for :func:`override`: the steps of a sampler, say
    (``distribution.sampler.steps=50``).

    Example:
        >>> from fusevae import DataSpec, Diffusion, TimeMLP
        >>> artifact = Artifact(Diffusion(TimeMLP(2), 2), DataSpec((2,)))
        >>> changed(artifact, ["distribution.sampler=DDIM", "distribution.sampler.steps=7"]).distribution.sampler.steps
        7
    """
    found = build(override(describe(artifact), settings, trust), trust)
    try:
        found.load_state_dict(artifact.state_dict())
    except RuntimeError as error:
        raise InputError(f"{', '.join(settings)} would change the weights ({one_line(error)}): train anew") from None
    return found.to(next(artifact.parameters(), torch.zeros(())).device).eval()


def parse(setting: str) -> tuple[str, Any]:
    """``"a.b=[1, 2]"`` as the path and the value."""
    path, equals, text = setting.partition("=")
    path = path.strip()
    if not equals or not path or not all(path.split(".")):
        raise InputError(f"{setting!r} is no setting: expected path=VALUE, training.epochs=50 say")
    try:
        return path, from_yaml(text, f"the value of {one_line(setting)!r}")
    except InputError as error:  # a shell takes the quotes around it away
        raise InputError(f"{error}, or quote it where it is a text: '{path}=\"...\"'") from None


def experiment(node: Node, trust: Trust = ()) -> Experiment:
    """Build a configuration; the initial weights depend on its seed alone."""
    node = complete(node)
    if "model" not in node:
        raise InputError("the configuration has no model: add the key model, or start from a recipe")
    seed = fit_type(node.get("seed", 0), int, "seed")
    with noise.preserved():
        torch.manual_seed(noise.key(seed, "weights"))
        with within_memory():
            built = build(node, trust)
    assert isinstance(built, Experiment)
    check_sizes(built.model, "model")
    return built


def dump(built: Experiment) -> str:
    """An experiment as YAML with every setting in full; paths of files are absolute, so it works from anywhere."""
    node = describe(built)
    data = node["data"]
    for key, is_file in (("path", True), ("conditions", built.data.options.conditions.file is not None)):
        if data.get(key) and is_file:
            data[key] = str(Path(data[key]).expanduser().absolute())
    text: str = yaml.safe_dump({k: v for k, v in node.items() if k != "class"}, sort_keys=False, width=120)
    return text


def recipe_options(recipe: Callable[..., Any], name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a recipe, as the type hints of its function want them. In the library's own a whole number is a
    size, so at least 1 (:data:`LEFT_OUT` at least 0), any other one a weight or a rate, so finite and at least 0,
    unless the default is less; a dropout is at most 1."""
    known = inspect.signature(recipe).parameters
    hints = typing.get_type_hints(recipe)
    for key in options:
        if key not in (names := list(known)[1:]):
            raise InputError(f"recipe {name} has no option {key!r}{near(key, names)}")
    found = {key: fit_type(value, hints.get(key, Any), f"recipe.{key}") for key, value in options.items()}
    for key, value in found.items() if ":" not in name else ():
        for number in value if isinstance(value, tuple | list) else (value,):
            if isinstance(number, int | float) and not isinstance(number, bool):
                usual, size = known[key].default, isinstance(number, int) and key not in LEFT_OUT
                least = min(int(size), usual if isinstance(usual, int | float) else 1)
                most, words = (1, "at most 1") if key.endswith("dropout") else (sys.float_info.max, "finite")
                if not least <= number <= most:
                    raise InputError(f"recipe.{key} of {name} is {value}: expected {least} or more, and {words}")
    return found


def one_line(error: object, length: int = 200) -> str:
    """An error as one line of at most ``length`` characters."""
    return " ".join(str(error).split())[:length]


def _child(place: Any, key: str, done: list[str]) -> Any:
    """What stands at ``key``; a section that isn't there yet is made, so that a default can be changed."""
    if isinstance(place, list):
        return place[_index(place, key, done)]
    if not isinstance(place, dict):
        raise InputError(f"{'.'.join(done)} is {place!r} and has no setting {key!r}: replace it as a whole")
    if place.get(key) is None:
        place[key] = {}
    return place[key]


def _index(place: list[Any], key: str, done: list[str], room: int = 0) -> int:
    name = ".".join(done)
    if not key.isdecimal() or int(key) >= len(place) + room:
        have = f"{len(place)} entries, the first is {name}.0" if place else "no entries"
        raise InputError(f"{name} has no entry {key!r}: it has {have}")
    return int(key)


def _put(place: Any, key: str, value: Any, done: list[str], trust: Trust) -> None:
    path = ".".join([*done, key])
    if isinstance(place, list):
        index = _index(place, key, done, room=1)
        if index == len(place):
            place.append(None)
        place[index] = _swapped(place[index], value, path, trust)
    elif isinstance(place, dict):
        place[key] = _swapped(place.get(key), value, path, trust)
    else:
        raise InputError(f"{'.'.join(done)} is {place!r} and has no setting {key!r}: replace it as a whole")


def _swapped(before: Any, value: Any, path: str, trust: Trust) -> Any:
    """``value``, or the part of that class where it is a class name in the place of a part."""
    is_part = isinstance(before, dict) and "class" in before
    if not isinstance(value, str) or isinstance(before, str) or not (is_part or value in library_classes()):
        return value
    if is_part and path == "data":
        return {**before, "path": value}
    cls = resolve(value, trust, path)
    arguments = before if is_part else {}
    takes = inspect.signature(cls).parameters
    return {"class": value} | {k: v for k, v in arguments.items() if k in takes}
