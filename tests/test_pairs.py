"""Any pair of parts that the mathematics allows trains; any other is refused: every pair of parts once."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import pairs  # noqa: E402

TRIPLES = list(pairs.covering())


@pytest.mark.parametrize("posterior", pairs.POSTERIORS)
@pytest.mark.filterwarnings("ignore:var")
def test_a_posterior_with_every_part_does_what_the_table_says(posterior):
    assert [w for t in TRIPLES if t[0] == posterior and (w := pairs.wrong(t))] == []


def test_every_class_of_the_library_has_a_part_in_the_table():
    assert pairs.missing() == set()


def test_latents_that_lie_inside_the_prior_by_chance_are_refused_all_the_same():
    """Of this one the first two examples' do."""
    assert pairs.wrong(("Preprocessed", "ContinuousBernoulli", "GaussianMixture")) is None
