"""The command line. Nothing heavy is imported before a command needs it, so that ``--help`` answers at once."""

from __future__ import annotations

import importlib
import os
import re
import sys
import time
from argparse import Namespace
from collections.abc import Sequence

from fusevae.cli.parser import UsageError, make_parser
from fusevae.core.errors import InputError, PeerLost, TrainingError
from fusevae.training.notices import ASIDE

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
#: rounds that a thread of OpenMP spins before it sleeps; by default some 300,000, for machines where nobody else works:
#: 88 steps of conv-vae on two cores took 1.8 s, and 96 s beside one other job; with 3,000 they take 1.9 and 9 s
SPINS = "3000"
LESS = "make the model, the batches or --importance-samples smaller, or set a lower data.memory_gb"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1 for a failure, 2 for bad input, 130 after Ctrl-C."""
    since, arguments = time.monotonic(), list(sys.argv[1:] if argv is None else argv)
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # read when torch is, which no command has been yet
    try:
        options = make_parser().parse_args(arguments, Namespace(argv=arguments, since=since))
        _show_warnings()
        _check_apart(options)
        module, _, function = options.command.partition(":")
        code: int = getattr(importlib.import_module(f"fusevae.cli.{module}"), function)(options)
        sys.stdout.flush()  # a disk that is full is said here, too
    except (InputError, UsageError) as error:
        return _say(error, BAD_INPUT)
    except KeyboardInterrupt:
        return _say("stopped", INTERRUPTED)
    except BrokenPipeError:  # whoever read the output has had enough
        _drop_output()
        return FAILED
    except PeerLost:
        return FAILED
    except TrainingError as error:
        return _say(error, FAILED)
    except OSError as error:
        try:
            sys.stdout.flush()
        except OSError:
            _drop_output()
        return _say(error, FAILED)
    except RecursionError:
        return _say("something is nested too deep for Python: give it with fewer levels", FAILED)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not re.search(r"(?i)out of memory|can't allocate memory", str(error)):
            raise
        return _say(f"out of memory ({str(error)[:150] or 'no more to be had'}): {LESS}", FAILED)
    return code


def _check_apart(options: Namespace) -> None:
    """Refuse to write over what is read."""
    output = os.path.expanduser(getattr(options, "output", None) or "")
    for name in ("data", "reference", "missing", "conditions", "extractor", "run"):
        given = getattr(options, name, None)
        given = os.path.expanduser(given) if isinstance(given, str) else ""
        if os.path.exists(output) and os.path.exists(given) and os.path.samefile(output, given):
            what = "RUN" if name == "run" else f"--{name}"
            raise InputError(f"--output {output} is what is read ({what}), which would be lost: give another place")


def _drop_output() -> None:
    """What stdout doesn't take is left out, or Python complains when it flushes at the end."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def _show_warnings() -> None:
    """What the library warns of is a line on stderr; under torchrun, of the first process."""
    import logging

    class Line(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if int(os.environ.get("RANK", "0")) == 0:
                print(f"warning: {record.getMessage()}", file=ASIDE)

    logger = logging.getLogger("fusevae")
    logger.handlers, logger.propagate = [Line(logging.WARNING)], False


def _say(error: object, code: int) -> int:
    if int(os.environ.get("RANK", "0")) == 0:  # under torchrun every process finds the same
        print(f"error: {' '.join(str(error).split())}", file=ASIDE)
    return code
