"""What a column holds, inferred from all of its cells, or as it is said."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

import numpy as np

from fusevae.core.errors import InputError, near
from fusevae.data.delimited import is_number
from fusevae.modalities.tables import dates
from fusevae.modalities.tables.column import CLASSES, KINDS, Column, counted
from fusevae.modalities.tables.raw import MANY

SKEW = 2.0  # standardised third moment of a skewed column
NAMED_ID = re.compile(r"^([iI][dD]|index|key|uuid|guid)$|[_\s.-](id|ID)$|[a-z]I[dD]$")

logger = logging.getLogger("fusevae")


def as_words(said: str | None) -> bool:
    """Whether what is said of a column means that its cells are words, even where they look like numbers."""
    return said is not None and (said in (*CLASSES, "date") or "<" in said or "%" in said)


def check_said(name: str, said: str) -> None:
    """Refuse a kind that is none."""
    if said not in KINDS and "<" not in said and "%" not in said:
        raise InputError(
            f"data.columns.{name}={said!r} was given: expected a kind{near(said, KINDS)}; or an order (small<large), "
            "or the form of a date (%d/%m/%Y)"
        )


def words_column(
    name: str, dtype: str, levels: Sequence[str], known: int, said: str | None, order: Sequence[str] | None = None
) -> Column:
    """A column of words.

    Args:
        name: of the column.
        dtype: as it came.
        levels: the different words, sorted.
        known: cells that hold one.
        said: its kind, an order (``"small<large"``), the form of a date, or None.
        order: of the words, where the data have one.
    """
    kind = said
    if said is None and order is not None and len(order) > 1:
        if foreign := [word for word in levels if word not in order]:
            raise InputError(
                f"column {name} is ordered, {' < '.join(order[:5])}{' ...' * (len(order) > 5)}, and another part holds "
                f"{foreign[0]!r}: give all parts the same categories"
            )
        return Column(name, dtype, kind="ordered", classes=[*order])
    if said is not None and "<" in said:
        classes = [word.strip() for word in said.split("<")]
        if foreign := [word for word in levels if word not in classes]:
            raise InputError(
                f"data.columns.{name}={said!r} was given, and {foreign[0]!r} is in the column: place it, too"
            )
        return Column(name, dtype, kind="ordered", classes=classes)
    if said is not None and "%" in said:
        if len(bad := [w for w, v in zip(levels, dates.numbers_of(levels, said), strict=True) if v != v]):
            raise InputError(
                f"column {name} holds {bad[0]!r}, no date of the form {said}: mend it, or give another form"
            )
        return _date(name, dtype, levels, said)
    if kind in (None, "date"):
        forms = dates.forms_of(levels) if len(levels) > 1 or kind else []
        if forms:
            read = dates.numbers_of(levels, forms[0])
            if other := next((f for f in forms[1:] if (dates.numbers_of(levels, f) != read).any()), None):
                text = "column %s: %s may be %s or %s, and was read as the first (data.columns.%s='%s': the other)"
                logger.warning(text, name, levels[0], forms[0], other, name, other)
            if forms[0].endswith("%z"):
                logger.warning(
                    "column %s holds times of several zones: read as instants, and written in that of UTC", name
                )
            return _date(name, dtype, levels, forms[0])
        if kind == "date":
            word = levels[0] if levels else ""
            raise InputError(f"column {name} was said to hold dates, such as {word!r}: give their form (%d/%m/%Y, say)")
    if kind is None:
        kind = "constant" if len(levels) < 2 else "binary" if len(levels) == 2 else "categorical"
        kind = "identifier" if len(levels) == known >= MANY else kind
    if kind == "identifier":
        form, high = counted(levels) or (None, None)
        return Column(name, dtype, high=high, kind=kind, form=form)
    if kind not in (*CLASSES, "constant"):
        raise InputError(
            f"column {name} was said to be {kind} and holds words, such as {levels[0]!r}: take categorical"
        )
    numbers = all(is_number(word) for word in levels)
    return Column(name, dtype, kind=kind, classes=sorted(levels, key=float) if numbers else list(levels))


def numbers_column(name: str, dtype: str, x: np.ndarray, said: str | None) -> Column:
    """A column of numbers ``(n,)``, NaN where a cell is missing."""
    known = x[~np.isnan(x)]
    integral = bool((known == np.round(known)).all())
    whole = "int" in dtype or dtype == "bool" or (len(known) < len(x) and integral)  # pandas has floats for gaps
    if said in ("integer", "count") and not integral:
        raise InputError(f"column {name} was said to be {said} and holds {known[known != np.round(known)][0]:g}")
    if said is not None:
        return Column(name, dtype, kind=said)
    values = np.unique(known)
    if len(values) < 2:
        return Column(name, dtype, kind="constant", low=float(values[0]) if len(values) else None)
    if whole:
        kind = "count" if values[0] >= 0 and values[0] <= 1 else "integer"
        if len(values) == 2 and values[1] - values[0] == 1:
            return Column(name, dtype, float(values[0]), float(values[1]), kind="binary")
        if len(values) == len(x) >= MANY and NAMED_ID.search(name):
            kind = "identifier"
        return Column(name, dtype, kind=kind)
    if len(values) == 2 and len(known) >= MANY:
        return Column(name, dtype, kind="binary", classes=[*map(repr, values.tolist())])
    centred = (known - known.mean()) / (known.std() or 1.0)
    return Column(name, dtype, kind="skewed" if abs(float((centred**3).mean())) > SKEW else "continuous")


def _date(name: str, dtype: str, levels: Sequence[str], form: str) -> Column:
    seconds = dates.numbers_of(levels, form)
    step = next(
        (s for s in (dates.DAY, 60.0, 1.0, 1e-3) if bool((np.abs(seconds - s * np.round(seconds / s)) < 5e-7).all())),
        1e-6,
    )
    return Column(name, dtype, kind="date", form=form, step=step)
