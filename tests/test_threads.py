"""Functions with a seed give the same from several threads as one after the other, and leave the caller's generator."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

import fusevae
from fusevae import MLP, VAE, Artifact, DataSpec, Flat, Gaussian, Normal

DIMS, THREADS = 4, 4


def model() -> Artifact:
    """A VAE of vectors, not trained."""
    torch.manual_seed(3)
    vae = VAE(Flat(Normal(2), Gaussian(MLP(DIMS, 4))), decoder=Gaussian(MLP(2, 2 * DIMS)))
    return Artifact(vae, DataSpec((DIMS,))).eval()


ARTIFACT = model()
X = torch.randn(30, DIMS, generator=torch.Generator().manual_seed(1))
Z = torch.randn(6, 2, generator=torch.Generator().manual_seed(2))
HOLES = torch.rand(X.shape, generator=torch.Generator().manual_seed(4)) < 0.3
SHORT: dict[str, Any] = {"training": {"epochs": 1, "batch_size": 10}, "quiet": True}

CALLS: dict[str, Callable[[int], Any]] = {
    "sample": lambda seed: fusevae.sample(ARTIFACT, 5, seed=seed),
    "log_likelihood": lambda seed: fusevae.log_likelihood(ARTIFACT, X, importance_samples=3, seed=seed),
    "evaluate": lambda seed: fusevae.evaluate(ARTIFACT, X, importance_samples=3, seed=seed).log_likelihood,
    "encode": lambda seed: fusevae.encode(ARTIFACT, X, seed=seed),
    "decode": lambda seed: fusevae.decode(ARTIFACT, Z, seed=seed),
    "reconstruct": lambda seed: fusevae.reconstruct(ARTIFACT, X, seed=seed),
    "reconstruction_quality": lambda seed: fusevae.reconstruction_quality(ARTIFACT, X, seed=seed),
    "interpolate": lambda seed: fusevae.interpolate(ARTIFACT, X[:2], X[2:4], steps=3, seed=seed),
    "traverse": lambda seed: fusevae.traverse(ARTIFACT, X, steps=3, seed=seed),
    "neighbours": lambda seed: fusevae.neighbours(ARTIFACT, X, X[:3], k=2, seed=seed),
    "latent_map": lambda seed: fusevae.latent_map(ARTIFACT, X, seed=seed),
    "attribute_vectors": lambda seed: fusevae.attribute_vectors(ARTIFACT, X, {"a": X[:, 0] > 0}, seed=seed),
    "add_attribute": lambda seed: fusevae.add_attribute(ARTIFACT, X[:3], Z[0], [0.0, 1.0], seed=seed),
    "impute": lambda seed: fusevae.impute(ARTIFACT, X, HOLES, samples=2, steps=3, seed=seed),
    "denoise": lambda seed: fusevae.denoise(ARTIFACT, X, 0.3, samples=2, steps=3, seed=seed),
    "anomaly": lambda seed: fusevae.anomaly(ARTIFACT, X[:5], X, importance_samples=2, seed=seed),
    "annealed_likelihood": lambda seed: fusevae.annealed_likelihood(ARTIFACT, X[:3], steps=3, chains=2, seed=seed),
    "annealed_sandwich": lambda seed: fusevae.annealed_sandwich(ARTIFACT, 3, steps=3, chains=2, seed=seed),
    "compare": lambda seed: fusevae.compare({"a": ARTIFACT, "b": ARTIFACT}, X, importance_samples=2, seed=seed),
    "comparison": lambda seed: fusevae.comparison({"a": ARTIFACT}, X, importance_samples=2, seed=seed),
    "fit": lambda seed: fusevae.fit(ARTIFACT.distribution, X, seed=seed, **SHORT).state_dict(),
    "fit_prior": lambda seed: fusevae.fit_prior(
        ARTIFACT, X, "mixture", components=2, seed=seed, quiet=True
    ).state_dict(),
}
#: what draws by these functions, or by a generator of its own
OTHERS = {
    "bench", "classify", "compare_runs", "disentanglement", "fit_property", "group_p_value", "molecule_quality",
    "optimise", "optimise_molecules", "predict_property", "reverse_perplexity", "sample_quality", "shapes",
    "speak", "train_extractor", "tune",
}  # fmt: skip


def plain(value: Any) -> Any:
    """Results as nested tuples of bytes and numbers."""
    if isinstance(value, torch.Tensor):
        return value.numpy().tobytes()
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, dict):
        return tuple((k, plain(v)) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(map(plain, value))
    if dataclasses.is_dataclass(value):
        return plain({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})
    return value


def test_every_function_with_a_seed_is_tried():
    functions = [name for name in fusevae.__all__ if inspect.isfunction(getattr(fusevae, name))]
    seeded = {name for name in functions if "seed" in inspect.signature(getattr(fusevae, name)).parameters}
    assert seeded == set(CALLS) | OTHERS


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", CALLS)
def test_threads_give_what_one_gives_and_leave_the_callers_generator(name):
    n = 200 if name == "sample" else 6
    before = torch.random.get_rng_state()
    serial = [plain(CALLS[name](seed)) for seed in range(n)]
    with ThreadPoolExecutor(THREADS) as pool:
        together = list(pool.map(lambda seed: plain(CALLS[name](seed)), range(n)))
    assert together == serial
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_training_lets_others_draw_between_its_steps():
    long = {**SHORT, "training": {"epochs": 40, "batch_size": 10}}
    alone = plain(fusevae.fit(ARTIFACT.distribution, X, **long).state_dict())
    drawn = [plain(CALLS["sample"](seed)) for seed in range(50)]
    with ThreadPoolExecutor(2) as pool:
        training = pool.submit(lambda: plain(fusevae.fit(ARTIFACT.distribution, X, **long).state_dict()))
        found, before_the_end = [], 0
        for seed in range(50):
            found.append(plain(CALLS["sample"](seed)))
            before_the_end += not training.done()
        assert training.result() == alone
    assert found == drawn and before_the_end
