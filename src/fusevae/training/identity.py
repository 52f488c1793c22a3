"""What a training depends on, kept with its checkpoints: going on with something else is refused, or recorded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fusevae.core.description import describe
from fusevae.core.errors import InputError
from fusevae.core.migration import migrated
from fusevae.data.examples import Examples, Streamed
from fusevae.data.splits import Splits
from fusevae.training.configuration import Node, parse
from fusevae.training.experiment import Experiment

#: settings that change neither the model nor which examples a step sees
CHANGEABLE = tuple(
    f"training.{name}"
    for name in (
        "epochs", "learning_rate", "final_learning_rate", "warmup", "weight_decay", "betas", "clip", "skip",
        "accumulate", "precision", "patience", "validate_every", "log_every", "checkpoint_every", "parallel",
    )
)  # fmt: skip
LOOKED_AT, DECODED = 10_000, 1_000  # examples of each split that are hashed: in memory, and where each is decoded


class Change(NamedTuple):
    """A setting, as it was and as it is."""

    path: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.path} {_word(self.before)} -> {_word(self.now)}"


def identity(experiment: Experiment, splits: Splits) -> dict[str, Any]:
    """``configuration``: every setting but where the data lie; ``data``: a hash of each split."""
    return {"configuration": settings_of(describe(experiment)), "data": fingerprints(splits)}


def settings_of(node: Node) -> Node:
    """A configuration in full, without where the data lie: these are known by what they hold."""
    found: Node = json.loads(json.dumps({key: node[key] for key in node if key not in ("class", "data")}))
    return found


def fingerprints(splits: Splits) -> dict[str, str]:
    """A hash of each split."""
    parts = {"training": splits.train, "validation": splits.validation, "test": splits.test}
    return {name: fingerprint(part) for name, part in parts.items()}


def fingerprint(examples: Examples) -> str:
    """A hash of how many examples there are, of their shape, and of the contents of at most 10,000 of them, evenly
    spread (1,000 where they are decoded one by one), with what is known beside them.

    Example:
        >>> import torch
        >>> from fusevae.data.examples import InMemory
        >>> a, b = torch.zeros(5, 2), torch.zeros(5, 2)
        >>> b[3, 1] = 1
        >>> fingerprint(InMemory(a)) == fingerprint(InMemory(a)), fingerprint(InMemory(a)) == fingerprint(InMemory(b))
        (True, False)
    """
    spec = examples.spec
    names = list(spec.conditions.names) if spec.conditions is not None else []
    digest = hashlib.blake2b(json.dumps([len(examples), spec.shape, spec.dtype, names]).encode(), digest_size=12)
    most = DECODED if isinstance(getattr(examples, "whole", examples), Streamed) else LOOKED_AT
    for batch in examples.batches(iter(examples.evenly(most).split(500))):
        for part in batch:
            if part is not None:
                digest.update(part.contiguous().numpy().tobytes())
    return digest.hexdigest()


def check_data(before: Mapping[str, str], now: Mapping[str, str], where: str) -> None:
    """Raise :class:`InputError` where a split doesn't hold what it held."""
    if wrong := [name for name, known in before.items() if now.get(name) != known]:
        raise InputError(
            f"the {wrong[0]} data of {where} are not those that it was trained on (they, or their split, have "
            "changed): put them back, or give others by --data to judge it, and another --output to train anew"
        )


def check_settings(settings: Sequence[str], where: str) -> None:
    """Raise :class:`InputError` for a setting that can't be changed on the way."""
    for setting in settings:
        path, _ = parse(setting)
        if path not in CHANGEABLE:
            raise InputError(
                f"{path} can't be changed on the way, --resume takes {', '.join(CHANGEABLE)}: leave it out, or start "
                f"anew with --from {where} and another --output"
            )


def changes(before: Node, now: Node, where: str) -> list[Change]:
    """What is another setting than before; :class:`InputError` where that makes it another training."""
    found = list(_differences(migrated(before), now))
    for change in found:
        if change.path not in CHANGEABLE:
            raise InputError(
                f"config.yaml was changed since {where} was trained, {change}: put it back, or start anew with another "
                "--output"
            )
    return found


def _differences(before: Any, now: Any, path: str = "") -> Iterator[Change]:
    """What differs; settings that a newer version has beside have their defaults, and are none."""
    if isinstance(before, dict) and isinstance(now, dict) and before.get("class") == now.get("class"):
        for key, value in before.items():
            yield from _differences(value, now.get(key), f"{path}.{key}" if path else key)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now) and _has_parts(before):
        for i, (a, b) in enumerate(zip(before, now, strict=True)):
            yield from _differences(a, b, f"{path}.{i}")
    elif before != now:
        yield Change(path, before, now)


def _has_parts(value: list[Any]) -> bool:
    return any(isinstance(each, dict) for each in value)


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value.get("class") if isinstance(value, dict) else value)
    return text if len(text) <= 60 else text[:57] + "..."
