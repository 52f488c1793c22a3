"""Which recipes suit sound."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.defaults import PATIENCE, epochs
from fusevae.data.modality import Choice
from fusevae.modalities.audio.schema import rate_of

STEPS = 4000  # of a training, about


def choices(spec: DataSpec, n: int, seconds: float | None = None) -> list[Choice]:
    """The default first."""
    said = f"{n:,} clips of up to {spec.shape[0] / rate_of(spec):.1f} s"
    options = {"training.patience": PATIENCE, "training.epochs": epochs(n, 32, STEPS, 5, 100)}
    found = [
        Choice("mel-vae", f"{said}: log-mel frames with a bound, sound by Griffin-Lim", options),
        Choice("speech-vae", "waveforms, by spectral distances and critics: no bound, and it wants an hour", {}),
    ]
    if spec.conditions is not None and spec.conditions.text is not None:
        return [Choice("text-to-speech", f"{said} with what is said in each: says other texts", options), *found]
    return found
