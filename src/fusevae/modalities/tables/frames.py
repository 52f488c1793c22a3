"""Columns as the DataFrame of pandas or polars that they came from: names, dtypes, orders and zones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np

#: Python's own values, which pandas has as objects, made of what is read of them
OBJECTS: dict[type, Callable[[Any], Any]] = {
    date: date.fromisoformat,
    datetime: datetime.fromisoformat,
    time: time.fromisoformat,
    Decimal: lambda value: Decimal(str(value)),
}


def empty(frame: Any) -> Any:
    """A frame of the same columns without rows; of objects it knows what they were."""
    if not hasattr(frame, "iloc"):
        return frame.clear()
    found = frame.iloc[:0].copy()
    found.attrs = {"objects": {str(name): _objects(frame.iloc[:, i]) for i, name in enumerate(frame.columns)}}
    return found


def _objects(column: Any) -> type | None:
    """The one kind of Python's own values that a column of objects holds."""
    kinds = {*map(type, column[column.notna()])} if str(column.dtype) == "object" else set()
    return kinds.pop() if len(kinds) == 1 and kinds <= OBJECTS.keys() else None


def alike(columns: Mapping[str, np.ndarray], like: Any) -> Any:
    """A frame of columns ``(n,)``, each with the name and, where its values fit it, the dtype that it has in another.

    Args:
        columns: by name (as a word), those of ``like`` in any order, or some of them.
        like: a frame of pandas or polars.

    Example:
        >>> import pandas
        >>> size = pandas.CategoricalDtype(["small", "large"], ordered=True)
        >>> like = pandas.DataFrame({"size": pandas.Series([], dtype=size), "n": pandas.Series([], dtype="Int64")})
        >>> alike({"size": np.array(["large"]), "n": np.array([3])}, like).dtypes.tolist()
        [CategoricalDtype(categories=['small', 'large'], ordered=True, categories_dtype=str), Int64Dtype()]
    """
    names = {str(name): i for i, name in enumerate(like.columns)}
    if not hasattr(like, "iloc"):
        import polars

        return polars.DataFrame(
            [_of_polars(name, values, like.dtypes[names[name]]) for name, values in columns.items()]
        )
    import pandas

    kinds = like.attrs.get("objects", {})
    series = [_of_pandas(v, like.dtypes.iloc[names[name]], kinds.get(name)) for name, v in columns.items()]
    found = pandas.concat(series, axis=1) if series else pandas.DataFrame()
    found.columns = like.columns.take([names[name] for name in columns])
    return found


def filled(frame: Any, drawn: Any, missing: Mapping[str, np.ndarray]) -> Any:
    """A frame with the cells ``missing`` ``(n,)``, by column, from another; all else is as it was."""
    names = {str(name): i for i, name in enumerate(frame.columns)}
    out = frame.copy() if hasattr(frame, "iloc") else frame.clone()
    for k, (name, gone) in enumerate(missing.items()):
        if not gone.any():
            continue
        if not hasattr(frame, "iloc"):
            import polars

            column, new = polars.Series(gone), drawn[name]
            out = out.with_columns(new.zip_with(column, out[name].cast(new.dtype, strict=False)).alias(name))
            continue
        old, new = frame.iloc[:, names[name]], drawn.iloc[:, k]
        new.index = old.index
        try:
            values = old.where(~gone, new)
        except (TypeError, ValueError):  # a dtype that can't hold what was drawn
            values = new
        out.isetitem(names[name], values)
    return out


def _of_pandas(values: np.ndarray, dtype: Any, objects: type | None = None) -> Any:
    import pandas

    if objects is not None:
        made = [None if pandas.isna(value) else OBJECTS[objects](value) for value in values.tolist()]
        return pandas.Series(made, dtype=object)

    series, zone = pandas.Series(values), getattr(dtype, "tz", None)
    if zone is not None and series.dtype.kind == "M":  # as they are read: in UTC
        series = series.dt.tz_localize("UTC").dt.tz_convert(zone)
    if str(dtype) == "object":
        return series
    ways = [lambda: series.astype(dtype)]
    if "date" in str(dtype) or "timestamp" in str(dtype):
        ways.append(lambda: pandas.to_datetime(series).astype(dtype))  # of words
    for way in ways:
        try:
            found = way()
        except Exception:  # pyarrow raises its own
            continue
        if not bool((found.isna() & series.notna()).any()):
            return found
    return series


def _of_polars(name: str, values: np.ndarray, dtype: Any) -> Any:
    import polars

    cells = [None if v is None or v != v else v for v in values.tolist()]
    series = polars.Series(name, values if values.dtype.kind == "M" else cells, strict=False)
    try:
        if series.dtype == polars.String and dtype.is_temporal():
            series = series.str.to_datetime() if dtype == polars.Datetime else series.str.to_date()
        zone = getattr(dtype, "time_zone", None)
        if zone is not None:
            series = series.cast(polars.Datetime("us")).dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
        return series.cast(dtype)
    except Exception:  # polars has errors of many kinds
        return series
