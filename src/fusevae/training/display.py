"""What a notebook shows of an artifact and of its history: words, and a sheet where that is cheap."""

from __future__ import annotations

import html

from fusevae.core.artifact import Artifact
from fusevae.core.conditional import Conditional
from fusevae.data.modality import modality_of
from fusevae.data.sheet import Sheet
from fusevae.evaluation.samples import sample

CHEAP = 20_000_000  # parameters times samples, above which nothing is drawn
SAMPLES = 8


def as_html(words: str, sheet: Sheet | None = None) -> str:
    """Words, and below them a sheet."""
    text = "".join(f"<div>{html.escape(line)}</div>" for line in words.splitlines())
    return text if sheet is None else text + sheet.html()


def artifact_html(artifact: Artifact) -> str:
    """An artifact's words, and a row of samples where these take no time."""
    return as_html(repr(artifact), samples(artifact))


def samples(artifact: Artifact) -> Sheet | None:
    """A row of samples, or None where a part doesn't give its mean in one pass."""
    model = artifact.distribution
    at_once = all(part.has_mean for part in model.modules() if isinstance(part, Conditional))
    if not model.has_latents or not at_once or artifact.n_parameters * SAMPLES > CHEAP:
        return None
    training = artifact.training
    try:
        return modality_of(artifact.data).draw([("samples", sample(artifact, SAMPLES))], artifact.data)
    except (ValueError, RuntimeError):  # an autoencoder whose prior is not fitted yet
        return None
    finally:
        artifact.train(training)
