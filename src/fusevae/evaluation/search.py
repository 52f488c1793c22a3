"""Search in a latent space: from given strings to similar ones with a higher score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.errors import InputError
from fusevae.core.typed import Count
from fusevae.evaluation.probing import Probe

Method = Literal["evolution", "random", "prior"]
CHILDREN = 10  # latents of a start that are decoded at a time
ELITE = 5  # strings that new ones are made from
PATIENCE = 5  # decoded latents for each evaluation, at most
CANDIDATES = 4  # latents of which a probe chooses one
SMALLEST, LARGEST = 0.02, 30.0  # radius, in scales


@dataclass(frozen=True)
class Found:
    """What a search came to from one start.

    Attributes:
        start: the string.
        start_score: its own score; None where it has none, and nothing is searched then.
        best: the string of the highest score that is similar enough; the start itself where none is better.
        score: of ``best``.
        similarity: of ``best`` to the start.
        evaluations: distinct strings that were scored.
        success: whether ``best`` is better than the start.
    """

    start: str
    start_score: float | None
    best: str
    score: float | None
    similarity: float
    evaluations: int
    success: bool

    @property
    def gain(self) -> float:
        """How much better than the start; 0 for a failure."""
        if not self.success or self.score is None or self.start_score is None:
            return 0.0
        return self.score - self.start_score


def optimise(
    starts: Sequence[str],
    z: Tensor,
    decode: Callable[[Tensor], Sequence[str]],
    score: Callable[[str], float | None],
    similar: Callable[[str, str], float] | None = None,
    similarity: float = 0.4,
    evaluations: Count = 200,
    scale: Tensor | float = 1.0,
    method: Method = "evolution",
    radius: float = 1.0,
    prior: Callable[[int], Tensor] | None = None,
    probe: Probe | None = None,
    seed: int = 0,
) -> list[Found]:
    r"""Walk from the latent of each start to strings of a higher score that are still similar to it.

    An evaluation is a distinct string other than the start, whether it has a score and is similar or not: a string that
    comes again costs nothing, since its score is kept. A search ends after so many evaluations, or after five times as
    many decoded latents, so that a decoder that always says the same comes to an end too.

    ``"evolution"`` is a :math:`(\mu + \lambda)` strategy. A child is
    :math:`z' = z_a + u (z_b - z_a) + r s \epsilon`, with :math:`z_a, z_b` of the best strings so far (those similar
    enough by score, after these the others by similarity), u uniform or 0, s ``scale`` and :math:`\epsilon` standard
    normal. The radius r of each start grows while more than half of the children are known strings or more than half of
    the new ones are similar enough, and shrinks while fewer than a fifth are. With a ``probe``, each child is the best
    of four by its prediction. ``"random"`` is the same budget spent on draws around the start's own latent with the
    fixed ``radius``, and ``"prior"`` on draws from the prior.

    Args:
        starts: strings.
        z: their latents ``(n, d)``.
        decode: latents ``(m, d)`` to m strings; all starts are decoded together.
        score: of a string, to be raised; None for one that has none (invalid).
        similar: how similar a start and a string are; None leaves the constraint out.
        similarity: the least that is enough.
        evaluations: at most so many for each start.
        scale: of the noise, ``(n, d)``, ``(d,)`` or a number: the posterior's scale leaves in place what the encoder is
            sure of.
        method: see above.
        radius: in scales, to begin with; of ``"random"``, all the time.
        prior: for ``"prior"``: a number m to m latents ``(m, d)``.
        probe: a prediction of the score (:func:`fit_property`) that guides ``"evolution"``.
        seed: a start's draws depend on this and on its number alone.

    Returns one :class:`Found` for each start.

    Example:
        >>> say = lambda z: [str(round(v)) for v in z[:, 0].tolist()]
        >>> found = optimise(["0"], torch.zeros(1, 1), say, lambda s: -abs(int(s) - 9), evaluations=50)
        >>> found[0].best, found[0].score, found[0].success
        ('9', 0, True)
    """
    if z.dim() != 2 or len(z) != len(starts):
        shape = tuple(z.shape)
        raise InputError(f"latents of shape {shape} were given for {len(starts)} starts: expected ({len(starts)}, d)")
    if evaluations < 1:
        raise InputError(f"evaluations={evaluations} was given: expected at least 1")
    if method == "prior" and prior is None:
        raise InputError("method='prior' needs what draws from it: give prior=, a function of a number")
    spread = torch.as_tensor(scale, dtype=z.dtype).expand(z.shape)
    walks = [_Walk(start, score(start), z[i], spread[i], radius, _generator(seed, i)) for i, start in enumerate(starts)]
    while going := [w for w in walks if w.start_score is not None and not w.ended(evaluations)]:
        if method == "prior":
            assert prior is not None
            proposals = list(prior(CHILDREN * len(going)).split(CHILDREN))
        elif method == "random":
            proposals = [w.around(radius) for w in going]
        else:
            proposals = [w.children(probe) for w in going]
        strings = list(decode(torch.cat(proposals)))
        for i, (walk, latents) in enumerate(zip(going, proposals, strict=True)):
            said = strings[i * CHILDREN : (i + 1) * CHILDREN]
            walk.tell(latents, said, score, similar, similarity, evaluations)
    return [walk.found() for walk in walks]


@dataclass
class _Seen:
    """A string with its score, its similarity to the start, and a latent that says it."""

    text: str
    score: float | None
    similarity: float
    enough: bool
    z: Tensor

    def rank(self) -> tuple[bool, float]:
        """What is similar enough by its score, and after that the rest by similarity."""
        return self.enough, self.score if self.enough and self.score is not None else self.similarity


@dataclass
class _Walk:
    """The search from one start."""

    start: str
    start_score: float | None
    z: Tensor
    spread: Tensor
    radius: float
    generator: torch.Generator
    used: int = 0
    decoded: int = 0
    known: set[str] = field(default_factory=set)
    seen: list[_Seen] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.known.add(self.start)
        self.seen.append(_Seen(self.start, self.start_score, 1.0, True, self.z))

    def ended(self, evaluations: int) -> bool:
        return self.used >= evaluations or self.decoded >= PATIENCE * max(evaluations, CHILDREN)

    def around(self, radius: float) -> Tensor:
        return self.z + radius * self.spread * self._normal(CHILDREN)

    def children(self, probe: Probe | None) -> Tensor:
        n = CHILDREN if probe is None else CANDIDATES * CHILDREN
        elite = torch.stack([each.z for each in self.seen[:ELITE]])
        a, b = torch.randint(len(elite), (3, n), generator=self.generator).sort(0).values[:2]  # rather the best
        u = torch.rand(n, 1, generator=self.generator) * (torch.rand(n, 1, generator=self.generator) < 0.5)
        z = elite[a] + u.to(elite) * (elite[b] - elite[a]) + self.radius * self.spread * self._normal(n)
        if probe is None:
            return z
        choice = probe.predict(z).view(CHILDREN, CANDIDATES).argmax(1)
        return z.view(CHILDREN, CANDIDATES, -1)[torch.arange(CHILDREN), choice]

    def tell(
        self,
        z: Tensor,
        strings: Sequence[str],
        score: Callable[[str], float | None],
        similar: Callable[[str, str], float] | None,
        least: float,
        evaluations: int,
    ) -> None:
        new = good = 0
        for latent, text in zip(z, strings, strict=True):
            if self.used >= evaluations:
                break
            self.decoded += 1
            if text in self.known:
                continue
            self.known.add(text)
            self.used += 1
            new += 1
            value = score(text)
            if value is None:
                continue
            alike = 1.0 if similar is None else similar(self.start, text)
            good += alike >= least
            self.seen.append(_Seen(text, value, alike, alike >= least, latent))
        self.seen.sort(key=_Seen.rank, reverse=True)  # stable: of equals the earlier stays
        del self.seen[ELITE:]
        if new < len(strings) / 2:
            self.radius *= 1.4
        elif good > new / 2:
            self.radius *= 1.15
        elif good < new / 5:
            self.radius /= 1.4
        self.radius = min(LARGEST, max(SMALLEST, self.radius))

    def found(self) -> Found:
        best = self.seen[0]
        better = self.start_score is not None and best.score is not None and best.score > self.start_score
        return Found(self.start, self.start_score, best.text, best.score, best.similarity, self.used, better)

    def _normal(self, n: int) -> Tensor:
        return torch.randn(n, len(self.z), generator=self.generator).to(self.z.dtype)


def _generator(seed: int, number: int) -> torch.Generator:
    return torch.Generator().manual_seed(noise.key(seed, "search", number))
