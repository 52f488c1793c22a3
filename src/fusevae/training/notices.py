"""How a training speaks to Python: warnings in Python's words, and whether there is a notebook to show things in."""

from __future__ import annotations

import io
import re
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TextIO

HERE = str(Path(__file__).parent.parent)  # the library's own files
#: words of the command line that no pattern covers
WORDS = {
    "(a run with objective.beta=0, then --from RUN --only latents)": "(a fit with ELBO(beta=0), then one of a model "
    "with its latents)",
    "model.decoder.scale=optimal": 'Gaussian(net, scale="optimal")',
    "with another --output": "in another folder",
}
BOUND = ("beta", "free_bits", "per")  # settings of the usual objective


class Aside(io.TextIOBase):
    """A stream, or stderr as it is at the time. What it doesn't take any more (a terminal that was closed, a pipe that
    nobody reads) is left out: no work is lost for a line about it."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        stream = self.stream or sys.stderr
        with suppress(OSError, ValueError):
            stream.write(text)
            stream.flush()
        return len(text)

    def isatty(self) -> bool:
        with suppress(OSError, ValueError):
            return (self.stream or sys.stderr).isatty()
        return False


ASIDE = Aside()


def warn(message: str) -> None:
    """Warn of something in a training, at the line outside the library that began it."""
    level, at, frame = 1, 0, sys._getframe().f_back
    while frame is not None:
        at += 1
        if frame.f_code.co_filename.startswith(HERE):
            level = at + 2  # of the frame that called this one
        frame = frame.f_back
    warnings.warn(in_python(message), UserWarning, stacklevel=level)


def in_python(message: str) -> str:
    """A message about settings, as one would write them in Python.

    Example:
        >>> in_python("objective.beta={class: Linear, part: 0.75}, with training.encoder_steps=5")
        'ELBO(beta=Linear(part=0.75)), with Training(encoder_steps=5)'
    """
    for ours, theirs in WORDS.items():
        message = re.sub(rf"{re.escape(ours)}(?!=)", theirs, message)
    message = re.sub(r"\{class: (\w+)((?:, \w+: [^,}]+)*)\}", _part, message)
    message = re.sub(r"\b(training|objective)\.(\w+)=((?:\w+\([^)]*\))|[\w.]*\w)", _setting, message)
    return re.sub(r"\b(?:training|objective)\.(\w+)\b(?!=)", r"\1", message)


def in_notebook() -> bool:
    """Whether this is a notebook, whose cells show HTML."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ in ("ZMQInteractiveShell", "Shell")  # Jupyter's, and Colab's


def _part(found: re.Match[str]) -> str:
    arguments = (each.partition(": ") for each in found[2].split(", ") if each)
    return f"{found[1]}({', '.join(f'{name}={value}' for name, _, value in arguments)})"


def _setting(found: re.Match[str]) -> str:
    owner, name, value = found.groups()
    if owner == "objective" and name not in BOUND:
        return f"{name}={value} of the objective"
    return f"{'Training' if owner == 'training' else 'ELBO'}({name}={value})"
