"""Pretrained encoder: a model of the library transformers that reads a text into one vector."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.conditions import Conditions
from fusevae.core.description import Described
from fusevae.core.errors import InputError
from fusevae.core.vocabulary import END, Vocabulary, counted
from fusevae.nets.mlp import Embedding
from fusevae.nets.outset import tell, untouched
from fusevae.nets.pretrained import config_of, numbers, positions, pretrained

SOME = 500  # texts that a start is taken from: a large net reads some twenty a second


class PretrainedEncoder(Described, nn.Module):
    r"""The mean of what an encoder of the library transformers (BERT, say) makes of each token that counts, through a
    linear layer: the net of a text's posterior, as in Optimus (Li et al. 2020),

    .. math:: W \, \frac1T \sum_{t \le T} h_t(x_1, \dots, x_T) + b

    so that what follows the end changes nothing. Token ``2 + i`` is the net's token ``i``. A net whose tokens are not
    those of the data is given both vocabularies, and reads the text of the data's tokens in its own.

    Args:
        config: of the net, as ``config.json`` holds it, with its ``model_type``.
        vocabulary: number of its tokens: two more than those of its tokenizer.
        outputs: size of the vector: twice the latent for a Gaussian.
        end: the net's number of the token that ends a text.
        begin: of one that stands before it, which counts as well; None for none.
        unknown: of the unknown one; ``end`` by default.
        classes: number of labels, or :class:`Conditions`, added to every token; 0 for none.
        texts: the vocabulary of the data and the net's own, where they differ.
        weights: as of :class:`fusevae.PretrainedLanguageModel`.
        tells: as of :class:`fusevae.SequenceEncoder`.

    Raises :class:`InputError` where the library is missing, or configuration, weights and tokens don't fit.
    """

    ids: Tensor

    def __init__(
        self,
        config: dict[str, Any],
        vocabulary: int,
        outputs: int,
        end: int,
        begin: int | None = None,
        unknown: int | None = None,
        classes: int | Conditions = 0,
        texts: tuple[Vocabulary, Vocabulary] | None = None,
        weights: str | None = None,
        tells: float = 0.0,
    ) -> None:
        super().__init__()
        self.net: Any = pretrained("encoder", config, weights)
        self.outputs, self.classes, self.begin, self.texts = (outputs,), classes, begin, texts
        self.positions = positions(self.net)
        width = self.net.get_input_embeddings().embedding_dim
        self.register_buffer("ids", numbers(vocabulary, end, unknown, self.net), persistent=False)
        self.label = Embedding(classes, width) if classes else None
        self.head, self.tells = nn.Linear(width, outputs), tells
        if tells:
            nn.init.zeros_(self.head.bias)  # as one that nothing was trained of

    @classmethod
    def from_folder(cls, folder: str | Path, **settings: Any) -> Self:
        """The encoder of a folder of ``save_pretrained``, weights included; ``settings`` are the other arguments."""
        return cls(config_of(folder), weights=str(folder), **settings)

    @torch.no_grad()
    def start_from(self, examples: Callable[[], Tensor]) -> None:
        """Take directions in which training examples differ; an encoder that was trained stays."""
        if self.tells and untouched(self.head.bias):
            x = examples().flatten(0, -2)
            tell(self.head, self._pooled(x[:: -(-len(x) // SOME)], None), self.tells)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """``(*batch, outputs)`` for tokens ``(*batch, length)``."""
        lead = x.shape[:-1]
        told = None if self.label is None else self.label(label)
        told = None if told is None else told.expand(*lead, -1).reshape(-1, 1, told.shape[-1])
        return self.head(self._pooled(x.flatten(0, -2), told)).view(*lead, -1)

    def _pooled(self, tokens: Tensor, told: Tensor | None) -> Tensor:
        """The mean over each of texts ``(n, length)``, to whose tokens something is added: ``(n, width)``."""
        tokens = tokens if self.texts is None else self._read(tokens)
        counts, ids = counted(tokens), self.ids[tokens]
        if self.begin is not None:
            ids, counts = F.pad(ids, (1, 0), value=self.begin), F.pad(counts, (1, 0), value=True)
        if self.positions is not None and ids.shape[1] > self.positions:
            raise InputError(
                f"a text has {ids.shape[1]} tokens for the encoder, which has {self.positions} positions: leave out "
                f"longer ones (--set data.longest={self.positions // 2}, say)"
            )
        h = self.net.get_input_embeddings()(ids)
        h = h if told is None else h + told
        out = self.net(inputs_embeds=h, attention_mask=counts.long()).last_hidden_state
        share = counts.to(out.dtype) / counts.sum(1, keepdim=True)
        return (share[:, None] @ out).squeeze(1)

    def _read(self, tokens: Tensor) -> Tensor:
        assert self.texts is not None
        theirs, own = self.texts
        texts = [own.encode(theirs.decode(row)) for row in tokens.tolist()]
        longest = max(map(len, texts), default=0) + 1
        return torch.tensor([row + [END] * (longest - len(row)) for row in texts], device=tokens.device)
