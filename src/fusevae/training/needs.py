"""What a training takes that it doesn't have: examples, updates, a scale that it can reach; said before the time is
spent."""

from __future__ import annotations

import math

from torch import Tensor

from fusevae.core.conditional import Conditional
from fusevae.core.durations import clock
from fusevae.data.modality import modality_of
from fusevae.data.splits import Splits
from fusevae.distributions.gaussian import Gaussian
from fusevae.models.preprocessed import inside
from fusevae.objectives.objective import Objective
from fusevae.training.settings import Training

STEEP = 100  # times the largest scale of a decoder, from which on data are out of its reach
SLACK = 2  # a need is a rule of thumb: less than a half of it is said


def lacking(model: Conditional, objective: Objective, data: Splits, training: Training, steps: int) -> list[str | None]:
    """A line for what is missing, and what would do in its place; none where nothing is.

    Args:
        model: that is trained, whose ``needs`` count where it stands alone, not nested: latents are smaller than data.
        objective: that it is trained by, which has ``needs``, too.
        data: that it is trained on.
        training: its settings.
        steps: updates that it has.
    """
    inner, examples = getattr(model, "model", model), len(data.train)
    found: list[str | None] = []
    others = [choice.recipe for choice in modality_of(data.spec).recommend(data.spec, examples, training.seconds)]
    take = f", or take {others[0]}" if others else ""
    for part in (inner, objective):
        (wanted, of), name = part.needs, type(part).__name__
        if SLACK * examples < of:
            found.append(
                f"{name} needs some {of} examples, these are {examples}, which it learns by heart: give more{take}"
            )
        elif SLACK * steps < wanted:
            much = f"training.epochs={training.epochs * wanted / steps:.3g}"
            if training.seconds is not None:
                much = f"some {clock(training.seconds * wanted / steps)}"
            found.append(
                f"{name} needs some {wanted:,} steps until its samples show what the data are, this training has "
                f"{steps:,}: give it {much}{take}"
            )
    return found


def out_of_reach(model: Conditional, x: Tensor) -> str | None:
    r"""What of the scale of examples ``x``, as a view gives them, a Gaussian decoder can't have, in a line; None where
    it can.

    With standard deviations :math:`s_d` of the data, a scale of at least :math:`\sigma` gives at most
    :math:`-\sum_d \log \sqrt{2 \pi} \sigma`, whatever the means: a constant model, which has
    :math:`-\sum_d \log \sqrt{2 \pi e}\, s_d`, is beaten by nobody whose :math:`\sigma` is over
    :math:`\sqrt e\, s_d` on the whole. One of at most :math:`s_d / 100` has to know nearly all of the data before it
    is no worse.
    """
    x, inner = inside(model, x)
    decoder, std = getattr(inner, "decoder", inner), x.float().std(0)
    if not isinstance(decoder, Gaussian) or not bool((std > 0).any()):
        return None
    fixed = not isinstance(decoder.scale, str)
    low, high = [float(decoder.scale)] * 2 if fixed else map(math.exp, decoder.bounds)
    typical = std[std > 0].log().mean().exp().item()
    has = f"the decoder's scale is fixed at {low:g}" if fixed else "the decoder's scale is bounded at {:.3g}"
    mend = "scale the data (the step Standardise)" + (", or take model.decoder.scale=shared" if fixed else "")
    if math.log(low) > math.log(typical) + 0.5:
        has = has.format(low)
        return f"{has}, the data's is {typical:.3g}: no training can be better than a constant model; {mend}"
    if (largest := std.max().item()) > STEEP * high:
        has = has.format(high)
        return f"{has}, the data's standard deviation is up to {largest:.3g}, which drowns all else; {mend}"
    return None
