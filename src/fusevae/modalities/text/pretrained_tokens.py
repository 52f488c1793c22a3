"""The vocabulary of a pretrained model: its own tokenizer."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from fusevae.core.errors import InputError
from fusevae.core.vocabulary import FIRST, UNKNOWN
from fusevae.modalities.text.tokens import BPE, tokenizers, vocabularies


class PretrainedTokens(BPE):
    """The tokens of a pretrained model: entry ``i`` is its token ``i``.

    The end stands for the token that ends its texts, which has no other number in a text. ``data.tokens=FOLDER`` takes
    those of a folder with a ``tokenizer.json``.

    Args:
        tokenizer: the JSON of a tokenizer of the library ``tokenizers``, of any kind.
        end: its token that ends a text (``<|endoftext|>``, ``[SEP]``).
        begin: its token before the first, if it has one.
        unknown: its token for what is unknown, if it has one.

    Raises :class:`InputError` where the library is missing, the JSON isn't its, or a token isn't in it.

    Example:
        >>> import tokenizers
        >>> words = tokenizers.models.WordLevel({"a": 0, "dog": 1, "[SEP]": 2, "[UNK]": 3}, "[UNK]")
        >>> made = tokenizers.Tokenizer(words)
        >>> made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
        >>> v = PretrainedTokens(made.to_str(), end="[SEP]", unknown="[UNK]")
        >>> v.size, v.encode("a cat"), v.decode([2, 3, 0, 2])
        (6, [2, 1], 'a dog')
    """

    kind = "pretrained"

    def __init__(self, tokenizer: str, end: str, begin: str | None = None, unknown: str | None = None) -> None:
        super().__init__(tokenizer)
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        known = self.tokenizer.get_vocab()
        self.entries = [""] * (max(known.values()) + 1)
        for token, number in known.items():
            self.entries[number] = token
        self.numbers: dict[str, int | None] = {}
        for name, token in (("end", end), ("begin", begin), ("unknown", unknown)):
            if token is not None and token not in known:
                raise InputError(f"{name} is {token!r}, which the tokenizer doesn't have: give one of its tokens")
            self.numbers[name] = None if token is None else known[token]

    @property
    def numbering(self) -> dict[str, Any]:
        """How a model that was trained with these tokens numbers them: arguments of
        :class:`fusevae.PretrainedLanguageModel` and :class:`fusevae.PretrainedEncoder`."""
        return {"vocabulary": self.size, **self.numbers}

    def encode(self, text: str) -> list[int]:
        tokens = super().encode(text)
        end, unknown = self.numbers["end"], self.numbers["unknown"]
        if end is not None and end + FIRST in tokens:
            raise InputError(f"the text holds {self.entries[end]}, which ends a text: take it out")
        return tokens if unknown is None else [UNKNOWN if t == unknown + FIRST else t for t in tokens]

    @classmethod
    def fit(cls, texts: Iterable[str], size: int | None = None) -> Self:
        """Nothing is fitted: the tokens are those of a folder."""
        raise InputError("tokens='pretrained' are those of a model: give its folder, --set data.tokens=FOLDER")

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """The tokens of a folder with a ``tokenizer.json``, as a fast tokenizer's ``save_pretrained`` writes it."""
        folder = Path(folder).expanduser()
        tokenizers()
        try:
            text = (folder / "tokenizer.json").read_text(encoding="utf-8")
            named: dict[str, Any] = {}
            for name in ("special_tokens_map.json", "tokenizer_config.json"):
                if (folder / name).exists():
                    named |= json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{folder} holds no tokens that can be read ({error}): give a tokenizer's folder"
            ) from None

        def of(*names: str) -> str | None:
            found = (named.get(f"{name}_token") for name in names)
            texts = (f.get("content") if isinstance(f, dict) else f for f in found)
            return next((t for t in texts if t), None)

        end = of("eos", "sep")
        if end is None:
            raise InputError(
                f"the tokenizer in {folder} names no eos_token or sep_token: add one to its tokenizer_config"
            )
        unknown = of("unk")
        return cls(text, end, of("bos", "cls"), None if unknown == end else unknown)


def is_folder(tokens: str) -> bool:
    """Whether ``tokens`` of a source names a folder, not a kind of token: ``"./gpt2"`` rather than ``"words"``."""
    return (
        len(Path(tokens).parts) > 1
        or tokens.startswith("~")
        or (tokens not in vocabularies() and os.path.isdir(tokens))
    )
