"""Does "is it good?" name a model that fails, and accuse none that doesn't? For each kind of data five are made of real
examples: a good one draws fresh ones, a copier training ones, a blurrer what is blurred of fresh ones, a collapser
fresh ones of all classes but one, a condition-ignorer fresh ones whatever was asked for.

``python benchmarks/failures.py [KIND ...]``: of digits, a table, texts, molecules and sounds. Each model is judged as
``fusevae evaluate --samples`` judges a run, with samples of three seeds: a failing has to be named in each, and nothing
of what is good in any. ``--smoke`` does it for the digits of scikit-learn.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple
from unittest import mock

import torch
from common import before, chosen, report, size, start
from inputs import FOLDER
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from fusevae import Artifact, DataSpec, Level, Source
from fusevae.core.conditional import Conditional
from fusevae.data.examples import Examples
from fusevae.data.modality import modality_of
from fusevae.evaluation.verdict import verdict

N, SEEDS = 400, 3  # samples, and how often they are drawn
FCD = "fusevae.modalities.molecules.quality.chemnet_distance"  # which is slow, and by which nothing is named
WANTED = {
    "good": (),
    "copier": ("copying",),
    "blurrer": ("blurred",),
    "collapser": ("not covering the data",),
    "ignorer": ("condition ignored",),
}
Blur = Callable[[Tensor, DataSpec], Tensor]


class Drawn(Distribution):
    """Examples that a function draws, for conditions where there are some."""

    arg_constraints: dict[str, constraints.Constraint] = {}

    def __init__(self, draw: Callable[[int, Tensor | None], Tensor], shape: Any, label: Tensor | None) -> None:
        self.draw, self.label = draw, label
        super().__init__(torch.Size() if label is None else label.shape[:1], torch.Size(shape), validate_args=False)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        whole = self._extended_shape(sample_shape)
        found = self.draw(whole[: len(whole) - len(self.event_shape)].numel(), self.label)
        return found.view(*whole[: len(whole) - len(self.event_shape)], *found.shape[1:])


class Made(Conditional):
    """What only draws; ``classes`` says that it takes conditions."""

    level, has_mean = Level.SAMPLES, False

    def __init__(self, draw: Any, spec: DataSpec, conditional: bool) -> None:
        super().__init__()
        self.draw, self.shape, self.classes = draw, spec.shape, int(conditional)
        self.space = "reals" if spec.schema.numeric else "sequences"

    def forward(self, label: Tensor | None = None) -> Distribution:
        return Drawn(self.draw, self.shape, label)


class Set(NamedTuple):
    """A kind of data.

    Attributes:
        source: where they are.
        part: which examples, and their values of the condition, are of the class that is left out.
        blur: what is blurred of examples.
    """

    source: dict[str, Any]
    part: Callable[[Tensor, Tensor, DataSpec], Tensor]
    blur: Blur


def box(x: Tensor, spec: DataSpec) -> Tensor:
    """The mean of nine pixels."""
    return nn.functional.avg_pool2d(x.float(), 3, 1, 1).round().to(x.dtype)


def muffled(x: Tensor, spec: DataSpec) -> Tensor:
    """The mean of nine samples in time, thrice."""
    y = x.float()[:, None]
    for _ in range(3):
        y = nn.functional.avg_pool1d(y, 9, 1, 4)
    return torch.where(x == 0, x, y[:, 0].to(x.dtype))


def averaged(x: Tensor, spec: DataSpec) -> Tensor:
    """Numbers are the means of those of five rows."""
    columns = spec.schema.columns  # type: ignore[attr-defined]
    numbers = [i for i, c in enumerate(columns) if c.kind not in ("categorical", "binary", "ordinal", "constant")]
    whole = x.clone()
    for i in numbers:
        groups = torch.stack([x[torch.randperm(len(x)), i] for _ in range(4)] + [x[:, i]])
        mean = groups.double().nanmean(0).to(x.dtype)
        whole[:, i] = torch.where(
            x[:, i].isnan(), x[:, i], mean.round() if (x[:, i].nan_to_num() % 1 == 0).all() else mean
        )
    return whole


def common(x: Tensor, spec: DataSpec) -> Tensor:
    """Texts of their common words alone."""
    from collections import Counter

    texts = [text.split() for text in spec.text(x)]
    counts = Counter(word.lower() for text in texts for word in text)
    often = {word for word, _ in counts.most_common(100)}
    short = [" ".join(word for word in text if word.lower() in often) or "the" for text in texts]
    return _encoded(short, spec)


def _encoded(texts: list[str], spec: DataSpec) -> Tensor:
    found = [torch.tensor(spec.schema.vocabulary.encode(text)) for text in texts]  # type: ignore[attr-defined]
    return nn.utils.rnn.pad_sequence(found, batch_first=True)


def middling(x: Tensor, spec: DataSpec) -> Tensor:
    """The third of the molecules whose weight and logP are nearest to the middle."""
    from fusevae.modalities.molecules.chemistry import properties

    found = properties(spec.text(x), ("weight", "logp"))
    each = torch.stack([torch.from_numpy(v) for v in found.values()], 1)
    middle = each.nanmedian(0).values
    far = ((each - middle) / (each - middle).abs().nanmean(0)).square().sum(1).nan_to_num(1e9)
    return x[far.argsort()[: len(x) // 3]]


def of_class(place: int) -> Callable[[Tensor, Tensor, DataSpec], Tensor]:
    """The examples of a class of the first condition."""
    return lambda x, label, spec: (label if label.dim() == 1 else label[:, 0]) == place


def married(x: Tensor, label: Tensor, spec: DataSpec) -> Tensor:
    """Rows of a class of a column of their own."""
    columns = spec.schema.columns  # type: ignore[attr-defined]
    i = next(i for i, c in enumerate(columns) if c.name.startswith("marital"))
    return x[:, i] == x[:, i].mode().values


def with_sulfur(x: Tensor, label: Tensor, spec: DataSpec) -> Tensor:
    """Molecules with sulfur."""
    return torch.tensor(["S" in text.replace("Si", "") or "s" in text for text in spec.text(x)])


SETS = {
    "digits": Set({"validation": 0.4, "test": 0.4}, of_class(7), box),
    "table": Set({"path": "tables/adult_test.csv", "conditions": "income"}, married, averaged),
    "texts": Set(
        {"path": "text/subjectivity_train.csv", "conditions": "label", "tokens": "words"}, of_class(0), common
    ),
    "molecules": Set({"path": "molecules/guacamol_valid.smi", "conditions": "logp"}, with_sulfur, middling),
    "sounds": Set({"path": "speech", "conditions": "{digit}_{speaker}_{take}"}, of_class(3), muffled),
}


def drawing(x: Tensor, label: Tensor | None) -> Callable[[int, Tensor | None], Tensor]:
    """Draws of examples, of those whose conditions are nearest where some are asked for, the first above all."""

    def draw(n: int, wanted: Tensor | None) -> Tensor:
        if wanted is None or label is None:
            return x[torch.randint(len(x), (n,))]
        have, want = (c.double().nan_to_num(-1.0).view(len(c), -1) for c in (label, wanted))
        weight = 0.01 ** torch.arange(have.shape[1])
        apart = torch.cdist(want * weight, have * weight, p=1) + 1e-6 * torch.rand(len(want), len(have))
        return x[apart.argmin(1)].expand(n, *x.shape[1:])

    return draw


def whole(part: Examples, length: int | None) -> tuple[Tensor, Tensor]:
    """All examples of a part and their conditions."""
    x, label = part.batch(torch.arange(len(part)))
    assert label is not None
    return (x if length is None else nn.functional.pad(x, (0, length - x.shape[-1]))), label


def measured(name: str) -> dict[str, Any]:
    """What is said of each model of a kind."""
    torch.manual_seed(0)
    one = SETS[name]
    where = {"path": str(FOLDER / one.source["path"])} if "path" in one.source else {}
    splits = Source(**({"validation": 0.3, "test": 0.3} | one.source | where)).read()
    spec, (held, _) = splits.spec, splits.held
    length = spec.shape[-1] if len(spec.shape) == 1 else None
    (seen, _), (fresh, label) = whole(splits.train, length), whole(splits.validation, length)
    judge = modality_of(spec).reference(held, splits, size(N, 300), None, "cpu", True)
    kept = ~one.part(fresh, label, spec)
    models = {
        "good": drawing(fresh, None),
        "good, given conditions": drawing(fresh, label),
        "copier": drawing(seen, None),
        "blurrer": drawing(one.blur(fresh, spec), None),
        "collapser": drawing(fresh[kept], None),
        "ignorer": lambda n, wanted: drawing(fresh, None)(n, None),
    }
    found = {}
    for model, draw in models.items():
        given = model in ("ignorer", "good, given conditions")
        artifact = Artifact(Made(draw, spec, given), spec)
        with mock.patch(FCD, return_value=0.0):
            made = [judge.judge(artifact, seed=seed) for seed in range(size(SEEDS, 1))]
        names = [[failing.name for failing in each.failings()] for each in made]
        wanted = WANTED[model.partition(",")[0]]
        right = all(all(one in each for one in wanted) if wanted else not each for each in names)
        found[model] = {"named": names[0], "right": right, "says": verdict(made[0].failings(), made[0].n)}
        found[model]["seeds"] = len(names)
        print(name, model, json.dumps(found[model], indent=2), file=sys.stderr, flush=True)
    return found


def main(*kinds: str) -> None:
    figures = before("failures") | {kind: measured(kind) for kind in chosen(kinds, SETS, ["digits"])}
    protocol = f"models made of real examples, {N} samples of each judged as evaluate --samples does, "
    protocol += "right for each of so many seeds (one, where none is said); kinds that the command doesn't name are "
    protocol += "as they were measured before"
    report("failures", figures, protocol, 0)


if __name__ == "__main__":
    start(main)
