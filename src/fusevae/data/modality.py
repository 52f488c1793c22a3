"""Modality: what is known of one kind of data, by one contract. The folders of ``modalities/`` fulfil it."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor

from fusevae.core.conditions import Conditions
from fusevae.core.errors import InputError, near
from fusevae.core.spec import DataSpec, Measure, Schema
from fusevae.data import npz
from fusevae.data.arrays import extremes, finite_tensor, fixed_range, observed_range, say_levels
from fusevae.data.baseline import Marginals
from fusevae.data.conditions import encode, fitted
from fusevae.data.examples import Examples, InMemory, Streamed, kind_of
from fusevae.data.given import Given
from fusevae.data.parts import Options, Part
from fusevae.data.sheet import Sheet
from fusevae.data.splits import Splits

if TYPE_CHECKING:
    from fusevae.core.artifact import Artifact

PACKAGE = "fusevae.modalities"


class Baseline(Protocol):
    """A model that knows nothing but each dimension's own distribution: what every other has to beat."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Nats of examples ``(n, *shape)``, ``(n,)``."""


@dataclass(frozen=True)
class Choice:
    """A recipe that fits some data, why, in a line, and its options.

    Attributes:
        recipe: its name.
        why: a line.
        options: settings as the command line takes them: ``{"recipe.latent": 32, "training.patience": 6}``.
    """

    recipe: str
    why: str
    options: Mapping[str, Any] = field(default_factory=dict)


class Modality(ABC):
    """One kind of data: recognises, reads, checks, writes, draws, judges, has its baseline, recommends recipes.

    What is defined here holds for arrays of numbers; a modality of another kind says it anew. A subclass is known from
    its definition on, one of the library's is found by walking ``modalities/``.

    Attributes:
        name: one word, which ``data.modality`` and an artifact say.
        what: the kind in words: ``"pictures"``.
        schema: the class of what is known of its data.
        formats: endings of files that samples are written to; ``""`` is a folder.
        over: kinds that this is a special case of: what both claim is its own.
        means: whether samples are shown as means of p(x | z) unless draws are asked for.
        by_class: whether samples of a model that is given classes are shown a row for each.
        shown: samples that a page shows.
        compared: examples that it shows with their reconstructions.
    """

    name: ClassVar[str] = ""
    what: ClassVar[str] = "arrays"
    schema: ClassVar[type[Schema]] = Schema
    formats: ClassVar[tuple[str, ...]] = (".npz", ".npy")
    over: ClassVar[tuple[str, ...]] = ()
    means: ClassVar[bool] = False
    by_class: ClassVar[bool] = False
    shown: ClassVar[int] = 64
    compared: ClassVar[int] = 36

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" in cls.__dict__:
            KNOWN[cls.name] = cls

    # ------------------------------------------------------------ recognise, read

    @abstractmethod
    def claims(self, given: Given, options: Options) -> bool:
        """Whether this may be data of the kind. Where two claim something, the user is asked."""

    def shows(self, shape: tuple[int, ...]) -> bool:
        """Whether plain arrays of that shape, of which nobody said what they are, are drawn and judged as this kind."""
        return False

    def check_options(self, options: Options) -> None:  # noqa: B027 (most kinds have none)
        """Refuse settings that make no sense for the kind, before anything is read."""

    @abstractmethod
    def read(self, given: Given, options: Options) -> dict[str, Part]:
        """What it holds: always ``"train"``, and ``"test"`` or ``"validation"`` where the data come with their own."""

    def layout(self, x: Tensor, name: str) -> Tensor:
        """An array in memory, a batch of examples or of what belongs to their values, with its dimensions in order."""
        return x

    def cut(self, parts: dict[str, Part], validation: float, test: float, options: Options) -> dict[str, Part]:
        """The parts, where they are not to be split example by example."""
        return parts

    def schema_of(self, part: Part, options: Options) -> Schema:
        """What is known of the data beside shape, range and conditions: as it was read, unless there is more to it."""
        return part.schema or self.schema()

    def examples(
        self, parts: dict[str, Part], rows: Mapping[str, Tensor] | None, options: Options
    ) -> dict[str, Examples]:
        """Examples of each split, with one spec: what is fitted is fitted on those for training alone.

        Args:
            parts: as they were read.
            rows: of the part ``train``: which are for training, validation and test; None where nothing is split.
            options: how they were read; ``known`` is the spec of a model that they are read for.
        """
        kinds = {name: kind_of(part.x) for name, part in parts.items()}
        first = next(iter(kinds))
        for name, kind in kinds.items():
            if kind != kinds[first]:
                raise InputError(
                    f"the {first} part holds {kinds[first][1]} of shape {kinds[first][0]}, the {name} part {kind[1]} "
                    f"of shape {kind[0]}: expected the same; convert one of them"
                )
        train = None if rows is None else rows["train"]
        conditions = conditions_of(parts, options, train)
        spec = DataSpec(*kinds[first], *range_of(parts, train, kinds[first][1]), conditions)
        if not parts[first].range:
            say_levels(spec, options.known)
        spec = spec.replaced(schema=self.schema_of(parts[first], options))
        found: dict[str, Examples] = {}
        for name, part in parts.items():
            y = encode(conditions, part.conditions, part.names)
            lazy = not isinstance(part.x, Tensor)
            workers = getattr(part.x, "workers", 0)
            found[name] = Streamed(part.x, spec, workers, y) if lazy else InMemory(part.x, y, spec)
            found[name].ids, found[name].own = part.ids, part.own
        if rows is not None:
            whole = found["train"]
            found |= {name: whole.subset(chosen) for name, chosen in rows.items()}
        return found

    # ------------------------------------------------------------ write, draw

    def check_output(self, path: Path | None, spec: DataSpec) -> None:
        """Refuse a place that can't hold examples, before any work: None is the terminal."""
        suffix = "" if path is None else path.suffix.lower()
        if path is None or suffix not in self.formats:
            ends = "a name that ends in " + ", ".join(filter(None, self.formats))
            kinds = f"a folder, or {ends}" if "" in self.formats else ends
            raise InputError(f"{self.what} can't be written to {path or 'the terminal'}: give --output {kinds}")

    @abstractmethod
    def write(self, x: Tensor, spec: DataSpec, path: Path, beside: Mapping[str, Sequence[Any]]) -> None:
        """Write examples ``(n, *shape)`` to a file or folder, which the caller moves to its place whole.

        Args:
            x: in the data's units.
            spec: of the data.
            path: with one of the :attr:`formats`.
            beside: columns by name, a value an example (conditions, what it is of).
        """

    def identify(self, x: Tensor, spec: DataSpec) -> dict[str, list[str]]:
        """Columns that say which example is which, by what it holds: the text itself."""
        return {}

    @abstractmethod
    def draw(self, rows: Sequence[tuple[str, Tensor]], spec: DataSpec) -> Sheet:
        """Examples as a sheet: rows of ``(n, *shape)``, each with a word for it (or an empty one)."""

    def fragment(self, x: Tensor, spec: DataSpec) -> Sheet:
        """Some examples ``(n, *shape)`` as they are best looked at, in a page."""
        return self.draw([("", x)], spec)

    def paintable(self, x: Tensor, spec: DataSpec) -> tuple[Sheet, tuple[int, ...]] | None:
        """One example as a sheet to paint on, and how its values lie there: (height, width), (columns,); or None."""
        return None

    def portrait(self, made: Tensor, real: Tensor, spec: DataSpec) -> dict[str, Sheet]:
        """How samples look, beside real examples where that says more: sheets by name, the first ``samples``."""
        return {"samples": self.draw([("", made)], spec)}

    def pairs(self, x: Tensor, again: Tensor, spec: DataSpec) -> Sheet:
        """Examples and what a model makes of them."""
        return self.draw([("data", x), ("model", again)], spec)

    # ------------------------------------------------------------ judge

    def reference_seconds(self, data: Splits, extractor: str | None, device: str) -> float:
        """About how long :meth:`reference` takes, where something has to be trained first."""
        return 0.0

    @abstractmethod
    def reference(
        self, held: Examples, data: Splits, n: int, extractor: str | None, device: str, quiet: bool, part: float = 1.0
    ) -> Any:
        """What samples are held against: a :class:`fusevae.evaluation.judge.Judge`.

        Args:
            held: examples that no model was trained on.
            data: what the models were trained on.
            n: samples of each model.
            extractor: a file that the user names, for features or as a judge.
            device: where a net is trained or run, showing no progress where ``quiet``.
            part: of its usual training, that what judges gets where something is trained.
        """

    @abstractmethod
    def reconstruction(self, artifact: Artifact, held: Examples, seed: int = 0) -> Any:
        """How near examples are to themselves after encoding and decoding: a
        :class:`fusevae.evaluation.results.Result`."""

    def baseline(self, x: Tensor, spec: DataSpec, measure: Measure) -> Baseline:
        """The constant model of training examples as the model sees them, of the same kind of likelihood."""
        return Marginals(x, (spec.low, spec.high) if measure == "mass" else None)

    # ------------------------------------------------------------ recommend

    def recommend(self, spec: DataSpec, n: int, seconds: float | None = None) -> list[Choice]:
        """Recipes for ``n`` training examples and a time, the default first."""
        return []


KNOWN: dict[str, type[Modality]] = {}


@functools.cache
def _walk() -> None:
    package = importlib.import_module(PACKAGE)
    for info in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{PACKAGE}.{info.name}.modality")


@functools.cache
def _one(cls: type[Modality]) -> Modality:
    return cls()


def modalities() -> dict[str, Modality]:
    """Every modality by its name.

    Example:
        >>> {"images", "molecules", "tables", "text"} <= modalities().keys()
        True
    """
    _walk()
    return {name: _one(cls) for name, cls in KNOWN.items()}


def modality(name: str) -> Modality:
    """The modality of that name, or :class:`InputError` with the near ones."""
    if name not in (known := modalities()):
        raise InputError(f"modality={name!r} was given: expected a kind of data{near(name, known)}")
    return known[name]


def modality_of(spec: DataSpec) -> Modality:
    """The modality of some data; of plain arrays the one that shows such, or one that only computes."""
    if spec.modality:
        return modality(spec.modality)
    return next((one for one in modalities().values() if one.shows(spec.shape)), PLAIN)


def recognised(given: Given, options: Options) -> Modality:
    """The modality that something is read by: the one that is named, that of the model it is for, or the only one that
    claims it."""
    if options.known is not None and options.known.modality:
        return modality(options.known.modality)
    if options.modality is not None:
        return modality(options.modality)
    if options.known is not None and any(a.shape[1:] == options.known.shape for a in given.arrays.values()):
        return PLAIN
    claims = [one for one in modalities().values() if one.claims(given, options)]
    claims = [one for one in claims if not any(one.name in other.over for other in claims)]
    if len(claims) == 1:
        return claims[0]
    if claims:
        kinds = " or ".join(f"{one.what} ({one.name})" for one in claims)
        raise InputError(
            f"{given.name} may be {kinds}: say which, data.modality={claims[0].name} (--set, or in Python)"
        )
    given.refuse(modalities())


def array_part(x: Any, name: str) -> Part:
    """An array as one split, as it is."""
    found = finite_tensor(x, name)
    return Part(found, total=len(found))


def conditions_of(parts: Mapping[str, Part], options: Options, train: Tensor | None) -> Conditions | None:
    """The columns beside the examples: those of a model that they are read for, else what is found."""
    if options.known is not None:
        return options.known.conditions
    names = {name: words for part in parts.values() for name, words in part.names.items()}
    columns, texts = {name: part.conditions for name, part in parts.items()}, [part.texts for part in parts.values()]
    found = fitted(columns, names, options.conditions, train, list(filter(None, texts)))
    if missing := [name for name in options.conditions.names if found is None or name not in found.names]:
        raise InputError(f"conditions {', '.join(missing)} were asked for and the data hold none: give columns of them")
    return found


def range_of(parts: Mapping[str, Part], train: Tensor | None, dtype: str) -> tuple[float, float]:
    """What the data can take: by format or dtype, for integers as seen anywhere, for floats as seen in training."""
    given = [part.range or (fixed_range(part.x) if isinstance(part.x, Tensor) else None) for part in parts.values()]
    if all(g is not None for g in given):
        return min(g[0] for g in given if g), max(g[1] for g in given if g)
    ends = {name: extremes(part.x) if part.ends is None else part.ends for name, part in parts.items()}
    floating = dtype.startswith("float")
    if floating and train is not None:
        return observed_range(ends["train"][train], floating)
    return observed_range(torch.cat(list(ends.values())), floating)


class _Plain(Modality):
    """Arrays of no known kind: they can be computed with, not read from a file, drawn or written as anything else."""

    def claims(self, given: Given, options: Options) -> bool:
        return False

    def read(self, given: Given, options: Options) -> dict[str, Part]:
        if given.path is not None:
            raise _nameless()
        return npz.parts_of(given.data, options, given.name, array_part)

    def draw(self, *given: Any, **more: Any) -> Any:
        raise _nameless()

    write = reference = reconstruction = draw


def _nameless() -> InputError:
    return InputError(f"these are arrays of no known kind: read them with a modality ({', '.join(modalities())})")


PLAIN = _Plain()
