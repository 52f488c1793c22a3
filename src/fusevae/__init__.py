"""fusevae: variational autoencoders and their fusions with other deep generative models.

Every model is a conditional distribution; fusing models is nesting them. Names are imported when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "core.artifact": "Artifact",
    "core.conditional": "Conditional",
    "core.description": "build describe described",
    "core.generation": "Generation",
    "core.errors": "InputError SlotError TrainingError",
    "core.levels": "Level",
    "core.conditions": "Conditions Label Number",
    "core.spec": "DataSpec",
    "core.steps": "Step View",
    "nets.mlp": "MLP Constant Embedding",
    "nets.conv": "ConvDecoder ConvEncoder",
    "nets.ladder": "ConvLadder DenseLadder SubPixel",
    "nets.spatial": "SpatialDecoder SpatialEncoder",
    "nets.quantizer": "FiniteScalar VectorQuantizer",
    "nets.masked_conv": "PixelNet",
    "nets.transformer": "Transformer",
    "nets.recurrent": "LSTM",
    "nets.sequence_encoder": "SequenceEncoder",
    "nets.pretrained_encoder": "PretrainedEncoder",
    "nets.critic": "ConvCritic",
    "nets.generator": "ConvGenerator",
    "nets.time_mlp": "TimeMLP",
    "nets.unet": "UNet",
    "distributions.normal": "Normal",
    "distributions.gaussian": "Gaussian",
    "distributions.bernoulli": "Bernoulli",
    "distributions.continuous_bernoulli": "ContinuousBernoulli",
    "distributions.categorical": "Categorical",
    "distributions.discretized_logistic": "DiscretizedLogistic",
    "distributions.gaussian_mixture": "GaussianMixture",
    "distributions.flow": "Flow",
    "distributions.glow": "Glow",
    "distributions.vamp": "Vamp",
    "distributions.image_transformer": "ImageTransformer",
    "distributions.language_model": "LanguageModel",
    "distributions.pretrained_language_model": "PretrainedLanguageModel",
    "distributions.diffusion": "Diffusion",
    "distributions.flow_matching": "FlowMatching",
    "distributions.samplers": "Ancestral DDIM DPMSolver Euler Heun",
    "distributions.schedules": "CauchySchedule CosineSchedule LearnedSchedule LinearSchedule",
    "distributions.made": "MADE",
    "distributions.pixel_cnn": "PixelCNN",
    "distributions.correlated": "FullGaussian LowRankGaussian",
    "distributions.hypersphere": "UniformSphere VonMisesFisher",
    "distributions.one_hot": "OneHotCategoricals",
    "models.flat": "Flat",
    "models.ladder": "Ladder",
    "models.quantized": "Quantized",
    "models.autoencoder": "Deterministic RAE",
    "models.vae": "VAE",
    "models.gan": "Generator",
    "models.preprocessed": "Preprocessed",
    "data.preprocessing": "Dequantize Logit Normalise Reshape Standardise VariationalDequantize",
    "modalities.images.views": "Binarize Crop Flip Resize",
    "data.source": "Source read_data",
    "data.splits": "Splits",
    "modalities.text.tokens": "BPE Bytes Characters Words",
    "modalities.text.pretrained_tokens": "PretrainedTokens",
    "modalities.molecules.smiles_tokens": "SmilesAtoms SmilesPairs",
    "modalities.molecules.selfies_tokens": "Selfies SelfiesPairs",
    "modalities.molecules.random_smiles": "RandomSmiles",
    "objectives.objective": "Objective",
    "objectives.elbo": "ELBO",
    "objectives.beta": "Cyclical Linear",
    "objectives.iwae": "IWAE",
    "objectives.miwae": "MIWAE",
    "objectives.piwae": "PIWAE",
    "objectives.dreg": "DReG",
    "objectives.stl": "STL",
    "objectives.beta_tc": "BetaTC",
    "objectives.mmd": "MMD",
    "objectives.factor_vae": "FactorVAE",
    "objectives.capacity": "Capacity",
    "objectives.adversarial": "Adversarial",
    "objectives.adversarial_autoencoder": "AdversarialAutoencoder",
    "objectives.vae_gan": "VAEGAN",
    "objectives.patch_gan": "PatchGAN",
    "training.settings": "Training",
    "training.fit": "fit resume",
    "training.recipes": "find",
    "training.history": "History",
    "training.callbacks": "Moment",
    "training.loggers": "MLflow TensorBoard WandB",
    "training.run": "Run",
    "training.prior": "fit_prior",
    "modalities.images.extractor": "extractor_for train_extractor",
    "training.experiment": "Experiment",
    "evaluation.results": "Result figure",
    "evaluation.likelihood": "evaluate log_likelihood",
    "evaluation.annealed": "annealed_likelihood annealed_sandwich",
    "evaluation.compare": "compare",
    "evaluation.anomaly": "anomaly group_p_value",
    "evaluation.imputation": "impute",
    "evaluation.denoising": "denoise",
    "evaluation.latents": "encode reconstruct",
    "evaluation.reading": "decode interpolate traverse",
    "evaluation.latent_space": "add_attribute attribute_vectors latent_map neighbours",
    "evaluation.disentanglement": "disentanglement",
    "modalities.images.shapes": "shapes",
    "evaluation.samples": "sample",
    "modalities.text.reverse": "reverse_perplexity",
    "evaluation.quality": "Reference sample_quality",
    "evaluation.distances": "energy_distance frechet_distance kernel_distance neighbourhoods",
    "evaluation.fidelity": "psnr reconstruction_quality ssim",
    "evaluation.comparison": "comparison",
    "modalities.molecules.chemistry": "molecule_table properties",
    "modalities.molecules.quality": "molecule_quality",
    "modalities.molecules.pictures": "molecule_grid property_histograms",
    "modalities.molecules.search": "optimise_molecules predict_property",
    "evaluation.search": "optimise",
    "evaluation.probing": "fit_property",
}
_HOME = {name: module for module, names in _WHERE.items() for name in names.split()}

__all__ = ["__version__", "load", *_HOME]

if TYPE_CHECKING:
    from fusevae.core.artifact import Artifact


def load(path: Any, trust: Any = (), device: Any = "cpu") -> Artifact:
    """Rebuild an artifact from its run folder or file; see :meth:`fusevae.Artifact.load`."""
    from fusevae.core.artifact import Artifact

    return Artifact.load(path, trust, device)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"fusevae.{_HOME[name]}"), name)
    raise AttributeError(f"module 'fusevae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
