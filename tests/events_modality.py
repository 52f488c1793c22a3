"""A modality of one's own, in one file: binary events in time, with a rate in Hz. Nothing else knows of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusevae import MLP, VAE, Bernoulli, DataSpec, Experiment, Flat, Gaussian, InputError, Normal, Training
from fusevae.core.artifact import Artifact
from fusevae.core.spec import Schema
from fusevae.data.examples import Examples
from fusevae.data.given import Given
from fusevae.data.modality import Choice, Modality
from fusevae.data.parts import Options, Part
from fusevae.data.sheet import Rows, Sheet
from fusevae.data.splits import Splits
from fusevae.evaluation.features import Columns
from fusevae.evaluation.fidelity import reconstruction_quality
from fusevae.evaluation.judge import Judge
from fusevae.evaluation.quality import Reference


class EventSchema(Schema):
    """Events in time.

    Args:
        rate: bins a second, in Hz.
    """

    modality = "events"

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def check(self, ours: DataSpec, theirs: DataSpec, what: str) -> None:
        if isinstance(theirs.schema, EventSchema) and theirs.schema.rate != self.rate:
            raise InputError(
                f"{what} was made for events at {self.rate:g} Hz, these have {theirs.schema.rate:g}: resample"
            )
        super().check(ours, theirs, what)

    def about(self, spec: DataSpec) -> str:
        return f"events of {spec.dims / self.rate:g} s at {self.rate:g} Hz"


class Events(Modality):
    """Lines of 0 and 1 in an ``.events`` file, below a line of JSON with the rate."""

    name = "events"
    what = "events in time"
    schema = EventSchema
    formats = (".events",)

    def claims(self, given: Given, options: Options) -> bool:
        return given.suffix == ".events"

    def read(self, given: Given, options: Options) -> dict[str, Part]:
        if given.suffix != ".events" or given.path is None:
            raise InputError(f"{given.name} holds no events: expected an .events file")
        head, *lines = given.path.read_text(encoding="utf-8").split()
        about = json.loads(head)
        if wrong := [line for line in lines if set(line) - {"0", "1"} or len(line) != len(lines[0])]:
            raise InputError(f"{given.path}: {wrong[0]!r} is no line of {len(lines[0])} times 0 or 1: mend it")
        x = torch.tensor([[bit == "1" for bit in line] for line in lines])
        part = Part(x, schema=EventSchema(float(about["rate"])), total=len(x))
        part.beside({name: about[name] for name in options.conditions.among(about, str(given.path))}, str(given.path))
        return {"train": part}

    def write(self, x: Tensor, spec: DataSpec, path: Path, beside: Mapping[str, Sequence[Any]]) -> None:
        assert isinstance(spec.schema, EventSchema)
        lines = ["".join("1" if bit else "0" for bit in row) for row in x.tolist()]
        path.write_text("\n".join([json.dumps({"rate": spec.schema.rate}, separators=(",", ":")), *lines]) + "\n")

    def draw(self, rows: Sequence[tuple[str, Tensor]], spec: DataSpec) -> Sheet:
        marks = [(word, "".join("|" if bit else "." for bit in row)) for word, x in rows for row in x.tolist()]
        return Rows(("", "events"), marks)

    def reference(self, held: Examples, data: Splits, n: int, extractor: str | None, device: str, quiet: bool) -> Judge:
        return Reference(Columns(data.train), held, data.train, n)

    def reconstruction(self, artifact: Artifact, held: Examples, seed: int = 0) -> Any:
        return reconstruction_quality(artifact, held, seed=seed)

    def recommend(self, spec: DataSpec, n: int, seconds: float | None = None) -> list[Choice]:
        return [Choice("events_modality:events_vae", f"a small VAE for {n:,} series of 0 and 1")]


def events_vae(data: DataSpec, latent: int = 2) -> Experiment:
    """VAE of events, each bin a coin given the latent."""
    vae = VAE(
        Flat(Normal(latent), Gaussian(MLP(data.shape, 2 * latent, (16,)))), Bernoulli(MLP(latent, data.shape, (16,)))
    )
    return Experiment(vae, training=Training(epochs=3, batch_size=32))


events_vae.modality = "events"  # type: ignore[attr-defined]
