"""What a training shows while it runs: a bar with the time left in a terminal or a notebook, plain lines elsewhere; and
Ctrl-C."""

from __future__ import annotations

import html
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Self, cast

from fusevae.core.durations import clock
from fusevae.training.notices import ASIDE, Aside, in_notebook, warn

#: seconds after the first step in which a training is timed; seconds from which on it is said how long it will take
TIMED, LONG = 2.0, 1800.0


class Progress:
    """Shows steps, the newest figures and the time left on stderr, or as one bar in a notebook.

    Args:
        quiet: show nothing (messages of :meth:`say` still appear).
        every: seconds between plain lines where there is no terminal.
        python: whether it was begun from Python, whose ``warnings`` then warn.

    Attributes:
        limit: seconds of training after which it is to stop, wherever its schedules are.
        until: when everything is to be done, a report included, by :func:`time.monotonic`.
    """

    trial = False  # whether the training is only timed

    def __init__(self, quiet: bool = False, every: float = 5.0, python: bool = False) -> None:
        self.quiet, self.every, self.python, self.earlier = quiet, every, python, 0.0
        self.limit = self.until = math.inf
        self._bar: Any = None
        self._cell: Any = None
        self._started: float | None = None
        self._said = 0.0
        self._warm: tuple[float, int] | None = None  # when the first step was done, and which that was
        self._foreseen = False
        self._figures: dict[str, float] = {}

    @property
    def seconds(self) -> float:
        """Time spent training, earlier parts of a resumed run included."""
        return self.earlier + (time.monotonic() - self._started if self._started is not None else 0.0)

    @property
    def late(self) -> bool:
        """Whether the time is over."""
        return self.seconds >= self.limit

    @property
    def used(self) -> dict[str, Any]:
        """The time that was spent, and whether it was all, where there is a limit: a later part counts it."""
        return {"seconds": self.seconds, "late": self.late} if self.limit < math.inf else {}

    @contextmanager
    def showing(self, total: int, step: int) -> Iterator[None]:
        self._started, self._total, self._first, self._step = time.monotonic(), total, step, step
        try:
            if not self.quiet and in_notebook():
                from IPython.display import HTML, display

                self._html, self._cell = HTML, display(HTML(""), display_id=True)
                yield
                self._draw(time.monotonic())
            elif self.quiet or not ASIDE.isatty():
                yield
            else:
                with self._in_terminal():
                    yield
        finally:
            self._bar = self._cell = None
            self.earlier, self._started = self.seconds, None

    @contextmanager
    def _in_terminal(self) -> Iterator[None]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (MofNCompleteColumn(), BarColumn(), TimeElapsedColumn(), "left", TimeRemainingColumn())
        with Bar(
            *columns, TextColumn("{task.description}"), console=Console(file=cast(IO[str], Aside(sys.stderr)))
        ) as bar:
            self._bar, self._task = bar, bar.add_task("", total=self._total, completed=self._step)
            yield
            self._draw(time.monotonic())

    def advance(self, step: int) -> None:
        if self.quiet:
            return
        now, self._step = time.monotonic(), step
        self._foresee(step, now)
        if self._bar is not None or self._cell is not None:
            if now - self._said > 0.1:
                self._said = now
                self._draw(now)
        elif now - self._said > self.every or step == self._total:
            self._said = now
            print(f"step {step}/{self._total}, {self._left(step, now)}{self._text(', ')}", file=ASIDE)

    def _foresee(self, step: int, now: float) -> None:
        """Say once, by the first steps, that a training without a limit will take long."""
        if self._foreseen or self.limit < math.inf:
            return
        if self._warm is None:  # the first step does what is done once
            self._warm = now, step
        elif now - self._warm[0] >= TIMED:
            self._foreseen, each = True, (now - self._warm[0]) / (step - self._warm[1])
            if (left := each * (self._total - step)) >= LONG:
                short = 'fit(..., budget="20m")' if self.python else "--budget 20m"
                self.say(
                    f"this will take about {clock(left)} here ({self._total:,} steps of {1000 * each:.3g} ms): {short} "
                    "plans a training for the time that there is"
                )

    def _draw(self, now: float) -> None:
        """The bar as it stands."""
        if self._bar is not None:
            self._bar.update(self._task, completed=self._step, description=self._text())
        elif self._cell is not None:
            bar = f'<progress value="{self._step}" max="{self._total}"></progress>'
            text = f"step {self._step:,} of {self._total:,}, {self._left(self._step, now)}{self._text(', ')}"
            self._cell.update(self._html(f"<div>{bar} {html.escape(text)}</div>"))

    def _left(self, step: int, now: float) -> str:
        spent = now - self._started if self._started is not None else 0.0
        return f"{spent / max(1, step - self._first) * (self._total - step):.0f} s left"

    def record(self, record: dict[str, Any], step: int) -> None:
        for kind in ("train", "validation"):
            for key, value in record.get(kind, {}).items():
                if key.endswith(("elbo", "log_bound", "loss")) and isinstance(value, float):
                    self._figures[f"{kind} {key}"] = value

    def say(self, message: str) -> None:
        """A message that stays."""
        if self._bar is not None:
            self._bar.console.print(message, highlight=False)
        else:
            print(message, file=ASIDE)

    def warn(self, message: str) -> None:
        """A message about something that is wrong: a line, or one of Python's warnings."""
        if self.python:
            warn(message)
        else:
            self.say(f"warning: {message}")

    def _text(self, before: str = "") -> str:
        figures = {k: v for k, v in self._figures.items() if not k.endswith("loss") or len(self._figures) == 1}
        return before + ", ".join(f"{k} {v:.2f}" for k, v in figures.items()) if figures else ""


class Interrupt:
    """Notes Ctrl-C, SIGTERM or a terminal that is closed (SIGHUP), so that the loop can save at the end of a step; a
    second one stops at once, but for a closed terminal, which may be told twice."""

    def __init__(self) -> None:
        self.seen = False

    def __enter__(self) -> Self:
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            closed = getattr(signal, "SIGHUP", None)  # not on Windows
            if closed is not None and signal.getsignal(closed) != signal.SIG_IGN:  # under nohup
                self._before[closed] = signal.signal(closed, self._note_closed)
            for kind in (signal.SIGINT, signal.SIGTERM):
                self._before[kind] = signal.signal(kind, self._note)
        return self

    def _note(self, kind: int, frame: Any) -> None:
        if self.seen:
            raise KeyboardInterrupt
        self.seen = True
        print("stopping after this step; once more to stop at once", file=ASIDE)

    def _note_closed(self, kind: int, frame: Any) -> None:
        self.seen = True

    def __exit__(self, *exc: Any) -> None:
        for kind, before in self._before.items():
            signal.signal(kind, before)
