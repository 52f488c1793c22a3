"""Which recipes suit molecules."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.defaults import PATIENCE, epochs
from fusevae.data.modality import Choice

FEW = 5000  # molecules below which nets are kept narrow
SHORT = 120  # seconds in which narrow nets come further


def choices(spec: DataSpec, n: int, seconds: float | None = None) -> list[Choice]:
    """The default first; all of them read SMILES alike. Of 6,400 molecules given three properties, 60 s of one core
    each, ``molecules-vae`` had -48.8 nats after 832 steps of narrow nets, -55.8 after 549 of wide ones; 8 % and 3 % of
    samples were molecules."""
    learned = {"training.patience": PATIENCE, "training.epochs": epochs(n, 64, 20_000, 10, 100)}
    short = seconds is not None and seconds < SHORT
    narrow: dict[str, float] = {"recipe.width": 128, "recipe.layers": 2} if n < FEW or short else {}
    narrow |= {"recipe.dropout": 0.2} if n < FEW else {}
    return [
        Choice("molecules-vae", f"{n:,} molecules: a latent space of them, with a flow as prior", narrow | learned),
        Choice(
            "molecules-transformer", "each piece of SMILES given those before it, exact, no latent", narrow | learned
        ),
    ]
