"""Few examples: what starts as a constant model, ends no worse than it starts, and is sized by their number."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
import torch

import fusevae
from fusevae import DataSpec, Flow, InputError, Normal, Training, Vamp, describe, fit, log_likelihood, read_data
from fusevae.core.covariance import shrunk
from fusevae.data.baseline import Marginals
from fusevae.data.defaults import LEAST, PLENTY, widths
from fusevae.data.gaussianise import Gaussianise
from fusevae.data.whiten import Whiten
from fusevae.distributions.defensive import Defensive
from fusevae.training.prepare import prepare
from fusevae.training.recipes import find
from fusevae.training.sizing import FEWEST, UPDATES, sized

TABLES = ("made", "maf", "realnvp", "spline-flow", "table-vae")


def table(n: int = 60, seed: int = 0) -> torch.Tensor:
    """Columns that depend on each other, one with heavy tails, one nearly constant."""
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(n, 2, generator=g)
    noise = torch.randn(n, 4, generator=g)
    heavy = noise[:, 2] / (0.1 + torch.rand(n, generator=g))
    rare = (torch.rand(n, generator=g) < 0.03).float() * 9
    return torch.stack([z[:, 0], z[:, 0] + 0.3 * noise[:, 0], z[:, 1] * 50, heavy, rare], 1)


def pictures(n: int = 40) -> np.ndarray:
    g = np.random.default_rng(0)
    return (g.integers(0, 17, (n, 1, 1)) * (g.random((n, 6, 6)) < 0.4)).astype(np.uint8)


def held_at(artifact) -> tuple[float, float]:
    """What validation examples have at the start, and at what is kept."""
    curve = artifact.history.validation
    values = curve["bound"]
    assert curve["step"][0] == 0
    return float(values[0]), float(values.max())


# the start


@pytest.mark.parametrize("recipe", ["made", "maf", "realnvp", "spline-flow", "glow"])
def test_densities_of_few_pictures_start_at_the_constant_model_or_above(recipe):
    data = read_data(pictures(), validation=0.25, test=0)
    made = find(recipe)(data.spec)
    loop = prepare(made.model, data, made.views, made.objective, made.training, 0, "cpu")
    x = data.validation.batch(torch.arange(len(data.validation)))[0]
    player = loop.game.players["model"]
    start = fusevae.core.levels.log_bound(player.artifact.distribution(None), x.float())
    assert (start - player.baseline.log_prob(x) > math.log(0.0099)).all()  # of every one


def test_a_flow_and_made_start_as_the_normal():
    x = torch.randn(300, 3)
    x = (x - x.mean(0)) / x.std(0, correction=0)
    for part in (Flow(3), Flow(3, "autoregressive", "affine"), fusevae.MADE(3, kind="gaussian", components=1)):
        part.start_from(lambda: x)
        off = part().log_prob(x) - Normal(3)().log_prob(x)
        assert off.abs().max() < 0.3 and abs(off.mean()) < 0.02
    trained = Flow(3)
    trained.chain.transforms[0].hyper[-1].bias.data += 0.1
    before = trained().log_prob(x)
    trained.start_from(lambda: x)
    assert torch.equal(trained().log_prob(x), before)  # what was trained stays as it is


# the end


@pytest.mark.parametrize("recipe", TABLES)
def test_a_training_on_sixty_rows_never_ends_below_its_start(recipe):
    """Nor below a constant model on rows that nothing was chosen by, for the densities: by no row beyond the share."""
    data = read_data({"train": table(48), "validation": table(12, 1), "test": table(300, 2)})
    found = fit(recipe, data, training={"epochs": 30, "learning_rate": 0.01}, seed=1, quiet=True)
    start, best = held_at(found)
    assert best >= start
    again = prepare(found.distribution, data, (), fusevae.ELBO(), Training(average=0.0), 1, "cpu")
    again._validate()
    kept = next(r["validation"] for r in again.records if "validation" in r)
    assert kept.get("log_bound", kept.get("elbo")) >= best - 0.006 * abs(best) - 1e-3
    if recipe == "table-vae":
        return
    x = data.test.batch(torch.arange(len(data.test)))[0].float()
    constant = Marginals(data.train.batch(torch.arange(48))[0], None).log_prob(x)
    each = log_likelihood(found, data.test)
    assert (each >= constant + math.log(0.0099)).all() and each.mean() > constant.mean()


def test_a_model_that_only_gets_worse_is_kept_as_it_began_and_the_training_says_so():
    """The first regular validation is a twentieth in: by then a wild step has learned 8 rows by heart."""
    torch.manual_seed(0)
    data = read_data({"train": torch.randn(8, 6), "validation": torch.randn(200, 6)})
    model = fusevae.MADE(6, (256,), "gaussian")
    settings = {"epochs": 300, "batch_size": 8, "learning_rate": 0.03, "warmup": 0.0, "average": 0.0}
    left = fit(model, data, training=settings | {"mend": False}, quiet=True)
    found = fit(model, data, training=settings, quiet=True)
    x = data.validation.batch(torch.arange(200))[0]
    ends = [log_likelihood(a, x).mean().item() for a in (left, found)]
    assert ends[1] > ends[0] + 5 and ends[1] >= held_at(found)[0] - 1e-3
    (event,) = [r for r in found.history.records if r.get("event") == "kept"]
    assert "learned by heart" in event["says"] and "weight_decay" in event["says"]


def test_early_validations_are_at_doubling_steps_and_cost_little():
    data = read_data({"train": torch.randn(90, 2), "validation": torch.randn(20, 2)})
    artifact = fit(fusevae.Gaussian(fusevae.Constant(4)), data, training={"epochs": 2000, "batch_size": 90}, quiet=True)
    early = [r["step"] for r in artifact.history.records if "validation" in r and r["step"] < 100]
    assert early[:2] == [0, 11] and all(b >= 2 * a for a, b in zip(early[1:], early[2:], strict=False))
    many = read_data({"train": torch.randn(90, 2), "validation": torch.randn(5000, 2)})
    stop = [lambda record: record["step"] < 100]
    settings = {"epochs": 2000, "batch_size": 90}
    artifact = fit(fusevae.Gaussian(fusevae.Constant(4)), many, training=settings, callbacks=stop, quiet=True)
    assert [r["step"] for r in artifact.history.records if "validation" in r] == [0, 100]


def test_few_examples_are_never_passed_over_for_long_without_a_look():
    """However long the training: what is learned by heart is learned between two looks."""
    torch.manual_seed(0)
    x = torch.randn(40, 6)
    data = read_data({"train": x[:20], "validation": x[20:]})
    model = fusevae.MADE(6, (64,), "gaussian")
    settings = {"batch_size": 20, "average": 0.9}
    ends = []
    for epochs in (150, 6000):
        stop = [lambda record: record["step"] < 600]
        found = fit(model, data, training=settings | {"epochs": epochs}, callbacks=stop, quiet=True)
        looks = [r["step"] for r in found.history.records if "validation" in r]
        assert max(b - a for a, b in zip(looks, looks[1:], strict=False)) < 100  # of 6,000; a twentieth is 300
        ends.append(max(held_at(found)))
    assert ends[1] > ends[0] - 0.5


# parts


def test_a_defensive_mixture_is_never_far_below_its_wide_part():
    flow = Flow(2, "coupling", "affine", transforms=3, hidden=(8,))
    for p in flow.parameters():
        p.data += torch.randn_like(p)
    x, part = 100 * torch.randn(200, 2), Defensive(flow, Normal(2), 0.02)
    assert (part().log_prob(x) >= Normal(2)().log_prob(x) + math.log(0.02) - 1e-3).all()
    with pytest.raises(InputError, match="share is 1"):
        Defensive(flow, Normal(2), 1.0)
    with pytest.raises(fusevae.SlotError, match="mixture"):
        Defensive(fusevae.Diffusion(fusevae.TimeMLP(2, 4, 1), 2), Normal(2))


def test_whole_numbers_under_a_normal_have_their_own_distribution():
    x = torch.randint(0, 5, (300, 1, 2, 3)).float()
    x[:, :, 0, 0] = 2  # one that never changes
    step = Gaussianise((1, 2, 3), -1, 6)
    step.fit(x + 0.3)
    y = torch.randint(-1, 7, (400, 1, 2, 3)) + torch.rand(400, 1, 2, 3)
    z, log_det = step(y)
    found = log_det + Normal((1, 2, 3))().log_prob(z)
    torch.testing.assert_close(found.double(), Marginals(x, (-1, 6)).log_prob(y.floor()), atol=1e-4, rtol=1e-5)
    assert (step.inverse(z) - y).abs().max() < 1e-4 and step.inverse(z.expand(2, *z.shape)).shape == (2, *y.shape)
    jacobian = torch.autograd.functional.jacobian(lambda a: step(a)[0].flatten(), y[:1]).view(6, 6)
    assert jacobian.diagonal().log().sum().item() == pytest.approx(log_det[0].item(), abs=1e-4)


def test_the_shrunk_covariance_is_that_of_scikit_learn_and_whitening_is_exact():
    from sklearn.covariance import ledoit_wolf

    x = torch.randn(40, 6, dtype=torch.float64) @ torch.randn(6, 6, dtype=torch.float64)
    x = (x - x.mean(0)) / x.std(0, correction=0)
    torch.testing.assert_close(shrunk(x), torch.from_numpy(ledoit_wolf(x.numpy(), assume_centered=True)[0]))
    step = Whiten((2, 3))
    step.fit(x.view(-1, 2, 3))
    y, log_det = step(x.float().view(-1, 2, 3))
    gaussian = torch.distributions.MultivariateNormal(x.mean(0), shrunk(x - x.mean(0)))
    torch.testing.assert_close(
        (Normal((2, 3))().log_prob(y) + log_det).double(), gaussian.log_prob(x), rtol=1e-3, atol=1e-3
    )
    torch.testing.assert_close(step.inverse(y).flatten(1).double(), x, rtol=1e-3, atol=1e-4)
    step.fit(torch.ones(1, 2, 3))  # one row tells of no correlation
    assert torch.equal(step.into, torch.eye(6))


# sizes


@pytest.mark.parametrize("recipe", ["made", "maf", "realnvp", "spline-flow", "glow", "conv-vae", "sigma-vae", "vq-vae"])
def test_many_examples_get_what_recipes_had(recipe):
    """As where nobody knows how many there are; and few get something else."""
    spec = DataSpec((1, 12, 12), "uint8", 0, 255)
    usual, many, few = (describe(find(recipe)(spec.replaced(examples=n))) for n in (None, 60_000, 120))
    assert usual == many != few
    assert usual["training"]["batch_size"] > few["training"]["batch_size"]


@pytest.mark.parametrize("recipe", ["vamp-vae", "hvae-vamp"])
def test_pseudo_inputs_are_a_hundredth_of_the_examples(recipe):
    spec = DataSpec((1, 4, 4), "uint8", 0, 255)
    models = [find(recipe)(spec.replaced(examples=n)).model for n in (None, 50_000, 3000, 100)]
    found = [
        p.shape[0]
        for model in models
        for name, p in model.named_parameters()
        if name.endswith((".prior.raw", ".prior.model.raw"))
    ]
    assert found == [500, 500, 30, 20]


@pytest.mark.parametrize("recipe", ["binary-vae", "flow-vae", "vamp-vae", "hvae-vamp", "latent-diffusion"])
def test_of_few_pictures_weights_decay_more_and_a_learned_prior_pulls_less(recipe):
    """The fewer the more, with no step at the number from which on a recipe is as its paper has it but to no decay."""
    spec = DataSpec((1, 4, 4), "uint8", 0, 255)
    made = [find(recipe)(spec.replaced(examples=n)) for n in (50, 1000, PLENTY - 1, PLENTY, None)]
    decays = [one.training.weight_decay for one in made]
    assert 1 == decays[0] > decays[1] > decays[2] == 0.3 and decays[3:] == [0, 0]
    tops = [getattr(one.model.latents, "top", one.model.latents) for one in made]
    pulls = [0.01**2, 0.2**2, (1 - 1 / PLENTY) ** 2, 1, 1]
    assert [top.pull for top in tops] == pytest.approx([1] * 5 if recipe == "binary-vae" else pulls)
    if recipe not in ("binary-vae", "flow-vae"):  # whose flow costs little
        assert [top.every for top in tops] == [4, 4, 1, 1, 1]


@pytest.mark.parametrize("recipe", ["vamp-vae", "hvae-vamp"])
def test_of_few_pictures_the_mixture_of_a_posterior_is_never_far_below_the_normal(recipe):
    """And begins at examples all the same."""
    spec = DataSpec((1, 4, 4), "uint8", 0, 255)
    few, many = (find(recipe)(spec.replaced(examples=n)).model.latents for n in (200, 60_000))
    few, many = (getattr(one, "top", one) for one in (few, many))
    assert isinstance(many.prior, Vamp)
    z = 30 * torch.randn(50, 40 if recipe == "hvae-vamp" else 50)
    with torch.no_grad():
        for mixture in (few.prior.model, many.prior):  # its components are narrow, as trained ones are
            mixture.posterior.net.layers[-1].bias[z.shape[1] :] -= 3
    normal = Normal(z.shape[1])().log_prob(z)
    assert (few.prior().log_prob(z) >= normal - 0.7).all() and (many.prior().log_prob(z) < normal - 0.7).any()
    assert len(few.prior.model.log_width) == z.shape[1] and many.prior.log_width is None
    few.start_from(lambda: torch.full((30, 1, 4, 4), 0.5))
    torch.testing.assert_close(few.prior.model.pseudo_inputs, torch.full((20, 1, 4, 4), 0.5))


def test_the_flow_of_a_prior_is_small_where_examples_are_few():
    spec, make = DataSpec((1, 4, 4), "uint8", 0, 255), find("flow-vae")
    made = (describe(make(spec.replaced(examples=n)))["model"]["latents"]["prior"] for n in (300, 3000, 60_000))
    assert [(one["transforms"], one["hidden"]) for one in made] == [(1, [32]), (2, [128]), (4, [128, 128])]
    assert describe(make(spec.replaced(examples=300), transforms=3))["model"]["latents"]["prior"]["transforms"] == 3


def test_a_width_and_a_training_follow_the_number_of_examples():
    spec = DataSpec((5,))
    found = [widths(spec.replaced(examples=n), (512, 64))[0] for n in (1, 100, 1000, PLENTY - 1, PLENTY, None)]
    assert found == sorted(found) and found[0] == LEAST and found[-2:] == [512, 512]
    for n in (1, 20, 60, 500, 4000):
        training = sized(spec.replaced(examples=n), Training(epochs=10, batch_size=100))
        assert training.batch_size >= min(FEWEST, 100)
        assert training.epochs * max(1, n // min(n, training.batch_size)) >= UPDATES
    data = read_data(torch.randn(200, 3), test=0)
    made = find("made")(data.spec)
    assert data.spec.examples == len(data.train) == 180 and data.validation.spec is data.spec
    assert (
        fit("made", data, options={"hidden": (7,)}, training={"epochs": 0.1}, quiet=True).n_parameters == 100
    )  # 3 x 7, 7 and 7 x 9, 9
    assert made.training.batch_size == 36


# bytes


def test_bytes_that_are_all_small_have_the_range_that_they_reach(tmp_path, caplog):
    np.savez(tmp_path / "few.npz", x_train=pictures(), x_test=pictures(8) // 2)
    with caplog.at_level(logging.WARNING, "fusevae"):
        spec = fusevae.Source(str(tmp_path / "few.npz")).read().spec
    assert (spec.low, spec.high) == (0, 16)
    (said,) = [r.getMessage() for r in caplog.records if "levels" in r.getMessage()]
    assert "16 of 255" in said and "17 levels" in said and "PNG" in said
    caplog.clear()
    with caplog.at_level(logging.WARNING, "fusevae"):
        for high, most in ((1, 1), (64, 255), (255, 255)):
            x = pictures()
            x[0, 0, 0] = high
            assert read_data(np.minimum(x, high)).spec.high == most
    assert not caplog.records
    binary = find("binary-vae")(spec)
    shown = binary.views[0].eval()(torch.full((1, 1, 6, 6), 16, dtype=torch.uint8))
    assert shown.min() == 1  # the brightest is white


def test_codes_of_few_pictures_are_few():
    spec = DataSpec((1, 8, 8), "uint8", 0, 255)
    found = [find("vq-vae")(spec.replaced(examples=n)).model.model.latents.quantizer.levels for n in (300, 2000, None)]
    assert found == [64, 256, 256]
    sides = [find("fsq-vae")(spec.replaced(examples=n)).model.model.latents.quantizer.levels for n in (300, 2000)]
    assert sides == [64, 240]
