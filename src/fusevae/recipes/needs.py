"""What recipes need of data beside their kind, refused in a line with what fits."""

from __future__ import annotations

from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec
from fusevae.training.recipes import take


def levels(data: DataSpec) -> int:
    """How many values a number may take, of integers from the lowest to the highest.

    Example:
        >>> levels(DataSpec((1, 8, 8), "uint8", 0, 16))
        17
    """
    if not data.is_discrete:
        raise InputError(
            f"this recipe is for integers, these data are {data.dtype} in [{data.low:g}, {data.high:g}]: {take(data)}"
        )
    found = round(data.high - data.low) + 1
    if found < 2:
        raise InputError(f"every number of the data is {data.low:g}, which is nothing to learn: give other data")
    return found


def labels(data: DataSpec) -> None:
    """Refuse data that nothing is known beside."""
    if not data.condition:
        raise InputError(
            f"this recipe needs conditions and the data have none: name some (data.conditions), or {take(data)}"
        )
