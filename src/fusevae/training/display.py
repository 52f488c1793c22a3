"""What a notebook shows of an artifact and of its history: words, and a picture where that is cheap."""

from __future__ import annotations

import base64
import html
import io
from typing import Any

from fusevae.core.artifact import Artifact
from fusevae.core.conditional import Conditional

CHEAP = 20_000_000  # parameters times samples, above which no picture is drawn
SAMPLES = 8


def as_html(words: str, picture: Any = None) -> str:
    """Words, and below them a picture: of Pillow, or a figure of matplotlib."""
    text = "".join(f"<div>{html.escape(line)}</div>" for line in words.splitlines())
    if picture is None:
        return text
    file = io.BytesIO()
    if hasattr(picture, "savefig"):
        picture.savefig(file, format="png", dpi=80)
    else:
        picture.save(file, format="PNG")
    return f'{text}<img src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'


def artifact_html(artifact: Artifact) -> str:
    """An artifact's words, and a row of samples where these are images that take no time."""
    return as_html(repr(artifact), samples(artifact))


def samples(artifact: Artifact) -> Any:
    """A row of images from the model, or None: of others, and where every part gives its mean in one pass."""
    from fusevae.evaluation.pictures import grid
    from fusevae.evaluation.samples import sample

    model = artifact.distribution
    at_once = all(part.has_mean for part in model.modules() if isinstance(part, Conditional))
    if not artifact.data.is_image or not model.has_latents or not at_once or artifact.n_parameters * SAMPLES > CHEAP:
        return None
    training = artifact.training
    try:
        return grid(sample(artifact, SAMPLES), artifact.data, SAMPLES)
    except (ValueError, RuntimeError):  # an autoencoder whose prior is not fitted yet
        return None
    finally:
        artifact.train(training)
