"""Pretrained language model: a causal model of the library transformers as a distribution over sequences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from fusevae.core.conditions import Conditions
from fusevae.core.errors import InputError
from fusevae.core.vocabulary import END, FIRST, UNKNOWN
from fusevae.distributions.language_model import Given, SequenceModel, barred
from fusevae.nets.mlp import Embedding
from fusevae.nets.pretrained import config_of, numbers, positions, pretrained, transformers


class PretrainedLanguageModel(SequenceModel):
    r""":math:`p(x \mid given) = \prod_{t \le T} p(x_t \mid x_{<t}, given)` by a causal model of the library
    transformers (GPT-2, say), as :class:`fusevae.LanguageModel` is by a net of this library.

    Given a latent it is the decoder of Optimus (Li et al. 2020). Token ``2 + i`` is the net's token ``i``; the end is
    the net's own, so that what was learnt of it holds. A token that stands for the end or the unknown one under another
    number has probability 0, and so has the unknown one where the net has none.

    Args:
        config: of the net, as ``config.json`` holds it, with its ``model_type``.
        vocabulary: number of tokens: two more than those of the net's tokenizer.
        end: the net's number of the token that ends a text.
        begin: of the one that stands before the first; ``end`` by default.
        unknown: of the unknown one, if it has one.
        context: width of a vector that is given (a latent); 0 for none.
        classes: number of labels, or :class:`Conditions`, added to every token; 0 for none.
        inject: how the vector reaches the net: ``"add"`` adds a map of it to every token (Optimus's embedding);
            ``"prefix"`` makes tokens of it that stand before the first.
        places: number of these tokens.
        longest: tokens after which a sample without an end is given up.
        never_first: tokens that no sequence begins with, as of :class:`fusevae.LanguageModel`.
        weights: a folder of ``save_pretrained`` that the net's weights are read from when the model is made to be
            trained; an artifact holds them itself.

    Raises :class:`InputError` where the library is missing, or configuration, weights and tokens don't fit.
    """

    shown: Tensor
    read: Tensor
    impossible: Tensor
    impossible_first: Tensor | None

    def __init__(
        self,
        config: dict[str, Any],
        vocabulary: int,
        end: int,
        begin: int | None = None,
        unknown: int | None = None,
        context: int = 0,
        classes: int | Conditions = 0,
        inject: Literal["add", "prefix"] = "add",
        places: int = 4,
        longest: int = 256,
        never_first: Sequence[int] = (),
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.net: Any = pretrained("causal", config, weights)
        self.vocabulary, self.context, self.classes, self.longest = vocabulary, context, classes, longest
        self.inject, self.places = inject, places
        self.width = self.net.get_input_embeddings().embedding_dim
        most, needed = positions(self.net), longest + self._before
        if most is not None and needed > most:
            raise InputError(
                f"the net has {most} positions, {needed} are needed: longest={most - self._before} at most"
            )
        shown = numbers(vocabulary, end, unknown, self.net)
        read = shown.clone()
        shown[END] = end if begin is None else begin
        impossible = torch.zeros(vocabulary)
        impossible[UNKNOWN] = 0.0 if unknown is not None else -torch.inf
        for number in (end, unknown):
            if number is not None and FIRST + number < vocabulary:
                impossible[FIRST + number] = -torch.inf
        self.register_buffer("shown", shown, persistent=False)  # our tokens as the net is shown them
        self.register_buffer("read", read, persistent=False)  # and where it says their logits
        self.register_buffer("impossible", impossible, persistent=False)
        self.register_buffer("impossible_first", barred(vocabulary, never_first), persistent=False)
        self.label = Embedding(classes, self.width) if classes else None
        self.given = nn.Linear(context, (places if inject == "prefix" else 1) * self.width) if context else None
        if self.given is not None:  # small, so that the net begins as what it was: its tokens are of some 0.02, too
            nn.init.normal_(self.given.weight, std=0.001 if inject == "add" else 0.02)
            nn.init.zeros_(self.given.bias)

    @classmethod
    def from_folder(cls, folder: str | Path, **settings: Any) -> Self:
        """The model of a folder of ``save_pretrained``, weights included; ``settings`` are the other arguments, those
        about tokens as :attr:`fusevae.PretrainedTokens.numbering` gives them."""
        return cls(config_of(folder), weights=str(folder), **settings)

    @property
    def _before(self) -> int:
        return self.places if self.context and self.inject == "prefix" else 0

    def logits(self, tokens: Tensor, given: Given, kept: Any = None) -> Tensor:
        vector, label = given
        h = self.net.get_input_embeddings()(self.shown[tokens])
        beginning, first = kept is None or not kept.length, 0
        if self.label is not None:
            h = h + self.label(label)[..., None, :]
        if self.given is not None:
            told = self.given(vector).unflatten(-1, (-1, self.width)).to(h.dtype)
            if self.inject == "add":
                h = h + told
            elif beginning:
                h, first = torch.cat([told, h], 1), self.places
        cache = None if kept is None else kept.cache
        out = self.net(inputs_embeds=h, past_key_values=cache, use_cache=kept is not None).logits[:, first:]
        logits: Tensor = out[..., self.read].float() + self.impossible
        if self.impossible_first is not None and beginning:
            logits[:, 0] += self.impossible_first
        return logits

    def keep(self, n: int, length: int) -> Any:
        return Cached()

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        try:
            transformers()
        except InputError:  # an extra that is not installed
            return []
        ends = {"bos_token_id": 0, "eos_token_id": 0, "n_embd": 8, "n_head": 2, "n_layer": 1, "n_positions": 8}
        config = {"model_type": "gpt2", "vocab_size": 3, **ends}
        z = torch.randn(3, 2)
        return [
            (cls(config, 5, end=0, unknown=2, longest=3), ()),
            (cls(config, 5, end=2, context=2, longest=3, never_first=[END]), (z,)),
            (cls(config, 4, end=2, unknown=1, context=2, inject="prefix", places=2, longest=3), (z,)),
        ]


class Cached:
    """The keys and values that a net of the library transformers keeps of the positions so far."""

    def __init__(self) -> None:
        self.cache = transformers().DynamicCache()

    @property
    def length(self) -> int:
        return self.cache.get_seq_length()

    def choose(self, rows: Tensor) -> None:
        """Go on with these sequences ``(n,)`` in place of those kept."""
        self.cache.reorder_cache(rows)
