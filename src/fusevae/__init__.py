"""fusevae: variational autoencoders and their fusions with other deep generative models.

Every model is a conditional distribution; fusing models is nesting them. Names are imported when first used; which
there are, and from where, stands in ``__init__.pyi``, where type checkers and editors read it too.
"""

from __future__ import annotations

import functools
import importlib
import re
import types
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

_DOOR = Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")
_HOME = {name: module for module, name in re.findall(r"^from fusevae\.(\S+) import (\w+) as \2$", _DOOR, re.MULTILINE)}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        found = getattr(importlib.import_module(f"fusevae.{_HOME[name]}"), name)
        return _typed(found) if isinstance(found, types.FunctionType) else found
    raise AttributeError(f"module 'fusevae' has no attribute {name!r}")


@functools.cache
def _typed(function: Any) -> Any:
    from fusevae.core.typed import typed

    found = typed(function)
    found.__module__ = __name__  # where pickle finds it
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
