"""How many values whole numbers take: for models that give each of them a probability."""

from __future__ import annotations

from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec

MOST = 2**16  # beyond it a level is too narrow for float32


def levels_of(data: DataSpec) -> int:
    """The number of values from the lowest to the highest, or :class:`InputError` for what takes no whole numbers.

    Example:
        >>> levels_of(DataSpec((1, 8, 8), "uint8", 0, 255))
        256
    """
    if not data.is_discrete:
        raise InputError(
            f"the data are {data.dtype} in [{data.low:g}, {data.high:g}], this recipe gives probabilities to whole "
            "numbers: take sigma-vae, diffusion or glow, or give the values as uint8"
        )
    levels = round(data.high - data.low) + 1
    if not 2 <= levels <= MOST:
        raise InputError(
            f"the data take {levels} values, {data.low:g} to {data.high:g}, this recipe is for 2 to {MOST}: take "
            "sigma-vae or diffusion, or scale the values"
        )
    return levels
