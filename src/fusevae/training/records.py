"""The records of a training, in memory and in ``metrics.jsonl``."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.core.files import named, write_text
from fusevae.core.untrusted import regular
from fusevae.evaluation.collapse import usage
from fusevae.evaluation.results import Result
from fusevae.training.record_form import parsed

logger = logging.getLogger("fusevae")
METRICS = "metrics.jsonl"


class Records(list[dict[str, Any]]):
    """What was logged so far, with the time it took. With a folder, each record is also a line of ``metrics.jsonl``."""

    def __init__(self, folder: Path | None) -> None:
        super().__init__()
        self.path = None if folder is None else folder / METRICS

    def write(self, record: dict[str, Any], seconds: float) -> None:
        """Add a record."""
        record = record | {"seconds": round(seconds, 3)}
        self.append(record)
        if self.path is not None:
            with named(self.path), open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(finite(record)) + "\n")

    @property
    def seconds(self) -> float:
        """Of training, up to the newest record."""
        return float(self[-1].get("seconds", 0.0)) if self else 0.0

    def rewind(self, path: Path, count: int) -> float:
        """Take over the first ``count`` records of a file, and cut it there; returns the seconds they took. A file that
        has lost some (a disk that was full, a machine that lost power) is said."""
        self[:] = read_records(path, count)
        if len(self) < count:
            logger.warning("%s has lost %d of its %d records; going on without them", path, count - len(self), count)
        if self.path is not None:
            write_text(self.path, "".join(json.dumps(finite(record)) + "\n" for record in self))
        return self.seconds


def readable(metrics: dict[str, Tensor]) -> dict[str, Any]:
    """Numbers and lists in nats; the ELBO beside its parts: reconstruction, KL by level and by dimension; of how often
    each code is used, the perplexity and the part of them that is."""
    found: dict[str, Any] = {}
    for k, v in metrics.items():
        where, _, level = k.rpartition("/")
        if where.rpartition("/")[2] == "codes":
            found.setdefault(where, {})[level] = usage(v)
        else:
            found[k] = v.tolist()
    for prefix in {k.rpartition("reconstruction")[0] for k in found if k.endswith("reconstruction")}:
        kl = {k: v for k, v in found.items() if k.startswith(f"{prefix}kl/")}
        if not kl:  # a deterministic latent: there is no bound
            continue
        total = sum(sum(v) for v in kl.values())
        found = {k: v for k, v in found.items() if k not in kl}
        found |= {f"{prefix}kl": total, f"{prefix}elbo": found[f"{prefix}reconstruction"] - total}
        found[f"{prefix}kl_per_dimension"] = {k.removeprefix(f"{prefix}kl/"): v for k, v in kl.items()}
    return found


def finite(value: Any) -> Any:
    """Results as plain data, with None in place of what JSON can't say (nan and inf)."""
    if isinstance(value, Result):
        return finite(value.to_dict())
    if isinstance(value, Mapping):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_records(path: Path, count: int | None = None) -> list[dict[str, Any]]:
    """The records of a ``metrics.jsonl``, the first ``count``; none where there is no such file. A last line that was
    cut off (by a crash) is left out; :class:`InputError` for any other that is no record."""
    lines = regular(path, "records").read_bytes().split(b"\n") if path.exists() else []
    found: list[dict[str, Any]] = []
    for i, line in enumerate(lines[:count]):
        where = f"{path}: line {i + 1}"
        try:
            found.append(parsed(line.decode(), where))
        except (InputError, UnicodeDecodeError) as error:
            if i + 1 == len(lines):
                break
            raise InputError(str(error) if isinstance(error, InputError) else f"{where} is no UTF-8") from None
    return found


def gained(records: Sequence[Mapping[str, Any]]) -> float | None:
    """Nats by which the best bound of held-out examples rose in the last quarter of the steps; None where there are not
    two before and after its begin.

    Example:
        >>> gained([{"step": i, "validation": {"elbo": -100.0 / i}} for i in range(1, 9)])
        4.166...
    """
    seen = [(r["step"], r["validation"]) for r in records if "validation" in r and "step" in r]
    name = next((key for key in ("elbo", "log_bound") if any(v.get(key) is not None for _, v in seen)), None)
    known = [(step, values[name]) for step, values in seen if name and values.get(name) is not None]
    before = [value for step, value in known if step <= 0.75 * known[-1][0]]
    if len(known) < 2 or not before:
        return None
    return float(max(value for _, value in known) - max(before))
