"""What a Gaussian of training rows expects of a column, given those before it."""

from __future__ import annotations

import numpy
import pandas
import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal

import fusevae
from fusevae.core.clusters import NUMBERS, Clusters, clusters, stacked
from fusevae.core.covariance import gaussian, shrunk
from fusevae.distributions.any_order import AnyOrder
from fusevae.modalities.tables.recommend import choices
from fusevae.nets.cells import Cells, Classes, Real, Whole
from fusevae.nets.regression import Regression
from fusevae.nets.transformer import Transformer
from fusevae.recipes import table_transformer


def made(n=400):
    torch.manual_seed(0)
    k = torch.randint(0, 2, (n,)).float()
    x = torch.randn(n, 3) @ torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, 0.8], [0.0, 0.0, 1.0]]) + 1.5 * k[:, None]
    return torch.cat([x, k[:, None]], 1)


@pytest.fixture
def cells():
    found = Cells([Real(), Real(), Real(), Classes(2)])
    found.fit(made())
    return found


def test_it_is_the_conditional_of_a_gaussian_in_any_order(cells):
    regression, x = Regression(cells), made()[:20]
    regression.fit(made())
    order = torch.rand(20, 4).argsort(1)
    found, f, of = regression(x, order), regression._features(x), regression.of
    for row in range(20):
        for c in range(3):
            before = torch.isin(of, order[row, : int((order[row] == c).nonzero())])
            covariance = regression.covariance[0]
            cross, within = covariance[c, before], covariance[before][:, before]
            told = torch.linalg.solve(within, cross)
            mean = regression.center[c] + regression.scale[c] * (told @ f[row, before])
            left = regression.scale[c] * (covariance[c, c] - told @ cross).sqrt()
            torch.testing.assert_close(found.mean[row, 0, c], mean, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(found.log_scale[row, 0, c].exp(), left, atol=1e-4, rtol=1e-4)


def groups(n=300):
    torch.manual_seed(0)
    k = torch.randint(0, 3, (n, 1)).float()
    x = torch.randn(n, 4) * (1 + k) / 4
    x[:, 3] = 0.9 * x[:, 3] + (k[:, 0] - 1) * x[:, 0]
    return x + torch.cat([2 * k, k.square() - 2 * k, -k, 0 * k], 1)


def test_columns_in_any_order_have_the_density_of_a_mixture_of_the_rows():
    cells, x = Cells([Real()] * 4), groups()
    cells.fit(x)
    regression = Regression(cells, 5)
    regression.fit(x)
    assert regression.used == 3  # as many as there are groups
    used = torch.arange(3)
    means = regression.center + regression.scale * regression.means[used]
    scales = regression.scale[:, None] * torch.linalg.cholesky(regression.covariance[used])
    parts = MultivariateNormal(means, scale_tril=scales)
    truth = MixtureSameFamily(Categorical(regression.weights[used]), parts)
    height = cells.heights(x)[0]
    for orders in (len(x), 1, 2):  # each row has one of its own, or few have many
        found = regression(x, torch.rand(orders, 4).argsort(1)[torch.arange(len(x)) % orders])
        each = Normal(found.mean, found.log_scale.exp()).log_prob(height[:, None]) + found.log_weight
        torch.testing.assert_close(each.logsumexp(1).sum(1), truth.log_prob(height), atol=1e-3, rtol=1e-4)


def told(n=300):
    """Three groups of numbers, and what two columns of classes tell of them."""
    x = groups(n)
    torch.manual_seed(0)
    k = torch.randint(0, 3, (n, 1)).float()  # as in groups
    sure = torch.rand(n, 1) < 0.9
    return torch.cat([x, torch.where(sure, k, torch.randint(0, 3, (n, 1))), (k == 1).float()], 1)


def test_numbers_and_classes_in_any_order_have_the_density_of_a_mixture_of_both():
    x = told()
    regression = Regression(Cells([Real()] * 4 + [Classes(3), Classes(2)]), 5)
    regression.fit(x)
    cells, k, c = regression.cells, regression.used, [4, 5, 6, 7, 8]
    assert k == 3 and regression.heights == [0, 1, 2, 3]  # as many as there are groups
    unit = (cells.heights(x[:, :4])[0] - regression.center[:4]) / regression.scale[:4]
    mixture = Clusters(
        regression.weights[:k].log(), regression.means[:k, :4], regression.covariance[:k, :4, :4],
        regression.log_shares[:k, c],
    )  # fmt: skip
    truth = mixture.log_prob(unit, cells.features(x)[:, c]) - regression.scale[:4].log().sum()
    usual = (mixture.log_weights[:, None] + mixture.log_shares).logsumexp(0)
    for orders in (len(x), 2):
        found = regression(x, torch.rand(orders, 6).argsort(1)[torch.arange(len(x)) % orders])
        each = Normal(found.mean, found.log_scale.exp()).log_prob(cells.heights(x[:, :4])[0][:, None])
        total = (each + found.log_weight).logsumexp(1).sum(1)
        for column, options in ((4, c[:3]), (5, c[3:])):
            logits = (found.logits[:, options] + usual[[o - 4 for o in options]]).log_softmax(1)
            total = total + logits.gather(1, x[:, column, None].long())[:, 0]
        torch.testing.assert_close(total, truth, atol=1e-3, rtol=1e-4)


def test_classes_that_add_up_are_told_by_one_gaussian_of_their_indicators():
    torch.manual_seed(0)
    k = torch.randint(0, 2, (400, 3)).float()
    x = torch.cat([k @ torch.tensor([[3.0, 0, 3], [0, 3.0, -3], [3, -3, 0]]) + torch.randn(400, 3), k], 1)
    regression = Regression(Cells([Real()] * 3 + [Classes(2)] * 3), 2)
    regression.fit(x)
    assert regression.used == 1 and not regression.log_shares.any()
    assert Regression(Cells([Real()] * 3)).log_shares.shape == (1, 3)


def test_a_whole_number_that_comes_again_and_again_is_no_component():
    torch.manual_seed(0)
    often = torch.where(torch.rand(300, 1) < 0.9, 0.0, torch.randint(1, 50, (300, 1)).float())
    regression = Regression(Cells([Whole(least=0.0), Real()]), 6)
    regression.fit(torch.cat([often, torch.randn(300, 1)], 1))
    within = regression.scale[0].square() * regression.covariance[: regression.used, 0, 0]
    assert within.min() > 0.1  # each 0 stands somewhere between -1/2 and 1/2


def test_whole_numbers_start_as_far_from_each_other_as_they_are():
    torch.manual_seed(0)
    x = torch.randn(400, 2) * 20
    x[:, 0] = x[:, 0].round()
    cells = Cells([Whole(), Real()])
    p = AnyOrder(Transformer(8, heads=2, layers=1, turns=False), cells, 3, 1, regression=Regression(cells, 3))
    p.start_from(lambda: x)
    torch.testing.assert_close(p().sample((4000,)).std(0), x.std(0), rtol=0.08, atol=0.0)


def test_rows_of_one_group_are_taken_for_one_and_nothing_depends_on_other_random_numbers():
    cells, x = Cells([Real()] * 3), made()[:, :3]
    x = x - 1.5 * made()[:, 3:]
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(Regression(cells, 6))
        found[-1].fit(x)
    assert found[0].used == 1
    torch.testing.assert_close(found[0].state_dict(), found[1].state_dict(), atol=0, rtol=0)


def test_mixtures_have_the_shares_of_greatest_likelihood_and_no_more_components_than_there_may_be():
    torch.manual_seed(0)
    x = torch.where(torch.rand(4000) < 0.3, torch.randn(4000), 4 + torch.randn(4000)).double()
    log_p = torch.stack([Normal(at, scale).log_prob(x) for at, scale in ((0.0, 1.0), (4.0, 1.0), (9.0, 0.5))])
    found = stacked(log_p, [2, 3, 1], 6)
    assert found == {0: pytest.approx(0.3, abs=0.03), 1: pytest.approx(0.7, abs=0.03)}
    assert stacked(log_p, [2, 3, 1], 4) == {1: 1.0}  # of which the other without is worse
    assert stacked(log_p, [2, 3, 1], 2).keys() <= {0, 2}


def test_a_mixture_of_mixtures_begins_with_the_density_that_it_has():
    """Rows along a bow: how many Gaussians they are is a matter of taste."""
    torch.manual_seed(0)
    x = torch.randn(500, 2)
    x[:, 1] = x[:, 0].square() + 0.4 * x[:, 1]
    schema = fusevae.DataSpec((2,), examples=500)
    model = table_transformer.recipe(schema, regression=True).model
    model.start_from(lambda: x)
    regression = model.regression
    assert regression.used > max(NUMBERS) and regression.weights.sum().item() == pytest.approx(1.0, abs=1e-5)
    one = Regression(Cells([Real()] * 2), max(NUMBERS))
    one.fit(x)
    new = torch.randn(4000, 2)
    new[:, 1] = new[:, 0].square() + 0.4 * new[:, 1]

    def density(of):
        found, (height, slope) = of(new, torch.arange(2).expand(4000, -1)), of.cells.heights(new)
        each = Normal(found.mean, found.log_scale.exp()).log_prob(height[:, None]) + found.log_weight
        return (each.logsumexp(1) + slope.log()).sum(1).mean()

    assert density(regression) > density(one)
    with torch.no_grad():
        assert model().log_prob(new).mean() == pytest.approx(density(regression).item(), abs=0.02)
    assert table_transformer.recipe(fusevae.DataSpec((60,), examples=500), regression=True).model.components == 8


def test_few_rows_of_a_group_take_their_covariance_from_the_others():
    torch.manual_seed(0)
    truth = torch.tensor([[1.0, 0.9], [0.9, 1.0]], dtype=torch.float64)
    x = torch.randn(400, 2, dtype=torch.float64) @ torch.linalg.cholesky(truth).T
    x[:4] += 30.0
    of_few, of_many = ((c := clusters(x, 2, strength)).covariances[c.log_weights.argmin()] for strength in (1e-3, 10.0))
    assert (of_many - truth).abs().max() < 0.2 < (of_few - truth).abs().max()


def test_a_regression_of_an_earlier_version_is_read(cells):
    now, old = Regression(cells, 2), Regression(cells)
    old.fit(made())
    state = old.state_dict()
    state = {k: v for k, v in state.items() if k not in ("means", "weights", "log_shares")} | {
        "covariance": state["covariance"][0]
    }
    now.load_state_dict(state)
    x, order = made()[:5], torch.arange(4).expand(5, -1)
    torch.testing.assert_close(now(x, order), old(x, order))


def test_a_default_that_begins_as_a_mixture_comes_back_from_its_folder(tmp_path):
    x = groups()
    table = pandas.DataFrame(x.numpy(), columns=list("abcd"))
    data = fusevae.read_data(table)
    artifact = fusevae.fit("table-transformer", data, training={"epochs": 1}, folder=tmp_path / "run", quiet=True)
    again = fusevae.load(tmp_path / "run")
    assert again.distribution.regression.used == artifact.distribution.regression.used > 1
    torch.testing.assert_close(fusevae.log_likelihood(again, data.test), fusevae.log_likelihood(artifact, data.test))


def test_rows_of_several_groups_begin_as_a_mixture_whose_density_is_nearly_the_truth():
    torch.manual_seed(0)
    schema = fusevae.DataSpec((4,), examples=300)
    model, x = table_transformer.recipe(schema, regression=True).model, groups()
    model.start_from(lambda: x)
    one = Regression(model.cells)
    one.fit(x)
    new = groups(4000)
    expected, (height, slope) = one(new, torch.arange(4).expand(4000, -1)), model.cells.heights(new)
    alone = Normal(expected.mean[:, 0], expected.log_scale[:, 0].exp()).log_prob(height) + slope.log()
    with torch.no_grad():
        assert model().log_prob(new).mean() > alone.sum(1).mean() + 1.0


@pytest.mark.parametrize("by", ["chance", "what is there"])
def test_gaps_leave_mean_and_covariance_of_a_gaussian_as_they_are(by):
    torch.manual_seed(0)
    scales = torch.randn(4, 2, dtype=torch.float64)
    truth = scales @ scales.T + 0.3 * torch.eye(4)
    x = torch.randn(4000, 4, dtype=torch.float64) @ torch.linalg.cholesky(truth).T + 1
    gone = torch.rand(4000, 4) < 0.3 if by == "chance" else (x[:, :1] > 1) & torch.tensor([False, True, True, False])
    mean, covariance = gaussian(x.masked_fill(gone, torch.nan))
    assert (mean - 1).abs().max() < 0.15
    error = (covariance - truth).abs().max() / truth.diagonal().max()
    filled = (x.masked_fill(gone, torch.nan) - x.masked_fill(gone, torch.nan).nanmean(0)).nan_to_num(0.0)
    assert error < 0.15 < 0.25 < (shrunk(filled) - truth).abs().max() / truth.diagonal().max()
    torch.testing.assert_close(gaussian(x)[1], shrunk(x - x.mean(0)))


def test_of_classes_it_is_the_linear_discriminant(cells):
    discriminant = pytest.importorskip("sklearn.discriminant_analysis")
    regression, x = Regression(cells), made(4000)
    regression.fit(x)
    logits = regression(x, torch.tensor([[0, 1, 2, 3]]).expand(len(x), -1)).logits
    heights = cells.heights(x[:, :3])[0].numpy()
    lda = discriminant.LinearDiscriminantAnalysis().fit(heights, x[:, 3])
    ours = logits[:, 4] - logits[:, 3] + torch.logit(regression.center[4])
    inside = logits.abs().max(1).values < 7
    theirs = torch.from_numpy(lda.decision_function(heights)).float()
    torch.testing.assert_close(ours[inside], theirs[inside], atol=0.05, rtol=0.02)


def test_a_transformer_starts_at_it_and_still_sums_to_one(cells):
    p = AnyOrder(Transformer(8, heads=2, layers=1, turns=False), cells, 1, 1, regression=Regression(cells))
    p.start_from(made)
    row = made()[:1].repeat(2, 1)
    row[:, 3] = torch.tensor([0.0, 1.0])
    apart = p().log_prob(row)
    known = p().log_prob(row[:1].masked_fill(torch.tensor([False, False, False, True]), torch.nan))
    torch.testing.assert_close(apart.logsumexp(0, keepdim=True), known)
    held = p().log_prob(made(2000)).mean()
    p.regression = None
    assert held > p().log_prob(made(2000)).mean() + 0.5


@pytest.mark.parametrize(
    ("columns", "rows", "has"), [("abc", 300, True), ("abc", 9, False), ("akl", 300, False), ("abk", 9, False)]
)
def test_a_transformer_has_it_for_some_hundred_rows_mostly_of_numbers(columns, rows, has):
    draw = numpy.random.default_rng(0)
    values = {name: draw.normal(size=rows) for name in "abc"} | {name: draw.choice(list("xyz"), rows) for name in "kl"}
    table = pandas.DataFrame({name: values[name] for name in columns})
    spec = fusevae.read_data(table, validation=0, test=0).spec
    assert (table_transformer.recipe(spec).model.regression is not None) == has


@pytest.mark.parametrize(
    ("columns", "rows", "first"), [("abk", 12, 0), ("abk", 1400, 0), ("akl", 120, 1), ("abl", 9, 1)]
)
def test_few_rows_of_numbers_and_classes_are_of_a_transformer_that_begins_as_a_mixture(columns, rows, first):
    draw = numpy.random.default_rng(0)
    values = {name: draw.normal(size=rows) for name in "ab"} | {name: draw.choice(list("xyz"), rows) for name in "kl"}
    spec = fusevae.read_data(pandas.DataFrame({name: values[name] for name in columns}), validation=0, test=0).spec
    found = choices(spec, rows)[0]
    assert found.recipe == ("table-transformer", "table-vae")[first]
    if not first:
        has = table_transformer.recipe(spec).model.regression is not None
        assert has is ("recipe.width" in found.options) is (rows < 1000)


@pytest.mark.parametrize(("rows", "columns", "has"), [(110, 60, True), (110, 13, False), (90, 60, False)])
def test_fewer_rows_do_where_there_are_many_numbers_and_of_numbers_alone_without_gaps(rows, columns, has):
    x = numpy.random.default_rng(0).normal(size=(rows, columns))
    for gaps in (False, True):
        table = pandas.DataFrame(numpy.where(gaps & (x > 2), numpy.nan, x)).add_prefix("c")
        data = fusevae.read_data(table, validation=0.0, test=0.0)
        assert (table_transformer.recipe(data.spec).model.regression is not None) is (has or not gaps)


def test_one_cell_far_from_all_others_leaves_the_rest_of_its_column_their_scale():
    x = torch.randn(480, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[:, 1] = 2 * x[:, 0] + 0.2 * x[:, 1]
    x[19, 0] = 1e12
    regression = Regression(Cells([Real(), Real()]), components=6)
    regression.cells.fit(x)
    regression.fit(x)
    heights, _ = regression.cells.heights(x[:, :2])
    assert heights[20:, 0].std() == pytest.approx(1.0, abs=0.1)  # a straight line leaves all but one at one height
    found = regression(x.float(), torch.tensor([[0, 1]]).expand(480, 2))
    assert found.mean.isfinite().all() and found.log_scale.isfinite().all()
