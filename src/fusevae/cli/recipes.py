"""``fusevae recipes``: what there is, what fits some data, and what one is for and costs."""

from __future__ import annotations

import inspect
import json
import math
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from fusevae.training import recipes as find

TIMED = 5  # steps, for what one takes


def recipes(options: Namespace) -> int:
    """A line for each recipe; with data, what fits them; of one that is named, all that there is to say."""
    found: dict[str, Any]
    if options.what:
        found = one(options)
        lines = [(name, _words(value)) for name, value in found.items()]
    elif options.data or options.settings:
        found = fitting(options)
        lines = [(f"{name}{' (the default)' if i == 0 else ''}", text) for i, (name, text) in enumerate(_why(found))]
        lines += [("", ""), ("these don't fit:", "")] * bool(found["unfit"]) + list(found["unfit"].items())
    else:
        kinds = find.kinds()
        found = {name: {"what": text, "modality": list(kinds[name])} for name, text in find.recipes().items()}
        lines = [(name, f"{', '.join(about['modality']):15}  {about['what']}") for name, about in found.items()]
    if options.json:
        print(json.dumps(found))
        return 0
    width = max(len(name) for name, _ in lines if len(name) < 40)
    print("\n".join(f"{name:{width}}  {text}".rstrip() for name, text in lines))
    return 0


def fitting(options: Namespace) -> dict[str, Any]:
    """What suits the data, the default first, what fits them besides, and why the rest doesn't."""
    from fusevae.cli.load import about_data
    from fusevae.data.modality import modality_of
    from fusevae.recipes.default import source_of

    splits = source_of({} if options.data is None else {"path": options.data}, about_data(options)).read()
    spec = splits.spec
    best = {choice.recipe: choice for choice in modality_of(spec).recommend(spec, len(splits.train))}
    unfit: dict[str, str] = {}
    for name, kinds in find.kinds().items():
        if kinds and spec.modality not in kinds:
            unfit[name] = f"for {' or '.join(kinds)}"
        elif reason := find.fits(name, spec):
            unfit[name] = reason
    return {
        "data": {"source": splits.source, "modality": spec.modality, "examples": len(splits.train)},
        "recommended": [
            {"recipe": choice.recipe, "why": choice.why, "options": dict(choice.options)} for choice in best.values()
        ],
        "fit": {name: text for name, text in find.recipes().items() if name not in best and name not in unfit},
        "unfit": unfit,
    }


def one(options: Namespace) -> dict[str, Any]:
    """What a recipe is for, its options with defaults, and what it costs."""
    name = options.what
    recipe = find.find(name)
    name = find.RENAMED.get(name, name)
    module = inspect.getmodule(inspect.unwrap(recipe))
    about = " ".join((part or "").strip() for part in (module and module.__doc__, recipe.__doc__))
    found: dict[str, Any] = {
        "recipe": name,
        "what": " ".join(about.replace("``", "").split()),
        "modality": list(find.modalities_of(name)),
        "reads": find.reads(name),
        "options": {key: p.default for key, p in list(inspect.signature(recipe).parameters.items())[1:]},
    }
    return found | cost(options, name)


def cost(options: Namespace, name: str) -> dict[str, Any]:
    """Parameters, seconds of a step and of the whole training, for the data given or the digits."""
    import torch

    from fusevae.cli.load import about_data
    from fusevae.core.description import describe
    from fusevae.core.durations import clock
    from fusevae.recipes.default import said_of
    from fusevae.training import configuration
    from fusevae.training.budget import timed
    from fusevae.training.compose import for_recipe
    from fusevae.training.prepare import pick_device

    if options.data is None and "images" not in find.modalities_of(name):
        return {"cost": "for data of yours: add --data"}
    said = said_of({} if options.data is None else {"path": options.data}, about_data(options))
    recipe = find.find(name)
    _, splits, given = for_recipe(recipe, name, said, None, {})
    made = configuration.experiment(describe(recipe(splits.spec, **given)))
    batch = min(made.training.batch_size, len(splits.train))
    steps = math.ceil(made.training.epochs * max(1, len(splits.train) // batch))
    few = torch.arange(min(len(splits.train), 4 * batch))
    splits.train, splits.validation = splits.train.subset(few), splits.train.subset(few[:batch])
    parameters = sum(p.numel() for p in made.model.parameters())
    seconds, _, _ = timed(made, splits, options.device, TIMED)
    return {
        "data": splits.source,
        "parameters": parameters,
        "steps": steps,
        "seconds_per_step": float(f"{seconds:.2g}"),
        "cost": f"{steps:,} steps take {clock(steps * seconds)} on {pick_device(options.device).type}",
    }


def _why(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What fits, each with why, or what it is."""
    return [(choice["recipe"], choice["why"]) for choice in found["recommended"]] + list(found["fit"].items())


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={v!r}" for k, v in value.items()) or "as they are"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
