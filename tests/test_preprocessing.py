"""Steps and views: log-determinants, inverses, bounds, and what may depend on what."""

import math

import pytest
import torch
from torch.distributions import Normal as TorchNormal

from fusevae import MLP, Bytes, DiscretizedLogistic, Gaussian, Preprocessed, fit, log_likelihood, read_data, sample
from fusevae.core import noise
from fusevae.core.description import build, describe
from fusevae.core.errors import InputError, SlotError
from fusevae.core.spec import DataSpec
from fusevae.core.tails import Tails
from fusevae.data.preprocessing import Dequantize, Logit, Normalise, Standardise
from fusevae.data.used_levels import UsedLevels
from fusevae.modalities.images.views import Binarize, Crop, Flip, Resize, content_noise
from fusevae.modalities.text.schema import TextSchema
from fusevae.training.recipes import find

GREY = DataSpec((1, 8, 8), "uint8", 0, 255)


def fitted(step, x):
    step.fit(x)
    return step


def unit(n=5, shape=(2, 3)):
    return torch.rand((n, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


STEPS = {
    "normalise": lambda: Normalise(-1, 3, -2, 5),
    "normalise-fitted": lambda: fitted(Normalise(to_low=-1), unit()),
    "standardise": lambda: fitted(Standardise((2, 3)), unit(50)),
    "logit": lambda: Logit(0.01),
    "tails": lambda: Tails(0.3),
    "logit-default": lambda: Logit(),
}


@pytest.mark.parametrize("name", STEPS)
def test_log_determinant_is_that_of_autograds_jacobian(name):
    step, x = STEPS[name]().double(), unit()
    logdet = step(x)[1]
    assert logdet.shape == (5,)
    for i in range(5):
        jacobian = torch.autograd.functional.jacobian(lambda v: step(v[None])[0][0], x[i]).reshape(6, 6)
        assert logdet[i].item() == pytest.approx(torch.linalg.slogdet(jacobian)[1].item(), abs=1e-9)


@pytest.mark.parametrize("name", STEPS)
def test_inverse_undoes_for_samples_of_a_batch_too(name):
    step, x = STEPS[name]().double(), unit()
    y, _ = step(x)
    torch.testing.assert_close(step.inverse(y), x)
    torch.testing.assert_close(step.inverse(y.expand(4, 3, *y.shape)), x.expand(4, 3, *x.shape))


@pytest.mark.parametrize("name", STEPS)
def test_steps_are_rebuilt_from_description_and_buffers(name):
    step = STEPS[name]()
    again = build(describe(step))
    again.load_state_dict(step.state_dict())
    x = unit().float()
    torch.testing.assert_close(again(x), step(x), rtol=0, atol=0)


def test_logit_keeps_its_digits_at_the_ends_in_float32():
    x = torch.tensor([[0.0, 1e-7, 1e-3, 0.5, 1 - 1e-3, 1 - 2**-24, 1.0]])
    y, logdet = Logit()(x)
    exact, exact_logdet = Logit()(x.double())
    torch.testing.assert_close(y.double(), exact, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(logdet.double(), exact_logdet, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(Logit().inverse(y), x, rtol=1e-5, atol=1e-7)
    assert y.isfinite().all()


def test_dequantized_integers_come_back_even_next_to_the_next_one():
    x = torch.tensor([0.0, 1, 100, 254, 255]).repeat(400, 100)  # float32 rounds 255.999998 up to 256
    x[:, 0] = 65535
    for seed in range(20):
        with noise.keyed(seed):
            y, logdet = Dequantize()(x)
        assert torch.equal(Dequantize().inverse(y), x)
        assert logdet == 0.0
    assert (y >= x).all()
    assert (y - x).mean().item() == pytest.approx(0.5, abs=0.01)


def test_dequantization_is_an_evidence_bound():
    p, x = TorchNormal(2.3, 1.5), torch.arange(-3.0, 9.0).repeat(20_000, 1)
    with noise.keyed("bound"):
        y, _ = Dequantize()(x)
    log_p = p.log_prob(y.double())
    exact = (p.cdf(x[0].double() + 1) - p.cdf(x[0].double())).log()
    torch.testing.assert_close(log_p.logsumexp(0) - math.log(20_000), exact, atol=0.02, rtol=0)
    assert (log_p.mean(0) <= exact + 0.005).all()
    assert (log_p.mean(0) < exact - 0.005).any()


def test_dequantization_noise_is_keyed_and_doesnt_depend_on_the_number_of_processes():
    x = torch.zeros(6, 2, 3)
    with noise.keyed(1):
        whole = Dequantize()(x)[0]
    with noise.keyed(1, rows=noise.Rows(2, 5, 6)):
        part = Dequantize()(x[2:5])[0]
    assert torch.equal(whole[2:5], part)


def test_whole_numbers_of_which_few_are_used_keep_a_mass_over_all_of_them():
    values, x = (2, 3, 40, 90, 99), torch.arange(0.0, 101)[:, None]
    step = UsedLevels(values, 0, 100)
    seen = torch.tensor([2.0] * 6 + [3.0] * 3 + [40.0] * 2 + [41.0])[:, None]
    step.fit(seen)
    assert step.odd[2].item() == pytest.approx(2 / 5)  # one of three is none of the values, by the rule of succession
    decoder = DiscretizedLogistic(MLP(2, DiscretizedLogistic.outputs((1,), 2), hidden=(4,)), 2, levels=5)
    p = Preprocessed([step, Normalise(0, 4, -1, 1)], decoder)(torch.randn(1, 2))
    masses = p.log_bound(x[:, None]).exp()
    assert masses.sum().item() == pytest.approx(1, abs=1e-5)
    inside = decoder(torch.zeros(1, 2)).log_prob(torch.tensor([[0.0]]))  # the place of 40 in the middle
    far = Preprocessed([step, Normalise(0, 4, -1, 1)], decoder)(torch.zeros(1, 2)).log_bound(torch.tensor([[[50.0]]]))
    others = sum(21.5 < v <= 65 for v in range(101)) - 1
    assert far.item() == pytest.approx(inside.item() + math.log(0.4 / others), abs=1e-5)
    assert set(p.sample((200,)).unique().tolist()) <= set(values)
    with pytest.raises(SlotError, match="take a mass"):
        Preprocessed([step], Gaussian(MLP(2, 2)))


def test_pictures_of_few_greys_are_learned_as_these():
    greys = torch.tensor([0, 60, 128, 255], dtype=torch.uint8)
    x = greys[torch.randint(4, (300, 1, 8, 8), generator=torch.Generator().manual_seed(0))]
    data = read_data(x, validation=0.0, test=0.0)
    for name in ("conv-vae", "vq-vae", "fsq-vae", "logistic-vae"):
        model = find(name)(data.spec).model
        assert isinstance(model.steps[0], UsedLevels), name
    artifact = fit("logistic-vae", data, training={"epochs": 2}, quiet=True)
    assert artifact.support == "mass on {0..255}^1x8x8"
    assert set(sample(artifact, 8, kind="sample").unique().tolist()) <= {0, 60, 128, 255}
    other = x.clone()
    other[0, 0, 0, 0] = 200  # none of them has it
    each = log_likelihood(artifact, torch.stack([x[0], other[0]]), importance_samples=4)
    assert each.isfinite().all()
    assert each[1] < each[0] - 5


def test_standardise_gives_mean_zero_and_deviation_one_on_what_it_was_fitted_on():
    x = torch.randn(5000, 3, generator=torch.Generator().manual_seed(1)) * torch.tensor([1e-3, 1.0, 50]) + 1e3
    x[:, 1] = 0.1  # constant: shifted only
    step = fitted(Standardise((3,)), x)
    y = step.double()(x.double())[0]
    torch.testing.assert_close(y.mean(0), torch.zeros(3, dtype=torch.float64), atol=0.05, rtol=0)  # 1e3 in float32
    torch.testing.assert_close(y.std(0, correction=0)[[0, 2]], torch.ones(2, dtype=torch.float64), atol=1e-4, rtol=0)
    assert step.std[1] == 1
    before = step.mean.clone()
    step(torch.randn(7, 3).double())
    assert torch.equal(before, step.mean)


def test_normalise_fits_only_what_was_not_given():
    step = fitted(Normalise(low=0.0), torch.tensor([[2.0], [8.0]]))
    assert (step.low.item(), step.high.item()) == (0.0, 8.0)
    assert fitted(Normalise(), torch.full((3, 2), 4.0))(torch.full((1, 2), 4.0))[0].tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Normalise(1, 1),
        lambda: Normalise(0, math.inf),
        lambda: Normalise(0, 1, 1, 0),
        lambda: Logit(0),
        lambda: Logit(0.5),
        lambda: fitted(Standardise((3,)), torch.zeros(4, 2)),
        lambda: fitted(Standardise((3,)), torch.zeros(0, 3)),
        lambda: fitted(Normalise(high=1.0), torch.full((2, 2), 5.0)),
        lambda: Binarize("soft"),  # type: ignore[arg-type]
        lambda: Binarize().spec(DataSpec((2,), "float32", -1, 1)),
        lambda: Binarize().spec(DataSpec((2,), "float32", 0, math.inf)),
        lambda: Binarize().spec(DataSpec((2,), "int64", 0, 5, schema=TextSchema(Bytes()))),
        lambda: Resize(0, 4),
        lambda: Resize(4, 4).spec(DataSpec((2,))),
        lambda: Crop(9, 8).spec(GREY),
        lambda: Crop(4, 4).spec(DataSpec((2,))),
        lambda: Flip().spec(DataSpec((2,))),
    ],
)
def test_what_cant_be_used_is_refused_in_one_line(make):
    with pytest.raises(InputError) as error:
        make()
    assert "\n" not in str(error.value)


def binarize(mode="dynamic", seed=0):
    view = Binarize(mode, seed)
    assert view.spec(GREY).dtype == "bool"
    return view


@pytest.mark.parametrize("mode", ["dynamic", "fixed"])
def test_binarization_has_the_grey_value_as_its_mean(mode):
    images = torch.arange(64, dtype=torch.uint8).mul(4).view(1, 1, 8, 8).repeat(4000, 1, 1, 1)
    images[:, 0, 0, 0] = torch.arange(4000) // 16  # different images, or the fixed noise would be one
    images[:, 0, 0, 1] = torch.arange(4000) % 16
    with noise.keyed(0):
        y = binarize(mode)(images)
    assert set(y.unique().tolist()) == {0.0, 1.0}
    error = (y.mean(0) - images.float().mean(0) / 255).abs()
    assert error.flatten()[2:].max() < 4 * 0.5 / 4000**0.5


def test_dynamic_binarization_is_the_same_for_the_same_key_only():
    view, x = binarize(), torch.full((2, 1, 8, 8), 100, dtype=torch.uint8)
    drawn = []
    for key in (0, 0, 1):
        with noise.keyed(key):
            drawn.append(view(x))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_fixed_binarization_is_a_function_of_the_image_and_the_seed():
    x = torch.randint(0, 256, (50, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    view = binarize("fixed")
    y = view(x)
    order = torch.randperm(50)
    assert torch.equal(view(x[order]), y[order])
    assert torch.equal(view.eval()(x.float()), y)
    assert not torch.equal(binarize("fixed", seed=1)(x), y)


def test_content_noise_is_uniform_and_independent_between_near_images():
    x = torch.zeros(3000, 1, 4, 4, dtype=torch.uint8)
    x[:, 0, 3, 3] = torch.arange(3000) % 250
    x[:, 0, 0, 0] = torch.arange(3000) // 250  # neighbours differ in one pixel by one
    u = content_noise(x).flatten(1).double()
    assert u.min() >= 0
    assert u.max() < 1
    assert ((u.flatten() * 20).long().bincount(minlength=20) / u.numel() - 0.05).abs().max() < 0.005
    both = torch.cat([u[:-1], u[1:]], 1).T.corrcoef()  # between pixels, and between neighbours
    assert (both - torch.eye(32)).abs().max() < 5 / 3000**0.5


def test_threshold_draws_nothing_and_restore_gives_grey_values():
    view = binarize("threshold")
    assert view(torch.tensor([[[[0, 127, 128, 255]]]], dtype=torch.uint8)).flatten().tolist() == [0, 0, 1, 1]
    assert view.restore(torch.tensor([0.0, 0.5, 1.0])).tolist() == [0, 127.5, 255]
    assert view.label == "binarized (threshold)"
    assert view.changes_support
    assert not Flip().changes_support


def test_resize_keeps_constants_integers_and_the_mean():
    x = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    view = Resize(4, 4)
    assert view.spec(DataSpec((3, 8, 8), "uint8", 0, 255)).shape == (3, 4, 4)
    y = view(x)
    assert y.dtype == torch.uint8
    assert abs(y.float().mean() - x.float().mean()) < 5
    assert (Resize(5, 3)(torch.full((1, 1, 8, 8), 77, dtype=torch.uint8)) == 77).all()
    after_binarize = Resize(3, 3)
    after_binarize.spec(DataSpec((1, 8, 8), "bool", 0, 1))
    assert set(after_binarize(torch.rand(9, 1, 8, 8).round()).unique().tolist()) <= {0.0, 1.0}


def test_crop_takes_windows_of_the_image_everywhere_in_training_and_the_centre_in_evaluation():
    x = torch.arange(2 * 5 * 6).view(1, 2, 5, 6).repeat(500, 1, 1, 1)
    view = Crop(3, 4)
    view.spec(DataSpec((2, 5, 6), "int64", 0, 59))
    assert torch.equal(view.eval()(x), x[:, :, 1:4, 1:5])
    with noise.keyed(0):
        y = view.train()(x)
    found = set()
    for window in y:
        top, left = divmod(int(window[0, 0, 0]), 6)
        assert torch.equal(window, x[0, :, top : top + 3, left : left + 4])
        found.add((top, left))
    assert found == {(top, left) for top in range(3) for left in range(3)}


def test_flip_mirrors_half_of_the_images_in_training_only():
    x = torch.arange(12).view(1, 1, 3, 4).repeat(1000, 1, 1, 1)
    view = Flip()
    with noise.keyed(0):
        y = view(x)
    mirrored = (y == x.flip(-1)).flatten(1).all(1)
    assert ((y == x).flatten(1).all(1) | mirrored).all()
    assert 400 < mirrored.sum() < 600
    assert torch.equal(view.eval()(x), x)
