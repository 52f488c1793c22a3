"""Language model: sequences of tokens, each given those before it, by a transformer or an LSTM."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

from fusevae.core import noise
from fusevae.core.conditional import Conditional, batch_of, flattened
from fusevae.core.conditions import Conditions, Number
from fusevae.core.errors import InputError
from fusevae.core.generation import Generation, current
from fusevae.core.memory import keep_freed_memory
from fusevae.core.vocabulary import END, UNKNOWN, counted, lengths
from fusevae.distributions.beams import search
from fusevae.distributions.guided import Guided
from fusevae.distributions.pixel_cnn import AT_ONCE
from fusevae.nets.dropout import dropout
from fusevae.nets.mlp import Embedding, as_shape
from fusevae.nets.outset import untouched
from fusevae.nets.recurrent import LSTM
from fusevae.nets.sequence_encoder import TokenEmbedding, embedding
from fusevae.nets.transformer import Transformer, by_columns

Inject = Literal["add", "prefix", "cross"]
Given = list[Tensor | None]


class SequenceModel(Conditional):
    """What language models share: a distribution over sequences of tokens, each given those before it.

    A subclass says what the logits of the next token are, and what is kept of those before it.
    """

    discrete = True
    space = "sequences"
    has_mean = False
    word_dropout = 0.0
    guidance = 1.0
    vocabulary: int
    context: int
    context_dims: int = 1
    classes: int | Conditions
    longest: int
    width: int

    def forward(self, *given: Tensor | None) -> Distribution:
        rest = list(given)
        vector = rest.pop(0) if self.context else None
        vector = vector.flatten(-self.context_dims) if vector is not None else None
        return _Sequences(self, vector, rest[0] if rest and self.classes else None)

    @abstractmethod
    def logits(self, tokens: Tensor, given: Given, kept: Any = None) -> Tensor:
        """Of the token after each of ``tokens`` ``(n, length)``, the first of which is an end: ``(n, length, tokens)``
        in float32. ``given`` are a vector and a label for each. With ``kept``, the tokens follow those before."""

    @abstractmethod
    def keep(self, n: int, length: int) -> Any:
        """What is kept of ``n`` sequences of up to ``length`` tokens, with ``length`` and ``choose`` as of
        :class:`fusevae.nets.transformer.Kept`."""


class LanguageModel(SequenceModel):
    r""":math:`p(x \mid given) = \prod_{t \le T} p(x_t \mid x_{<t}, given)`, exact, over sequences of tokens that end
    with their end token, which is part of the product; whatever follows it is ignored. A sequence without an end has
    the probability of so beginning (a window of a long text).

    Alone it is a language model (Bengio et al. 2003); given a latent it is a decoder (Bowman et al. 2016), of a
    transformer or an LSTM alike; over codes it is a prior. Events are ``(length,)`` of whole numbers, of any length.

    Args:
        net: a causal net over vectors: ``Transformer(width, heads, layers)`` or ``LSTM(width, layers)``.
        vocabulary: number of tokens, 0 the end and 1 the unknown one; or the :class:`TokenEmbedding` of an encoder.
        context: width of a vector that is given (a latent), or the shape of a map (of codes); 0 for none.
        classes: number of labels, or :class:`Conditions`, added to every token; 0 for none.
        in_layers: whether they are added before every layer, each its own, rather than to the tokens alone, among
            which a long text or a strong latent drowns them.
        at_outputs: whether the vector, and labels that are given ``in_layers``, are added to the outputs of the net,
            too, each by a map of its own, so that a word that they speak of is one step away (Dieng et al. 2019). An
            LSTM alone, which is told a latent where it reads, learned slowly to write of it: 5,000 captions, 500 steps
            of 16, -1.6 nats from its language model with I(x; z) 3.1, so -0.4 with 3.6.
        guidance: what is written with a label is more typical of it (:class:`Guided`); 1 draws from the model.
        inject: how the vector reaches the net: ``"add"`` adds a map of it before every layer; ``"prefix"`` makes
            tokens of it that stand before the first; ``"cross"`` makes tokens of it that every layer attends to.
        places: number of these tokens.
        word_dropout: part of the tokens that, in training, the net sees as unknown when it predicts those after, so
            that it has to ask the latent (Bowman et al. 2016).
        dropout: of the embedded tokens, in training.
        longest: tokens after which a sample without an end is given up.
        never_first: tokens that no sequence begins with, of probability 0 there, as of
            :attr:`fusevae.core.vocabulary.Vocabulary.never_first`: with the end among them none is empty.

    Example:
        >>> p = LanguageModel(Transformer(8, heads=2, layers=1), vocabulary=10, context=3)
        >>> p(torch.zeros(5, 3)).log_prob(torch.tensor([4, 7, 0])).shape
        torch.Size([5])
    """

    impossible: Tensor | None

    def __init__(
        self,
        net: Transformer | LSTM,
        vocabulary: int | TokenEmbedding,
        context: int | tuple[int, ...] = 0,
        classes: int | Conditions = 0,
        inject: Inject = "add",
        places: int = 4,
        word_dropout: float = 0.0,
        dropout: float = 0.0,
        longest: int = 256,
        never_first: Sequence[int] = (),
        in_layers: bool = False,
        guidance: float = 1.0,
        at_outputs: bool = False,
    ) -> None:
        super().__init__()
        self.token = embedding(vocabulary, net.width, std=0.02)
        vocabulary = self.token.num_embeddings
        if vocabulary < 3:
            raise InputError(f"the vocabulary is {vocabulary}, expected an end, an unknown token and at least one more")
        if not net.causal:
            raise InputError("a language model looks back alone: give it Transformer(..., causal=True)")
        if context and (inject == "cross") != net.cross:
            needs = "a Transformer(..., cross=True)" if inject == "cross" else "a net without cross attention"
            raise InputError(f"inject is {inject!r}, which needs {needs}: change one of them")
        shape = as_shape(context) if context else ()
        self.net, self.width, self.vocabulary, self.classes = net, net.width, vocabulary, classes
        self.context, self.context_dims = math.prod(shape) if shape else 0, len(shape)
        self.inject, self.places = inject, places
        self.word_dropout, self.dropout, self.longest = word_dropout, dropout, longest
        self.register_buffer("impossible", barred(vocabulary, never_first), persistent=False)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.in_layers, self.guidance = in_layers, guidance
        self.at_outputs = at_outputs
        layers, rows = net.layers + at_outputs, (net.layers if inject == "add" else places) + at_outputs
        self.label = Embedding(classes, (layers, net.width) if in_layers else net.width) if classes else None
        self.given = nn.Linear(self.context, rows * net.width) if context else None
        if self.given is not None:
            # noise in the latent would drown the tokens at first, so what is added begins as good as at nothing: as a
            # language model without a latent. Places start larger, since those that are alike would stay so
            nn.init.normal_(self.given.weight, std=0.001 if inject == "add" else 0.02)
            nn.init.zeros_(self.given.bias)

    @torch.no_grad()
    def start_from(self, examples: Callable[[], Tensor]) -> None:
        """The outputs start at how often each token stands in the data; a model that was trained stays."""
        if not untouched(self.bias):
            return
        x = examples()
        counts = torch.bincount(x[counted(x)].long(), minlength=self.vocabulary) + 0.5
        self.bias.copy_((counts / counts.sum()).log())

    def logits(self, tokens: Tensor, given: Given, kept: Any = None) -> Tensor:
        vector, label = given
        # the rows that read the outputs are small, the vectors that go in are not (Vaswani et al. 2017)
        h = dropout(self.token(tokens) * math.sqrt(self.net.width), self.dropout, self.training)
        ways: dict[str, Tensor] = {}
        late: list[Tensor] = []  # what is added to the outputs
        if self.label is not None and self.in_layers:  # as large as the tokens, so that it is learned as fast
            rows = math.sqrt(self.net.width) * self.label(label).expand(len(tokens), -1, -1)
            ways["added"] = self._held_back(rows, late)
        elif self.label is not None:
            h = h + self.label(label)[..., None, :]
        beginning, first = kept is None or not kept.length, 0
        if self.given is not None:
            assert vector is not None
            told = self._held_back(self.given(vector).unflatten(-1, (-1, self.net.width)), late)
            if self.inject == "prefix":
                if beginning:
                    h, first = torch.cat([told.to(h.dtype), h], 1), self.places
            else:
                way = "added" if self.inject == "add" else "memory"
                ways[way] = ways[way] + told if way in ways else told
        out = sum(late, self.net(h, kept, **ways)[:, first:])
        logits = F.linear(out, self.token.weight if kept is None else kept.laid[self.token], self.bias).float()
        if self.impossible is not None and beginning:
            logits[:, 0] += self.impossible
        return logits

    def _held_back(self, rows: Tensor, late: list[Tensor]) -> Tensor:
        """What the net is given of rows ``(n, rows, width)``, the last of which may be for its outputs."""
        if self.at_outputs:
            late.append(rows[:, -1:])
            return rows[:, :-1]
        return rows

    def keep(self, n: int, length: int) -> Any:
        kept = self.net.keep(n, length + (self.places if self.context and self.inject == "prefix" else 0))
        kept.laid[self.token] = by_columns(self.token.weight)
        return kept

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        def net(cross: bool = False) -> Transformer:
            return Transformer(4, heads=1, layers=1, cross=cross)

        z = torch.randn(3, 2)
        return [
            (cls(net(), 3, longest=3), ()),
            (cls(net(), 4, longest=3, never_first=[END, 3]), ()),
            (cls(net(), 3, classes=Conditions([Number("size")]), longest=3, in_layers=True), (z[:, :1],)),
            (cls(LSTM(4), 3, context=2, longest=3), (z,)),
            (cls(net(), 3, context=2, inject="prefix", places=2, longest=3, at_outputs=True), (z,)),
            (cls(net(cross=True), 3, context=2, inject="cross", places=2, longest=3), (z,)),
        ]


def barred(vocabulary: int, tokens: Sequence[int]) -> Tensor | None:
    """What is added to logits ``(vocabulary,)`` so that these tokens have probability 0; None where there are none."""
    if not len(tokens):
        return None
    found = torch.zeros(vocabulary)
    found[list(tokens)] = -torch.inf
    return found


def written(logits: Tensor, uniform: Tensor, how: Generation, place: int, state: Tensor) -> Tensor:
    """The tokens ``(n,)`` that are written at a place, in states ``(n,)``. One that is never written there is drawn
    anew among the others, by where in its own share the number ``uniform`` lies: those that may be written are what
    they would have been."""
    allowed = how.allowed(logits, place, state)
    if how.temperature == 0:
        return allowed.argmax(-1)
    token = noise.inverse(limited := how.limited(logits), uniform)
    if allowed is logits:
        return token
    upto = limited.double().softmax(-1).cumsum(-1)
    ends = F.pad(upto, (1, 0)).gather(1, torch.stack([token, token + 1], 1))
    within = (uniform.double() * upto[:, -1] - ends[:, 0]) / (ends[:, 1] - ends[:, 0])
    never = allowed.gather(1, token[:, None])[:, 0] == -torch.inf
    return torch.where(never, noise.inverse(how.limited(allowed), within.clamp(0, 1 - 1e-12)), token)


class _Sequences(Distribution):
    arg_constraints = {}

    def __init__(self, owner: SequenceModel, vector: Tensor | None, label: Tensor | None) -> None:
        self.owner, self.vector, self.label = owner, vector, label
        super().__init__(batch_of((vector, label)), torch.Size((owner.longest,)), validate_args=False)

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.integer_interval(0, self.owner.vocabulary - 1), 1)

    def _flat(self, lead: torch.Size) -> Given:
        return [flattened(given, lead) for given in (self.vector, self.label)]

    def log_prob(self, value: Tensor) -> Tensor:
        owner, length = self.owner, value.shape[-1]
        lead = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        tokens = value.expand(*lead, length).reshape(-1, length)
        given = self._flat(lead)
        if torch.is_grad_enabled():
            return self._log_prob(tokens, given).view(lead)
        # parts of like length, each cut to its longest: little is computed that doesn't count
        n, order = lengths(tokens).sort()
        found, size = torch.empty(len(tokens), device=tokens.device), max(owner.width * 4, owner.vocabulary)
        for part, its in zip(*(t.split(max(1, AT_ONCE // (length * size))) for t in (order, n)), strict=True):
            cut = tokens[part, : max(1, int(its[-1]))]
            found[part] = self._log_prob(cut, [g if g is None else g[part] for g in given])
        return found.view(lead)

    def _log_prob(self, tokens: Tensor, given: Given) -> Tensor:
        owner = self.owner
        before = F.pad(tokens[:, :-1], (1, 0), value=END)
        if owner.training and owner.word_dropout:
            left_out = noise.uniform(before.shape, before.device) < owner.word_dropout
            before = before.masked_fill(left_out & (before != END), UNKNOWN)
        logits = owner.logits(before, given)
        each = F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="none").view(tokens.shape)
        return -each.masked_fill(~counted(tokens), 0).sum(1)  # what doesn't count may be impossible

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        owner, how = self.owner, current()
        keep_freed_memory()
        lead = torch.Size(sample_shape) + self.batch_shape
        n, length = math.prod(lead) * max(1, how.beams), (how.longest or owner.longest) + 1
        if self.label is not None and owner.guidance != 1:
            guided = Guided(owner.logits, owner.keep(2 * n, length), n, owner.guidance)
            return self.write(lead, how, guided, guided)
        kept = owner.keep(n, length)
        return self.write(lead, how, lambda tokens, given: owner.logits(tokens, given, kept), kept)

    def write(
        self, lead: torch.Size, how: Generation, run: Callable[[Tensor, Given], Tensor], kept: Any = None
    ) -> Tensor:
        """Sequences ``(*lead, length)``, token by token; ``run`` gives the logits after the tokens that it is given: at
        first an end and the start asked for, then the newest."""
        owner, n = self.owner, math.prod(lead)
        with torch.no_grad():
            given = self._flat(lead)
            how = how.on(device := next(owner.parameters()).device)
            start = torch.tensor([END, *how.start], device=device).expand(n, -1)
            longest = how.longest or owner.longest
            if how.beams > 1:
                return search(run, given, start, how, longest, kept).view(*lead, -1)
            first = len(how.start)
            x = F.pad(start[:, 1:], (0, max(0, longest - first)), value=END)
            rows, new, done = torch.arange(n, device=x.device), start, x.new_zeros(n, dtype=torch.bool)
            state = torch.zeros_like(rows)
            look = 16 if x.is_cuda else 1  # to look is to wait for the device
            # a number for each token, whenever the writing ends: what is drawn afterwards doesn't depend on it
            uniform = torch.rand((*lead, longest), device=x.device).view(n, longest)
            for i in range(longest - first):
                logits = run(new, given)[:, -1]
                token = written(logits, uniform[:, i], how, first + i, state).masked_fill(done, END)
                x[rows, first + i], done, new = token, done | (token == END), token[:, None]
                state = how.after(state, token)
                if i % look == look - 1:
                    going = (~done).nonzero()[:, 0]
                    if not len(going):
                        break
                    if kept is not None and len(going) <= len(rows) / 2:  # go on with those that have no end yet
                        kept.choose(going)
                        given = [g if g is None else g[going] for g in given]
                        rows, new, done, uniform = rows[going], new[going], done[going], uniform[going]
                        state = state[going]
            x = x[:, : int(lengths(x).amax()) if x.numel() else None]
            return x.view(*lead, x.shape[1])
