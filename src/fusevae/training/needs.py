"""What a training takes that it doesn't have: examples, or updates; said before the time is spent."""

from __future__ import annotations

from fusevae.core.conditional import Conditional
from fusevae.core.durations import clock
from fusevae.data.modality import modality_of
from fusevae.data.splits import Splits
from fusevae.objectives.objective import Objective
from fusevae.training.settings import Training

SLACK = 2  # a need is a rule of thumb: less than a half of it is said


def lacking(model: Conditional, objective: Objective, data: Splits, training: Training, steps: int) -> list[str]:
    """A line for what is missing, and what would do in its place; none where nothing is.

    Args:
        model: that is trained, whose ``needs`` count where it stands alone, not nested: latents are smaller than data.
        objective: that it is trained by, which has ``needs``, too.
        data: that it is trained on.
        training: its settings.
        steps: updates that it has.
    """
    inner, found, examples = getattr(model, "model", model), [], len(data.train)
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
