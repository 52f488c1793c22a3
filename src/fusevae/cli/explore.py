"""``fusevae explore``."""

from __future__ import annotations

import importlib
from argparse import Namespace

from fusevae.cli import load
from fusevae.core.errors import InputError


def explore(options: Namespace) -> int:
    """Show runs in a browser, until Ctrl-C."""
    try:
        serve = importlib.import_module("fusevae.explorer.serve").serve
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("fusevae"):
            raise
        raise InputError(f"the explorer needs {error.name}: pip install 'fusevae[explorer]'") from None
    known = importlib.import_module("fusevae.explorer.known")
    load.trusted(options.trust)
    serve(known.Runs(options.runs, options.data, options.device, options.trust), options.host, options.port)
    return 0
