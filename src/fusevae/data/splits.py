"""Splits: examples for training, validation and test."""

from __future__ import annotations

from dataclasses import dataclass

from fusevae.core.spec import DataSpec
from fusevae.data.examples import Examples
from fusevae.data.joined import Joined


@dataclass
class Splits:
    """Training, validation and test examples (the latter two may be empty), what they are, and where they came from."""

    train: Examples
    validation: Examples
    test: Examples
    spec: DataSpec
    source: str

    def __post_init__(self) -> None:
        if self.spec.examples != len(self.train):
            self.spec = self.spec.replaced(examples=len(self.train))
            for part in (self.train, self.validation, self.test):
                part.spec = self.spec

    @property
    def held(self) -> tuple[Examples, str]:
        """What a model is judged on: the test part, or what there is instead; and its name."""
        for part, name in ((self.test, "test split"), (self.validation, "validation split")):
            if len(part):
                return part, name
        return self.train, "training split (nothing was held out)"

    def unseen(self, least: int) -> tuple[Examples, str]:
        """What samples are held against, and what that is in words: :attr:`held`, with the validation part where these
        are fewer than ``least``. Of validation examples no weight was learned, though the state that is kept was the
        best on them."""
        held, name = self.held
        if held is not self.test or len(held) >= least or not len(self.validation):
            return held, name
        both = Joined([("test", self.test), ("validation", self.validation)])
        return both, f"test and validation split ({len(both):,} examples, as {len(held):,} are few)"
