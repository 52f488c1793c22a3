"""VAE of pretrained parts for texts: a BERT that encodes, a GPT-2 that writes (Optimus, Li et al. 2020)."""

from __future__ import annotations

from typing import Any, Literal

from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec
from fusevae.distributions.gaussian import Gaussian
from fusevae.distributions.pretrained_language_model import PretrainedLanguageModel
from fusevae.modalities.text.pretrained_tokens import PretrainedTokens
from fusevae.modalities.text.schema import vocabulary_of
from fusevae.models.flat import Flat
from fusevae.models.vae import VAE
from fusevae.nets.mlp import Constant
from fusevae.nets.pretrained_encoder import PretrainedEncoder
from fusevae.objectives.beta import Linear
from fusevae.objectives.elbo import ELBO
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "text"
SMALL = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 128}


def recipe(
    data: DataSpec,
    decoder: str | None = None,
    encoder: str | None = None,
    latent: int = 16,
    inject: Literal["add", "prefix"] = "add",
    free_bits: float = 4.0,
    frozen: tuple[str, ...] = (),
) -> Experiment:
    """``decoder`` and ``encoder`` are folders of ``save_pretrained``, and the data are read with the decoder's tokens
    (``--set data.tokens=FOLDER``); the encoder may have tokens of its own. A part without a folder is a small one that
    starts anew. Latent and ``free_bits`` as of ``text-vae``. ``frozen`` names what keeps the weights that it came with:
    ``decoder.net``, say."""
    size, longest = vocabulary_of(data).size, data.shape[0]
    words = vocabulary_of(data)
    if words is not None and not isinstance(words, PretrainedTokens) and (decoder or encoder):
        part = decoder or encoder
        raise InputError(f"the data's tokens are {words.kind}, a pretrained part has its own: --set data.tokens={part}")
    anew = {"vocabulary": size, "end": size - 2, "unknown": size - 1}
    numbering = words.numbering if isinstance(words, PretrainedTokens) else anew
    ends: dict[str, Any] = {"vocab_size": size, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    about: dict[str, Any] = {**numbering, "context": latent, "inject": inject, "longest": longest}
    about |= {"never_first": words.never_first}
    if decoder:
        writer = PretrainedLanguageModel.from_folder(decoder, **about)
    else:
        positions = {"max_position_embeddings": longest + 8}
        writer = PretrainedLanguageModel({"model_type": "gpt2", **SMALL, **ends, **positions}, **about)
    if encoder:
        own, texts = PretrainedTokens.read(encoder), None
        if isinstance(words, PretrainedTokens) and own.fingerprint != words.fingerprint:
            texts = (words, own)
        reader = PretrainedEncoder.from_folder(
            encoder, **own.numbering, outputs=2 * latent, texts=texts, tells=free_bits
        )
    else:
        positions = {"intermediate_size": 512, "max_position_embeddings": longest + 8}
        reader = PretrainedEncoder(
            {"model_type": "bert", **SMALL, **ends, **positions}, **numbering, outputs=2 * latent, tells=free_bits
        )
    rate = 1e-4 if decoder or encoder else 1e-3  # what begins anew has nothing to lose
    return Experiment(
        model=VAE(Flat(Gaussian(Constant(2 * latent)), Gaussian(reader)), decoder=writer),
        objective=ELBO(beta=Linear(part=0.3), free_bits=free_bits, per="whole"),
        training=Training(epochs=5, batch_size=32, learning_rate=rate, weight_decay=0.01, frozen=frozen),
    )
