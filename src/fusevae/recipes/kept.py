"""What a folder keeps of a piece of work that goes on where it was stopped: what was asked for, and how far it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fusevae.core.errors import InputError
from fusevae.core.files import write_text
from fusevae.training.lock import LOCK


def known(folder: Path, file: str, what: str, asked: dict[str, Any], beside: str = LOCK) -> dict[str, Any] | None:
    """What a folder holds of a ``what``, a bench say, for which the same was asked; None where it is free (but for the
    lock, and files whose names begin with ``beside``); :class:`InputError` where it holds something else."""
    path = folder / file
    if path.is_file():
        try:
            kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise InputError(f"{path} can't be read: give another --output") from None
        for key in {**kept["asked"], **asked}:
            if kept["asked"].get(key) != asked.get(key):
                raise InputError(
                    f"{folder} holds a {what} with another {key} ({kept['asked'].get(key)}, now {asked.get(key)}): "
                    "give the same to go on with it, or another --output"
                )
        return kept
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: give another --output, a folder")
    if folder.is_dir() and any(not each.name.startswith((LOCK, beside)) for each in folder.iterdir()):
        raise InputError(f"the folder {folder} is not empty and holds no {what}: give another --output")
    return None


def keep(folder: Path, file: str, kept: dict[str, Any]) -> None:
    """Write it."""
    write_text(folder / file, json.dumps(kept, indent=2) + "\n")
