"""Counts: their distributions against scipy, the model of them, and the files that they come in."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

import fusevae
from fusevae import InputError, NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial
from fusevae.nets.counts import CountDecoder, Depth
from fusevae.nets.mlp import MLP, Constant

MEANS, THETA, OWN = np.array([0.02, 3.0, 4e4]), np.array([0.1, 2.0, 50.0]), np.array([0.3, 0.05, 0.5])


def made(cls):
    """A family at known parameters, and scipy's mass, mean and variance of it."""
    log_mean = torch.from_numpy(MEANS).log()
    net = Constant(6 if cls is ZeroInflatedNegativeBinomial else 3)
    net.value.data.copy_(torch.cat([log_mean, torch.logit(torch.from_numpy(OWN))])[: len(net.value)])
    part = cls(net)
    if cls is Poisson:
        return part, stats.poisson(MEANS).logpmf, MEANS, MEANS
    part.dispersion.data = torch.atanh(torch.from_numpy(THETA).log() / 8.0).float() * 8.0  # inside its bounds
    nb = stats.nbinom(THETA, THETA / (THETA + MEANS))
    if cls is NegativeBinomial:
        return part, nb.logpmf, nb.mean(), nb.var()
    own, mean, square = OWN, nb.mean(), nb.var() + nb.mean() ** 2
    return (
        part,
        lambda x: np.log(np.where(x == 0, own, 0.0) + (1 - own) * nb.pmf(x)),
        (1 - own) * mean,
        (1 - own) * square - ((1 - own) * mean) ** 2,
    )


FAMILIES = [Poisson, NegativeBinomial, ZeroInflatedNegativeBinomial]


@pytest.mark.parametrize("cls", FAMILIES)
def test_masses_means_and_variances_are_those_of_scipy(cls):
    part, log_pmf, mean, variance = made(cls)
    p = part()
    for x in ([0, 0, 40_000], [1, 7, 39_000], [0, 2, 41_500]):
        found = p.log_prob(torch.tensor(x, dtype=torch.float32)).item()
        assert found == pytest.approx(log_pmf(np.array(x)).sum(), rel=1e-5, abs=1e-4)
    np.testing.assert_allclose(p.mean.detach(), mean, rtol=1e-5)
    np.testing.assert_allclose(p.variance.detach(), variance, rtol=1e-4)
    drawn = p.sample((20_000,)).double().numpy()
    assert ((drawn >= 0) & (drawn == drawn.round())).all()
    assert (np.abs(drawn.mean(0) - mean) / np.sqrt(variance / 20_000) < 4.5).all()
    assert drawn.var(0)[1] == pytest.approx(variance[1], rel=0.1)


@pytest.mark.parametrize("cls", FAMILIES)
def test_gradients_are_finite_at_zero_and_at_huge_counts(cls):
    part, *_ = made(cls)
    for x in ([0.0, 0.0, 0.0], [0.0, 5e3, 1.6e7]):
        value = part().log_prob(torch.tensor(x))
        gradients = torch.autograd.grad(value, list(part.parameters()))
        assert value.isfinite() and all(g.isfinite().all() for g in gradients)
    assert part().log_prob(torch.tensor([[0.5, 1.0, 1.0], [-1.0, 1.0, 1.0]])).tolist() == [-math.inf] * 2


def test_a_negative_binomial_without_spread_is_a_poisson_one_without_zeros_of_its_own_a_negative_binomial():
    x = torch.tensor([[0.0, 2.0], [3.0, 9.0]])
    poisson, negative, inflated = (cls(Constant(n)) for cls, n in zip(FAMILIES, (2, 2, 4), strict=True))
    inflated.net.value.data[2:] = -40.0
    torch.testing.assert_close(inflated().log_prob(x), negative().log_prob(x))
    negative.dispersion.data[:] = 1e9  # the bound: a shape of 2,981
    torch.testing.assert_close(negative().log_prob(x), poisson().log_prob(x), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("cls", FAMILIES)
def test_a_likelihood_starts_at_the_means_of_the_counts_and_refuses_what_is_none(cls):
    x = torch.poisson(torch.tensor([0.5, 30.0]).expand(500, 2))
    part = cls(Constant(4 if cls is ZeroInflatedNegativeBinomial else 2))
    part.start_from(lambda: x)
    np.testing.assert_allclose(part().mean.detach(), x.mean(0), rtol=0.06)
    with pytest.raises(InputError, match=r"hold 0\.69.*no count"):
        cls(Constant(4)).start_from(lambda: torch.tensor([[0.0, 0.69]]))


def test_the_shares_of_a_cell_add_up_to_its_depth_and_the_depth_goes_there_and_back():
    depth = Depth(2)
    x = torch.poisson(torch.rand(50, 6) * 40)
    depth.start_from(lambda: x)
    torch.nn.init.normal_(depth.label.weight)
    label = torch.arange(50) % 2
    z = depth(x, label)
    torch.testing.assert_close(depth.log_total(z, label), x.sum(-1).log())
    assert abs(depth(x, None).mean().item() + depth.label(None).item()) < 1e-4
    net = CountDecoder(depth, MLP(3, 6), 6)
    latent = torch.cat([z[:, None], torch.randn(50, 3)], -1)
    torch.testing.assert_close(net(latent, label).exp().sum(-1), x.sum(-1), rtol=1e-4, atol=1e-3)
    with pytest.raises(InputError, match="2 of 3 rows hold no counts"):
        Depth().start_from(lambda: torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]]))


# what counts come in


@pytest.fixture(scope="module")
def cells():
    """60 cells of 7 genes in two batches, one of which counts twice as deep."""
    rng = np.random.default_rng(0)
    batch = np.arange(60) % 2
    x = rng.poisson(np.exp(rng.normal(1, 1, (60, 7))) * (1 + batch)[:, None]) * (rng.random((60, 7)) < 0.6)
    x[:, 0] += 1
    return x.astype(np.float32), batch


def annotated(cells, **changes):
    anndata = pytest.importorskip("anndata")
    pandas = pytest.importorskip("pandas")
    sparse = pytest.importorskip("scipy.sparse")
    x, batch = cells

    def words(form, values):  # not every anndata writes the words of every pandas
        return pandas.Index([form % v for v in values], dtype=object)

    obs = pandas.DataFrame(
        {"batch": pandas.Categorical(words("b%d", batch)), "depth": x.sum(1)}, index=words("cell%d", range(60))
    )
    var = pandas.DataFrame(index=words("gene%d", range(7)))
    made = anndata.AnnData(sparse.csr_matrix(changes.get("x", x)), obs=obs, var=var)
    made.layers["counts"] = sparse.csc_matrix(x)
    made.layers["dense"] = x
    return made


def read(path, **settings):
    found = fusevae.read_data(path, validation=0, test=0, **settings)
    return found.train, found.train.batch(torch.arange(len(found.train)))[0].numpy()


def test_cells_of_a_file_and_in_memory_are_the_same_whatever_they_are_stored_as(cells, tmp_path):
    made = annotated(cells)
    made.write_h5ad(tmp_path / "cells.h5ad")
    for data in (tmp_path / "cells.h5ad", made):
        for how in ({}, {"layer": "counts"}, {"layer": "dense"}, {"memory_gb": 1e-9}):
            if "counts" in how.get("layer", ""):
                how = how | {"memory_gb": 1.0}
            train, x = read(data, conditions=["batch", "depth"], **how)
            np.testing.assert_array_equal(x, cells[0])
            assert train.spec.schema.names == [f"gene{i}" for i in range(7)]
            assert train.ids[:2] == ["cell0", "cell1"] and train.spec.conditions.names == ["batch", "depth"]
            assert train.beside()["batch"].tolist() == [f"b{v}" for v in cells[1]]
    train, x = read(tmp_path / "cells.h5ad", columns=["gene5", "gene0"])
    np.testing.assert_array_equal(x, cells[0][:, [5, 0]])


def test_a_sparse_matrix_of_scipy_is_read_by_rows(cells, tmp_path):
    sparse = pytest.importorskip("scipy.sparse")
    for kind in (sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array):
        sparse.save_npz(tmp_path / "x.npz", kind(cells[0]))
        train, x = read(tmp_path / "x.npz")
        np.testing.assert_array_equal(x, cells[0])
        assert train.spec.schema.columns[0].kind == "count" and not isinstance(train.whole.dataset.matrix.values, list)
    sparse.save_npz(tmp_path / "x.npz", sparse.coo_matrix(cells[0]))
    with pytest.raises(InputError, match=r"x\.npz"):
        read(tmp_path / "x.npz")


def test_what_is_wrong_with_cells_is_said_in_a_line(cells, tmp_path):
    h5py = pytest.importorskip("h5py")
    from fusevae.recipes import counts_vae

    path, x = tmp_path / "cells.h5ad", cells[0]
    annotated(cells, x=np.log1p(x)).write_h5ad(path)
    with pytest.raises(InputError, match=r"gene0 is continuous, no counts.*data.layer=counts.*table-vae"):
        counts_vae.recipe(fusevae.read_data(path).spec)
    counts_vae.recipe(fusevae.read_data(path, layer="counts").spec)
    annotated(cells, x=-x).write_h5ad(path)
    with pytest.raises(InputError, match="gene0 is integer, no counts"):
        counts_vae.recipe(fusevae.read_data(path).spec)
    for what, message in ((np.nan, "row 3, column gene2 is nan"), (np.inf, "row 3, column gene2 is inf")):
        wrong = x.copy()
        wrong[3, 2] = what
        annotated(cells, x=wrong).write_h5ad(path)
        with pytest.raises(InputError, match=message):
            read(path)
    empty = x.copy()
    empty[[4, 7]] = 0
    annotated(cells, x=empty).write_h5ad(path)
    with pytest.raises(InputError, match=r"2 of 60 rows hold no counts at all \(cell4, cell7\).*skip_damaged"):
        read(path)
    train, left = read(path, skip_damaged=True, conditions=["batch"])
    np.testing.assert_array_equal(left, np.delete(x, [4, 7], 0))
    assert len(train.ids) == 58 and train.beside()["batch"].tolist() == [f"b{v}" for v in np.delete(cells[1], [4, 7])]
    for settings, message in (
        ({"layer": "count"}, "no layer 'count'.*counts"),
        ({"conditions": ["batsh"]}, "no column 'batsh'.*batch"),
    ):
        with pytest.raises(InputError, match=message):
            read(path, **settings)
    annotated(cells).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file["X/indices"][3] = 99
    with pytest.raises(InputError, match="X holds no whole sparse matrix"):
        read(path)
    annotated(cells).write_h5ad(tmp_path / "other.h5ad")
    with h5py.File(path, "r+") as file:
        del file["X"]
        file["X"] = h5py.ExternalLink(str(tmp_path / "other.h5ad"), "X")
    with pytest.raises(InputError, match="'X' is a link to another file"):
        read(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"cells\.h5ad"):
        read(path)


def test_counts_are_trained_on_sampled_encoded_and_judged_from_the_command_line(cells, tmp_path, capsys):
    from fusevae.cli import main

    made, run = annotated(cells), tmp_path / "run"
    made.write_h5ad(tmp_path / "cells.h5ad")
    tiny = ["recipe.latent=2", "recipe.hidden=[8]", "training.epochs=2", "data.conditions=[batch]"]
    settings = [word for setting in tiny for word in ("--set", setting)]
    data = ["--data", str(tmp_path / "cells.h5ad")]
    assert main(["train", "counts-vae", *data, *settings, "--output", str(run)]) == 0
    more = tmp_path / "more.csv"
    assert main(["sample", str(run), "-n", "9", "--label", "b1", "--output", str(more)]) == 0
    pandas = pytest.importorskip("pandas")
    drawn = pandas.read_csv(more)
    assert list(drawn)[:7] == [f"gene{i}" for i in range(7)] and len(drawn) == 9
    genes = drawn[[f"gene{i}" for i in range(7)]]
    assert (genes >= 0).all(axis=None) and all(dtype == "int64" for dtype in genes.dtypes)
    assert main(["encode", str(run), *data, "--output", str(tmp_path / "z.npz")]) == 0
    with np.load(tmp_path / "z.npz") as found:
        assert found["mean"].shape == (60, 3) and np.isfinite(found["mean"]).all()
    assert main(["anomaly", str(run), *data, "--output", str(tmp_path / "a.csv")]) == 0
    assert list(pandas.read_csv(tmp_path / "a.csv").file[:2]) == ["cell0", "cell1"]
    assert main(["evaluate", str(run), *data, "--importance-samples", "2"]) == 0
    assert "mass" in capsys.readouterr().out


def test_a_table_of_counts_by_pandas_names_its_rows_and_is_read_as_counts(cells, tmp_path):
    from fusevae.recipes import counts_vae

    path = tmp_path / "cells.csv"
    lines = [",".join(["", *(f"g{i}" for i in range(7))])]
    lines += [",".join([f"cell{i}", *(str(int(v)) for v in row)]) for i, row in enumerate(cells[0])]
    path.write_text("\n".join(lines) + "\n")
    train, x = read(path)
    np.testing.assert_array_equal(x, cells[0])
    counts_vae.recipe(train.spec)
