"""Which recipes suit pictures, by their size, their values and how many there are."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.defaults import PATIENCE, epochs
from fusevae.data.modality import Choice
from fusevae.modalities.images.levels import MOST

SMALL = 1024  # numbers of a grey picture that a dense net takes well
INK = 0.75  # part of the values that are nearly black or white, from which on pictures are drawn in ink
STEPS = 20_000  # of a training, about
LARGE = 40  # pixels of a side, from which on convolutions take squares of pixels as one place
SHORT, MIDDLING = 120, 28  # seconds in which pictures from so many pixels a side on are taken so, too
SLOW = 600  # seconds within which the dearest models come nowhere


def choices(spec: DataSpec, n: int, seconds: float | None = None) -> list[Choice]:
    """The default first.

    Of small pictures that are drawn in ink, nearly black or white, a Bernoulli for each pixel, with its grey value as
    the probability, is learned in minutes by dense nets, where a mixture of logistics over the grey values needs long
    to beat a constant model. Others take convolutions, a stage more each time that the sides double from 32 places:
    integers with a mixture of logistics, numbers with a point with a Gaussian.
    """
    size = f"{spec.shape[1]} x {spec.shape[2]} pixels"
    dense = {"training.patience": PATIENCE, "training.epochs": epochs(n, 200, STEPS, 20, 440)}
    patient = {"training.patience": PATIENCE, "training.epochs": epochs(n, 64, STEPS, 10, 200)}
    side = min(spec.shape[1:])
    patch = square(side, seconds)
    convolutions = patient | {"recipe.channels": stages(side // patch)}
    convolutions |= {"recipe.patch": patch} if patch != square(side) else {}
    conv = Choice("conv-vae", f"integers, {size}: convolutions, a mixture of logistics over the values", convolutions)
    sigma = Choice("sigma-vae", f"{spec.dtype}, {size}: convolutions, a Gaussian of learned variance", convolutions)
    whole = spec.is_discrete and spec.high - spec.low < MOST
    found = [conv] if whole else [sigma]
    ink = getattr(spec.schema, "ink", None)
    if whole and spec.shape[0] == 1 and spec.dims <= SMALL and (ink is None or ink >= INK):
        how = "" if spec.high - spec.low == 1 else ", with the grey value as the probability of white"
        said = f"small pictures in ink, {size}{how}: dense nets, trained in minutes"
        binary = Choice("binary-vae", said, dense)
        found = [binary, Choice("flow-vae", "the same with a learned prior", dense), *found]
    if whole:
        found.append(Choice("vq-vae", "discrete codes with a learned prior", patient))
    found.append(Choice("vae-gan", "sharper pictures, and no likelihood to stop by"))
    if seconds is None or seconds > SLOW:
        found.append(Choice("diffusion", "the best pictures, in longer trainings"))
    return found


def square(side: int, seconds: float | None = None) -> int:
    """The side of the squares of pixels that are one place of a convolutional net: 2 for large pictures, which is four
    times as fast, and for smaller ones where time is short. On 640 of 64 pixels, 35 s of one core each, ``conv-vae``
    had -41,326 nats after 206 steps with it, -49,988 after 49 without; on 1,280 of 32 pixels after 60 s -8,557 with it,
    -10,215 without; on 3,240 of as many after 120 s -11,203 with it, -11,214 without, which hardly differ.

    Example:
        >>> square(28), square(64), square(32, 60.0), square(32, 600.0)
        (1, 2, 2, 1)
    """
    return 2 if side >= (MIDDLING if seconds is not None and seconds < SHORT else LARGE) else 1


def stages(side: int) -> tuple[int, ...]:
    """Widths of the stages of a convolutional net, each of which halves the sides.

    Example:
        >>> stages(28), stages(64), stages(256)
        ((32, 64), (32, 64, 128), (16, 32, 64, 128, 256))
    """
    found, size = [32, 64], 32
    while size < side:
        found, size = [*found, 2 * found[-1]], 2 * size
    return tuple(w // 2 for w in found) if side > 128 else tuple(found)
