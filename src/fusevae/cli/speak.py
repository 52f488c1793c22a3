"""``fusevae speak``: texts to sound."""

from __future__ import annotations

from argparse import Namespace

from fusevae.cli import load
from fusevae.cli.write import Output
from fusevae.core.errors import InputError
from fusevae.core.frames import extent
from fusevae.evaluation import speaking
from fusevae.modalities.audio.schema import rate_of


def speak(options: Namespace) -> int:
    """Write texts as sound."""
    output, run = Output(options.output), load.opened(options)
    artifact, spec = run.artifact, run.artifact.data
    speaking.aligned(artifact)
    output.check(spec)
    known = spec.conditions
    assert known is not None and known.text is not None
    if options.label and len(known) == 1:
        raise InputError(f"--label {options.label} was given, the model is told nothing but texts: leave it out")
    label = known.pairs(options.label) if options.label else {}
    if known.text.name in label:
        raise InputError(
            f"--label has {known.text.name}=...: give what is to be said after RUN, and there what else is known"
        )
    with run.computing():
        x = speaking.speak(artifact, options.texts, label, options.rate, options.temperature, options.seed)
    output.examples(x, spec, {known.text.name: options.texts})
    seconds = (extent(x[:, None]) / rate_of(spec)).tolist()
    facts = {"n": len(x), "texts": options.texts, "label": options.label, "rate": options.rate, "seconds": seconds}
    return output.tell(options.json, facts)
