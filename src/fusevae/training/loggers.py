"""Loggers: callbacks that send the figures of a training to TensorBoard, Weights & Biases or MLflow."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from fusevae.core.errors import InputError
from fusevae.training.history import KINDS, figures


class Logger:
    """A callback that sends numbers somewhere; what is below it says where. Open for as long as a training runs."""

    package: str

    def __init__(self) -> None:
        if importlib.util.find_spec(self.package) is None:
            raise InputError(
                f"{type(self).__name__} needs the package {self.package}: pip install 'fusevae[{self.package}]'"
            )

    def __call__(self, record: Mapping[str, Any]) -> None:
        numbers = scalars(record)
        if len(numbers) > 0:
            self.log(numbers, int(record["step"]))

    def log(self, numbers: dict[str, float], step: int) -> None:
        """Send numbers of a step."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        pass


class TensorBoard(Logger):
    """Writes a training's figures for TensorBoard: ``fit(..., callbacks=[TensorBoard("runs/tb")])``.

    Args:
        folder: where its files go.

    Raises :class:`InputError` where tensorboard is not installed.

    Example:
        >>> from fusevae import InputError
        >>> try:
        ...     logger = TensorBoard("runs/tb")
        ... except InputError as error:
        ...     assert "fusevae[tensorboard]" in str(error)
    """

    package = "tensorboard"

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.folder = str(folder)

    def __enter__(self) -> Self:
        self.writer: Any = importlib.import_module("torch.utils.tensorboard").SummaryWriter(self.folder)
        return self

    def log(self, numbers: dict[str, float], step: int) -> None:
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, step)

    def __exit__(self, *error: Any) -> None:
        self.writer.close()


class WandB(Logger):
    """Sends a training's figures to Weights & Biases: ``fit(..., callbacks=[WandB(project="digits")])``.

    Args:
        settings: of ``wandb.init``, by name.

    Raises :class:`InputError` where wandb is not installed.

    Example:
        >>> from fusevae import InputError
        >>> try:
        ...     logger = WandB(project="digits", mode="offline")
        ... except InputError as error:
        ...     assert "fusevae[wandb]" in str(error)
    """

    package = "wandb"

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings = settings

    def __enter__(self) -> Self:
        self.run: Any = importlib.import_module("wandb").init(**self.settings)
        return self

    def log(self, numbers: dict[str, float], step: int) -> None:
        self.run.log(numbers, step=step)

    def __exit__(self, *error: Any) -> None:
        self.run.finish(exit_code=1 if error and error[0] else 0)


class MLflow(Logger):
    """Sends a training's figures to MLflow: ``fit(..., callbacks=[MLflow("digits")])``.

    Args:
        experiment: its name.
        uri: of the tracking server, or a folder; by default where MLflow is set to.
        settings: of ``mlflow.start_run``, by name (``run_name`` ...).

    Raises :class:`InputError` where mlflow is not installed.

    Example:
        >>> from fusevae import InputError
        >>> try:
        ...     logger = MLflow("digits")
        ... except InputError as error:
        ...     assert "fusevae[mlflow]" in str(error)
    """

    package = "mlflow"

    def __init__(self, experiment: str, uri: str | None = None, **settings: Any) -> None:
        super().__init__()
        self.experiment, self.uri, self.settings = experiment, uri, settings

    def __enter__(self) -> Self:
        self.mlflow: Any = importlib.import_module("mlflow")
        if self.uri is not None:
            self.mlflow.set_tracking_uri(self.uri)
        self.mlflow.set_experiment(self.experiment)
        self.mlflow.start_run(**self.settings)
        return self

    def log(self, numbers: dict[str, float], step: int) -> None:
        self.mlflow.log_metrics(numbers, step=step)

    def __exit__(self, *error: Any) -> None:
        self.mlflow.end_run("FAILED" if error and error[0] else "FINISHED")


def scalars(record: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a record, by kind and name.

    Example:
        >>> scalars({"step": 5, "epoch": 0.1, "train": {"kl": 2.0}, "learning_rate": 0.1})
        {'train/kl': 2.0, 'train/learning_rate': 0.1}
    """
    kind = next((f"{kind}/" for kind in KINDS if kind in record), "")
    return {
        f"{kind}{name}": float(value)
        for name, value in figures(record)
        if name not in ("step", "epoch") and isinstance(value, (int, float)) and math.isfinite(value)
    }
