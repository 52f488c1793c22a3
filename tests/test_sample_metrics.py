"""Figures about samples and reconstructions against closed forms, and on cases whose answer is known."""

import json
import math

import pytest
import torch
from torch import nn
from torch.distributions import Independent
from torch.distributions import Normal as TorchNormal

import fusevae
import fusevae.nets.classifier
from fusevae import MLP, VAE, Artifact, DataSpec, Flat, Gaussian, InputError, Level, Normal
from fusevae.core.conditional import Conditional
from fusevae.data.examples import InMemory
from fusevae.data.source import Source
from fusevae.evaluation.distances import (
    distances,
    energy_distance,
    frechet_distance,
    kernel_distance,
    nearest,
    neighbourhoods,
)
from fusevae.evaluation.features import Columns, Scripted, features, fingerprint
from fusevae.evaluation.fidelity import psnr, reconstruction_quality, ssim
from fusevae.evaluation.intervals import interval, spread
from fusevae.evaluation.judge import TooFew
from fusevae.evaluation.likeness import apart
from fusevae.evaluation.quality import Reference, sample_quality
from fusevae.evaluation.rows import rows
from fusevae.modalities.audio.classifier import kept
from fusevae.modalities.images.extractor import Turned, cache_folder, extractor_for, kept_at, train_extractor
from fusevae.training.outcome import to_json
from fusevae.training.still import Classifying, held_apart, train_until_still


class Plain(nn.Module):
    """The values themselves as features."""

    def features(self, x):
        return x.flatten(1)


class Given(Conditional):
    """A model that only samples: one of the rows that it holds, with a little noise."""

    level = Level.SAMPLES

    def __init__(self, rows, scale=1e-6):
        super().__init__()
        self.register_buffer("rows", rows)
        self.scale = scale

    def forward(self, *conditions):
        return _Pick(self.rows, self.scale)


class _Pick(torch.distributions.Distribution):
    arg_constraints = {}

    def __init__(self, rows, scale):
        super().__init__(torch.Size(), rows.shape[1:], validate_args=False)
        self.rows, self.scale = rows, scale

    def sample(self, sample_shape=torch.Size()):
        rows = self.rows[torch.randint(len(self.rows), tuple(sample_shape))]
        return rows + self.scale * torch.randn_like(rows)


# distances of two sets


def cubic_mmd(shift, dims):
    """E k(x, x') + E k(y, y') - 2 E k(x, y) for x ~ N(0, I), y ~ N(shift, I): with k a cubic polynomial of the product
    s = x y / d, whose moments are known."""

    def expected(a, b):  # x ~ N(a, I), y ~ N(b, I), both means along the first axis
        # s = sum x_i y_i / d: its moments from those of independent products
        one = [(a * b, (1 + a * a) * (1 + b * b), (a**3 + 3 * a) * (b**3 + 3 * b))]
        rest = [(0.0, 1.0, 0.0)] * (dims - 1)
        m1, m2, m3 = 0.0, 0.0, 0.0
        for first, second, third in one + rest:  # moments of a sum of independent terms
            m1, m2, m3 = (
                m1 + first,
                m2 + 2 * m1 * first + second,
                m3 + 3 * m2 * first + 3 * m1 * second + third,
            )
        m1, m2, m3 = m1 / dims, m2 / dims**2, m3 / dims**3
        return 1 + 3 * m1 + 3 * m2 + m3

    return expected(0, 0) + expected(shift, shift) - 2 * expected(0, shift)


@pytest.mark.parametrize(("shift", "dims"), [(0.0, 3), (1.0, 3), (2.0, 5)])
def test_kid_of_shifted_gaussians_is_its_closed_form(shift, dims):
    torch.manual_seed(0)
    a, b = torch.randn(6000, dims), torch.randn(6000, dims)
    b[:, 0] += shift
    value, error = kernel_distance(a, b)
    exact = cubic_mmd(shift, dims)
    assert abs(value - exact) < 4 * error
    assert frechet_distance(a, b) == pytest.approx(shift**2, abs=0.15)


def test_kid_is_unbiased_however_few_there_are():
    torch.manual_seed(0)
    values = torch.tensor([kernel_distance(torch.randn(8, 2), torch.randn(8, 2))[0] for _ in range(1500)])
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(1500)
    assert values.min() < 0


def test_the_standard_error_of_kid_is_that_of_repeated_draws():
    torch.manual_seed(0)
    found = torch.tensor([kernel_distance(torch.randn(400, 2), torch.randn(400, 2) + 0.5) for _ in range(200)])
    assert found[:, 1].square().mean().sqrt() == pytest.approx(found[:, 0].std().item(), rel=0.2)


def test_the_order_of_the_examples_does_not_matter():
    x = torch.randn(2000, 2)
    x[:, 0] = x[:, 0].sort().values  # as of data sorted by class
    value, error = kernel_distance(x, x[torch.randperm(2000)])
    assert abs(value) < 4 * error + 1e-3


def test_energy_distance_of_gaussians_is_its_closed_form():
    """E |x - y| of N(m, 2): 2 / sqrt(pi) exp(-m^2 / 4) + m erf(m / 2)."""
    torch.manual_seed(0)
    m = 1.5
    apart = 2 / math.sqrt(math.pi) * math.exp(-m * m / 4) + m * math.erf(m / 2)
    exact = 2 * apart - 2 * 2 / math.sqrt(math.pi)
    a, b = torch.randn(2000, 1), torch.randn(2000, 1)
    assert energy_distance(a, b + m) == pytest.approx(exact, rel=0.07)
    assert abs(energy_distance(a, b)) < 0.01
    same = 3 * torch.randn(2000, 1).sign() * torch.rand(2000, 1).round()  # as N(0, 4.5) by its first two moments
    other = math.sqrt(4.5) * torch.randn(2000, 1)
    assert frechet_distance(same, other) < 0.05
    assert energy_distance(same, other) > 0.1


def test_precision_and_recall_tell_missing_modes_from_bad_samples():
    torch.manual_seed(0)
    modes = torch.tensor([[0.0, 0.0], [20.0, 0.0]])
    real = torch.randn(1000, 2) + modes[torch.arange(1000) % 2]
    one_mode = torch.randn(1000, 2)
    with_noise = torch.cat([real[:500] + 0.01, torch.rand(500, 2) * 200 - 1000])
    found = neighbourhoods(real, one_mode)
    assert found["precision"] > 0.9 and found["recall"] == pytest.approx(0.5, abs=0.1)
    assert found["coverage"] == pytest.approx(0.5, abs=0.05)
    found = neighbourhoods(real, with_noise)
    assert found["precision"] == pytest.approx(0.5, abs=0.02)
    assert found["density"] == pytest.approx(0.5, abs=0.15)


def test_density_and_coverage_of_equal_distributions():
    """Density is 1 on average; coverage is 1 - (1 - k / N ...)^N, about 1 - 2^-k for as many samples as examples."""
    torch.manual_seed(0)
    found = neighbourhoods(torch.randn(3000, 3), torch.randn(3000, 3), dense=5)
    assert found["density"] == pytest.approx(1, abs=0.05)
    assert found["coverage"] == pytest.approx(1 - 2.0**-5, abs=0.01)


def test_an_outlier_makes_precision_large_but_not_density():
    torch.manual_seed(0)
    real = torch.cat([torch.randn(500, 2), torch.tensor([[100.0, 0.0]])])
    far = torch.tensor([60.0, 0.0]) + torch.randn(500, 2)
    found = neighbourhoods(real, far)
    assert found["precision"] > 0.9
    assert found["density"] < 0.25 and found["coverage"] < 0.01


def test_identical_sets_and_duplicated_points():
    x = torch.randn(300, 4) * 100 + 1000  # far from the origin, where products lose digits
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-6)
    found = neighbourhoods(x, x)
    assert found["precision"] == found["recall"] == found["coverage"] == 1
    assert torch.equal(nearest(x, x)[0], torch.zeros(300, 1, dtype=torch.float64))
    twice = x.repeat(8, 1)  # each radius is zero, and every sample lies on one
    found = neighbourhoods(twice, x.repeat(8, 1))
    assert found["precision"] == found["recall"] == 1
    assert neighbourhoods(twice, twice + 1e-3)["precision"] == 0


def test_distances_are_those_by_differences(monkeypatch):
    monkeypatch.setattr("fusevae.evaluation.distances.AT_ONCE", 70)
    a, b = torch.randn(33, 5), torch.randn(20, 5)
    direct = (a[:, None].double() - b.double()).square().sum(-1).sqrt()
    assert torch.allclose(torch.cat([rows.clone() for rows in distances(a, b)]), direct)
    centre = b.double().mean(0)
    x, y = a.double() - centre, b.double() - centre
    norms = x.square().sum(1, keepdim=True) + y.square().sum(1)
    plain = (norms - 2 * x @ y.T).clamp(min=0).sqrt()
    torch.testing.assert_close(torch.cat([rows.clone() for rows in distances(a, b)]), plain, rtol=1e-12, atol=1e-12)
    assert len({rows.data_ptr() for rows in distances(a, b)}) == 1  # no new memory for each block
    values, indices = nearest(a, b, 3)
    assert torch.equal(indices, direct.argsort(1)[:, :3]) and torch.allclose(values, direct.sort(1).values[:, :3])


def test_the_distance_by_products_of_examples_is_that_by_covariances():
    a, b = torch.randn(40, 5).double(), 2 * torch.randn(30, 5).double() + 1
    wide = torch.linalg.qr(torch.randn(60, 5).double())[0].T  # the same in more dimensions, of which most are empty
    assert frechet_distance(a @ wide, b @ wide) == pytest.approx(frechet_distance(a, b), rel=1e-9)


def test_a_mean_of_few_is_inside_its_interval_as_often_as_it_says():
    draws = torch.randn(4000, 4, dtype=torch.float64)
    found = [interval(x.mean().item(), x.std().item() / 2, 4) for x in draws]
    assert sum(low < 0 < high for low, high in found) / 4000 == pytest.approx(0.95, abs=0.015)  # 0.86 with 1.96


def test_the_error_of_each_distance_is_that_of_repeated_draws():
    torch.manual_seed(0)

    def draw():
        return torch.randn(240, 3), torch.randn(240, 3) * 1.3 + 0.4

    found = [apart(*draw()) for _ in range(60)]
    a, b = draw()
    said = spread(apart, a, b, apart(a, b))
    for name in found[0]:
        real = torch.tensor([each[name] for each in found]).std().item()
        assert 0.6 < said.error[name] / real < 1.7, name
    exact = 3 * 0.4**2 + 3 * 0.3**2  # of the two Gaussians
    off = sum(each["fid"] for each in found) / 60 - exact
    assert 0.4 < said.bias["fid"] / off < 2.5
    assert abs(said.bias["kid"]) < 4 * said.error["kid"]


def test_figures_of_few_have_wide_intervals_and_none_is_the_best():
    torch.manual_seed(0)
    truth = Artifact(Normal(2), DataSpec((2,)))
    near = artifact_of(table(3000, seed=4) * 1.1)
    far = artifact_of(table(3000, seed=4) + 9)
    few, many = (sample_quality(near, table(2 * n), Plain(), n) for n in (30, 1000))
    for name, (low, high) in few.intervals.items():
        assert low <= getattr(few, name) <= high and high - low > many.intervals[name][1] - many.intervals[name][0]
    assert few.precision == 1 or few.intervals["precision"][1] > few.precision
    assert few.intervals["precision"][0] < 0.95 and few.intervals["coverage"][1] <= 1
    fid = dict(few.lines())["FID"]
    assert "95 % between" in fid and "of 30 and as many real ones" in fid
    others = {"near": few, "truth": sample_quality(truth, table(60), Plain(), 30)}
    found = {r.name: r.best for r in rows(others)["Samples"]}
    assert found["FID"] == found["precision"] == found["recall"] == set()
    found = {r.name: r for r in rows(others | {"far": sample_quality(far, table(60), Plain(), 30)})["Samples"]}
    assert found["FID"].best == set() and " to " in found["FID"].cells[2]
    far_and_near = {"near": few, "far": sample_quality(far, table(60), Plain(), 30)}
    assert {r.name: r.best for r in rows(far_and_near)["Samples"]}["FID"] == {0}
    again = json.loads(to_json(few))
    assert again["intervals"] == few.intervals and again["n"] == 30 and again["fid_bias"] > 0


def test_too_few_real_examples_are_refused_unless_asked_for():
    held = InMemory(table(60))
    with pytest.raises(TooFew, match=r"there are 30 real examples .* fewer than 50 .*--samples 30"):
        Reference(Plain(), held, n=2000)
    with pytest.raises(TooFew, match="there are 1 real examples"):  # which leaves the likelihood to be evaluated
        Reference(Plain(), InMemory(table(3)), n=2000)
    with pytest.raises(InputError, match="expected at least four"):
        Reference(Plain(), InMemory(table(3)), n=1)
    assert Reference(Plain(), held, n=30).n == 30 and Reference(Plain(), InMemory(table(100)), n=2000).n == 50


def test_what_is_copied_has_an_interval():
    train, held = table(500, seed=1), table(800, seed=2)
    fresh = sample_quality(artifact_of(table(5000, seed=3)), held, Plain(), train=train).copying
    assert fresh.intervals["nearer"][0] < 0.5 < fresh.intervals["nearer"][1]
    assert 0.05 < fresh.intervals["nearer"][1] - fresh.intervals["nearer"][0] < 0.12  # sqrt(1/6 of 1/400) each side
    copied = sample_quality(artifact_of(train), held, Plain(), train=train).copying
    assert copied.intervals["nearer"][0] > 0.98 and copied.intervals["nearer"][1] == pytest.approx(1)


def test_too_few_are_refused():
    for distance in (frechet_distance, kernel_distance, energy_distance, neighbourhoods):
        with pytest.raises(InputError, match="at least two"):
            distance(torch.zeros(1, 2), torch.zeros(5, 2))


# reconstructions


def ssim_by_hand(x, y, span):
    """One channel, window by window."""
    n = min(11, *x.shape)
    n -= 1 - n % 2
    at = torch.arange(n).double() - n // 2
    w = torch.exp(-(at[:, None] ** 2 + at**2) / (2 * 1.5**2))
    w /= w.sum()
    c1, c2, found = (0.01 * span) ** 2, (0.03 * span) ** 2, []
    for i in range(x.shape[0] - n + 1):
        for j in range(x.shape[1] - n + 1):
            a, b = x[i : i + n, j : j + n], y[i : i + n, j : j + n]
            ma, mb = (w * a).sum(), (w * b).sum()
            va, vb, ab = (w * (a - ma) ** 2).sum(), (w * (b - mb) ** 2).sum(), (w * (a - ma) * (b - mb)).sum()
            found.append((2 * ma * mb + c1) * (2 * ab + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    return torch.stack(found).mean()


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 13), (2, 12, 30)])
def test_ssim_window_by_window(shape):
    x = (torch.rand(2, *shape) * 255).double()
    y = (x + 40 * torch.randn_like(x)).clamp(0, 255)
    for i, found in enumerate(ssim(x, y, 255)):
        by_hand = torch.stack([ssim_by_hand(a, b, 255) for a, b in zip(x[i], y[i], strict=True)]).mean()
        assert found.item() == pytest.approx(by_hand.item(), abs=1e-6)


def test_ssim_and_psnr_of_constant_images():
    a, b = 100.0, 150.0
    x, y = torch.full((1, 3, 20, 20), a), torch.full((1, 3, 20, 20), b)
    c1 = (0.01 * 255) ** 2
    assert ssim(x, y, 255).item() == pytest.approx((2 * a * b + c1) / (a * a + b * b + c1), rel=1e-6)
    assert psnr(x, y, 255).item() == pytest.approx(20 * math.log10(255 / 50), rel=1e-6)
    assert psnr(x, x, 255).item() == math.inf
    with pytest.raises(InputError, match="shapes"):
        ssim(x, y[:, :1], 255)


def test_reconstruction_error_is_in_the_units_of_the_data():
    """A decoder that always gives 3 is off by the root mean square of what is left."""
    decoder = Gaussian(nn.Sequential(nn.Linear(1, 2 * 4)), scale="net")
    nn.init.zeros_(decoder.net[0].weight)
    decoder.net[0].bias.data = torch.tensor([3.0] * 4 + [0.0] * 4)
    vae = VAE(Flat(Normal(1), Gaussian(MLP(4, 2))), decoder)
    x = torch.randn(700, 4) * 2 + 3
    found = reconstruction_quality(Artifact(vae, DataSpec((4,), "float32", -5, 11)), x)
    assert found.error == pytest.approx((x - 3).square().mean().sqrt().item(), rel=1e-5)
    assert found.psnr is None and found.ssim is None and found.kind == "mean" and found.span == 16
    again = sample_quality(Artifact(vae, DataSpec((4,), "float32", -5, 11)), x, Plain()).reconstructions
    assert again.feature_error == pytest.approx((x - 3).square().mean().item(), rel=0.1)  # of one half of them


# samples of models


def table(n, dims=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, dims, generator=generator)


def artifact_of(rows, scale=1e-6):
    return Artifact(Given(rows, scale), DataSpec(tuple(rows.shape[1:]), "float32", -5, 5))


def test_samples_that_are_training_examples_are_found_out():
    train, held = table(500, seed=1), table(800, seed=2)
    copied = sample_quality(artifact_of(train), held, Plain(), train=train)
    assert copied.copying.nearer > 0.99 and copied.copying.closest > 0.99
    assert copied.floor is None and copied.reconstructions is None and copied.kind == "sample"
    fresh = sample_quality(artifact_of(table(5000, seed=3)), held, Plain(), train=train)
    assert fresh.copying.nearer == pytest.approx(0.5, abs=0.05)
    assert fresh.copying.closest < 0.04
    train, held, flat = (table(n, 20, seed) for n, seed in ((500, 1), (800, 2), (1, 5)))
    grey = sample_quality(artifact_of(0.1 * flat.expand(400, -1)), held, Plain(), train=train).copying
    assert grey.nearer > 0.9 and grey.closest == 0  # nearer to all than they are to each other
    noisy = sample_quality(artifact_of(train + 0.3 * table(500, 20, seed=6)), held, Plain(), train=train).copying
    assert noisy.closest > 0.9
    train, held = table(500, seed=1), table(800, seed=2)
    far = sample_quality(artifact_of(table(500) + 100), held, Plain(), train=train)
    assert far.copying.nearer == 0
    assert sample_quality(artifact_of(train), held, Plain()).copying is None


def test_the_truth_is_as_near_as_other_real_examples():
    held = table(2000, seed=2)
    exact = Artifact(Normal(2), DataSpec((2,)))
    found = sample_quality(exact, held, Plain(), n=1000)
    assert found.n == 1000
    assert abs(found.kid) < 4 * found.kid_stderr
    assert found.fid < 5 * found.real.fid + 0.01
    assert abs(found.energy) < 0.02
    assert found.precision > 0.9 and found.recall > 0.9
    worse = sample_quality(artifact_of(2 * table(500)), held, Plain(), n=1000)
    for key in ("fid", "kid", "energy"):
        assert getattr(worse, key) > 10 * abs(getattr(found, key))
    assert worse.precision < found.precision
    text = dict(worse.lines())
    assert "samples" in text["judged"] and "real examples" in text["FID"]


def test_the_halves_of_sorted_data_are_alike():
    held = torch.cat([torch.zeros(400, 2), torch.ones(400, 2)]) + 0.1 * table(800)
    found = Reference(Plain(), InMemory(held), n=100)
    assert found.real.fid < 0.05
    alternating = held.view(2, 400, 2).transpose(0, 1).reshape(800, 2)
    assert Reference(Plain(), InMemory(alternating)).real.fid < 0.05


def test_samples_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match="not finite"):
        sample_quality(artifact_of(torch.full((5, 2), torch.nan)), table(100), Plain())


class Labelled(Conditional):
    """Given a label, samples around it; the condition is what makes a sample right."""

    level = Level.SAMPLES
    classes = 3

    def forward(self, *conditions):
        (label,) = conditions
        mean = torch.zeros(1) if label is None else label.float()
        return Independent(TorchNormal(mean.view(-1, 1, 1, 1).expand(-1, 1, 4, 4) * 100, 5.0), 3)


def test_conditional_samples_are_given_the_labels_of_real_examples():
    label = torch.arange(600) % 3
    x = (100 * label.view(-1, 1, 1, 1) + 5 * torch.randn(600, 1, 4, 4)).clamp(0, 255)
    spec = DataSpec((1, 4, 4), "float32", 0, 255, ["a", "b", "c"])
    whole = InMemory(x, label, spec)
    settings = fusevae.Training(epochs=10, batch_size=32, learning_rate=3e-3)
    net, accuracy = train_extractor((x.numpy(), [spec.classes[i] for i in label]), (4,), 8, settings, quiet=True)
    assert accuracy > 0.95
    found = sample_quality(Artifact(Labelled(), spec), whole, net, train=whole)
    assert found.accuracy > 0.95 and found.real_accuracy > 0.95
    assert found.labels == "of the real examples"
    shuffled = InMemory(x, label.roll(1), spec)
    assert sample_quality(Artifact(Labelled(), spec), shuffled, net).accuracy > 0.95
    assert sample_quality(Artifact(Labelled(), spec), shuffled, net).real_accuracy < 0.05
    with pytest.raises(InputError, match="3 conditions were given for 4"):
        fusevae.sample(Artifact(Labelled(), spec), 4, torch.zeros(3).long())


# extractors


def test_columns_are_standardised():
    x = torch.randn(500, 3) * torch.tensor([1.0, 10.0, 0.0]) + 7
    found = features(Columns(InMemory(x)), x)
    assert torch.allclose(found.mean(0), torch.zeros(3), atol=1e-5)
    assert torch.allclose(found.std(0, unbiased=False), torch.tensor([1.0, 1.0, 0.0]), atol=1e-4)


def test_images_without_labels_are_told_by_their_orientation():
    x = fusevae.read_data(None).train.batch(torch.arange(900))[0]
    turned = Turned(InMemory(x[:2]))
    images, label = turned.batch(torch.arange(8))
    assert label.tolist() == [0, 1, 2, 3] * 2
    assert torch.equal(images[6], x[1].rot90(2, (1, 2)))
    assert Turned(InMemory(x[:, :, :6])).turns == (0, 2)
    settings = fusevae.Training(epochs=16, batch_size=32, learning_rate=3e-3, skip=0.0)
    net, accuracy = train_extractor(x, (8, 16), 32, settings, quiet=True)
    assert accuracy > 0.6 and "orientations" in net.about
    real, other = features(net, x[::2]), features(net, x[1::2])
    noisy = features(net, (x[1::2] + 6 * torch.randn(450, 1, 8, 8)).clamp(0, 16))
    assert 2 * frechet_distance(real, other) < frechet_distance(real, noisy)


def test_a_classifier_that_has_learned_nothing_says_so():
    noise = torch.randint(256, (200, 1, 8, 8), dtype=torch.uint8)  # has no orientation
    net, accuracy = train_extractor(noise, (4,), 8, fusevae.Training(epochs=1, batch_size=32), quiet=True)
    assert accuracy < 0.4 and net.about.endswith("a random net's, which see textures and little else")


def test_the_extractor_is_trained_once_for_the_same_data(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FUSEVAE_CACHE", str(tmp_path / "kept"))
    monkeypatch.setattr("fusevae.modalities.images.extractor.UPDATES", 1)
    monkeypatch.setattr("fusevae.modalities.images.extractor.USUAL", fusevae.Training(epochs=0.2, batch_size=64))
    assert cache_folder() == tmp_path / "kept"
    data = Source().read()
    first = extractor_for(data, quiet=True)
    (path,) = (tmp_path / "kept").iterdir()
    assert "training the classifier" in capsys.readouterr().err
    again = extractor_for(Source().read(), quiet=True)
    assert fingerprint(again) == fingerprint(first) and again.about == first.about
    assert "training" not in capsys.readouterr().err
    named = extractor_for(data, path)
    assert fingerprint(named) == fingerprint(first)
    extractor_for(Source(test=0.2).read(), quiet=True)  # other data
    assert len(list((tmp_path / "kept").iterdir())) == 2
    path.write_bytes(path.read_bytes()[:100])
    assert fingerprint(extractor_for(data, quiet=True)) == fingerprint(first)
    with pytest.raises(InputError, match="no extractor"):
        extractor_for(data, tmp_path / "nowhere.safetensors")
    (tmp_path / "file").touch()
    monkeypatch.setenv("FUSEVAE_CACHE", str(tmp_path / "file"))  # where nothing can be kept
    assert fingerprint(extractor_for(data, quiet=True)) == fingerprint(first)


class Still(Classifying):
    """Is right as often as ever from the third look on."""

    updates, looks = [], []

    def forward(self, batch, progress):
        (self.updates if self.training else self.looks).append(len(batch.x))
        return 0 * self.net.weight.sum(), {"accuracy": torch.tensor(min(3, len(self.looks)) / 4)}


def test_a_judge_is_trained_until_it_stands_still_and_the_rule_is_known_by_its_file(monkeypatch):
    monkeypatch.setattr("fusevae.training.still.EVERY", 2)
    monkeypatch.setattr("fusevae.training.still.PATIENCE", 4)
    monkeypatch.setattr("fusevae.training.still.LOOKS", 100)
    longest = fusevae.Training(epochs=50, batch_size=8)
    train_until_still(Still(torch.nn.Linear(1, 1)), InMemory(torch.randn(60, 1)), longest, quiet=True)
    assert len(Still.looks) == 3 + 4 and len(Still.updates) == 4 * len(Still.looks)  # of 350
    rest, held = held_apart(InMemory(torch.arange(60)[:, None]), 1)
    seen = [set(part.batch(torch.arange(len(part)))[0].flatten().tolist()) for part in (rest, held)]
    assert len(seen[1]) == 3 and not seen[0] & seen[1] and len(seen[0]) == 57
    data = Source().read()
    before = kept_at(data), kept(data)
    assert kept_at(data, part=0.5) != before[0] == kept_at(data) and kept(data, 0.5) != before[1]
    monkeypatch.setattr("fusevae.modalities.images.extractor.RULE", (1,))
    assert kept_at(data) != before[0] and kept(data) != before[1]


def test_half_a_training_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("FUSEVAE_CACHE", str(tmp_path))
    monkeypatch.setattr("fusevae.training.loop.Loop._interrupted", lambda self, _: self.step == 3)
    with pytest.raises(KeyboardInterrupt):
        extractor_for(Source().read(), quiet=True)
    assert not list(tmp_path.glob("*.safetensors"))  # its checkpoints are, to go on with


def test_features_do_not_depend_on_the_precision_of_the_model():
    net, x = fusevae.nets.classifier.Classifier((1, 8, 8), 3, 8, (4,)), torch.rand(5, 1, 8, 8) * 255
    plain = features(net, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(features(net, x), plain)


class Means(nn.Module):
    def forward(self, x: torch.Tensor, return_features: bool = False):
        return x.mean((2, 3)) if return_features else x


def test_a_torchscript_file_that_the_user_names(tmp_path):
    torch.jit.script(Means()).save(str(tmp_path / "net.pt"))
    spec = DataSpec((1, 8, 8), "uint8", 0, 16)
    net = Scripted(tmp_path / "net.pt", spec)
    found = features(net, torch.full((3, 1, 8, 8), 8, dtype=torch.uint8))
    assert torch.allclose(found, torch.full((3, 3), 127.5))
    assert net.about == "features of net.pt" and len(fingerprint(net)) == 16
    torch.save({"a": 1}, tmp_path / "pickle.pt")
    with pytest.raises(InputError, match="no TorchScript"):
        Scripted(tmp_path / "pickle.pt", spec)
    with pytest.raises(InputError, match="for images"):
        Scripted(tmp_path / "net.pt", DataSpec((4,)))
    torch.jit.script(nn.Flatten(0)).save(str(tmp_path / "flat.pt"))
    with pytest.raises(InputError, match="expected features"):
        Scripted(tmp_path / "flat.pt", spec)
