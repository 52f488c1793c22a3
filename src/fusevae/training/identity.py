"""What a training depends on, kept with its checkpoints: going on with something else is refused, or recorded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

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
        "epochs", "budget", "learning_rate", "final_learning_rate", "warmup", "weight_decay", "betas", "clip", "skip",
        "accumulate", "precision", "patience", "validate_every", "log_every", "checkpoint_every", "parallel",
    )
)  # fmt: skip
LOOKED_AT, DECODED = 10_000, 1_000  # examples of each split that are hashed at least: in memory, and decoded one by one
LOOKED_AT_BYTES = 1e9  # of each split in memory that are hashed: more than this is hashed in part


class Change(NamedTuple):
    """A setting, as it was and as it is."""

    path: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.path} {_word(self.before)} -> {_word(self.now)}"


def identity(experiment: Experiment, splits: Splits) -> dict[str, Any]:
    """``configuration``: every setting but where the data lie; ``data``: a hash of each split, and of how many examples
    of it (``looked_at``); ``spec``: what the data are."""
    most = max(LOOKED_AT, int(LOOKED_AT_BYTES / (splits.spec.dims * getattr(torch, splits.spec.dtype).itemsize)))
    about = {"configuration": settings_of(describe(experiment)), "spec": _spec(splits)}
    return about | {"data": fingerprints(splits, most), "looked_at": most}


def _spec(splits: Splits) -> Node:
    """What the data are; how many there are is in the hashes."""
    return _plain({key: value for key, value in describe(splits.spec).items() if key != "examples"})


def settings_of(node: Node) -> Node:
    """A configuration in full, without where the data lie: these are known by what they hold."""
    return _plain({key: node[key] for key in node if key not in ("class", "data")})


def fingerprints(splits: Splits, most: int = LOOKED_AT) -> dict[str, str]:
    """A hash of each split."""
    parts = {"training": splits.train, "validation": splits.validation, "test": splits.test}
    return {name: fingerprint(part, most) for name, part in parts.items()}


def fingerprint(examples: Examples, most: int = LOOKED_AT) -> str:
    """A hash of how many examples there are, of their shape, and of the contents of at most ``most`` of them, evenly
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
    most = DECODED if isinstance(getattr(examples, "whole", examples), Streamed) else most
    for batch in examples.batches(iter(examples.evenly(most).split(500))):
        for part in batch:
            if part is not None:
                digest.update(part.contiguous().numpy().tobytes())
    return digest.hexdigest()


def check_data(known: Mapping[str, Any], splits: Splits, where: str) -> None:
    """Raise :class:`InputError` where the data are not those of an :func:`identity`, their split and the names of their
    columns and classes included."""
    now = fingerprints(splits, known.get("looked_at", LOOKED_AT))
    if wrong := [name for name, before in known["data"].items() if now.get(name) != before]:
        raise InputError(
            f"the {wrong[0]} data of {where} are not those that it was trained on (they, or their split, have "
            "changed): put them back, or give others by --data to judge it, and another --output to train anew"
        )
    if "spec" not in known:  # of an earlier version
        return
    for change in _differences(known["spec"], _spec(splits), "data"):
        raise InputError(
            f"what the data of {where} are has changed since it was trained, {change}: put it back, or give others by "
            "--data to judge it, and another --output to train anew"
        )


def check_settings(settings: Sequence[str], where: str) -> list[str]:
    """Raise :class:`InputError` for a setting that can't be changed on the way; returns the paths of all."""
    paths = [parse(setting)[0] for setting in settings]
    for path in paths:
        if path not in CHANGEABLE:
            raise InputError(
                f"{path} can't be changed on the way, --resume takes {', '.join(CHANGEABLE)}: leave it out, or start "
                f"anew with --from {where} and another --output"
            )
    return paths


def changes(before: Node, now: Node, where: str, asked: Collection[str] = ()) -> list[Change]:
    """What is another setting than before, all of it ``asked`` for; :class:`InputError` where a file was edited."""
    found = list(_differences(migrated(before), now))
    for change in (each for each in found if each.path not in asked):
        mend = "start anew with another --output"
        if change.path in CHANGEABLE:
            mend = f"ask for it: fusevae train --resume {where} --set {change.path}={_word(change.now)}"
        raise InputError(f"config.yaml was changed since {where} was trained, {change}: put it back, or {mend}")
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


def _plain(node: Any) -> Any:
    """A description as it comes back from JSON."""
    return json.loads(json.dumps(node))


def _has_parts(value: list[Any]) -> bool:
    return any(isinstance(each, dict) for each in value)


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value.get("class") if isinstance(value, dict) else value)
    return text if len(text) <= 60 else text[:57] + "..."
