"""What is known of texts: the vocabulary that they are read into."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from fusevae.core.conditions import Conditions
from fusevae.core.errors import InputError
from fusevae.core.generation import Generation, current
from fusevae.core.spec import DataSpec, Measure, Schema
from fusevae.core.vocabulary import FIRST, UNKNOWN, Vocabulary


class TextSchema(Schema):
    """Texts as sequences of tokens, of any length.

    Args:
        vocabulary: of the tokens.
    """

    modality = "text"
    numeric = False

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    def spec(self, longest: int, conditions: Conditions | list[str] | None = None) -> DataSpec:
        """Of texts of at most so many tokens, the end included."""
        return DataSpec((longest,), "int64", 0, self.vocabulary.size - 1, conditions, self)

    def check(self, ours: DataSpec, theirs: DataSpec, what: str) -> None:
        if not isinstance(theirs.schema, TextSchema):
            raise InputError(f"{what} was made for {self.modality}, these are arrays: give data of that kind")
        mine, other = self.vocabulary, theirs.schema.vocabulary
        if mine.entries != other.entries:
            raise InputError(
                f"{what} was made for a vocabulary of {mine.size} {mine.kind}, these have another of {other.size}: "
                "read them with the model's own"
            )

    def text(self, x: Tensor) -> list[str]:
        return [self.vocabulary.decode(row) for row in x.tolist()]

    def tokens(self, text: str) -> list[int]:
        return self.vocabulary.encode(text)

    def writing(self, how: Generation | None) -> Generation:
        r"""Without the unknown token and broken characters, which are no text, and without an empty one: each token is
        drawn from :math:`p(x_t \mid x_{<t})` given that it is another. In the likelihood the unknown token keeps its
        probability, so that a held-out text with a word that the vocabulary doesn't have has one."""
        how, words = how or current(), self.vocabulary
        start = [token if FIRST <= token < words.size else UNKNOWN for token in how.start]
        if UNKNOWN in start:
            raise InputError(
                f"start is {words.decode(start)!r}, which holds what the model's vocabulary of {words.size} "
                f"{words.kind} doesn't have: begin with something else"
            )
        return replace(how, never=(UNKNOWN,), never_first=tuple(words.never_first), states=words.states)

    def support(self, spec: DataSpec, measure: Measure) -> str:
        words = self.vocabulary
        return f"mass on sequences of {words.size:,} {words.kind} tokens ({words.fingerprint})"

    def about(self, spec: DataSpec) -> str:
        words = self.vocabulary
        return f"up to {spec.shape[0]:,} tokens ({words.kind}), of a vocabulary of {words.size:,}"


def vocabulary_of(data: DataSpec) -> Vocabulary:
    """The data's vocabulary, or :class:`InputError` where they are no text."""
    if not isinstance(data.schema, TextSchema):
        raise InputError(
            f"this recipe is for text, the data have shape {data.shape}: give --data a .txt, .jsonl or .smi"
        )
    return data.schema.vocabulary
