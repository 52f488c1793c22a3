"""From a model, data and settings to a loop that is ready to run, and from that to the artifact."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.conditional import Conditional
from fusevae.core.errors import InputError
from fusevae.core.levels import BoundOnly, Level
from fusevae.core.processes import world
from fusevae.core.steps import View
from fusevae.data.examples import Examples
from fusevae.data.modality import modality_of
from fusevae.data.splits import Splits
from fusevae.models.flat import Flat
from fusevae.models.preprocessed import inside
from fusevae.nets.dropout import check_masks
from fusevae.nets.quantizer import VectorQuantizer
from fusevae.objectives.objective import Objective, Opposed, Simultaneous
from fusevae.training.critics import Extractor, Opponent, Partner, Together
from fusevae.training.folder import CHECKPOINTS
from fusevae.training.loop import Loop
from fusevae.training.needs import lacking, out_of_reach
from fusevae.training.players import Batch, EncoderFirst, Game, MaximumLikelihood, Player
from fusevae.training.progress import Progress
from fusevae.training.settings import Training

logger = logging.getLogger("fusevae")

BASELINE, STARTS = 2000, 200  # training examples that the constant model is made from; that say where a training begins
DRAWS = 20  # of the latents of the examples that a model is tried on
FITTED_ON = 5e7  # numbers of the training data from which preprocessing takes its means and ranges


@dataclass
class Ready:
    """A game on its data, checked and fitted: what is worked out once, for a training and for the timing of it."""

    game: Game
    objective: Objective
    held: list[str]  # weights that were held before
    start: tuple[float, ...] | None  # what the model and a constant one say of some examples
    scale: str | None  # what is said of one out of reach

    def loop(
        self,
        data: Splits,
        training: Training,
        seed: int,
        device: str = "auto",
        folder: str | Path | None = None,
        progress: Progress | None = None,
    ) -> Loop:
        """The loop, ready to run."""
        where, model = None if folder is None else Path(folder), artifact_of(self.game).distribution
        if where is not None:
            where.mkdir(parents=True, exist_ok=True)
        held = data.validation if training.validated is None else data.validation.spread(training.validated)
        loop = Loop(self.game, data.train, held, training, seed, pick_device(device), where, progress)
        if progress is not None and not progress.trial and not world()[0]:
            for line in filter(None, [*lacking(model, self.objective, data, training, loop.total), self.scale]):
                progress.warn(line)
        loop.values["held"] = self.held
        loop.progress.limit = training.limit
        if self.start is not None:
            loop.mending.begin(*self.start)
        if training.mend:
            loop.mending.codebooks = {n: m for n, m in model.named_modules() if isinstance(m, VectorQuantizer)}
        return loop


def prepare(
    model: Conditional,
    data: Splits,
    views: Sequence[View],
    objective: Objective,
    training: Training,
    seed: int,
    device: str = "auto",
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> Loop:
    """The loop, ready to run: views and preprocessing fitted, model and data checked against each other."""
    made = ready(model, data, views, objective, training, seed, folder, progress)
    return made.loop(data, training, seed, device, folder, progress)


def ready(
    model: Conditional,
    data: Splits,
    views: Sequence[View],
    objective: Objective,
    training: Training,
    seed: int,
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> Ready:
    """The game of a model and whoever plays with it, however long its training is."""
    artifact = Artifact(model, data.spec, list(views))
    trial = progress is not None and progress.trial  # of the time of a step, for which any start will do
    remarks = not world()[0] and not trial
    if (n := len(data.train)) < world()[1]:
        raise InputError(f"{n} training examples for {world()[1]} processes: give more data")
    data.spec.schema.check_model(data.spec, model.mixed)
    with noise.preserved():
        check(artifact, data.train, objective)
        if remarks:
            remark(artifact, data.train)
        said = folder is not None and (Path(folder) / CHECKPOINTS).is_dir()  # by the first call
        if remarks and progress is not None:
            for line in [] if progress.quiet or said else data.spec.schema.remarks(data.spec):
                progress.say(line)
        held, starts = freeze(model, training.frozen), data.train.evenly(STARTS)
        some = starts if trial else data.train.evenly(max(1000, int(FITTED_ON / data.spec.dims)))  # of all classes
        with torch.no_grad(), noise.keyed(seed, "preprocessing"):
            model.start_from(functools.cache(lambda: artifact.view(data.train.batch(some)[0])))
    found = players(artifact, objective, training)
    if not isinstance(objective, Simultaneous):  # those don't ask for the likeliest examples
        with noise.preserved(), noise.keyed(seed, "baseline"):
            few = data.train.evenly(BASELINE)
            few = few[~torch.isin(few, starts)] if len(few) > 2 * STARTS else few  # that it isn't judged by
            x = artifact.view(data.train.batch(few)[0])
            found[0].baseline = modality_of(data.spec).baseline(x, artifact.viewed, artifact.measure)
    game = Game(found)
    if training.accumulate > 1 or world()[1] > 1:
        check_masks(game.modules())
    start = scale = None
    if training.mend and not isinstance(objective, Opposed):
        game.eval()  # nothing that follows the batches is moved
        with noise.preserved(), noise.keyed(seed, "start"), torch.no_grad():
            constant = [
                found[0].baseline.log_prob(artifact.view(part.batch(part.evenly(STARTS))[0])).mean().item()
                for part in (data.train, data.validation)
                if len(part)
            ]
            start = found[0].start(Batch(*data.train.batch(starts))), *constant
    if remarks and progress is not None:
        with noise.preserved():  # where model and data are both still in memory
            scale = out_of_reach(model, artifact.view(data.train.batch(starts)[0]))
    return Ready(game, objective, held, start, scale)


def freeze(model: Conditional, parts: Sequence[str]) -> list[str]:
    """Hold parts of a model; returns the names of the weights that were held before."""
    held = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    if parts:
        check_parts("training.frozen", parts, [name for name, _ in model.named_parameters()])
        for name, parameter in model.named_parameters():
            if in_parts(name, parts):
                parameter.requires_grad_(False)
        if not any(p.requires_grad for p in model.parameters()):
            raise InputError(f"training.frozen={list(parts)} leaves nothing to train: leave a part out")
    return held


def remark(artifact: Artifact, examples: Examples) -> None:
    """Say, once for a training, what its views take away."""
    views = [*artifact.views]
    while views and type(views[-1]).remark is View.remark:  # it says nothing, and may be dear
        views.pop()
    x = examples.batch(torch.arange(min(len(examples), BASELINE) if views else 0))[0]
    for view in views:
        if (line := view.remark(x)) is not None:
            logger.warning(line)
        x = view(x)


def in_parts(name: str, parts: Sequence[str]) -> bool:
    """Whether a weight is of one of some parts: ``latents`` is any part of that name, with what is in it."""
    return any(f".{part}." in f".{name}" for part in parts)


def check_parts(setting: str, parts: Sequence[str], names: Iterable[str]) -> None:
    """Refuse parts that a model, of which these are the weights, doesn't have."""
    names = list(names)
    for part in parts:
        if not any(in_parts(name, [part]) for name in names):
            known = sorted({".".join(name.split(".")[:2]) for name in names})
            raise InputError(f"this model has no part {part!r}: {setting} takes {', '.join(known)}, say")


def players(artifact: Artifact, objective: Objective, training: Training) -> list[Any]:
    """The model, and whoever plays with it or against it."""
    if isinstance(objective, Simultaneous):
        if training.encoder_steps:
            name = type(objective).__name__
            raise InputError(
                f"encoder_steps is {training.encoder_steps}, but the players of {name} move at once: set 0"
            )
        leader = Together(artifact, objective, training.unlabelled)
        found: list[Player] = [leader, *(Partner(name, artifact, objective) for name in leader.partners)]
    else:
        part = training.encoder_part if training.encoder_steps else 0.0
        settings = (training.unlabelled, training.encoder_steps, part)
        found = [MaximumLikelihood(artifact, objective, *settings)]
        if training.encoder_steps:
            found.append(EncoderFirst(artifact, objective, *settings))
        if isinstance(objective, Opposed):
            found.append(Opponent(artifact, objective))
    if isinstance(objective, Opposed) and objective.extractor is not None:
        found.append(Extractor(artifact, objective.extractor))
    return found


def trained(loop: Loop) -> Artifact:
    """The artifact of a loop, with the weights that evaluation uses; what was held before the training is held still,
    what ``training.frozen`` held no more."""
    artifact = artifact_of(loop.result())
    held = loop.values.get("held", ())
    for name, parameter in artifact.distribution.named_parameters():
        parameter.requires_grad_(name not in held)
    return artifact.cpu().eval()


def artifact_of(game: nn.Module) -> Artifact:
    """The model that the players of a game share."""
    return cast(Artifact, next(iter(cast(Game, game).players.values())).artifact)


def check(artifact: Artifact, examples: Examples, objective: Objective) -> None:
    """Run two examples through the model, so that what doesn't fit is said before any work starts."""
    x, label = examples.batch(torch.arange(min(2, len(examples))))
    shape, model = tuple(artifact.viewed.shape), artifact.distribution
    inner = getattr(model, "model", model)  # without its preprocessing
    trains = model.level >= Level.BOUND or model.has_latents or isinstance(objective, Opposed)
    if not trains and getattr(type(inner(label)), "surrogate", None) is BoundOnly.surrogate:
        raise InputError(
            f"{type(inner).__name__} only samples, which {type(objective).__name__} can't train: give it a critic, "
            "objective=Adversarial(ConvCritic(shape)), say"
        )
    found = players(artifact, objective, Training())
    try:
        with torch.no_grad():
            if artifact.distribution.has_latents:
                trace = artifact.distribution.trace(artifact.view(x), label)
                for term in trace.terms:
                    z = term.z if term.q is None else noise.sample(term.q, (DRAWS,))  # one may lie inside by chance
                    check_support(term.p, z, "prior", "the posterior's latents")
                check_support(trace.likelihood, trace.x, "decoder", "the data")
                value = trace.elbo
                if value.shape != (len(x),):
                    raise InputError(
                        f"the model gives log-probabilities of shape {tuple(value.shape)} for {len(x)} examples of "
                        f"shape {shape}, expected ({len(x)},): set event_dim={len(shape)} on the decoder, or mend the "
                        "net's output shape"
                    )
                batch = trace.likelihood.batch_shape
                if batch not in ((), (len(x),)):
                    raise InputError(
                        f"the decoder makes a batch of shape {tuple(batch)} of {len(x)} latents: it expects vectors, "
                        "give it a net that flattens them"
                    )
            if isinstance(objective, Opposed):
                check_game(artifact, objective, x, label)
            movers = [p for p in found if not isinstance(p, Partner)]
            losses = [loss for p in movers for loss, _ in p.losses(Batch(x, label), 0.0).values()]
    except InputError:
        raise
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        check_latents(artifact, x, label)
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"the model does not take examples of shape {shape} ({reason}): make the inputs of its encoder and the "
            "outputs of its decoder fit the data"
        ) from error
    for loss in (one for one in losses if not bool(one.isfinite())):
        raise InputError(
            f"the loss of the first examples is {loss.item()}: scale the data (the steps Normalise, Standardise), or "
            "look at the decoder's range"
        )


def check_latents(artifact: Artifact, x: Tensor, label: Tensor | None) -> None:
    """Refuse a posterior over fewer or more numbers than its prior: a net whose outputs nobody doubled, say."""
    try:
        x, model = inside(artifact.distribution, artifact.view(x))
        latents = getattr(model, "latents", None)
        if not isinstance(latents, Flat):
            return
        q, p = (tuple(part.event_shape) for part in (latents.posterior(x, label), latents.prior(label)))
    except (RuntimeError, ValueError, IndexError, TypeError):  # something else is wrong
        return
    if q != p:
        hint = f": the net of a Gaussian has Gaussian.outputs({p[0]}) outputs, means and scales" if len(p) == 1 else ""
        raise InputError(f"the posterior is over {q} and the prior over {p}, expected the same{hint}")


def check_game(artifact: Artifact, objective: Opposed, x: Tensor, label: Tensor | None) -> None:
    """Refuse a game whose parts don't fit each other."""
    model, name = artifact.distribution, type(objective).__name__
    if isinstance(objective, Simultaneous) and not model.has_latents:
        raise InputError(
            f"{name} needs a model with latents, {type(model).__name__} has none: take a VAE, or Adversarial"
        )
    if objective.extractor is not None and (label is None or label.is_floating_point()):
        raise InputError(f"the extractor of {name} needs labels and the data have none: leave the extractor out")
    trace = model.trace(artifact.view(x), label)
    if trace.generate is not None and not model.has_latents:
        made = trace.generate()
        if made.shape != trace.x.shape:
            raise InputError(
                f"the generator makes examples of shape {tuple(made.shape[1:])}, the data have "
                f"{tuple(trace.x.shape[1:])}: mend the outputs of its net"
            )


def check_support(p: Distribution, x: Tensor, slot: str, what: str) -> None:
    """Refuse values that ``p`` gives no probability to: the figures would be no likelihoods."""
    try:
        support = p.support
    except NotImplementedError:  # a distribution that doesn't say
        return
    if support is None or bool(support.check(x).all()):
        return
    name = type(getattr(support, "base_constraint", support)).__name__.strip("_").lower()
    mend = "take a prior and a posterior over the same values"
    if slot == "decoder":
        mend = "binarize them (the view Binarize), scale them (the step Normalise), or take another decoder"
    raise InputError(
        f"the {slot} is for {name} values but {what} lie in [{x.min().item():g}, {x.max().item():g}]: {mend}"
    )


def pick_device(name: str) -> torch.device:
    """``"auto"`` is this process's GPU where there is one, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"unknown device {name!r}: give cpu, cuda or cuda:0") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise InputError(f"device {name!r} is not available on this machine: leave --device out, or give cpu")
        if device.index is None:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    return device
