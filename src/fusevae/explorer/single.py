"""One example that models are shown: one of the points, or one of the user's own."""

from __future__ import annotations

import logging
import math
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.levels import Level
from fusevae.data.array_files import npz_headers
from fusevae.data.examples import Examples
from fusevae.evaluation import anomaly, latents
from fusevae.evaluation.blocks import as_examples
from fusevae.evaluation.reading import has_real_latents
from fusevae.explorer import asked
from fusevae.explorer.known import IMPORTANCE, Known

Answer = dict[str, Any]
UNPACKED = 2**28  # bytes that a file of one's own may take in memory


def beside(known: Known, request: asked.Beside, other: Known) -> Answer:
    """An example, and what each of two models makes of it."""
    raw, label = known.points.raw(torch.tensor([request.point]))
    with known.turns.asked():
        shown = known.show(raw)
    models = []
    for each in (known, other):
        try:
            found = _judged(each, _once(each.artifact, known, raw, label))
        except InputError as error:  # one of them can't take it
            found = {"parts": [], "facts": [], "error": str(error)}
        models.append({"name": each.name, **found})
    return {"parts": shown, "models": models}


def own(known: Known, request: asked.Own) -> Answer:
    """A text of the user's own: encoded, reconstructed, placed, scored."""
    with known.turns.asked(), warnings_said() as said:
        values = {name: value for name, value in request.given.items() if value}
        given = as_examples(known.artifact, list(request.texts), values or None)
    return _noted(_placed(known, given), [text.replace("the list in memory: ", "") for text in said])


def own_file(known: Known, body: bytes, name: str) -> Answer:
    """A file of the user's own, likewise; it is read from a folder that is gone afterwards."""
    suffix = Path(name).suffix.lower()
    if not re.fullmatch(r"\.[a-z0-9]{1,8}", suffix):
        raise InputError(f"{name[:60]!r} has no ending that says what it is: give a file such as example.png")
    with tempfile.TemporaryDirectory(prefix="fusevae-") as folder:
        path = Path(folder) / f"example{suffix}"
        path.write_bytes(body)
        try:
            if suffix == ".npz":
                _check_unpacked(path)
            with known.turns.asked(), warnings_said() as said:
                found, _ = known.run.examples(str(path))
                x, y = found.batch(torch.arange(1))
        except InputError as error:
            raise InputError(str(error).replace(str(path), name[:60]).replace(folder, "")) from None
    notes = [f"this is the first of the {len(found):,} examples in the file"] if len(found) > 1 else []
    notes += [text.replace(str(path), name[:60]).replace(folder, "") for text in said]
    return _noted(_placed(known, Few(x, y, found)), notes)


def _check_unpacked(path: Path) -> None:
    """Refuse arrays that are small as a file and large in memory."""
    size = sum(math.prod(shape) * dtype.itemsize for shape, dtype in npz_headers(path).values())
    if size > UNPACKED:
        raise InputError(
            f"{path} unpacks to {size / 1e9:.2f} GB: expected one example, at most {UNPACKED / 1e9:.2f} GB"
        )


def _noted(answer: Answer, notes: list[str]) -> Answer:
    return answer | {"facts": [["note", note] for note in notes] + answer["facts"]}


@contextmanager
def warnings_said() -> Iterator[list[str]]:
    """What the library warns of inside, in this thread."""
    said: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == threading.get_ident():
                said.append(record.getMessage())

    logger, kept = logging.getLogger("fusevae"), Kept(logging.WARNING)
    logger.addHandler(kept)
    try:
        yield said
    finally:
        logger.removeHandler(kept)


class Few(Examples):
    """Some examples in memory, with the description of those that they are of."""

    def __init__(self, x: Tensor, y: Tensor | None, like: Examples) -> None:
        self.x, self.y, self.spec = x, y, like.spec

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.x[indices], None if self.y is None else self.y[indices]


def _once(artifact: Artifact, known: Known, raw: Tensor, label: Tensor | None) -> Examples:
    """An example of a run for a model, which may have been made for other data: then this is said."""
    spec = known.points.examples.spec
    if not artifact.data.schema.numeric and not spec.schema.numeric:  # vocabularies differ
        return as_examples(artifact, spec.text(raw))
    artifact.data.check(spec, "the other model")
    conditions = artifact.data.conditions
    same = conditions is not None and spec.conditions is not None and conditions.names == spec.conditions.names
    return Few(raw, label if same else None, known.points.examples)


def _judged(known: Known, given: Examples) -> Answer:
    """What a model makes of an example, and how likely it is to it."""
    artifact, facts = known.artifact, []
    with known.turns.asked():
        parts: list[dict[str, Any]] = []
        if artifact.distribution.has_latents:
            parts = known.show(latents.reconstruct(artifact, given))
        if artifact.distribution.level >= Level.BOUND:
            own = anomaly.parts(artifact, given, IMPORTANCE)
            facts = [["log-likelihood", f"{own['log_p'].item():,.2f} nats"]]
            try:
                usual = known.usual(given.batch(torch.arange(1))[1] is not None)
            except InputError as error:  # its data have moved away
                return {"parts": parts, "facts": [*facts, ["note", f"nothing tells how unusual that is: {error}"]]}
            n = len(usual["log_p"])
            for k, v in anomaly.scores(own, usual).items():
                if k.startswith("p_"):  # (1 + how many are) / (1 + n)
                    many = round(v[0] * (n + 1)) - 1
                    says = f"{many or 'none'} of {n} held-out examples {'is' if many < 2 else 'are'} as unusual"
                    facts.append([k.removeprefix("p_").replace("_", " "), says])
    return {"parts": parts, "facts": facts}


def _placed(known: Known, given: Examples) -> Answer:
    """An example that was given: as it was read, as the model makes it, where it lies, how unusual it is."""
    artifact = known.artifact
    answer = {"given": known.show(artifact.seen(given.batch(torch.arange(1))[0])), **_judged(known, given)}
    if has_real_latents(artifact):
        with suppress(InputError):  # its data have moved away: there is no map
            plane = known.points.drawn()
            with known.turns.asked():
                z = known.points.read(given).z
            answer |= {"z": z.flatten().tolist(), "point": plane.points(z)[0].tolist()}
    return answer
