"""One example taken apart: what is missing from it filled in, the levels and the codes that it is made of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.data.examples import Batch
from fusevae.evaluation.chain import space_of
from fusevae.evaluation.imputation import impute
from fusevae.evaluation.inside_latents import depth, partly_drawn, vocabulary
from fusevae.evaluation.latents import encode
from fusevae.evaluation.reading import decoded
from fusevae.explorer import asked
from fusevae.explorer.known import Known
from fusevae.explorer.single import Few

STEPS = 60  # of a chain that fills something in
EACH = 4  # draws of what is not kept
CELLS = 4096  # codes of an example that a page shows
Answer = dict[str, Any]


def fills(known: Known) -> bool:
    """Whether the model can fill in what is missing, and its kind of data can be painted."""
    artifact = known.artifact
    with known.turns.asked():  # one who is not let in has no answer, not a no
        try:
            space_of(artifact)
        except InputError:
            return False
    lowest = torch.full((1, *artifact.data.shape), artifact.data.low).to(getattr(torch, artifact.data.dtype))
    return known.kind.paintable(lowest, artifact.data) is not None


def canvas(known: Known, request: asked.One) -> Answer:
    """A point to be painted over: drawn, the shape in which its values lie, and those that are missing already."""
    raw, sheet, shape = _painted(known, request.point)
    gone = raw[0].isnan().flatten().nonzero().flatten().tolist() if len(shape) == 1 else []
    return {"parts": sheet.parts(), "shape": list(shape), "missing": gone}


def fill(known: Known, request: asked.Fill) -> Answer:
    """What is missing from a point, drawn several times given the rest."""
    raw, _, shape = _painted(known, request.point)
    cells = torch.tensor(request.missing)
    size = int(torch.tensor(shape).prod())
    if int(cells.max()) >= size:
        raise InputError(f"value {int(cells.max())} was to be filled in of {size}")
    gone = torch.zeros(size, dtype=torch.bool)
    gone[cells] = True
    gone = gone.view(shape) if len(shape) == 2 else gone.view(raw.shape[1:]) | raw[0].isnan()
    given = Few(
        raw.nan_to_num(0.0) if raw.is_floating_point() else raw, _label(known, request.point), known.points.examples
    )
    with known.turns.asked():
        found = impute(known.artifact, given, gone, samples=request.n, steps=STEPS, seed=request.seed)
        return {"each": [known.show(x) for x in found.samples], "accepted": found.accepted[0].item()}


def levels(known: Known, request: asked.Redraw) -> Answer:
    """A point with its upper levels kept, and those below drawn from the prior: a row for each number that is kept."""
    (raw, label), n = _batch(known, request.point), depth(known.artifact)
    if not n:
        raise InputError("this model has one level of latents: see its sliders")
    again = raw.expand(EACH, *raw.shape[1:])
    labels = None if label is None else label.expand(EACH, *label.shape[1:])
    rows = []
    with known.turns.asked():
        for kept in range(n + 1):
            x = partly_drawn(known.artifact, again[:1] if kept == n else again, labels, kept, request.seed)
            rows.append({"kept": kept, "parts": known.show(x)})
        return {"levels": n, "parts": known.show(raw), "rows": rows}


def codes(known: Known, request: asked.Coded) -> Answer:
    """The codes of a point, changed where others are given, and what they are decoded to."""
    artifact, (raw, label) = known.artifact, _batch(known, request.point)
    n = vocabulary(artifact)
    if not n:
        raise InputError("this model has no codes: see its sliders")
    with known.turns.asked():
        own = torch.as_tensor(encode(artifact, Few(raw, label, known.points.examples))["codes"])
        used = own
        if request.codes:
            if len(request.codes) != own.numel():
                raise InputError(f"{len(request.codes)} codes were given, this example has {own.numel()}")
            used = torch.tensor(request.codes, dtype=own.dtype).view(own.shape)
            if bool(((used < 0) != (own < 0)).any()) or int(used.max()) >= n:
                raise InputError(f"codes up to {int(used.max())} were given: expected 0 to {n - 1} in each place")
        x = decoded(artifact, used, label, 0)
        answer = {"own": own.flatten().tolist(), "codes": used.flatten().tolist(), "vocabulary": n}
        grid = list(own.shape[1:]) if own.dim() > 2 else [1, *own.shape[1:]]
        many = own.numel() > CELLS
        return answer | {"shape": [] if many else grid, "parts": known.show(x), "given": known.show(artifact.seen(raw))}


def _batch(known: Known, point: int) -> Batch:
    return known.points.raw(torch.tensor([point]))


def _label(known: Known, point: int) -> Tensor | None:
    return _batch(known, point)[1]


def _painted(known: Known, point: int) -> tuple[Tensor, Any, tuple[int, ...]]:
    raw, _ = _batch(known, point)
    found = known.kind.paintable(raw, known.artifact.data)
    if found is None:
        raise InputError(f"{known.kind.what} are not filled in: see samples")
    return raw, *found
