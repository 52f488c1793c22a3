"""Which recipes suit texts, by their length and how many there are."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.defaults import PATIENCE, epochs
from fusevae.data.modality import Choice

LONG = 96  # tokens of the longest text above which a latent tells little of it
FEW = 2000  # texts below which nets are kept narrow
STEPS = 5000  # of a training, about


def choices(spec: DataSpec, n: int, seconds: float | None = None) -> list[Choice]:
    """The default first."""
    learned = {"training.patience": PATIENCE, "training.epochs": epochs(n, 64, STEPS, 5, 60)}
    narrow = {"recipe.width": 96, "recipe.layers": 2, "recipe.dropout": 0.3} if n < FEW else {}
    vae = Choice("text-vae", f"{n:,} texts of at most {spec.shape[0]} tokens: a latent of each", narrow | learned)
    why = f"long texts, up to {spec.shape[0]} tokens: each token given those before it"
    plain = Choice(
        "text-transformer",
        why if spec.shape[0] > LONG else "each token given those before it, exact, without a latent",
        narrow | learned,
    )
    lstm = Choice("text-lstm", "the same with an LSTM", learned)
    if spec.shape[0] > LONG:
        return [plain, lstm, vae]
    codes = Choice("text-vq", "a handful of discrete codes of each text", learned)
    back = Choice(
        "text-autoencoder", "a latent that gives the text back", {"training.epochs": learned["training.epochs"]}
    )
    return [vae, plain, lstm, codes, back]
