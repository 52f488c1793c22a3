"""Which recipes suit molecules."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.defaults import PATIENCE, epochs
from fusevae.data.modality import Choice

FEW = 5000  # molecules below which nets are kept narrow


def choices(spec: DataSpec, n: int, seconds: float | None = None) -> list[Choice]:
    """The default first; all of them read SMILES alike."""
    learned = {"training.patience": PATIENCE, "training.epochs": epochs(n, 64, 20_000, 10, 100)}
    narrow = {"recipe.width": 128, "recipe.layers": 2, "recipe.dropout": 0.2} if n < FEW else {}
    return [
        Choice("molecules-vae", f"{n:,} molecules: a latent space of them, with a flow as prior", narrow | learned),
        Choice(
            "molecules-transformer", "each piece of SMILES given those before it, exact, no latent", narrow | learned
        ),
    ]
