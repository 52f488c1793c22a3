"""A prior fitted after training, to samples of the aggregate posterior q(z) = E_x q(z | x)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.conditional import Conditional
from fusevae.core.conditions import Conditions
from fusevae.core.errors import InputError
from fusevae.core.frames import extent
from fusevae.core.spec import DataSpec
from fusevae.core.typed import Count
from fusevae.core.vocabulary import joined
from fusevae.data.examples import Examples, InMemory
from fusevae.data.frame_steps import StandardiseFrames
from fusevae.data.preprocessing import Standardise
from fusevae.data.splits import Splits
from fusevae.distributions.autoregressive_codes import AutoregressiveCodes
from fusevae.distributions.autoregressive_frames import AutoregressiveFrames
from fusevae.distributions.diffusion import Diffusion
from fusevae.distributions.flow import Flow
from fusevae.distributions.frame_diffusion import FrameDiffusion
from fusevae.distributions.frame_flow import FrameFlow
from fusevae.distributions.gaussian import Gaussian
from fusevae.distributions.gaussian_mixture import GaussianMixture
from fusevae.distributions.image_transformer import ImageTransformer
from fusevae.distributions.made import MADE
from fusevae.distributions.normal import Normal
from fusevae.distributions.normal_frames import NormalFrames
from fusevae.distributions.pixel_cnn import PixelCNN
from fusevae.distributions.schedules import LinearSchedule
from fusevae.evaluation.blocks import as_examples, blocks
from fusevae.models.autoencoder import Deterministic
from fusevae.models.coded import Coded
from fusevae.models.flat import Flat, of_frames
from fusevae.models.ladder import Ladder
from fusevae.models.latents import Latents
from fusevae.models.preprocessed import Preprocessed, layers
from fusevae.models.quantized import Quantized
from fusevae.models.vae import VAE
from fusevae.nets.mlp import MLP, Embedding
from fusevae.nets.residual import ResidualQuantizer
from fusevae.nets.time_mlp import TimeMLP
from fusevae.nets.unet import UNet
from fusevae.objectives.elbo import ELBO
from fusevae.training.prepare import prepare, trained
from fusevae.training.progress import Progress
from fusevae.training.settings import Training

Kind = Literal["flow", "mixture", "made", "vae", "diffusion", "pixel-cnn", "transformer", "autoregressive", "normal"]
KINDS: Sequence[Kind] = ("flow", "mixture", "made", "vae", "diffusion")  # for numbers
CODES: Sequence[Kind] = ("pixel-cnn", "transformer")  # for maps of codes
SEQUENCES: Sequence[Kind] = ("autoregressive",)  # for codes of sound
FRAMES: Mapping[Kind, Callable[..., Conditional]] = {  # for sequences of vectors
    "flow": FrameFlow,
    "diffusion": FrameDiffusion,
    "autoregressive": AutoregressiveFrames,
    "normal": NormalFrames,
}
HELD_OUT = 0.05  # of the latents, for the figures of the fit
USUAL = Training(epochs=30, batch_size=256, learning_rate=2e-3, weight_decay=0.01)
LONG = USUAL.replaced(epochs=40, batch_size=64, learning_rate=1e-3)  # for sequences, of which there are fewer


def fit_prior(
    artifact: Artifact,
    data: Any = None,
    kind: Kind = "flow",
    label: Any = None,
    components: Count = 10,
    training: Training | None = None,
    seed: int = 0,
    device: str = "auto",
    quiet: bool = False,
) -> Artifact:
    r"""A copy of ``artifact`` whose prior is fitted to the latents of ``data``; encoder and decoder stay as they are.

    The prior that gives the best ELBO is the aggregate posterior (Hoffman & Johnson 2016); where training left a gap
    between it and the prior, samples come from latents that the decoder never saw. A fitted prior closes it (Dai &
    Wipf 2019; Ghosh et al. 2020), and gives a deterministic autoencoder its only one.

    Args:
        artifact: a trained model with a vector of latents, a sequence of them, or codes; for a diffusion prior they may
            be an image.
        data: the training data: an array or tensor ``(n, *shape)``, a path, or a data set.
        kind: ``"flow"``: splines in couplings; ``"mixture"``: of Gaussians with full covariances, by
            expectation-maximisation; ``"made"``: autoregressive, mixtures of Gaussians; ``"vae"``: a
            VAE of the latents; ``"diffusion"``: latent diffusion (Rombach et al. 2022), a U-Net for images of latents.
            Latents are brought to mean 0 and deviation 1 first, each by what is measured. Of codes: ``"pixel-cnn"`` or
            ``"transformer"``; of sequences of residual codes (a codec of sound): ``"autoregressive"``. Of sequences of
            vectors (speech-vae): ``"flow"``, couplings over all frames; ``"diffusion"``; ``"autoregressive"``; or
            ``"normal"``, N(0, I) for each, of which only how many there are is fitted: what the others have to beat.
        label: labels of the data. A conditional model gets a prior p(z | label), but for a mixture; so does a codec
            whose data have conditions.
        components: of the mixture.
        training: of the others; by default :func:`usual`.
        seed: of the latents drawn and of the fit.
        device: as for :func:`fusevae.fit`.
        quiet: show no progress.

    Example:
        >>> import torch
        >>> from fusevae import MLP, VAE, DataSpec
        >>> vae = VAE(Flat(Normal(2), Gaussian(MLP(4, 4))), decoder=Gaussian(MLP(2, 8)))
        >>> better = fit_prior(Artifact(vae, DataSpec((4,))), torch.randn(200, 4), "mixture", components=3)
        >>> type(better.distribution.latents.prior).__name__
        'GaussianMixture'
    """
    latents = latents_of(artifact.distribution)
    what, fit = _kinds(latents)
    if kind not in fit:
        raise InputError(f"the latents are {what}, which no prior of kind {kind!r} fits: take {' or '.join(fit)}")
    if of_frames(latents) and artifact.data.conditions is not None and artifact.data.conditions.text is not None:
        raise InputError(
            "the latents are frames of a text, and no prior that could be fitted alone knows what is said: keep the "
            "one that was trained, or take a model without a text (speech-vae)"
        )
    examples = as_examples(artifact, data, label)
    z, labels = aggregate(artifact, examples, seed)
    if z.dim() != 2 and kind != "diffusion" and fit is KINDS:
        raise InputError(
            f"the latents have shape {tuple(z.shape[1:])} and a {kind} prior is for vectors: take kind diffusion"
        )
    told = artifact.is_conditional or (isinstance(latents, Coded) and artifact.data.condition)
    training = training or usual(artifact)
    prior = _fitted(z, labels if told else None, artifact, kind, components, training, seed, device, quiet)
    artifact = copy.deepcopy(artifact).cpu()
    model = with_prior(artifact.distribution, prior)
    return Artifact(model, artifact.data, list(artifact.views)).eval()


def aggregate(artifact: Artifact, examples: Examples, seed: int) -> tuple[Tensor, Tensor | None]:
    """A latent z ~ q(z | x) of each example, ``(n, *shape)``, of the top level in a hierarchy, or its codes ``(n, 1, h,
    w)``, or those of a sequence ``(n, Q, places)``, counted from 1; and the labels."""
    model = artifact.distribution
    latents = latents_of(model)
    device = next(model.parameters()).device
    found, labels = [], []
    with torch.no_grad(), noise.preserved(device):
        artifact.eval()
        for block in blocks(artifact, examples, seed, device):
            with noise.keyed(seed, "aggregate", block.number, device=device):
                terms = model.trace(block.x, block.label).terms
                z = terms[0].z if terms else next(iter(model.encode(block.x, block.label).values()))
                z = z + 1 if isinstance(latents, Coded) else z
            found.append(z.cpu())
            if block.label is not None:
                labels.append(block.label.cpu())
    return joined(found, 0), torch.cat(labels) if labels else None


def latents_of(model: Conditional) -> Flat | Deterministic | Quantized | Coded:
    """The latents whose prior can be replaced, or an :class:`InputError`."""
    model = layers(model)[1]
    latents: Latents | None = model.latents if isinstance(model, VAE) else None
    if isinstance(latents, Ladder):
        latents = latents.top
    if not isinstance(latents, (Flat, Deterministic, Quantized, Coded)):
        raise InputError(
            f"{type(latents or model).__name__} has no prior that could be fitted alone: take a model with Flat "
            "latents or codes, or a Ladder with such a top"
        )
    return latents


def usual(artifact: Artifact) -> Training:
    """How a prior is trained where nothing else is said: 30 epochs over vectors and codes, 40 in smaller batches over
    sequences of vectors.

    Example:
        >>> from fusevae import MLP, VAE, DataSpec
        >>> usual(Artifact(VAE(Flat(Normal(2), Gaussian(MLP(4, 4))), Gaussian(MLP(2, 8))), DataSpec((4,)))).epochs
        30
    """
    return LONG if of_frames(latents_of(artifact.distribution)) else USUAL


def _kinds(latents: Latents) -> tuple[str, Sequence[Kind]]:
    """What latents are, in words, and the kinds of prior that fit them."""
    if isinstance(latents, Quantized):
        return "codes", CODES
    if isinstance(latents, Coded):
        return "sequences of codes", SEQUENCES
    return ("sequences of vectors", list(FRAMES)) if of_frames(latents) else ("numbers", KINDS)


def with_prior(model: Any, prior: Conditional, **beside: Any) -> Any:
    """The same model around another prior, and with other settings ``beside`` it; what is around it is built anew, so
    that levels are checked again."""
    if isinstance(model, Preprocessed):
        return Preprocessed(list(model.steps), with_prior(model.model, prior, **beside))
    inner = {VAE: "latents", Ladder: "top"}
    slot = next((name for cls, name in inner.items() if isinstance(model, cls)), None)
    if slot is not None:
        return model.replaced(**{slot: with_prior(getattr(model, slot), prior, **beside)})
    return model.replaced(prior=prior, **beside)


def _fitted(
    z: Tensor,
    labels: Tensor | None,
    artifact: Artifact,
    kind: Kind,
    components: int,
    training: Training,
    seed: int,
    device: str,
    quiet: bool,
) -> Conditional:
    if kind == "mixture":
        with noise.preserved():  # its first weights are drawn, too
            return GaussianMixture.fitted(z, components, seed)
    classes = artifact.data.condition if labels is not None else 0
    shape, latents = tuple(z.shape[1:]), latents_of(artifact.distribution)
    with noise.preserved():
        torch.manual_seed(noise.key(seed, "prior"))
        if isinstance(latents, Quantized):
            levels = latents.quantizer.levels
            z, spec = z.long(), DataSpec(shape, "int64", 0, levels - 1)
            model = _of_codes(kind, shape, levels, classes)
        elif isinstance(latents, Coded):
            spec = DataSpec(shape, "int64", 0, latents.quantizer.levels)
            model = _of_sequences(latents.quantizer, shape, classes)
        elif of_frames(latents):
            spec = DataSpec(shape, "float32", float(z.min()), float(z.max()))
            model = FRAMES[kind](shape[0], 2 * shape[1], classes=classes)  # sequences up to twice as long
            if kind != "normal":  # a standard normal is that of the latents as they are
                model = Preprocessed([StandardiseFrames(shape[0])], model)
        else:
            spec = DataSpec(shape, "float32", float(z.min()), float(z.max()))
            inside = _diffusion(shape, classes) if kind == "diffusion" else _density(kind, shape[0], classes)
            model = Preprocessed([Standardise(shape)], inside)
        order = torch.randperm(len(z))
    held = max(1, round(HELD_OUT * len(z)))
    whole = InMemory(z, labels, spec)
    if of_frames(latents):
        whole.lengths = extent(z)
    splits = Splits(whole.subset(order[held:]), whole.subset(order[:held]), whole.subset(order[:0]), spec, "latents")
    loop = prepare(model, splits, (), ELBO(), training, seed, device, None, Progress(quiet))
    if not loop.run():
        raise KeyboardInterrupt  # half a fit must not pass for a whole one
    return trained(loop).distribution


def _diffusion(shape: tuple[int, ...], classes: int | Conditions) -> Diffusion:
    net = UNet(shape, classes=classes, by_place=True) if len(shape) == 3 else TimeMLP(shape, classes=classes)
    return Diffusion(net, shape, "v", LinearSchedule(-10.0, 8.0))


def _of_codes(kind: Kind, shape: tuple[int, ...], levels: int, classes: int | Conditions) -> Conditional:
    if kind == "pixel-cnn":
        return PixelCNN(shape, "categorical", width=64, levels=levels, classes=classes, by_place=True)
    return ImageTransformer(shape, levels, dropout=0.1, classes=classes, by_place=True)


def _of_sequences(
    quantizer: ResidualQuantizer, shape: tuple[int, ...], classes: int | Conditions
) -> AutoregressiveCodes:
    """Codes begin with the vectors that stand for them, each codebook at variance 1."""
    books = torch.stack([cast(Tensor, stage.codebook) for stage in quantizer.stages]).cpu()
    features = max(64, quantizer.features)
    model = AutoregressiveCodes(shape[0], quantizer.levels, 2 * shape[1], features=features, classes=classes)
    model.vectors.data[..., : quantizer.features] = books / books.square().mean((1, 2), keepdim=True).sqrt()
    return model


def _density(kind: Kind, dims: int, classes: int | Conditions) -> Conditional:
    if kind == "flow":
        net = Embedding(classes, Flow.outputs(dims, 16)) if classes else None
        return Flow(dims, "coupling", "spline", transforms=6, net=net, context=16 if classes else 0)
    if kind == "made":
        return MADE(dims, hidden=(256, 256), kind="gaussian", components=5, classes=classes, activation="silu")
    hidden = (256, 256)
    q = Gaussian(MLP(dims, 2 * dims, hidden, "silu", classes))
    return VAE(Flat(Normal(dims), q), Gaussian(MLP(dims, 2 * dims, hidden, "silu", classes)))
