"""What the page asks and is answered: each function takes a run and a request, and returns plain data."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fusevae.core.conditions import Label
from fusevae.core.errors import InputError
from fusevae.core.generation import Generation
from fusevae.core.levels import Level
from fusevae.data.modality import modality_of
from fusevae.evaluation import samples
from fusevae.evaluation.inside_latents import depth, vocabulary
from fusevae.evaluation.latent_space import direction, nearest
from fusevae.evaluation.paths import active, way
from fusevae.evaluation.reading import along, decoded, has_real_latents
from fusevae.evaluation.verdict import UNJUDGED, of_training, verdict
from fusevae.explorer import asked, single, within
from fusevae.explorer.known import Known
from fusevae.explorer.points import Points
from fusevae.models.preprocessed import layers
from fusevae.models.vae import VAE
from fusevae.training.history import curves as curves_of
from fusevae.training.outcome import words_of
from fusevae.training.so_far import SoFar, newest_step

SLIDERS = 12
QUANTILES = 0.99  # of the aggregate posterior, between the ends of a slider
DRAWN = 500  # values of a curve
LATER = "fusevae evaluate RUN --samples does it once the training has ended"
SO_FAR = 16  # samples of a training that goes on
Answer = dict[str, Any]


def about(known: Known, request: asked.Asked) -> Answer:
    """What a run is, and what can be looked at."""
    facts: Answer = {"name": known.name, "ready": known.ready, "curves": known.records is not None}
    if not known.ready:
        return facts
    artifact = known.artifact
    model, columns = artifact.distribution, artifact.data.conditions
    with known.turns.asked():
        real = has_real_latents(artifact)
    _, inner = layers(model)
    name = type(inner).__name__
    facts |= {
        "model": f"{name} (a VAE)" if isinstance(inner, VAE) and type(inner) is not VAE else name,
        "facts": [
            ["data", f"{known.kind.what}: {artifact.data.schema.about(artifact.data)}"],
            ["likelihood", artifact.support],
            ["parameters", f"{artifact.n_parameters:,}"],
            *([["beside the data", words_of(columns)]] if columns is not None else []),
        ],
        "latents": real,
        "codes": model.has_latents and not real,
        "inside": bool(depth(artifact) or vocabulary(artifact)),
        "fills": within.fills(known),
        "writes": model.space == "sequences",
        "level": model.level.name.lower(),
        "likelihood": model.level >= Level.BOUND,
        "conditions": [
            {"name": c.name, "classes": c.classes if isinstance(c, Label) else None, "about": c.about}
            for c in columns.columns
        ]
        if columns is not None and artifact.is_conditional
        else [],
        "columns": list(artifact.data.schema.names),
    }
    return facts


def points(known: Known, request: asked.Some) -> Answer:
    """The points that are not known yet to the page."""
    found = _mapped(known, drawn=False)
    found.start("latents")
    if found.failed:
        raise InputError(found.failed)
    if found.plane is None:
        return {"total": len(found), "points": "", "have": 0}
    new = found.plane.points(found.latents().z[request.have :]).float()
    return {
        "total": len(found),
        "have": request.have + len(new),
        "points": _packed(new.numpy()),
        "axes": list(found.plane.axes),
        "columns": found.columns(),
    }


def column(known: Known, request: asked.Column) -> Answer:
    """What the points are coloured by."""
    found = _mapped(known).column(request.column)
    return {"values": _packed(found.values.astype(np.float32)), "names": found.names, "dates": found.dates}


def example(known: Known, request: asked.One) -> Answer:
    """An example as it is, and what is known of it."""
    found, spec = known.points, known.artifact.data
    raw, label = found.raw(torch.tensor([request.point]))
    name, row, file = found.examples.within(int(found.order[request.point]))
    facts = [["set", name], ["row", f"{row:,}"], *([["file", file]] if file else [])]
    if label is not None and spec.conditions is not None:
        facts += [[k, _word(v[0])] for k, v in spec.conditions.values(label).items()]
    with known.turns.asked():
        parts = known.show(raw)
    told = {cell for part in parts for row in part.get("rows", ()) for cell in row}
    facts += [[k, v[0]] for k, v in known.kind.identify(raw, spec).items() if v[0] not in told]
    if request.point < sum(map(len, found.bounds)):
        facts.append(["log-likelihood", f"{float(torch.cat(found.bounds)[request.point]):,.2f} nats (a bound)"])
    return {"parts": parts, "facts": facts}


def latent(known: Known, request: asked.One) -> Answer:
    """The latent of a point, its most active dimensions with the range of each, and what the model makes of it."""
    found = _mapped(known)
    z = _latent_of(known, request.point)
    every = found.latents()
    means = every.z.flatten(1)
    spread = (
        means if every.scale is None else torch.cat([means - every.scale.flatten(1), means + every.scale.flatten(1)])
    )
    some = spread[torch.linspace(0, len(spread) - 1, min(len(spread), 4000)).long()].double().numpy()
    low, high = np.quantile(some, [(1 - QUANTILES) / 2, (1 + QUANTILES) / 2], axis=0)
    chosen = active(every)[:SLIDERS].tolist()
    return {
        "z": z.flatten().tolist(),
        "sliders": [{"dim": d, "low": float(low[d]), "high": float(high[d])} for d in chosen],
        "dims": means.shape[1],
    }


def decode(known: Known, request: asked.Decode) -> Answer:
    """A latent decoded."""
    return _decoded(known, _shaped(known, request.z), request)


def place(known: Known, request: asked.Place) -> Answer:
    """A place of the map decoded: the latent there on the plane, or on the one beside it through that of a point."""
    found = _mapped(known)
    through = None if request.through is None else _latent_of(known, request.through).flatten()
    z = found.drawn().place(torch.tensor([[request.x, request.y]]), through)
    return _decoded(known, z.view(1, *found.latents().z.shape[1:]), request)


def path(known: Known, request: asked.Route) -> Answer:
    """The way through latents, a frame for each step; the ends of each stretch are frames."""
    ends = torch.cat([_shaped(known, z) for z in request.through])
    label = known.condition(request.given, request.like, len(ends) - 1)
    with known.turns.asked():
        z = way(ends[:-1], ends[1:], request.steps, request.kind)
        x = along(known.artifact, z, label, label, request.seed).flatten(0, 1)
        kept = [i for i in range(len(x)) if i % request.steps or not i]
        frames = [known.show(x[i : i + 1]) for i in kept]
        sheet = known.show(x[kept])
    return {"frames": frames, "parts": sheet, "points": _mapped(known).drawn().points(z.flatten(0, 1)[kept]).tolist()}


def attribute(known: Known, request: asked.Value) -> Answer:
    """The direction of an attribute: the mean latent of the points that have it minus that of the others."""
    found = _mapped(known)
    column = found.column(request.column)
    values, names = column.values, column.names
    z = found.latents().z[: len(values)]
    values = values[: len(z)]
    if names is None:
        known_ones = np.isfinite(values)
        middle = float(np.median(values[known_ones])) if known_ones.any() else 0.0
        has, word = torch.from_numpy(values > middle), f"{request.column} above {column.word(middle)}"
    elif request.value in names:
        has, word = torch.from_numpy(values == names.index(request.value)), f"{request.column} = {request.value}"
    else:
        raise InputError(f"{request.column} has no value {request.value[:40]!r}: choose one of its own")
    return {"z": direction(z, has, word).flatten().tolist(), "name": word, "with": int(has.sum()), "of": len(z)}


def near(known: Known, request: asked.Near) -> Answer:
    """The points nearest in latent space."""
    z = _latent_of(known, request.point) if request.point is not None else _shaped(known, request.z or [])
    every = _mapped(known).latents().z
    own = torch.tensor([request.point]) if request.point is not None and request.point < len(every) else None
    found = nearest(every, z, min(request.k, len(every) - 1), own)
    raw = known.points.raw(found.indices[0])[0]
    with known.turns.asked():
        shown = [known.show(each[None]) for each in raw]
    return {"points": found.indices[0].tolist(), "distances": found.distances[0].tolist(), "each": shown}


def drawn(known: Known, request: asked.Drawn) -> Answer:
    """New examples."""
    artifact = known.artifact
    how = None if request.temperature is None else Generation(temperature=request.temperature)
    given = {name: value for name, value in request.given.items() if value}
    with known.turns.asked():
        x, notes = samples.drawn(artifact, request.n, given or None, request.seed, generation=how)
        kind = samples.kind_used(artifact, "auto")
        says = "means of p(x | z)" if kind == "mean" else "samples from the model"
        return {"parts": known.show(x), "kind": says, "notes": notes}


def so_far(known: Known, request: asked.Asked) -> Answer:
    """New examples of a training that goes on, from its newest checkpoint."""
    found = SoFar.of(known.run)
    if found is None:
        raise InputError("the training has left no checkpoint yet")
    with known.turns.asked():
        x = samples.sample(found.artifact, SO_FAR)
        sheet = modality_of(found.artifact.data).fragment(x, found.artifact.data)
    return {"parts": sheet.parts(), "step": found.step}


def curves(known: Known, request: asked.Curves) -> Answer:
    """The figures of a training so far, and what they say."""
    records = known.records.read() if known.records is not None else []
    found: Answer = {"records": len(records)}
    for kind in ("train", "validation"):
        series = {k: v for k, v in curves_of(records, kind).items() if v.ndim == 1}
        n = len(series["step"]) if series else 0
        places = np.unique(np.linspace(0, max(0, n - 1), min(n, DRAWN)).round().astype(int))
        found[kind] = {k: _plain(v[places]) for k, v in series.items()}
    ended = known.run.evaluation if known.ready and known.run is not None else None
    found["verdict"] = (
        verdict(of_training(records, ended), unjudged=UNJUDGED if known.ready else LATER, likelihood=ended is not None)
        if records
        else ["nothing was recorded yet"]
    )
    found["events"] = [[r.get("step", 0), str(r["says"])] for r in records if "says" in r][-20:]
    run = known.run
    found["finished"] = known.ready
    found["checkpoint"] = None if known.ready else newest_step(known.path)
    if known.ready and (figures := run.evaluation) is not None:
        found["figures"] = [list(line) for line in figures.lines()]
    last = records[-1] if records else {}
    found["step"], found["seconds"] = last.get("step", 0), last.get("seconds", 0)
    return found


def _mapped(known: Known, drawn: bool = True) -> Points:
    """The points of a model that has a map, some of which are on it."""
    if not known.points.real:
        name = type(known.artifact.distribution).__name__
        raise InputError(f"{name} has no latents that are numbers: see its samples, and its training")
    if drawn:
        known.points.drawn()
    return known.points


def _latent_of(known: Known, point: int) -> Tensor:
    """The latent ``(1, *latent)`` of a point, encoded now where its turn has not come."""
    found = _mapped(known)
    every = found.latents().z
    if point < len(every):
        return every[point : point + 1]
    found.raw(torch.tensor([point]))  # is there such a point?
    with known.turns.asked():
        return found.read(found.examples.subset(found.order[point : point + 1])).z


def _shaped(known: Known, z: list[float]) -> Tensor:
    every = _mapped(known).latents().z
    if len(z) != every[0].numel() if len(every) else True:
        raise InputError(
            f"{len(z)} numbers were given: the latents have {every[0].numel() if len(every) else 'not come'}"
        )
    return torch.tensor(z, dtype=every.dtype).view(1, *every.shape[1:])


def _decoded(known: Known, z: Tensor, request: asked.Conditioned) -> Answer:
    label = known.condition(request.given, request.like, 1)
    with known.turns.asked():
        shown = known.show(decoded(known.artifact, z, label, request.seed))
    return {"parts": shown, "z": z.flatten().tolist(), "point": known.points.drawn().points(z)[0].tolist()}


def _plain(values: np.ndarray) -> list[float | None]:
    return [v if np.isfinite(v) else None for v in values.tolist()]


def _packed(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()


def _word(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class Action(NamedTuple):
    """A request of the page: its form, and what answers it."""

    form: type[asked.Asked]
    answer: Callable[..., Answer]


ACTIONS = {
    "about": Action(asked.Asked, about),
    "points": Action(asked.Some, points),
    "column": Action(asked.Column, column),
    "example": Action(asked.One, example),
    "latent": Action(asked.One, latent),
    "decode": Action(asked.Decode, decode),
    "place": Action(asked.Place, place),
    "path": Action(asked.Route, path),
    "attribute": Action(asked.Value, attribute),
    "near": Action(asked.Near, near),
    "samples": Action(asked.Drawn, drawn),
    "so_far": Action(asked.Asked, so_far),
    "canvas": Action(asked.One, within.canvas),
    "fill": Action(asked.Fill, within.fill),
    "levels": Action(asked.Redraw, within.levels),
    "codes": Action(asked.Coded, within.codes),
    "beside": Action(asked.Beside, single.beside),
    "own": Action(asked.Own, single.own),
    "curves": Action(asked.Curves, curves),
}
