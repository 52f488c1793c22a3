"""What a training shows while it runs: a bar with the time left in a terminal, plain lines elsewhere; and Ctrl-C."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self


class Progress:
    """Shows steps, the newest figures and the time left on stderr.

    Args:
        quiet: show nothing (messages of :meth:`say` still appear).
        every: seconds between plain lines where there is no terminal.

    Attributes:
        limit: seconds of training after which it is to stop, wherever its schedules are.
    """

    def __init__(self, quiet: bool = False, every: float = 5.0) -> None:
        self.quiet, self.every, self.earlier = quiet, every, 0.0
        self.limit = math.inf
        self._bar: Any = None
        self._started: float | None = None
        self._said = 0.0
        self._figures: dict[str, float] = {}

    @property
    def seconds(self) -> float:
        """Time spent training, earlier parts of a resumed run included."""
        return self.earlier + (time.monotonic() - self._started if self._started is not None else 0.0)

    @property
    def late(self) -> bool:
        """Whether the time is over."""
        return self.seconds >= self.limit

    @contextmanager
    def showing(self, total: int, step: int) -> Iterator[None]:
        self._started, self._total, self._first = time.monotonic(), total, step
        if self.quiet or not sys.stderr.isatty():
            yield
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (MofNCompleteColumn(), BarColumn(), TimeElapsedColumn(), "left", TimeRemainingColumn())
        with Bar(*columns, TextColumn("{task.description}"), console=Console(stderr=True)) as bar:
            self._bar, self._task = bar, bar.add_task("", total=total, completed=step)
            yield
            bar.update(self._task, completed=total if not step else None)
        self._bar = None

    def advance(self, step: int) -> None:
        if self.quiet:
            return
        now = time.monotonic()
        if self._bar is not None:
            if now - self._said > 0.1:
                self._said = now
                self._bar.update(self._task, completed=step, description=self._text())
        elif now - self._said > self.every or step == self._total:
            self._said = now
            left = (now - self._started) / max(1, step - self._first) * (self._total - step)  # type: ignore[operator]
            print(f"step {step}/{self._total}, {left:.0f} s left{self._text(', ')}", file=sys.stderr, flush=True)

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
            print(message, file=sys.stderr, flush=True)

    def _text(self, before: str = "") -> str:
        figures = {k: v for k, v in self._figures.items() if not k.endswith("loss") or len(self._figures) == 1}
        return before + ", ".join(f"{k} {v:.2f}" for k, v in figures.items()) if figures else ""


class Interrupt:
    """Notes Ctrl-C (or SIGTERM) so that the loop can save at the end of a step; a second one stops at once."""

    def __init__(self) -> None:
        self.seen = False

    def __enter__(self) -> Self:
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for kind in (signal.SIGINT, signal.SIGTERM):
                self._before[kind] = signal.signal(kind, self._note)
        return self

    def _note(self, kind: int, frame: Any) -> None:
        if self.seen:
            raise KeyboardInterrupt
        self.seen = True
        print("stopping after this step; once more to stop at once", file=sys.stderr, flush=True)

    def __exit__(self, *exc: Any) -> None:
        for kind, before in self._before.items():
            signal.signal(kind, before)
