"""The records of a training, in memory and in ``metrics.jsonl``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from fusevae.core.files import write_text
from fusevae.core.untrusted import text_of
from fusevae.evaluation.collapse import usage
from fusevae.evaluation.results import Result
from fusevae.training.record_form import parsed

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
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(finite(record)) + "\n")

    def rewind(self, path: Path, count: int) -> float:
        """Take over the first ``count`` records of a file, and cut it there; returns the seconds they took."""
        lines = text_of(path, "records").splitlines(keepends=True)[:count] if path.exists() else []
        self[:] = [parsed(line, f"{path}: line {i + 1}") for i, line in enumerate(lines)]
        if self.path is not None:
            write_text(self.path, "".join(lines))
        return float(self[-1].get("seconds", 0.0)) if self else 0.0


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


def read_records(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a ``metrics.jsonl``; none where there is no such file."""
    lines = text_of(path, "records").splitlines() if path.exists() else []
    return [parsed(line, f"{path}: line {i + 1}") for i, line in enumerate(lines) if line.endswith("}")]
