"""Source: where data come from, and how they are split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import torch

from fusevae.core.description import Described
from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec
from fusevae.data import npz
from fusevae.data.conditions import Asked, named
from fusevae.data.examples import Examples
from fusevae.data.given import Given, existing
from fusevae.data.modality import Modality, recognised
from fusevae.data.modality import modality as modality_named
from fusevae.data.parts import Options, Part
from fusevae.data.splits import Splits

DIGITS = "scikit-learn digits"


class Source(Described):
    """Data by their path, and the split.

    Args:
        path: a folder of images or of sound, ``.npz``, ``.npy``, ``.csv``, ``.tsv``, ``.parquet``, ``.h5ad``; text
            a line in ``.txt``, ``.smi`` (the first field) or ``.jsonl``; a folder of these, where words like train and
            test in the names tell the splits, or of Hugging Face ``save_to_disk``; None is scikit-learn's digits.
        modality: the kind of data (``"images"``, ``"tables"``, ``"text"``, ``"molecules"``, ``"audio"``)
            where it can't be known.
        conditions: what is known beside the examples, for models that are given it: names of columns or arrays (of
            molecules also ``qed``, ``logp``, ``sa`` and ``weight``, which are then computed), ``year:number`` or
            ``digit:label`` where whole numbers could be either; a pattern of the files' names, such as
            ``"{digit}_{speaker}_{take}"``; or a file of labels (``.npz``, ``.npy``, ``.csv``). A value that isn't known
            is an empty cell, or NaN.
        unknown: a value of a column of classes that stands for one that isn't known, too: ``"-1"``, say.
        validation: fraction of the training data that is held out, unless the data come with a validation part.
        test: fraction that is held out, unless the data come with a test part.
        seed: of the permutation that splits.
        memory_gb: decoded images up to this size are kept in memory, others decoded when they are wanted; sound beyond
            it lies in a temporary file.
        skip_damaged: leave out examples that can't be read (they are counted in a warning), instead of refusing.
        size: (height, width) that images are scaled and cut to while reading.
        background: colour that transparent images are laid on, such as ``"white"`` or ``"#202020"``.
        pages: what becomes of image files of several pages or frames: ``"each"`` is an example, the ``"first"`` alone
            is taken, or they are refused (``"refuse"``).
        validation_path: other data for validation, in whatever format.
        test_path: the same for the test.
        column: which column of a table holds the text, or the images; of several arrays the examples.
        columns: which columns of a table are the data; all of them by default. A mapping says what some of them hold
            instead: ``{"zip": "categorical"}`` (see docs/tables.md).
        layer: which layer of an ``.h5ad`` is the data; by default its ``X``.
        constraints: what holds in each row of a table, and in each sample: ``["low <= high", "total = net + tax"]``
            (see docs/tables.md).
        header: whether the first row of a ``.csv`` names its columns; by default it is looked at.
        tokens: what text is cut into: ``"characters"``, ``"bytes"``, ``"words"``, ``"bpe"``, ``"smiles"`` (atoms),
            ``"selfies"``, ``"smiles-pairs"`` or ``"selfies-pairs"`` (pieces of several), or a folder with a pretrained
            model's ``tokenizer.json``. None is ``"smiles"`` for molecules, else ``"bpe"``. The vocabulary is fitted on
            the training part.
        vocabulary_size: its size at most; by default 2,000 for ``"bpe"``, 300 for pairs and 8,000 for ``"words"``, else
            no limit.
        longest: tokens of a text at most, its end included; a longer one is refused, never cut.
        stream: the text is one long one, cut into windows of so many tokens; validation and test are then pieces from
            its end. Windows for training overlap, so that an epoch sees a token 16 times.
        rate: of sound in Hz, to which clips of another are resampled; by default the commonest among them.
        window: seconds that longer sound is cut into, each window an example; by default 4 where any is over a minute.

    Example:
        >>> splits = Source(validation=0.2).read()
        >>> len(splits.train), len(splits.validation), len(splits.test), splits.spec.shape, splits.spec.high
        (1258, 359, 180, (1, 8, 8), 16.0)
    """

    def __init__(
        self,
        path: str | None = None,
        modality: str | None = None,
        conditions: str | list[str] | None = None,
        unknown: str | int | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        seed: int = 0,
        memory_gb: float = 4.0,
        skip_damaged: bool = False,
        size: tuple[int, int] | None = None,
        background: str = "white",
        pages: Literal["refuse", "each", "first"] = "refuse",
        validation_path: str | None = None,
        test_path: str | None = None,
        column: str | None = None,
        columns: list[str] | dict[str, str] | None = None,
        layer: str | None = None,
        constraints: str | list[str] | None = None,
        header: bool | None = None,
        tokens: str | None = None,
        vocabulary_size: int | None = None,
        longest: int = 512,
        stream: int | None = None,
        rate: int | None = None,
        window: float | None = None,
    ) -> None:
        for name, value in (("validation", validation), ("test", test)):
            if not (isinstance(value, Real) and 0 <= value < 1):
                raise InputError(f"{name}={value!r} was given: expected a fraction from 0 to below 1, such as 0.1")
        if validation + test >= 1:
            raise InputError(
                f"validation={validation} and test={test} leave nothing to train on: expected a sum below 1"
            )
        if memory_gb < 0:
            raise InputError(f"memory_gb={memory_gb} was given: expected 0 or more")
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise InputError(f"size={size} was given: expected (height, width), such as (32, 32)")
        if pages not in ("refuse", "each", "first"):
            raise InputError(f"pages={pages!r} was given: expected 'refuse', 'each' or 'first'")
        for name, least, given in (
            ("vocabulary_size", 3, vocabulary_size),
            ("longest", 2, longest),
            ("stream", 1, stream),
            ("rate", 1000, rate),
        ):
            if given is not None and given < least:
                raise InputError(f"{name}={given} was given: expected at least {least}")
        if rate is not None and rate > 1_000_000:
            raise InputError(f"rate={rate} was given: expected Hz, at most 1,000,000")
        if window is not None and window < 0.1:
            raise InputError(f"window={window} was given: expected seconds, at least 0.1")
        self.path, self.validation, self.test, self.seed = path, validation, test, seed
        self.other = {"validation": validation_path, "test": test_path}
        self.options = Options(
            modality=modality,
            conditions=Asked.of(conditions),
            unknown=None if unknown is None else str(unknown),
            memory_gb=memory_gb,
            skip_damaged=skip_damaged,
            size=None if size is None else (size[0], size[1]),
            background=background,
            pages=pages,
            column=column,
            columns=tuple(columns) if isinstance(columns, list | tuple) else None,
            kinds=tuple(columns.items()) if isinstance(columns, Mapping) else (),
            layer=layer,
            constraints=(constraints,) if isinstance(constraints, str) else tuple(constraints or ()),
            header=header,
            tokens=tokens,
            vocabulary_size=vocabulary_size,
            longest=longest,
            stream=stream,
            rate=rate,
            window=window,
        )
        if modality is not None:
            modality_named(modality)

    def read(self) -> Splits:
        """Read and split; every :class:`InputError` about the data is raised here."""
        return self.split(None)

    def split(self, data: Any) -> Splits:
        """What is at the path, or ``data`` in memory, cut into training, validation and test."""
        kind, parts, source = self.parts(data, self.options)
        parts = kind.cut(parts, self.validation, self.test, self.options)
        n = len(parts["train"])
        n_test = 0 if "test" in parts else _count(self.test, n)
        n_validation = 0 if "validation" in parts else _count(self.validation, n)
        if n - n_test - n_validation < 1:
            raise InputError(
                f"{source} has {n} training examples, of which {n_validation} are for validation and {n_test} "
                "for test: "
                "expected some to be left; set validation or test to 0, or give more data"
            )
        order = torch.randperm(n, generator=torch.Generator().manual_seed(self.seed))
        # sorted, so that streaming reads the file in its order
        cuts = [rows.sort().values for rows in order.split([n_test, n_validation, n - n_test - n_validation])]
        rows = dict(zip(("test", "validation", "train"), cuts, strict=True))
        rows = {name: chosen for name, chosen in rows.items() if name == "train" or name not in parts}
        found = kind.examples(parts, rows, self.options)
        return Splits(found["train"], found["validation"], found["test"], found["train"].spec, source)

    def parts(self, data: Any, options: Options) -> tuple[Modality, dict[str, Part], str]:
        """The modality of the data, what there is before the split, and what to call them."""
        if self.path is None and data is None:
            if (asked := options.conditions.names) and asked != ["label"]:
                raise InputError(
                    f"{asked} was asked for without a path: the digits have their own labels; leave it out"
                )
            kind, parts, source, place = modality_named("images"), read_digits(), DIGITS, None
        else:
            given = Given(self.path if self.path is not None else data)
            frames = given.frames
            kind, source, place = recognised(given, options), given.name, given.path
            kind.check_options(options)
            parts = {n: kind.read(one, options)["train"] for n, one in frames.items()} or kind.read(given, options)
        for name, path in self.other.items():
            if path is not None:
                other = kind.read(Given(path), options)
                parts[name] = other.get(name, other["train"])
        if options.conditions.file is not None:
            told = Path(options.conditions.file)
            inside = (place or Path()) / told  # as it may be named from there
            file = inside if inside.is_file() and not told.is_file() else existing(told, "labels")
            parts = npz.with_condition_file(parts, file, options)
        if options.unknown is not None:
            for part in parts.values():
                part.hide(options)
        return kind, parts, source


def read_digits() -> dict[str, Part]:
    """The 1,797 hand-written digits of scikit-learn: ``(1, 8, 8)`` in 0..16."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise InputError("the digits need scikit-learn: pip install scikit-learn, or give a path of data") from None
    digits = load_digits()
    x = torch.from_numpy(digits.images.astype("uint8"))[:, None]
    return {"train": Part(x, {"label": digits.target.astype("int64")}, range=(0.0, 16.0), total=len(x))}


def read_data(data: Any, **settings: Any) -> Splits:
    """Anything that holds data, split.

    Args:
        data: None for scikit-learn's digits, a path, a numpy array or tensor ``(N, *shape)``, a list of texts, a pair
            ``(x, y)`` (y a column of labels or numbers, several as an array, a mapping by name or a DataFrame), a
            mapping of splits (``{"train": x, "test": (x, y)}``, or ``x_train``, ``y_train``, ...), a DataFrame or a
            mapping of splits to such, a map-style torch dataset or a mapping of them, a Hugging Face dataset, a
            :class:`Source`, or :class:`Splits`
            (returned as they are, like a Source without regard to the other settings).
        settings: those of :class:`Source` but the path, by name.

    Example:
        >>> splits = read_data((torch.rand(10, 2), ["a", "b"] * 5), test=0)
        >>> len(splits.train), len(splits.test), splits.spec.classes
        (9, 0, ['a', 'b'])
        >>> read_data(["a cat", "a dog", "a bird"], tokens="characters", test=0).spec.modality
        'text'
    """
    if isinstance(data, Splits):
        return data
    if isinstance(data, Source):
        return data.read()
    return Source(**settings).split(data)


def read_examples(
    data: Any,
    known: DataSpec | None = None,
    given: Any = None,
    gaps: bool = False,
    used: bool = True,
    own: bool = False,
    **settings: Any,
) -> Examples:
    """Data in one piece, to evaluate or encode: the test part where they come with one, otherwise everything.

    Args:
        data: as for :func:`read_data`; None is the digits.
        known: the spec of a model, so that text is read into its tokens, columns are found by their names, and classes
            mean the same as in training; unknown ones are refused.
        given: the conditions of data in memory, where these don't bring them: as for
            :meth:`fusevae.core.conditions.Conditions.given`.
        gaps: missing numbers of a table are NaN; they are refused otherwise.
        used: whether the model makes use of the classes beside the data; else those that it does not know are left out.
        own: whether a pattern of names is that of the model's own data: of files that are named otherwise nothing is
            known then, which is said.
        settings: those of :class:`Source` but the path, by name.

    Example:
        >>> len(read_examples(None))
        1797
    """
    if isinstance(data, Examples):
        return data
    if isinstance(data, Splits):
        return data.test
    source = data if isinstance(data, Source) else Source(**settings)
    asked = source.options.conditions
    asked = replace(asked, optional=True) if own and asked.pattern else asked
    options = replace(source.options, known=known, gaps=gaps, conditions=asked)
    if known is not None and known.conditions is not None and not options.conditions.told:
        options = replace(
            options, conditions=Asked(tuple((name, None) for name in known.conditions.names), optional=True)
        )
    kind, parts, where = source.parts(None if source is data else data, options)
    name = "test" if "test" in parts else "train"
    part = parts[name]
    if given is not None and known is not None and known.conditions is not None:
        part.conditions = dict(known.conditions.values(known.conditions.given(given, len(part))))
    elif given is not None:
        part.beside(named(given, options.conditions, "the labels"), "the labels")
    if known is not None and known.conditions is not None:
        part.settle_unseen(known.conditions, used, str(where))
    return kind.examples({name: part}, None, options)[name]


def _count(fraction: float, n: int) -> int:
    return max(1, round(fraction * n)) if fraction else 0
