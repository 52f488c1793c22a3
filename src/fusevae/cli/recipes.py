"""``fusevae recipes``."""

from __future__ import annotations

import json
from argparse import Namespace

from fusevae.recipes import find


def recipes(options: Namespace) -> int:
    """Print a line for each recipe."""
    found = find.recipes()
    if options.json:
        print(json.dumps(found))
    else:
        width = max(map(len, found))
        print("\n".join(f"{name:{width}}  {text}" for name, text in found.items()))
    return 0
