"""From a sequence of tokens to one vector, of the whole or of its parts: what encodes a text."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from fusevae.core.conditions import Conditions
from fusevae.core.description import Described
from fusevae.core.errors import InputError
from fusevae.core.vocabulary import counted
from fusevae.nets.mlp import Embedding, as_shape
from fusevae.nets.outset import differ, tell, thinned, untouched
from fusevae.nets.recurrent import LSTM
from fusevae.nets.transformer import Transformer


class TokenEmbedding(Described, nn.Embedding):
    """A vector of each token: one table that encoder and decoder of a sequence share, where both are given it in place
    of the number of tokens. What one learns of a word serves the other, and a step has fewer weights to move.

    Example:
        >>> from fusevae import VAE, Flat, Gaussian, LanguageModel, Normal
        >>> words, bag = TokenEmbedding(10, 8), Transformer(8, layers=0, causal=False)
        >>> encoder = Gaussian(SequenceEncoder(bag, words, outputs=4))
        >>> vae = VAE(Flat(Normal(2), encoder), LanguageModel(Transformer(8, 2, 1), words, context=2))
        >>> vae.decoder.token is encoder.net.token
        True
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__(size, width)
        nn.init.normal_(self.weight, std=0.02)  # as rows that read outputs; what goes in is taken times sqrt(width)


class SequenceEncoder(Described, nn.Module):
    r"""Tokens embedded, a net over them, and the mean of its outputs over the tokens that count, the end included,

    .. math:: W \, \frac1T \sum_{t \le T} h_t(x_1, \dots, x_T) + b

    so that what follows the end changes nothing. The net is a transformer that looks both ways, or an LSTM, which
    reads once forwards and once backwards. A transformer without layers leaves the mean of the embedded tokens, a bag
    of words, of which a latent tells what is of the whole sentence (Bosc & Vincent 2020).

    One mean of a long sequence blurs its tokens. With ``parts`` P there is one for each of P equal parts of the
    sequence (a token that lies in two counts in each by its share), and each gives a P-th of the vector: its entries
    p, p + P, p + 2P, ... are of part p.

    Args:
        net: ``Transformer(..., causal=False)``, or ``LSTM``.
        vocabulary: number of tokens; or the :class:`TokenEmbedding` of a decoder.
        outputs: size of the vector: twice the latent for a Gaussian; or the shape of a map, ``(features, 1, groups)``
            for a quantizer.
        classes: number of labels, or :class:`Conditions`, added to every token; 0 for none.
        parts: number of them, a divisor of ``outputs``, and of half of it for a Gaussian.
        tells: nats that a Gaussian of these outputs is to tell of the training examples before the first step
            (:func:`fusevae.nets.outset.tell`); with 0 it begins at random weights, and tells next to nothing.
        differs: deviation that outputs for a quantizer are to have over the training examples before the first step
            (:func:`fusevae.nets.outset.differ`); with 0 they begin at random weights, and next to each other.

    Raises :class:`InputError` for a net that looks back alone, and for parts that don't divide ``outputs``.

    Example:
        >>> net = SequenceEncoder(Transformer(8, 2, 1, causal=False), vocabulary=10, outputs=4).eval()
        >>> x = torch.tensor([[5, 3, 0, 0], [5, 3, 0, 9]])
        >>> torch.equal(net(x)[0], net(x)[1]), net(x).shape
        (True, torch.Size([2, 4]))
    """

    def __init__(
        self,
        net: Transformer | LSTM,
        vocabulary: int | TokenEmbedding,
        outputs: int | tuple[int, ...],
        classes: int | Conditions = 0,
        parts: int = 1,
        tells: float = 0.0,
        differs: float = 0.0,
    ) -> None:
        super().__init__()
        if isinstance(net, Transformer) and net.causal:
            raise InputError("an encoder looks both ways: give it Transformer(..., causal=False)")
        self.outputs, self.classes, self.parts = as_shape(outputs), classes, parts
        self.tells, self.differs = tells, differs
        size = math.prod(self.outputs)
        if parts < 1 or size % parts:
            raise InputError(f"parts is {parts} for a vector of {size}, expected a divisor of it: 1, say")
        self.token = embedding(vocabulary, net.width, std=0.3)
        self.scale = math.sqrt(net.width) if self.token is vocabulary else 1.0
        self.label = Embedding(classes, net.width) if classes else None
        self.net = net
        self.backwards = LSTM(net.width, net.layers, net.dropout) if isinstance(net, LSTM) else None
        self.head = nn.Linear(net.width * (2 if self.backwards is not None else 1), size // parts)
        if tells or differs:
            nn.init.zeros_(self.head.bias)  # as one that nothing was trained of

    @torch.no_grad()
    def start_from(self, examples: Callable[[], Tensor]) -> None:
        """Take directions in which training examples differ; an encoder that was trained stays."""
        if not (self.tells or self.differs) or not untouched(self.head.bias):
            return
        pooled = self._pooled(thinned(examples()).flatten(0, -2), None).flatten(0, 1)
        if self.tells:
            tell(self.head, pooled, self.tells / self.parts)
        else:
            differ(self.head, pooled, self.differs)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """``(*batch, *outputs)`` for tokens ``(*batch, length)``."""
        lead = x.shape[:-1]
        told = None if self.label is None else self.label(label)
        told = None if told is None else told.expand(*lead, -1).reshape(-1, 1, told.shape[-1])
        pooled = self._pooled(x.flatten(0, -2), told)
        return self.head(pooled).transpose(1, 2).reshape(*lead, *self.outputs)

    def _pooled(self, tokens: Tensor, told: Tensor | None) -> Tensor:
        """The mean of each part, ``(n, parts, width)``, of tokens ``(n, length)`` and what is added to them."""
        counts = counted(tokens)
        h = self.scale * self.token(tokens)
        h = h if told is None else h + told
        if isinstance(self.net, Transformer):
            out = self.net(h, counted=counts)
        else:
            assert self.backwards is not None
            turned = reversal(counts)
            back = self.backwards(h.gather(1, turned[..., None].expand_as(h)))
            out = torch.cat([self.net(h), back.gather(1, turned[..., None].expand_as(back))], -1)
        return shares(counts, self.parts).to(out.dtype) @ out


def embedding(vocabulary: int | TokenEmbedding, width: int, std: float) -> nn.Embedding:
    """A table of so many tokens that starts at numbers of that size, or the one that is given."""
    if isinstance(vocabulary, int):
        table = nn.Embedding(vocabulary, width)
        nn.init.normal_(table.weight, std=std)
        return table
    if vocabulary.embedding_dim != width:
        raise InputError(
            f"tokens are embedded in {vocabulary.embedding_dim} numbers, the net has {width}: give one width"
        )
    return vocabulary


def shares(counts: Tensor, parts: int) -> Tensor:
    """Weights ``(n, parts, length)`` of the tokens in the mean over each of so many equal parts of what counts.

    Example:
        >>> shares(torch.tensor([[True, True, True, False]]), 2)
        tensor([[[0.6667, 0.3333, 0.0000, 0.0000],
                 [0.0000, 0.3333, 0.6667, 0.0000]]])
    """
    length = counts.sum(1).view(-1, 1, 1)
    token = torch.arange(counts.shape[1], device=counts.device) / length
    part = torch.arange(parts, device=counts.device)[:, None] / parts
    both = torch.minimum(token + 1 / length, part + 1 / parts) - torch.maximum(token, part)
    return (parts * both.clamp(min=0)).masked_fill(~counts[:, None], 0)


def reversal(counts: Tensor) -> Tensor:
    """For each place of sequences ``(n, length)`` the one that it changes with, so that the part that counts is turned
    round and the rest stays.

    Example:
        >>> reversal(torch.tensor([[True, True, True, False]]))
        tensor([[2, 1, 0, 3]])
    """
    place = torch.arange(counts.shape[1], device=counts.device)
    return torch.where(counts, counts.sum(1, keepdim=True) - 1 - place, place)
