"""A table's transformer: in any order a likelihood, and exact conditionals of any columns."""

from __future__ import annotations

import itertools

import pytest
import torch

from fusevae.core.levels import bounds_as, log_bound
from fusevae.distributions.any_order import AnyOrder
from fusevae.distributions.mixed import Mixed
from fusevae.nets.cells import CellEncoder, Cells, Classes, Real, Whole
from fusevae.nets.mlp import MLP, Constant
from fusevae.nets.transformer import Transformer

SIZES = (2, 3, 2)
nan = torch.nan


def model(columns, orders=1, **more):
    torch.manual_seed(0)
    found = AnyOrder(Transformer(8, heads=2, layers=1, turns=False), Cells(columns, knots=8), 2, orders, **more)
    torch.nn.init.normal_(found.last.weight, std=0.6)
    return found.requires_grad_(False)


ROWS = torch.cartesian_prod(*(torch.arange(float(n)) for n in SIZES))


@pytest.mark.parametrize("given", [s for k in range(3) for s in itertools.combinations(range(3), k)])
def test_the_conditional_of_any_subset_is_the_slice_of_the_joint(given):
    """In the order that has the given columns first, p(rest | given) = p(given, rest) / sum over rest: enumerated."""
    p = model([Classes(n) for n in SIZES])
    p.order_of[:] = torch.tensor([*given, *(i for i in range(3) if i not in given)])
    joint = p().log_prob(ROWS).exp()
    assert joint.sum().item() == pytest.approx(1, abs=1e-5)
    row = torch.tensor([1.0, 2.0, 0.0])
    fits = (ROWS[:, given] == row[list(given)]).all(1)
    exact = torch.where(fits, joint, 0.0) / joint[fits].sum()
    masked = row.masked_fill(torch.tensor([i not in given for i in range(3)]), nan)
    drawn = p().completed(masked.expand(20_000, -1))
    assert torch.equal(drawn[:, given], masked[list(given)].expand(20_000, -1))
    seen = (drawn[:, None] == ROWS).all(-1).double().mean(0)
    assert (seen - exact).abs().max() < 5 * 0.5 / 20_000**0.5
    # what is known of some cells alone sums to the marginal of the joint in that order
    marginal = p().log_prob(masked[None]).exp().item()
    assert marginal == pytest.approx(joint[fits].sum().item(), abs=1e-5)


def test_several_orders_are_a_mixture_and_the_training_is_a_bound_on_it():
    p = model([Classes(n) for n in SIZES], orders=6)
    p.order_of[:] = torch.tensor([*itertools.permutations(range(3))])
    each = []
    for order in p.order_of.clone():
        one = model([Classes(n) for n in SIZES])
        one.order_of[:] = order
        each.append(one().log_prob(ROWS))
    each = torch.stack(each)
    torch.testing.assert_close(p().log_prob(ROWS), each.logsumexp(0) - torch.tensor(6.0).log())
    with bounds_as("surrogate"):
        drawn = log_bound(p(), ROWS.expand(4000, -1, -1)).mean(0)
    assert ((drawn - each.mean(0)).abs() < 5 * each.std(0, correction=0) / 4000**0.5 + 1e-4).all()
    assert (each.mean(0) <= p().log_prob(ROWS) + 1e-5).all()


def test_a_missing_cell_is_neither_seen_nor_counted():
    columns = [Classes(2), Real([0.0]), Whole(), Classes(3)]
    p = model(columns, orders=2)
    x = torch.tensor([[1.0, 0.3, 4.0, 2.0]])
    for gone in ([], [1], [0, 2], [0, 1, 2, 3]):
        holes = x.index_fill(1, torch.tensor(gone, dtype=torch.long), nan)
        got = p().log_prob(holes)
        alone = 0.0
        for order in p.order_of:  # the same by prefixes: log p of each cell, the first given nothing
            names = [c for c in order.tolist() if c not in gone]
            total = torch.zeros(1)
            for i, c in enumerate(names):
                prefix = torch.full((1, 4), nan)
                prefix[:, names[: i + 1]] = x[:, names[: i + 1]]
                less = prefix.index_fill(1, torch.tensor([c]), nan)
                with_it, without = (_in_order(p, v, order) for v in (prefix, less))
                total += with_it - without
            alone = alone + total.exp() / 2
        torch.testing.assert_close(got, alone.log())


def _in_order(p, x, order):
    one = model(p.cells.columns)
    one.order_of[:] = order
    return one().log_prob(x)


def learned(n, there):
    """A model of a column of two classes and one of three, of ``n`` rows: where the first is 1 four fifths of the
    second are missing, and it is ``there(first)`` elsewhere."""
    cells = Cells([Classes(2), Classes(3)])
    gaps = CellEncoder(cells, MLP(cells.width, 1, (8,), "silu"), hidden=0.0)
    torch.manual_seed(0)
    p = AnyOrder(Transformer(8, heads=2, layers=1, turns=False), cells, gaps=gaps, gappy=[1])
    first = torch.randint(0, 2, (n, 1)).float()
    x = torch.cat([first, torch.where((first > 0) & (torch.rand(n, 1) < 0.8), nan, there(first))], 1)
    p.start_from(lambda: x)
    optimizer = torch.optim.Adam(p.parameters(), 0.05)
    for _ in range(60):
        optimizer.zero_grad()
        with bounds_as("surrogate"):
            (-log_bound(p(), x).mean()).backward()
        optimizer.step()
    return p


def test_gaps_depend_on_the_other_columns_and_carry_no_likelihood():
    p = learned(500, torch.ones_like)
    drawn = p().sample((4000,))
    rates = [drawn[drawn[:, 0] == k, 1].isnan().float().mean().item() for k in (0, 1)]
    assert rates[0] < 0.05 and rates[1] == pytest.approx(0.8, abs=0.06)
    assert not p().whole.sample((50,)).isnan().any()
    assert p().log_prob(torch.tensor([[nan, nan]])).item() == 0


def test_what_tells_of_gaps_is_drawn_before_them_and_a_missing_cell_is_summed_over():
    """The second column is twice the first: drawn from the cells that are there it would be 0 too often, and so the
    first."""
    p = learned(1000, lambda first: 2 * first)
    drawn = p().sample((4000,))
    assert drawn[:, 0].mean().item() == pytest.approx(0.5, abs=0.06)
    there = ~drawn[:, 1].isnan()
    assert ((drawn[there, 1] > 1) == (drawn[there, 0] > 0)).float().mean() > 0.95
    for k in (0.0, 1.0):
        each = p().log_prob(torch.tensor([[k, 0.0], [k, 1.0], [k, 2.0]])).logsumexp(0)
        assert torch.allclose(each, p().log_prob(torch.tensor([[k, nan]]))[0], atol=1e-5)


def test_untrained_each_column_has_the_distribution_that_it_has_in_the_examples():
    p = AnyOrder(Transformer(8, heads=2, layers=1, turns=False), Cells([Classes(3), Classes(2)]))
    x = torch.stack([torch.tensor([0.0, 0, 0, 0, 0, 0, 1, 1, 1, 2]), torch.tensor([1.0] * 9 + [0])], 1).repeat(100, 1)
    torch.nn.init.zeros_(p.last.weight)
    p.start_from(lambda: x)
    assert p().log_prob(torch.tensor([[0.0, nan], [nan, 1.0]])).exp().tolist() == pytest.approx([0.6, 0.9], abs=1e-3)


def test_whatever_the_net_is_made_with_a_table_of_many_columns_starts_at_the_constant_model():
    torch.manual_seed(0)
    x = torch.randn(100, 40)
    p = AnyOrder(Transformer(32, heads=2, layers=1, turns=False), Cells([Real()] * 40))
    p.start_from(lambda: x)
    alone = Mixed(Constant(Mixed.outputs(p.cells, 1)), p.cells, components=1)
    alone.start_from(lambda: x)
    assert (p().log_prob(x) - alone().log_prob(x)).mean() > -2.0


def test_a_condition_is_heard_among_what_the_net_is_told_of_cells():
    torch.manual_seed(0)
    part = AnyOrder(Transformer(32, 2, 1, turns=False), Cells([Real(), Real()]), classes=4)
    assert part.label is not None and part.label.weight.std() > 0.5 * part.next.weight.std()
