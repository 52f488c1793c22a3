"""Text: sentences, documents, one long text."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec, Measure, Schema
from fusevae.core.vocabulary import Vocabulary
from fusevae.data import npz, parquet
from fusevae.data.baseline import Unigram
from fusevae.data.examples import Examples, InMemory
from fusevae.data.folders import INDEX, find, is_indexed
from fusevae.data.given import LISTED, Given, files_at, files_in, is_frame, is_hugging_face
from fusevae.data.kinds import LOOKED_AT, is_text
from fusevae.data.modality import Baseline, Choice, Modality, array_part, conditions_of
from fusevae.data.objects import Objects
from fusevae.data.parts import Options, Part
from fusevae.data.rows import beside_others, write_columns
from fusevae.data.sheet import Rows, Sheet
from fusevae.data.splits import Splits
from fusevae.evaluation.judge import Judge
from fusevae.evaluation.results import Result
from fusevae.modalities.molecules.spelling import are_smiles
from fusevae.modalities.text import reading
from fusevae.modalities.text.lines import FEW, read_folders, read_lines
from fusevae.modalities.text.pretrained_tokens import is_folder
from fusevae.modalities.text.quality import TextReference, text_reconstruction, words
from fusevae.modalities.text.reader import PLENTY, too_few
from fusevae.modalities.text.recommend import choices
from fusevae.modalities.text.schema import TextSchema
from fusevae.modalities.text.tokenised import cut_stream, encoded, sequences, vocabulary_for
from fusevae.modalities.text.tokens import vocabulary

logger = logging.getLogger("fusevae")


class Text(Modality):
    """Texts: lines, a column of a table, lists of strings; or one long text in windows."""

    name = "text"
    what = "text"
    schema: ClassVar[type[Schema]] = TextSchema
    formats: ClassVar[tuple[str, ...]] = (".txt", ".csv", ".jsonl", ".parquet")
    by_class = True
    usual: ClassVar[str] = "bpe"  # tokens that text is cut into
    looks: ClassVar[reading.Looks] = reading.TEXT

    def claims(self, given: Given, options: Options) -> bool:
        if not is_of(options.tokens, self.name):
            return False
        asked = bool(options.column or options.tokens or options.stream)
        if given.path is not None and given.is_saved:
            return bool(options.column) or not parquet.saved_holds(given.path, "Audio")
        if (given.suffix in self.looks.lines and not given.columns) or given.are_texts:
            return True
        if given.columns.get(options.column or "") == "image":
            return False
        if given.columns:
            named = {name: kind for name, kind in given.columns.items() if name not in options.conditions.names}
            kinds = list(named.values())
            words = (is_hugging_face(given.some) or given.are_objects) and ("text" in kinds or is_text(named))
            return asked or ((words or kinds.count("text") == 1) and not {"image", "audio"} & set(kinds))
        inside = files_at(given.path) if given.path and given.path.is_dir() else ()
        here, lines = {path.suffix.lower() for path in inside if path.name != LISTED}, set(self.looks.lines)
        found = given.inside
        if inside and given.path is not None and is_indexed(given.path):
            found = {file.suffix.lower() for file in files_in(given.path) if file.name not in (INDEX, LISTED)}
        below = bool(found) and found <= lines
        return bool(here & lines) or below or (asked and bool(here & set(reading.TABLES)))

    def check_options(self, options: Options) -> None:
        if options.tokens is not None and not is_folder(options.tokens):
            vocabulary(options.tokens)

    def read(self, given: Given, options: Options) -> dict[str, Part]:
        path, looks = given.path, self.looks
        if path is None:
            if is_hugging_face(given.data) or (isinstance(given.data, Mapping) and given.is_dataset):
                return reading.read_datasets(given.data, options, given.name, looks)
            if is_frame(given.data):
                return reading.read_frame(given.data, options, given.name, looks)
            return npz.parts_of(given.data, options, given.name, lambda x, name: self._part(x, name, options))
        sheet = Objects(path) if given.suffix == ".json" else given.workbook and given.workbook.columns(options.header)
        if sheet is not None:
            return reading.read_frame(sheet, options, str(path), looks)
        if given.suffix == ".parquet" or (path.is_dir() and parquet.parquet_splits(path)):
            return {n: reading.read_parquet(files, options, looks) for n, files in parquet.splits(path).items()}
        if path.is_dir() and given.is_saved:
            return reading.read_saved(path, options, looks)
        if path.is_dir() and is_indexed(path) and (files := find(path, (".txt",))):
            return read_folders(path, files, options, looks)
        splits = reading.text_splits(path, options, looks) if path.is_dir() else {"train": [path]}
        if not splits or (not path.is_dir() and given.suffix not in (*looks.lines, *reading.TABLES)):
            kinds = ", ".join((*looks.lines, ".csv", ".parquet"))
            below = [file for file in files_in(path) if file.suffix.lower() in looks.lines]
            if below and {file.suffix.lower() for file in below} == {".txt"}:
                return read_folders(path, below, options, looks)
            if below:
                raise InputError(
                    f"{path} holds {self.what} in folders below it alone, such as {below[0].relative_to(path)}: "
                    "expected files in the folder itself (of .txt in folders each file is an example); give one of "
                    "those folders"
                )
            raise InputError(f"{path} holds no {self.what}: expected {kinds}, or a folder of them")
        return {split: self._file(paths, options) for split, paths in splits.items()}

    def cut(self, parts: dict[str, Part], validation: float, test: float, options: Options) -> dict[str, Part]:
        if options.stream is None and len(parts["train"].x) == 1 and validation + test:
            windows = (
                "" if self.looks.fields else "read it in windows (data.stream=128, as character-transformer does), or "
            )
            raise InputError(f"the data are one example of {self.what}: {windows}give several, one a line")
        return parts if options.stream is None else cut_stream(parts, validation, test)

    def examples(
        self, parts: dict[str, Part], rows: Mapping[str, Tensor] | None, options: Options
    ) -> dict[str, Examples]:
        if rows is not None:
            pieces = {name: parts["train"].at(chosen) for name, chosen in rows.items()}
            parts = pieces | {name: part for name, part in parts.items() if name != "train"}
            parts = {name: parts[name] for name in ("train", "validation", "test") if name in parts}
        first = next(iter(parts.values()))
        if options.known is not None and isinstance(first.x, Tensor):
            return {name: self._tokens(part, options.known, options) for name, part in parts.items()}
        if options.known is not None:
            schema = options.known.schema
            assert isinstance(schema, TextSchema)
        else:
            if self.looks == reading.TEXT and (few := too_few(list(map(words, first.x[:PLENTY])))):
                logger.warning(few)
            kind = options.tokens or self.usual
            schema = self._schema(vocabulary_for(list(first.x), kind, options))
        found = encoded(parts, schema.vocabulary, options, fitted=options.known is None)
        self._compute(found, options)
        return sequences(found, schema, options)

    def check_output(self, path: Path | None, spec: DataSpec) -> None:
        if path is not None:  # texts may go to the terminal
            super().check_output(path, spec)

    def write(self, x: Tensor, spec: DataSpec, path: Path, beside: Mapping[str, Sequence[Any]]) -> None:
        """Texts and what is known of them. A ``.txt`` holds a text a line and nothing else; a column beside with the
        name of one of the texts' own is ``given_...``."""
        texts, suffix = spec.text(x), path.suffix.lower()
        if suffix in (".csv", ".jsonl", ".parquet"):
            own = self.columns(texts)
            named = beside_others({name: np.asarray(values) for name, values in beside.items()}, own)
            write_columns({**own, **named}, path)
            return
        if several := sum("\n" in text or "\r" in text for text in texts):
            said = "%d of %d texts have lines of their own, which a %s doesn't keep together: .jsonl does"
            logger.warning(said, several, len(texts), suffix)
        path.write_text(lines_of(texts), encoding="utf-8", newline="")

    def columns(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """The columns that texts are written as."""
        return {"text": np.array(list(texts), dtype=object)}  # numpy's own strings lose zeros at their end

    def identify(self, x: Tensor, spec: DataSpec) -> dict[str, list[str]]:
        return {"text": spec.text(x)}

    def draw(self, rows: Sequence[tuple[str, Tensor]], spec: DataSpec) -> Sheet:
        cells = [(word if not i else "", text) for word, x in rows for i, text in enumerate(spec.text(x))]
        if all(not word for word, _ in rows):
            return Rows(("text",), [(text,) for _, text in cells])
        return Rows(("", "text"), cells)

    def pairs(self, x: Tensor, again: Tensor, spec: DataSpec) -> Sheet:
        return Rows(("text", "reconstruction"), list(zip(spec.text(x), spec.text(again), strict=True)))

    def reference(
        self, held: Examples, data: Splits, n: int, extractor: str | None, device: str, quiet: bool, part: float = 1.0
    ) -> Judge:
        return TextReference(held, data.train, n, Artifact.load(extractor, device=device) if extractor else None)

    def reconstruction(self, artifact: Artifact, held: Examples, seed: int = 0) -> Result:
        return text_reconstruction(artifact, held, seed=seed)

    def baseline(self, x: Tensor, spec: DataSpec, measure: Measure) -> Baseline:
        return Unigram(x, round(spec.high) + 1)

    def recommend(self, spec: DataSpec, n: int, seconds: float | None = None) -> list[Choice]:
        return choices(spec, n, seconds)

    def _schema(self, words: Vocabulary) -> TextSchema:
        return TextSchema(words)

    def _compute(self, found: Any, options: Options) -> None:
        """Conditions that are computed from the texts."""

    def _file(self, paths: list[Path], options: Options) -> Part:
        if paths[0].suffix.lower() in self.looks.lines:
            return read_lines(paths, options, self.looks)
        if len(paths) > 1:
            raise InputError(
                f"{paths[0].parent} holds several tables of one split: give one file, or store lines (.jsonl)"
            )
        return reading.read_table(paths[0], options, self.looks)

    def _part(self, x: Any, name: str, options: Options) -> Part:
        if not npz.are_texts(x):
            if options.known is not None:
                return array_part(x, name)  # tokens of the model
            raise InputError(f"{name} holds no {self.what}: expected a list of strings")
        if options.known is None and self.looks == reading.TEXT and len(x) >= FEW and are_smiles(list(x[:LOOKED_AT])):
            logger.warning("%s: each is spelt as SMILES, and taken for text: data.modality=molecules if it is", name)
        return reading.text_part(list(map(str, x)), [(0, f"{name}: text", 0)], options, what=self.what)

    def _tokens(self, part: Part, known: DataSpec, options: Options) -> Examples:
        x = part.x
        if x.is_floating_point() or x.dim() != 2 or int(x.min()) < 0:
            raise InputError(f"{tuple(x.shape)} {x.dtype} was given: expected texts, or tokens (n, length)")
        if int(x.max()) > known.high:
            raise InputError(
                f"tokens up to {int(x.max())} were given, the model's vocabulary has {known.high + 1:g}: give its own"
            )
        conditions = conditions_of({"train": part}, options, None)
        y = conditions.tensor(part.conditions) if conditions is not None and part.conditions else None
        return InMemory(x.long(), y, known.with_shape(x.shape[1:]))


def is_of(tokens: str | None, modality: str) -> bool:
    """Whether tokens may be those of a kind of text; a folder's may be of any."""
    return tokens is None or is_folder(tokens) or vocabulary(tokens).modality == modality


def lines_of(texts: Sequence[str]) -> str:
    """Texts, a line each; one that has lines itself is followed by an empty one."""
    return "".join(text + ("\n\n" if "\n" in text else "\n") for text in texts)
