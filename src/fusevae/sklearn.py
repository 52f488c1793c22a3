"""A model of a table as an estimator of scikit-learn."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from fusevae import impute
from fusevae.core import noise
from fusevae.core.artifact import WEIGHTS, Artifact
from fusevae.core.errors import InputError
from fusevae.core.generation import GREEDY, generating
from fusevae.data.delimited import check_names
from fusevae.data.examples import Examples, InMemory
from fusevae.data.given import is_frame
from fusevae.data.modality import modality_of
from fusevae.data.source import read_data, read_examples
from fusevae.evaluation.likelihood import log_likelihood
from fusevae.evaluation.samples import sample
from fusevae.modalities.tables import frames
from fusevae.modalities.tables.h5ad import is_anndata
from fusevae.modalities.tables.schema import table_columns
from fusevae.modalities.tables.sparse import is_sparse
from fusevae.training.fit import fit

LARGEST = 2**31 - 1
BLOCK = 500  # rows that are made dense at once


class GenerativeModel(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A generative model of the rows of a table, for pipelines and searches.

    Rows come as a DataFrame (numbers, categories, dates, flags, missing cells), an array of numbers, a sparse matrix of
    scipy or cells by genes (AnnData), and what the model makes comes back as that: a DataFrame with the names, dtypes,
    orders and zones of the given one, an array of whole numbers as such, rounded and within each column's range. Sparse
    rows are made dense a few at a time. A row's latents and log-likelihood do not depend on the other rows: rows are
    computed one by one, with the same noise for each.

    Args:
        model: the name of a recipe for tables.
        options: of the recipe, ``{"latent": 4}``; by default those that suit the size of the table.
        training: settings of the training by name, ``{"epochs": 20}``; the same default.
        budget: time of the training, in seconds or as ``"2m"``, in the place of its length.
        columns: what columns of a DataFrame hold, by name, where it isn't inferred: ``{"zip": "categorical"}``.
        conditions: columns of a DataFrame, or of the ``obs`` of cells, that the model is given and does not learn:
            ``["batch"]``.
        validation: part of the rows that is held out to end the training in time.
        importance_samples: of the bound on a log-likelihood.
        random_state: of weights, order and noise.

    Attributes:
        artifact_: the trained model, for all that the library does with one.
        n_features_in_, feature_names_in_: as of scikit-learn.

    Example:
        >>> import pandas
        >>> rows = pandas.DataFrame({"age": [18, 44, 31, 52] * 20, "city": ["Oslo", "Lima", "Oslo", None] * 20})
        >>> model = GenerativeModel(options={"latent": 2, "hidden": [8]}, training={"epochs": 1}, random_state=0)
        >>> made = model.fit(rows).sample(3)
        >>> list(made), len(made), model.transform(rows).shape, model.score_samples(rows).shape
        (['age', 'city'], 3, (80, 2), (80,))
    """

    def __init__(
        self,
        model: str = "table-vae",
        *,
        options: Mapping[str, Any] | None = None,
        training: Mapping[str, Any] | None = None,
        budget: str | float | None = None,
        columns: Mapping[str, str] | None = None,
        conditions: Sequence[str] | None = None,
        validation: float = 0.1,
        importance_samples: int = 20,
        random_state: Any = None,
    ) -> None:
        self.model, self.options, self.training, self.budget = model, options, training, budget
        self.columns, self.conditions, self.validation = columns, conditions, validation
        self.importance_samples, self.random_state = importance_samples, random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on rows; ``y`` is not looked at."""
        rows = self._checked(X, reset=True)
        seed = int(check_random_state(self.random_state).randint(LARGEST))
        for name, value in (("options", self.options), ("training", self.training), ("columns", self.columns)):
            if not isinstance(value, Mapping | None) or not all(isinstance(key, str) for key in value or ()):
                raise InputError(f"{name}={value!r} was given: expected a mapping by names, or None")
        if other := [kind for kind in (self.columns or {}).values() if not isinstance(kind, str)]:
            raise InputError(f"columns={self.columns!r} was given: {other[0]!r} is no kind, 'categorical' say")
        given = [self.conditions] if isinstance(self.conditions, str) else self.conditions
        if given is not None and not (isinstance(given, list | tuple) and all(isinstance(name, str) for name in given)):
            raise InputError(f"conditions={given!r} was given: expected names of columns, ['batch'] say, or None")
        said: dict[str, Any] = {} if self.columns is None else {"columns": dict(self.columns)}
        if given is not None:
            said["conditions"] = list(given)
        data = read_data(rows, modality="tables", validation=self.validation, test=0, seed=seed, **said)
        chosen = {c.recipe: c.options for c in modality_of(data.spec).recommend(data.spec, len(data.train))}
        usual: dict[str, dict[str, Any]] = {"recipe": {}, "training": {}}
        for path, value in chosen.get(self.model, {}).items():
            section, _, name = path.partition(".")
            usual[section][name] = value
        options = usual["recipe"] if self.options is None else dict(self.options)
        training = usual["training"] | dict(self.training or {})
        made = fit(self.model, data, None, None, training, seed, quiet=True, options=options, budget=self.budget)
        made.history = None  # the data with it
        self.artifact_, self.seed_, self.form_ = made, seed, _form(rows)
        self.like_ = frames.empty(rows) if self.form_ == "frame" else None
        whole = isinstance(X, np.ndarray) and X.dtype.kind in "biu"
        self.whole_ = (X.dtype.newbyteorder("="), rows.min(0), rows.max(0)) if whole else None
        return self

    def transform(self, X: Any) -> np.ndarray:
        """The means of the latents, ``(n, latent)``."""
        model, found = self._fitted.distribution, []
        with torch.no_grad(), noise.preserved():
            for x, label in self._rows(X):
                with noise.keyed(self.seed_, "encode"):
                    found.append(next(iter(model.encode(x, label).values())).flatten(1))
        return torch.cat(found).double().numpy()

    def inverse_transform(self, X: Any) -> Any:
        """Rows that are typical of latents ``(n, latent)``."""
        model, latents = self._fitted.distribution, self._n_features_out
        z = torch.from_numpy(check_array(X, dtype=np.float32, input_name="latents"))
        if z.shape[1] != latents:
            raise InputError(f"latents {tuple(z.shape)} were given: expected (n, {latents}), as transform gives them")
        with torch.no_grad(), noise.preserved(), noise.keyed(self.seed_, "inverse"), generating(GREEDY):
            p = model.decode(z)
            return self._back(self.artifact_.restore(p.mean if model.has_mean else noise.sample(p)))

    def sample(self, n_samples: int = 1, random_state: Any = None, given: Any = None) -> Any:
        """New rows, in the form of those that it was fitted on; ``given`` are conditions, or any columns, by name, as
        of :func:`fusevae.sample`."""
        seed = int(check_random_state(random_state).randint(LARGEST))
        return self._back(sample(self._fitted, n_samples, given, seed=seed))

    def score_samples(self, X: Any) -> np.ndarray:
        """The log-likelihood of each row in nats, or a bound on it, ``(n,)``."""
        artifact, k, data = self._fitted, self.importance_samples, self._examples(X)
        each = [log_likelihood(artifact, data.subset(torch.tensor([i])), None, k) for i in range(len(data))]
        return torch.cat(each).numpy()

    def score(self, X: Any, y: Any = None) -> float:
        """Their mean."""
        return float(self.score_samples(X).mean())

    def impute(self, X: Any, steps: int = 200) -> Any:
        """Rows with a draw in the place of each missing cell, given the others of its row, which stay as they are."""
        data = self._examples(X)
        if not isinstance(data, InMemory):  # of sparse rows, which are refused where a cell is missing
            return X
        x, y = data.batch(torch.arange(len(data)))
        gone = x.isnan()
        if bool(gone.any()):
            whole = InMemory(x.nan_to_num(0.0), y, data.spec)
            x = impute(self._fitted, whole, gone, samples=1, steps=steps, mean=False).samples[0]
        if self.whole_ is not None:  # what was given stays, whatever other rows had
            full = np.where(gone.numpy(), self._back(x), np.asarray(X, dtype=np.float64))
            alike = full.astype(self.whole_[0])
            return alike if (alike == full).all() else full
        if self.form_ != "frame":
            return self._back(x)
        missing = dict(zip(self.artifact_.data.schema.names, gone.numpy().T, strict=True))
        return frames.filled(X, self._back(x), missing)

    @property
    def _fitted(self) -> Artifact:
        check_is_fitted(self, "artifact_")
        return self.artifact_

    @property
    def _n_features_out(self) -> int:
        artifact = self._fitted
        with torch.no_grad():
            x = artifact.view(torch.zeros(1, *artifact.data.shape, dtype=torch.float64))
            return int(next(iter(artifact.distribution.encode(x).values())).flatten(1).shape[1])

    def _checked(self, X: Any, reset: bool) -> Any:
        """Rows as they are read: a DataFrame, cells and a sparse matrix by rows as they are, anything else as an array
        of float64."""
        form = _form(X)
        if form == "array":
            X = _plain(X)
        if form in ("array", "sparse"):
            least: dict[str, Any] = {"ensure_all_finite": "allow-nan", "ensure_min_samples": 1 + reset}
            dtype = np.float64 if form == "array" else "numeric"
            try:
                return validate_data(self, X, reset=reset, dtype=dtype, accept_sparse="csr", **least)
            except ValueError as error:
                if "could not convert string" not in str(error):
                    raise
                raise InputError(
                    f"an array with words was given ({error}): give a DataFrame, whose columns may hold words"
                ) from None
        if form == "frame":
            check_names([str(name) for name in X.columns], f"the {type(X).__name__}")
        names = X if form == "frame" else _genes(X.var_names)
        validate_data(self, names, reset=reset, skip_check_array=True)
        if len(X) < 1 + reset:
            raise ValueError(f"n_samples = {len(X)} of {type(X).__name__} were given: expected at least {1 + reset}")
        return X

    def _examples(self, X: Any) -> Examples:
        artifact = self._fitted
        return read_examples(self._checked(X, reset=False), artifact.data, gaps=True)

    def _rows(self, X: Any) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Rows one by one, as the model sees them, each with its conditions."""
        data = self._examples(X)
        for x, label in data.batches(torch.arange(len(data)).split(BLOCK)):
            for i in range(len(x)):
                with noise.preserved(), noise.keyed(self.seed_, "rows"):
                    row = self.artifact_.view(x[i : i + 1])
                yield row, None if label is None else label[i : i + 1]

    def _back(self, x: Tensor) -> Any:
        if self.form_ == "frame":
            return frames.alike(table_columns(x, self.artifact_.data), self.like_)
        if self.form_ == "sparse":
            from scipy.sparse import csr_array

            return csr_array(x.double().numpy())
        if self.form_ == "cells":
            from anndata import AnnData

            return AnnData(x.float().numpy(), var=_genes(self.feature_names_in_).T)
        if self.whole_ is not None:
            dtype, low, high = self.whole_
            return x.double().numpy().round().clip(low, high).astype(dtype)
        return x.double().numpy()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.sparse = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        if "artifact_" in state:
            with tempfile.TemporaryDirectory() as folder:
                state["artifact_"] = state["artifact_"].save(folder).read_bytes()
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        state = dict(state)
        if isinstance(kept := state.get("artifact_"), bytes):
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / WEIGHTS).write_bytes(kept)
                state["artifact_"] = Artifact.load(folder)
        super().__setstate__(state)


def _form(X: Any) -> Literal["frame", "cells", "sparse", "array"]:
    """In which form rows are given, and given back."""
    return "cells" if is_anndata(X) else "frame" if is_frame(X) else "sparse" if is_sparse(X) else "array"


def _plain(X: Any) -> Any:
    """What is neither a frame nor sparse, to be read as an array: masked cells are missing; what an array would misread
    is refused."""
    if isinstance(X, np.ma.MaskedArray) and X.dtype.kind in "biuf":
        return np.ma.filled(X.astype(np.float64), np.nan)
    if isinstance(X, str | Path):
        raise InputError(f"{str(X)!r} was given: expected the rows themselves, read by pandas.read_csv say")
    kind = np.dtype(getattr(X, "dtype", None) if isinstance(X, np.ndarray) else float)
    if kind.kind in "mM" or kind.names:
        what = "an array of times" if kind.names is None else f"an array of the fields {', '.join(kind.names)}"
        raise InputError(f"{what} was given: expected numbers, or a DataFrame (pandas.DataFrame(x))")
    ways = ("to_pandas", "collect") if not hasattr(X, "__array_namespace__") else ()
    if kind.kind in "iu" and np.abs(X.astype(np.float64)).max(initial=0) >= 2.0**53:
        raise InputError("an array of whole numbers beyond 2^53 was given, which no model tells apart: leave them out")
    if isinstance(X, Mapping) or (way := next((w for w in ways if hasattr(X, w)), None)):
        how = "pandas.DataFrame(x)" if isinstance(X, Mapping) else f"the DataFrame of its {way}()"
        raise InputError(f"a {type(X).__name__} was given: give {how}")
    return X


def _genes(names: Iterable[str]) -> Any:
    """A DataFrame of no rows, whose columns have the names of genes."""
    import pandas

    return pandas.DataFrame(columns=pandas.Index([str(name) for name in names], dtype=object))
