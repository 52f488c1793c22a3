"""Which recipes suit molecules."""

from __future__ import annotations

import importlib.util

from fusevae.core.spec import DataSpec
from fusevae.data.defaults import PATIENCE, epochs
from fusevae.data.modality import Choice

FEW = 5000  # molecules below which nets are kept narrow
SHORT = 120  # seconds in which narrow nets and larger steps come further
FAST = 3e-3  # their rate: a net of half the width takes steps twice as large (Yang & Hu 2021), and they are few
GRAMMAR = 600  # seconds in which no net learns what SMILES are spelt like


def choices(spec: DataSpec, n: int, seconds: float | None = None) -> list[Choice]:
    """The default first: where time is short SELFIES, of which every sequence is a molecule, since what is learned in
    a short time of SMILES is mostly how they are spelt; the few molecules that SELFIES can't hold are left out, and
    said. The others read SMILES alike."""
    learned = {"training.patience": PATIENCE, "training.epochs": epochs(n, 64, 20_000, 10, 100)}
    short = seconds is not None and seconds < SHORT
    narrow: dict[str, float] = {"recipe.width": 128, "recipe.layers": 2} if n < FEW or short else {}
    narrow |= {"recipe.dropout": 0.2} if n < FEW else {}
    narrow |= {"training.learning_rate": FAST} if short else {}
    found = [
        Choice("molecules-vae", f"{n:,} molecules: a latent space of them, with a flow as prior", narrow | learned),
        Choice(
            "molecules-transformer", "each piece of SMILES given those before it, exact, no latent", narrow | learned
        ),
    ]
    if seconds is not None and seconds < GRAMMAR and importlib.util.find_spec("selfies") is not None:
        why = f"{n:,} molecules in a short time: SELFIES, of which every sample is a molecule"
        found.insert(0, Choice("selfies-vae", why, narrow | learned | {"data.skip_damaged": True}))
    return found
