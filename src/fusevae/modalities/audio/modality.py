"""Sound: clips of one channel, each of its own length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec, Measure
from fusevae.data import parquet
from fusevae.data.conditions import encode
from fusevae.data.examples import Examples
from fusevae.data.given import SHEET, Given
from fusevae.data.modality import Baseline, Choice, Modality, conditions_of
from fusevae.data.parts import Options, Part
from fusevae.data.sequences import Sequences
from fusevae.data.sheet import Sheet
from fusevae.data.splits import Splits
from fusevae.data.streamed import Streamed
from fusevae.evaluation.judge import Judge
from fusevae.evaluation.results import Result
from fusevae.modalities.audio import codec, pictures, reading, windows, writing
from fusevae.modalities.audio.baseline import FrameMarginals
from fusevae.modalities.audio.bits import code_rate
from fusevae.modalities.audio.classifier import columns_of, kept, training_seconds
from fusevae.modalities.audio.collect import at_one_rate, common_rate, part_of
from fusevae.modalities.audio.decode import SUFFIXES
from fusevae.modalities.audio.judge import SoundReference
from fusevae.modalities.audio.quality import sound_reconstruction
from fusevae.modalities.audio.recommend import choices
from fusevae.modalities.audio.schema import SoundSchema, rate_of


class Audio(Modality, Streamed):
    """Clips ``(samples,)`` in units of full scale: folders, LJSpeech's layout, parquet in the Hugging Face layout,
    arrays with a rate."""

    name = "audio"
    what = "sound"
    schema = SoundSchema
    formats = ("", *writing.FILES, ".npz", ".parquet")
    over = ("tables",)  # rows of samples are no table where a rate is said
    means = by_class = True
    shown = 24
    compared = 12

    def claims(self, given: Given, options: Options) -> bool:
        if given.suffix in SUFFIXES:
            return True
        if given.arrays:
            told = reading.RATE in given.arrays and given.arrays[reading.RATE].shape == ()
            rows = any(len(array.shape) == 2 for array in given.arrays.values())
            return told or (rows and options.rate is not None)  # those of another shape are refused with what is right
        if given.path is not None and given.is_saved:
            return parquet.saved_holds(given.path, "Audio")
        kinds = given.columns
        return bool(given.inside & set(SUFFIXES)) or "audio" in (
            [kinds.get(options.column)] if options.column else kinds.values()
        )

    def read(self, given: Given, options: Options) -> dict[str, Part]:
        path = given.path
        if path is None:
            if "audio" in given.columns.values():
                return reading.read_datasets(given.data, options, given.name)
            if not given.arrays:
                raise InputError(f"{given.name} holds no sound: expected arrays (N, samples), and rate in Hz")
            return reading.read_arrays(given.data, options, given.name)
        if given.suffix == ".npz":
            return reading.read_npz(path, options)
        if given.suffix == ".npy":
            return reading.read_npy(path, options)
        if given.suffix in SUFFIXES:
            return reading.read_file(path, options)
        if given.is_saved:
            return reading.read_saved(path, options)
        if "audio" in given.columns.values():
            return reading.read_parquet(parquet.splits(path), options)
        if path.is_dir():
            return reading.read_folder(path, options)
        raise InputError(
            f"{path} holds no sound: expected {', '.join(SUFFIXES[:4])}, a folder of them, .npz or .parquet"
        )

    def cut(self, parts: dict[str, Part], validation: float, test: float, options: Options) -> dict[str, Part]:
        parts, were = windows.in_windows(parts, options)
        if not were:
            return parts
        fractions = {name: f for name, f in (("test", test), ("validation", validation)) if name not in parts}
        return parts | windows.apart(parts["train"], fractions)

    def examples(
        self, parts: dict[str, Part], rows: Mapping[str, Tensor] | None, options: Options
    ) -> dict[str, Examples]:
        known = options.known.schema if options.known is not None else None
        rate = known.rate if isinstance(known, SoundSchema) else common_rate(parts, options)
        if options.known is None and all(clip.silent for clip in parts["train"].x):
            raise InputError(
                "every training clip is silent: there is nothing to learn; are the files those that you mean?"
            )
        parts, _ = windows.in_windows(parts, options, rate)  # those of a model come in one piece
        clips = {name: at_one_rate(part, rate, options, part_of(name, options)) for name, part in parts.items()}
        train = None if rows is None else rows["train"]
        conditions = conditions_of(parts, options, train)
        longest = max(int(lengths.max()) for _, lengths in clips.values())
        low = min(-1.0, float(clips["train"][0].min())) if "train" in clips else -1.0
        spec = DataSpec((longest,), "float32", low, -low, conditions, SoundSchema(rate))
        found: dict[str, Examples] = {}
        for name, part in parts.items():
            y = encode(conditions, part.conditions, part.names)
            one = found[name] = Sequences(*clips[name], y, spec)
            one.ids, one.kept = part.ids, part.kept
        if rows is not None:
            whole = found["train"]
            found |= {name: whole.subset(chosen) for name, chosen in rows.items()}
        return found

    def write(self, x: Tensor, spec: DataSpec, path: Path, beside: Mapping[str, Sequence[Any]]) -> None:
        writing.write(x, spec, path, beside)
        if path.is_dir():
            self.draw([("", x[: pictures.SHOWN])], spec).save(path / SHEET)

    def draw(self, rows: Sequence[tuple[str, Tensor]], spec: DataSpec) -> Sheet:
        return pictures.sheet(rows, rate_of(spec))

    def reference_seconds(self, data: Splits, extractor: str | None, device: str) -> float:
        needed = columns_of(data.spec) and not kept(data).exists()
        return training_seconds(data, device) if needed else 0.0

    def reference(
        self, held: Examples, data: Splits, n: int, extractor: str | None, device: str, quiet: bool, part: float = 1.0
    ) -> Judge:
        if extractor is not None:
            raise InputError(
                f"{extractor} was given as what clips are judged by: leave --extractor out, they have their own"
            )
        return SoundReference(held, data, n, device, quiet, part)

    def reconstruction(self, artifact: Artifact, held: Examples, seed: int = 0) -> Result:
        return sound_reconstruction(artifact, held, seed=seed)

    def baseline(self, x: Tensor, spec: DataSpec, measure: Measure) -> Baseline:
        return FrameMarginals(x)

    def recommend(self, spec: DataSpec, n: int, seconds: float | None = None) -> list[Choice]:
        return choices(spec, n, seconds)

    def is_codec(self, artifact: Artifact) -> bool:
        return codec.codec_of(artifact) is not None

    def compress(self, artifact: Artifact, path: Path, output: Path, stages: int | None) -> dict[str, Any]:
        return codec.compress(artifact, path, output, stages)

    def decompress(self, artifact: Artifact, path: Path, output: Path) -> dict[str, Any]:
        return codec.decompress(artifact, path, output)

    def bits(self, artifact: Artifact, held: Examples, seed: int = 0) -> Result:
        return code_rate(artifact, held, seed)
