"""Run: a training and all that belongs to it, opened from its folder."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import yaml

from fusevae.core.artifact import WEIGHTS, Artifact, read_header
from fusevae.core.description import Trust, build, describe, fit_type
from fusevae.core.errors import InputError
from fusevae.core.migration import migrated
from fusevae.core.untrusted import from_json, from_yaml, text_of
from fusevae.data.examples import Examples
from fusevae.data.source import DIGITS, Source, read_examples
from fusevae.data.splits import Splits
from fusevae.evaluation.blocks import as_examples, check_examples
from fusevae.evaluation.judge import Judge, reference
from fusevae.evaluation.of_model import TrainingCost
from fusevae.evaluation.scores import Likelihood
from fusevae.training import checkpoint, configuration, prior
from fusevae.training.compose import IN_MEMORY
from fusevae.training.configuration import Node
from fusevae.training.folder import CHECKPOINTS, CONFIG, REPORT, fresh_folder
from fusevae.training.identity import check_data
from fusevae.training.lock import locked
from fusevae.training.outcome import draw_samples
from fusevae.training.prepare import pick_device
from fusevae.training.records import METRICS, gained, read_records
from fusevae.training.settings import Training

JUDGED = 2000  # samples that are held against real examples, unless it is said


class Run:
    """A run folder, or an artifact alone: its model, its data, what real examples its samples are held against.

    Whatever is asked for is read then, and kept. :meth:`open` is the way in; that of a training which was killed has no
    artifact yet, and everything else.

    Args:
        path: of the folder, or of a ``model.safetensors``.
        finished: whether the training came to its end.
        steps: of the training so far.
        seconds: that it took.
        artifact: the model, where it is in memory.
        data: the data, where they have been read.
        device: where the model runs.
        trust: as for :func:`fusevae.build`.
        settings: changes of the model's settings, such as ``distribution.sampler.steps=50``; those that begin with
            ``data.`` say how data that are given are read, such as ``data.column=review``.
        skip_damaged: leave out examples that can't be read.
        precision: of the nets, ``"bfloat16"``; by default float32.

    Example:
        >>> import tempfile, fusevae
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Artifact(fusevae.Normal(2), fusevae.DataSpec((2,))).save(folder)
        ...     run = Run.open(folder)
        ...     run.artifact.support, run.configuration
        ('density on R^2', None)
    """

    def __init__(
        self,
        path: str | Path,
        finished: bool = True,
        steps: int = 0,
        seconds: float = 0.0,
        artifact: Artifact | None = None,
        data: Splits | None = None,
        device: str = "cpu",
        trust: Trust = (),
        settings: Sequence[str] = (),
        skip_damaged: bool = False,
        precision: str | None = None,
    ) -> None:
        self.path = Path(path).expanduser()
        self.finished, self.steps, self.seconds = finished, steps, seconds
        self.device, self.trust, self.settings, self.skip_damaged = device, trust, list(settings), skip_damaged
        self.precision = precision
        if artifact is not None:
            self.artifact = artifact
        if data is not None:
            self.data = data

    @classmethod
    def open(
        cls,
        path: str | Path,
        device: str = "cpu",
        trust: Trust = (),
        settings: Sequence[str] = (),
        skip_damaged: bool = False,
        precision: str | None = None,
    ) -> Run:
        """The run of a folder, or the artifact of a file; arguments as of the class. :class:`InputError` where there is
        none."""
        run = cls(path, device=device, trust=trust, settings=settings, skip_damaged=skip_damaged, precision=precision)
        if run.configuration is None or not run.path.is_dir():
            read_header(run.weights)
        if (state := run.state) is not None:
            run.finished, run.steps, run.seconds = state.finished, state.steps or 0, state.seconds or 0.0
        else:
            run.finished = run.weights.exists()
        return run

    def __repr__(self) -> str:
        facts = [f"Run({str(self.path)!r}"]
        if self.configuration is not None:
            where = (self.configuration.get("data") or {}).get("path") or DIGITS
            facts.append(f"{self.configuration['model'].get('class', 'model')} on {where}")
        if self.steps:
            facts.append(f"{self.steps:,} steps in {self.seconds:.0f} s")
        return ", ".join([*facts, "finished)" if self.finished else "not finished)"])

    @property
    def folder(self) -> Path:
        """Where the run lies."""
        return self.path if self.path.is_dir() else self.path.parent

    @property
    def weights(self) -> Path:
        """The file of the model."""
        return self.path / WEIGHTS if self.path.is_dir() or not self.path.suffix else self.path

    @functools.cached_property
    def artifact(self) -> Artifact:
        """The model, on its device; :class:`InputError` where a training has not left one yet."""
        if self.configuration is not None and not self.weights.exists():
            raise InputError(
                f"the training in {self.path} has not come to its end: go on with it, fusevae train --resume "
                f"{self.path}"
            )
        found = Artifact.load(self.path, self.trust, pick_device(self.device))
        changes = configuration.parted(self.settings, "data")[1]
        return configuration.changed(found, changes, self.trust) if changes else found

    def computing(self) -> AbstractContextManager[Any]:
        """A context in which the nets run in the precision of the run.

        Example:
            >>> with Run("runs/a", precision="bfloat16").computing():
            ...     torch.is_autocast_enabled("cpu")
            True
        """
        if self.precision != "bfloat16":
            return nullcontext()
        return torch.autocast(pick_device(self.device).type, torch.bfloat16)

    @functools.cached_property
    def configuration(self) -> Node | None:
        """The configuration in full, as plain data; None for an artifact alone."""
        return configuration.read(self.folder / CONFIG) if (self.folder / CONFIG).is_file() else None

    @functools.cached_property
    def source(self) -> Source | None:
        """Where the data are that it was trained on, if it says so."""
        if self.configuration is not None:
            node = self.configuration.get("data") or {"class": "Source"}
        elif "source" in (header := read_header(self.weights)):
            node = migrated(from_yaml(header["source"], f"{self.weights}: its source"))  # a copy with another prior
        else:
            return None
        found: Source = fit_type(build(node, where="data"), Source, "data")
        return found.replaced(skip_damaged=True) if self.skip_damaged else found

    @functools.cached_property
    def data(self) -> Splits:
        """The data that it was trained on, split as they were; :class:`InputError` where it names none, or they are no
        longer the same."""
        if self.source is None:
            raise InputError(f"{self.path} has no {CONFIG} that names its data: give --data")
        if self.source.path == IN_MEMORY:
            raise InputError(f"the data of {self.path} were in memory: give --data, or them in Python")
        found = self.source.read()
        values = checkpoint.newest_values(self.folder / CHECKPOINTS) if self.path.is_dir() else None
        if values is not None and "identity" in values:
            check_data(values["identity"], found, str(self.path))
        return found

    @property
    def held(self) -> tuple[Examples, str]:
        """The examples that were held out, and what they are in words."""
        found, name = self.data.held
        check_examples(self.artifact, found)
        return found, f"{name} of the run"

    @functools.cached_property
    def reference(self) -> Judge:
        """What its samples are held against."""
        return self.judge(JUDGED)

    def judge(self, n: int, extractor: str | None = None, held: Examples | None = None, quiet: bool = False) -> Judge:
        """What ``n`` samples of any model of its data are held against: ``held``, or its own held-out examples, where
        the test part is too small with the validation part."""
        if self.source is None:
            raise InputError(f"{self.path} names no training data, whose features judge samples: give a run folder")
        check_examples(self.artifact, self.data.held[0] if held is None else held)
        return reference(self.data, n, extractor, self.device, quiet, held)

    def examples(
        self,
        data: Any = None,
        conditions: str | list[str] | None = None,
        texts: Sequence[str] | None = None,
        gaps: bool = False,
    ) -> tuple[Examples, str]:
        """Data for its model, and what they are in words: its own held-out ones where none are given.

        Args:
            data: a path, or what :func:`fusevae.read_data` takes; read as the run's own data are.
            conditions: columns beside them, as of :class:`fusevae.Source`; by default those of the model.
            texts: texts in their place.
            gaps: missing numbers of a table are NaN, to be filled in; they are refused otherwise.
        """
        if texts:
            if data is not None:
                raise InputError("--text and --data were given: expected one of them")
            if self.artifact.data.schema.numeric:
                kind = self.artifact.data.schema.modality
                raise InputError(f"texts were given, and the model's data are {kind}: give such, --data PATH")
            return as_examples(self.artifact, list(texts)), "the texts given"
        if data is None:
            return self.held
        node = describe(self.source or Source()) | {"path": None, "validation_path": None, "test_path": None}
        node |= {"skip_damaged": self.skip_damaged}
        if conditions is not None or (self.source is not None and self.source.options.conditions.file):
            node["conditions"] = conditions
        said = configuration.parted(self.settings, "data")[0]
        own = conditions is None and not any(setting.startswith("data.conditions") for setting in said)
        node = configuration.override({"data": node}, said)["data"]
        fit_type(build(node, where="data"), Source, "data")  # refuses what is no setting
        if node["path"] is not None:
            raise InputError("data.path was set: give the data themselves, --data PATH")
        settings = {key: value for key, value in node.items() if key not in ("class", "path")}
        used = self.artifact.is_conditional
        found = read_examples(data, self.artifact.data, gaps=gaps, used=used, own=own, **settings)
        check_examples(self.artifact, found, gaps)
        return found, str(data) if isinstance(data, str | Path) else "the data given"

    def training(self, data: Any = None, conditions: str | list[str] | None = None) -> tuple[Examples, str]:
        """The same, but its own training examples where none are given."""
        if data is not None or self.source is None:
            return self.examples(data, conditions)
        return self.data.train, "training split of the run"

    def with_prior(
        self,
        kind: prior.Kind,
        output: str | Path,
        data: Any = None,
        conditions: str | list[str] | None = None,
        components: int = 10,
        training: Training | None = None,
        seed: int = 0,
        quiet: bool = False,
    ) -> Run:
        """A copy of the run, in a folder of its own, whose prior is fitted to the latents of its training data.

        Args:
            kind: of prior, and other arguments, as of :func:`fusevae.fit_prior`.
            output: a new folder.
            data: whose latents the prior is fitted to, as for :meth:`examples`; its own training examples by default.
            conditions: columns beside them.
            components: of a mixture.
            training: of the others.
            seed: of the fit.
            quiet: show no progress.

        Raises :class:`InputError` before anything is written.
        """
        folder = fresh_folder(output)
        prior.latents_of(self.artifact.distribution)
        examples, _ = self.training(data, conditions)
        settings = (kind, None, components, training, seed, self.device, quiet)
        with locked(folder):
            fresh_folder(folder)  # nobody has begun in it meanwhile
            found = prior.fit_prior(self.artifact, examples, *settings)
            about = {"seed": str(seed), "parent": str(self.path), "prior": kind}
            if self.source is not None:
                about["source"] = yaml.safe_dump(describe(self.source))
            for name, sheet in draw_samples(found, examples)[0].items():
                sheet.beside(folder / name)
            found.save(folder, about)  # last: what a kill leaves before holds no model, and begins again
        return Run(folder, artifact=found, device=self.device, trust=self.trust)

    @functools.cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """The records of its training; none for an artifact alone."""
        return read_records(self.folder / METRICS)

    @functools.cached_property
    def evaluation(self) -> Likelihood | None:
        """The figures on held-out data that were computed when it ended; None where the model has no likelihood."""
        path = self.folder / "evaluation.json"
        if not os.path.exists(path):
            return None
        try:
            found = Likelihood.from_dict(from_json(text_of(path, "figures"), str(path)))
            found.lines()
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise InputError(f"{path} holds no figures ({error}): evaluate the run again") from None
        return found

    @property
    def state(self) -> TrainingCost | None:
        """How far the training is, from configuration and metrics."""
        if not self.path.is_dir() or self.configuration is None or not self.metrics:
            return None
        last: dict[str, Any] = next((r for r in reversed(self.metrics) if "epoch" in r), {})
        return TrainingCost(
            steps=last.get("step"),
            epochs=round(last["epoch"], 3) if last else None,
            epochs_asked_for=self.configuration.get("training", {}).get("epochs"),
            finished=(self.folder / REPORT).is_file(),
            seconds=last.get("seconds"),
            went_back=sum(r.get("event") == "went back" for r in self.metrics),
            gained=gained(self.metrics),
        )
