"""Which recipes suit sound."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.defaults import PATIENCE, epochs
from fusevae.data.modality import Choice
from fusevae.modalities.audio.schema import rate_of

STEPS = 4000  # of a training, about
SOON = 120  # seconds in which narrow nets and larger steps come further
SHORT = 300  # seconds in which a model of waveforms comes nowhere


def choices(spec: DataSpec, n: int, seconds: float | None = None) -> list[Choice]:
    """The default first. After 15 minutes of a core on spoken digits, samples of ``speech-vae`` were heard as what was
    asked for in 94 and 99 of a hundred (digit, speaker), after 96 s those of ``mel-vae`` in 69 and 95. On 480 clips of
    four instruments, 60 s of a core, ``mel-vae`` had -3,579 nats after 1,111 steps of narrow nets at a larger rate,
    -8,598 after 355 of wide ones."""
    said = f"{n:,} clips of up to {spec.shape[0] / rate_of(spec):.1f} s"
    options = {"training.patience": PATIENCE, "training.epochs": epochs(n, 32, STEPS, 5, 100)}
    waves = Choice("speech-vae", f"{said}: waveforms, by spectral distances and critics, without a bound")
    narrow = {"recipe.width": 64, "recipe.blocks": 3, "training.learning_rate": 3e-3}
    soon = narrow if seconds is not None and seconds < SOON else {}
    mel = Choice("mel-vae", f"{said}: log-mel frames with a bound, sound by Griffin-Lim", options | soon)
    found = [mel, waves] if seconds is not None and seconds < SHORT else [waves, mel]
    if spec.conditions is not None and spec.conditions.text is not None:
        return [Choice("text-to-speech", f"{said} with what is said in each: says other texts", options), *found]
    return found
