"""The history of a training: what was recorded, as arrays and as a picture, and whether it came to its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fusevae.core.errors import InputError, near
from fusevae.data.sheet import Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = {"train": "#3b6fb6", "validation": "#d9822b"}
BOUNDS = ("elbo", "log_bound")  # the same under the name of the bound, whichever the model has
VALUES = ("objective", "log_bound", "surrogate")  # what is maximised: the loss is its negative
SHOWN = ("bound", "reconstruction", "kl", "loss")


class History:
    """What :func:`fusevae.fit` remembers of a training, in nats per example.

    Args:
        records: what was recorded, in order.
        steps: updates made.
        total: updates of the whole training.
        seconds: spent on it.
        finished: whether it came to its end.
        why: what stopped it, where something did.

    Attributes:
        train: figures of training by name, each an array with an entry for every record: ``step``, ``loss``,
            ``bound`` (a lower bound of the log-likelihood, where the model has one), ``reconstruction``, ``kl``,
            ``learning_rate`` ... Vectors have a second dimension; what a record lacks is NaN.
        validation: the same of held-out examples, with averaged weights.

    Example:
        >>> records = [{"step": n, "train": {"objective": -9.0 / n}} for n in (1, 2, 3)]
        >>> history = History(records, steps=3, total=3, seconds=0.5, finished=True)
        >>> history.train["loss"], history.train["step"]
        (array([9. , 4.5, 3. ]), array([1., 2., 3.]))
        >>> history
        History: 3 steps in 0.5 s, finished; training loss 3.00
    """

    def __init__(
        self,
        records: Sequence[dict[str, Any]],
        steps: int,
        total: int,
        seconds: float,
        finished: bool,
        why: str = "",
    ) -> None:
        self.records, self.steps, self.total = list(records), steps, total
        self.seconds, self.finished, self.why = seconds, finished, why
        self.train, self.validation = curves(self.records, "train"), curves(self.records, "validation")
        #: what :func:`fusevae.resume` goes on from
        self.rest: Any = None

    def plot(self, *names: str) -> Figure:
        """A matplotlib figure of the bound and its parts over the steps, or of the figures that are named.

        Raises :class:`InputError` for a name that nothing was recorded under.
        """
        from matplotlib.figure import Figure

        known = [*self.train, *(name for name in self.validation if name not in self.train)]
        for name in names:
            if name not in known:
                raise InputError(f"no figure {name!r} was recorded{near(name, known)}")
        usual = [name for name in SHOWN if name in known]
        shown = list(names) or (usual[:-1] if "bound" in usual and "loss" in usual else usual)
        figure = Figure(figsize=(4.4 * max(1, len(shown)), 2.9), layout="constrained")
        for axis, name in zip(np.ravel(figure.subplots(1, max(1, len(shown)))), shown, strict=False):
            for kind, color in KINDS.items():
                found: dict[str, np.ndarray] = getattr(self, kind)
                if name in found:
                    few = "." if len(found["step"]) < 30 else ""
                    axis.plot(found["step"], found[name], color=color, lw=1.2, marker=few, label=kind)
            axis.set_title(f"{name} (nats)" if name in SHOWN[:3] else name)
            axis.set_xlabel("step")
            axis.legend(frameon=False)
            axis.spines[["top", "right"]].set_visible(False)
        return figure

    def __repr__(self) -> str:
        count = f"{self.steps:,}" if self.steps == self.total else f"{self.steps:,} of {self.total:,}"
        state = "finished" if self.finished else f"not finished ({self.why or 'stopped'}; resume goes on)"
        word = "step" if self.total == 1 else "steps"
        return f"History: {count} {word} in {self.seconds:.1f} s, {state}{self._newest()}"

    def _newest(self) -> str:
        for kind, word in (("validation", "validation"), ("train", "training")):
            found: dict[str, np.ndarray] = getattr(self, kind)
            if "bound" in found:
                best = np.nanmax(found["bound"])
                later = f", best {best:.2f}" if best > found["bound"][-1] else ""
                return f"; {word} bound {found['bound'][-1]:.2f} nats{later}"
            if "loss" in found:
                return f"; {word} loss {found['loss'][-1]:.2f}"
        return ""

    def _repr_html_(self) -> str:
        from fusevae.training.display import as_html

        return as_html(repr(self), Picture.of(self.plot()) if self.train or self.validation else None)

    def __deepcopy__(self, memo: Any) -> History:
        return self  # what happened is the same for every copy of a model, and holds its data


def curves(records: Sequence[Mapping[str, Any]], kind: str) -> dict[str, np.ndarray]:
    """The figures of records of a kind by name, each with an entry for every one of them."""
    rows = [dict(figures(record)) for record in records if kind in record]
    found: dict[str, np.ndarray] = {}
    for name in {name: None for row in rows for name in row}:
        values = [row.get(name) for row in rows]
        shape = next(np.shape(v) for v in values if v is not None)
        found[name] = np.array([np.full(shape, np.nan) if v is None else v for v in values], dtype=float)
    if bound := next((name for name in BOUNDS if name in found), None):
        found.setdefault("bound", found[bound])
    if value := next((name for name in VALUES if name in found), None):
        found.setdefault("loss", -found[value])
    return found


def figures(record: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, float | list[float]]]:
    """The numbers and vectors of a record by name; what lies deeper has a name with a ``/``.

    Example:
        >>> list(figures({"step": 5, "train": {"kl": 2.0, "codes": {"z": {"used": 7}}}}))
        [('step', 5), ('kl', 2.0), ('codes/z/used', 7)]
    """
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from figures(value, within if name in KINDS and not within else f"{within}{name}/")
        elif isinstance(value, (int, float)) or (isinstance(value, list) and all(isinstance(v, float) for v in value)):
            yield f"{within}{name}", value
