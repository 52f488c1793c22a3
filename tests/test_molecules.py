"""Molecules: properties, distances of sets, pictures, and the search in latent space, beside what is known of them."""

from __future__ import annotations

import csv
import importlib.util
import math
import sys

import numpy as np
import pytest
import torch

import fusevae
from fusevae import (
    MLP,
    VAE,
    Artifact,
    DataSpec,
    Flat,
    Gaussian,
    InputError,
    LanguageModel,
    Normal,
    SequenceEncoder,
    Transformer,
    fit_property,
    optimise,
)
from fusevae.cli import main
from fusevae.core.vocabulary import Vocabulary
from fusevae.evaluation import blocks
from fusevae.evaluation.paths import Latents
from fusevae.evaluation.refinement import refined
from fusevae.modalities.molecules import search as molecule_search
from fusevae.modalities.molecules.chemistry import canonical, parse
from fusevae.modalities.molecules.modality import MoleculeSchema
from fusevae.modalities.text.tokens import vocabulary

needs_rdkit = pytest.mark.skipif(
    importlib.util.find_spec("rdkit") is None, reason="rdkit is not installed: pip install 'fusevae[molecules]'"
)
needs_chemnet = pytest.mark.skipif(
    importlib.util.find_spec("fcd_torch") is None, reason="fcd_torch is not installed: pip install 'fusevae[molecules]'"
)
ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
GARBAGE = [
    "",
    " ",
    "CC(",
    "C1CC",
    "c1ccc",
    "C C",
    "CC\n",
    "\ud800",
    "C\0C",
    "é",
    "[",
    "C" * 50_000,
    "(" * 3000,
    "F" * 5,
]
SET = (
    "CCO CCN CCC CCCO c1ccccc1 c1ccccc1O Cc1ccccc1 CC(=O)O CC(=O)N CCOC(=O)C c1ccncc1 C1CCCCC1 C1CCNCC1 "
    "CC(C)O OCCO NCCO CC(=O)Oc1ccccc1C(=O)O CN1C=NC2=C1C(=O)N(C(=O)N2C)C CC(C)Cc1ccc(cc1)C(C)C(=O)O "
    "CC(=O)Nc1ccc(O)cc1 O=C(O)c1ccccc1 Oc1ccc2ccccc2c1 c1ccc2[nH]ccc2c1 C1CC1N CS(=O)(=O)c1ccccc1"
).split()


@needs_rdkit
def test_what_is_no_molecule_is_none_and_never_a_crash():
    from fusevae.modalities.molecules.chemistry import molecule_table, parse

    assert [parse(each) for each in GARBAGE] == [None] * len(GARBAGE)
    assert parse("CCO").GetNumAtoms() == 3
    table = molecule_table([*GARBAGE, ASPIRIN])
    assert table["valid"].tolist() == [False] * len(GARBAGE) + [True]
    assert list(table) == ["smiles", "valid", *fusevae.modalities.molecules.chemistry.PROPERTIES]
    assert np.isnan(table["qed"][:-1]).all() and np.isfinite(table["qed"][-1])


@needs_rdkit
def test_rdkit_is_silent_inside_and_as_loud_as_before_outside(capfd):
    from rdkit import Chem

    from fusevae.modalities.molecules.chemistry import parse

    parse("CC(")
    assert capfd.readouterr().err == ""
    Chem.MolFromSmiles("CC(")
    assert "CC(" in capfd.readouterr().err


@needs_rdkit
def test_properties_are_those_of_rdkit_and_of_the_handbook():
    from rdkit.Chem import QED, Crippen, MolFromSmiles

    found = fusevae.properties([ASPIRIN, "C(", "CCO"])
    assert found["weight"][[0, 2]] == pytest.approx([180.159, 46.069], abs=2e-3)
    assert found["qed"][0] == pytest.approx(QED.qed(MolFromSmiles(ASPIRIN)))
    assert found["qed"][0] == pytest.approx(0.55, abs=0.01)  # Bickerton et al. 2012
    assert found["logp"][0] == pytest.approx(Crippen.MolLogP(MolFromSmiles(ASPIRIN)))
    assert 1 <= found["sa"][0] < 3
    assert all(np.isnan(column[1]) for column in found.values())
    with pytest.raises(InputError, match="unknown property 'mass'"):
        fusevae.properties(["C"], ["mass"])


@needs_rdkit
def test_tanimoto_similarities_by_hand():
    from rdkit.Chem import MolFromSmiles
    from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

    from fusevae.modalities.molecules.chemistry import fingerprints, similarity, tanimoto

    # environments of CCO: three atoms, two bonded neighbourhoods and one of radius 1 in the middle, which at radius 2
    # add nothing new; of CCN as many; in common are CH3 and CH2
    bits = [set(f.GetOnBits()) for f in fingerprints([MolFromSmiles(s) for s in ("CCO", "CCN")])]
    assert [len(b) for b in bits] == [6, 6]
    assert len(bits[0] & bits[1]) == 3
    assert similarity("CCO", "CCN") == pytest.approx(3 / 9)
    prints = fingerprints([MolFromSmiles(s) for s in SET])
    generator = GetMorganGenerator(radius=2, fpSize=4096)
    a, b = (set(generator.GetFingerprint(MolFromSmiles(s)).GetOnBits()) for s in (ASPIRIN, SET[20]))
    assert tanimoto(prints[16], prints)[20] == pytest.approx(len(a & b) / len(a | b))
    assert similarity(ASPIRIN, "C1") == 0


@needs_rdkit
def test_a_set_beside_itself_is_perfect_but_not_new():
    found = fusevae.molecule_quality(SET, SET, SET, fcd=False)
    assert (found.validity, found.uniqueness, found.novelty) == (1, 1, 0)
    assert found.kl_score == pytest.approx(1)
    assert found.snn == pytest.approx(1) and found.scaffold_similarity == pytest.approx(1)
    assert max(found.wasserstein.values()) == pytest.approx(0, abs=1e-9)
    assert found.of["kl_score"] == [len(SET), len(SET)]


@needs_rdkit
@needs_chemnet
def test_the_frechet_chemnet_distance_is_that_of_its_package():
    from fcd_torch import FCD

    from fusevae.modalities.molecules.chemistry import parse
    from fusevae.modalities.molecules.distances import chemnet_distance

    a, b = SET[:12], SET[12:]
    ours = chemnet_distance([parse(s) for s in a], [parse(s) for s in b])
    assert ours == pytest.approx(FCD(canonize=True)(a, b), rel=1e-3)
    assert chemnet_distance([parse(s) for s in a], [parse(s) for s in a]) == pytest.approx(0, abs=1e-3)
    found = fusevae.molecule_quality(SET, None, SET)
    assert found.fcd == pytest.approx(0, abs=1e-3) and found.fcd_score == pytest.approx(1, abs=1e-3)
    assert found.novelty is None


@needs_rdkit
def test_every_figure_counts_what_it_is_of():
    samples = ["CCO", "OCC", "C(C)O", "C1CC1", "C[C@H](O)N", "C[C@@H](O)N", *GARBAGE]
    found = fusevae.molecule_quality(samples, ["OCC", "broken("], SET, fcd=False)
    assert found.validity == 6 / 20
    assert found.uniqueness == 3 / 6  # mirror images are one molecule, as GuacaMol has it
    assert found.novelty == 2 / 3
    assert (found.n, found.valid, found.unique, found.novel, found.train) == (20, 6, 3, 2, 1)
    words = dict(found.lines())
    assert words["judged"] == "20 samples"
    assert words["novelty"].endswith("; of 3)") and words["nearest similarity"].endswith("(of 6 against 25)")


@needs_rdkit
@pytest.mark.parametrize("samples", [["C("], ["CCO"], ["CCO", "CCO"]])
def test_few_molecules_give_what_can_be_given(samples):
    found = fusevae.molecule_quality(samples, SET, SET, fcd=False)
    assert found.novelty == (None if samples == ["C("] else 0)
    assert found.diversity is None or found.diversity == pytest.approx(0)
    assert found.lines()
    with pytest.raises(InputError, match="no samples"):
        fusevae.molecule_quality([], SET, SET)
    with pytest.raises(InputError, match="of 2 reference strings 1 can be parsed"):
        fusevae.molecule_quality(samples, SET, ["CCO", "C("])


@needs_rdkit
def test_more_than_are_compared_are_drawn_by_the_seed(monkeypatch):
    monkeypatch.setattr(fusevae.modalities.molecules.quality, "LIMIT", 10)
    a, again, b = (fusevae.molecule_quality(SET, None, SET, fcd=False, seed=seed) for seed in (0, 0, 1))
    assert a == again and a.diversity != b.diversity and a.of["snn"] == [10, 10] and a.of["validity"] == [25]


def test_divergences_and_distances_agree_with_scipy():
    from scipy import stats

    from fusevae.modalities.molecules.distances import continuous_kl, discrete_kl, wasserstein

    generator = np.random.default_rng(0)
    p, q = generator.normal(size=3000), generator.normal(0.5, 1.2, size=2500)
    x = np.linspace(min(p.min(), q.min()), max(p.max(), q.max()), 1000)
    expected = stats.entropy(stats.gaussian_kde(p)(x) + 1e-10, stats.gaussian_kde(q)(x) + 1e-10)
    assert continuous_kl(p, q) == pytest.approx(expected, rel=1e-6)
    exact = math.log(1.2) + (1 + 0.5**2) / (2 * 1.2**2) - 0.5
    assert continuous_kl(p, q) == pytest.approx(exact, abs=0.03)
    assert wasserstein(p, q) == pytest.approx(stats.wasserstein_distance(p, q))
    counts, edges = np.histogram(a := np.array([0, 1, 1, 2, 5]), bins=10, density=True)
    others, _ = np.histogram(b := np.array([0, 1, 2, 2, 3, 3]), bins=edges, density=True)
    assert discrete_kl(a, b) == pytest.approx(stats.entropy(counts + 1e-10, others + 1e-10))
    assert continuous_kl(np.ones(3), np.ones(5)) == 0 and continuous_kl(np.ones(3), p) == math.inf


@needs_rdkit
def test_scaffolds_and_diversity_by_hand():
    from fusevae.modalities.molecules.chemistry import fingerprints, parse, similarity
    from fusevae.modalities.molecules.distances import nearest_and_mean, nearest_of, scaffolds

    molecules = [parse(s) for s in ("Cc1ccccc1", "Oc1ccccc1", "C1CC1C", "CCO")]
    assert scaffolds(molecules) == {"c1ccccc1": 2, "C1CC1": 1}
    strings = ["CCO", "CCN", "CCCO"]
    prints = fingerprints([parse(s) for s in strings])
    ab, ac, bc = (similarity(strings[i], strings[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    nearest, mean = nearest_and_mean(prints)
    assert mean == pytest.approx((ab + ac + bc) / 3)
    assert nearest == pytest.approx([max(ab, ac), max(ab, bc), max(ac, bc)])
    assert nearest_of(prints[:1], prints[1:]) == pytest.approx([max(ab, ac)])


def test_without_rdkit_one_line_names_the_extra(monkeypatch):
    from fusevae.modalities.molecules import chemistry as molecules

    def refuse(name, *rest, **given):
        raise ImportError(name)

    monkeypatch.setattr(molecules.importlib, "import_module", refuse)
    with pytest.raises(InputError, match=r"need rdkit.*pip install 'fusevae\[molecules\]'"):
        molecules.parse("C")


def test_importing_the_library_or_a_command_imports_no_rdkit():
    import subprocess

    code = (
        "import sys, fusevae.cli.molecules; from fusevae.modalities.molecules import quality, pictures;"
        "print(sorted({'rdkit', 'fcd_torch', 'selfies'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@needs_rdkit
def test_pictures_of_molecules_and_of_garbage(tmp_path):
    from PIL import Image

    grid = fusevae.molecule_grid([ASPIRIN, "C(", "é\ud800" * 30, ""], ["aspirin", "broken", "x" * 200, "nothing"])
    assert grid.size == (2 * 222 + 2, 2 * 240 + 2)
    ink = np.asarray(grid.convert("L"))[2:222, 2:222]
    assert 0.01 < (ink < 200).mean() < 0.3
    fusevae.property_histograms(SET, SET).savefig(tmp_path / "properties.png")
    fusevae.property_histograms(["C("], SET).savefig(tmp_path / "none.png")
    assert Image.open(tmp_path / "properties.png").size[0] > 600
    with pytest.raises(InputError, match="0 molecules"):
        fusevae.molecule_grid([])


# ---- the search


def words(z):
    """Latents to whole numbers with commas, so that a string's score and similarity are known."""
    return [",".join(str(round(v)) for v in row) for row in z.tolist()]


def numbers(text):
    return np.array([int(v) for v in text.split(",")])


def far(start, text):
    return float(np.exp(-np.abs(numbers(start) - numbers(text)).sum() / 20))


def test_the_search_finds_the_known_optimum_within_the_constraint():
    starts = ["0,0,0", "5,-5,0"]
    z = torch.tensor([[0.0, 0, 0], [5.0, -5, 0]])
    goal = np.array([40, 0, 0])

    def score(text):
        return -float(np.abs(numbers(text) - goal).sum())

    given = {"similar": far, "similarity": math.exp(-0.5), "evaluations": 300}  # at most ten steps away
    found = optimise(starts, z, words, score, **given)
    assert [f.score for f in found] == [-30, -30]  # every step brings one nearer, and ten are allowed
    assert all(f.success and f.similarity >= math.exp(-0.5) and f.evaluations <= 300 for f in found)
    assert [f.gain for f in found] == [10, 10]
    random = [optimise(starts, z, words, score, **given, method="random", radius=r) for r in (1.0, 3.0)]
    assert all(f.gain < 10 for each in random for f in each)
    prior = optimise(starts, z, words, score, **given, method="prior", prior=lambda n: 3 * torch.randn(n, 3))
    assert all(f.gain < 10 for f in prior)
    assert found == optimise(starts, z, words, score, **given)


def test_evaluations_are_distinct_strings_and_a_silent_decoder_ends():
    asked = []

    def score(text):
        asked.append(text)
        return None if "-" in text else float(numbers(text).sum())

    found = optimise(["0,0"], torch.zeros(1, 2), words, score, evaluations=37)
    assert len(asked) == len(set(asked)) == found[0].evaluations + 1 == 38
    calls = []
    same = optimise(["a"], torch.zeros(1, 2), lambda z: calls.append(len(z)) or ["b"] * len(z), {"a": 1, "b": 0}.get)
    assert (same[0].best, same[0].success, same[0].gain, same[0].evaluations) == ("a", False, 0, 1)
    assert sum(calls) == 1000
    none = optimise(["a"], torch.zeros(1, 2), words, lambda text: None)
    assert (none[0].start_score, none[0].success, none[0].evaluations) == (None, False, 0)


def test_a_start_does_not_depend_on_those_after_it():
    def score(text):
        return float(numbers(text).sum())

    z = torch.tensor([[0.0, 0], [3.0, 1]])
    both = optimise(["0,0", "3,1"], z, words, score, far, evaluations=60)
    assert optimise(["0,0"], z[:1], words, score, far, evaluations=60)[0] == both[0]


def test_a_probe_is_ridge_regression_and_guides_the_search():
    z = torch.randn(400, 10)
    w = torch.zeros(10)
    w[3] = 5.0
    y = z @ w + 2 + 0.1 * torch.randn(400)
    y[7] = torch.nan
    probe = fit_property(z, y, ridge=0)
    assert probe.r2 > 0.99 and probe.mae == pytest.approx(0.1 * math.sqrt(2 / math.pi), rel=0.3)
    assert (probe.fitted, probe.held_out) == (319, 80)
    order = torch.randperm(399, generator=torch.Generator().manual_seed(fusevae.core.noise.key(0, "probe")))[80:]
    known = y.isfinite()
    x = torch.cat([z[known][order], torch.ones(319, 1)], 1).double()
    exact = torch.linalg.lstsq(x, y[known][order].double()[:, None]).solution[:, 0]
    assert torch.allclose(probe.weight, exact[:10], atol=1e-8) and probe.bias == pytest.approx(exact[10].item())
    assert fit_property(z, torch.randn(400)).r2 < 0.2

    def score(text):
        return float(numbers(text)[3])

    plain, guided = (
        optimise(["0" + ",0" * 9], torch.zeros(1, 10), words, score, far, 0.4, 60, probe=p)[0].score
        for p in (None, probe)
    )
    assert guided > plain
    with pytest.raises(InputError, match="at least ten"):
        fit_property(torch.randn(5, 2), torch.randn(5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"evaluations": 0}, "evaluations=0"),
        ({"method": "prior"}, "needs what draws"),
        ({"z": torch.zeros(3, 2)}, "2 starts"),
    ],
)
def test_a_search_refuses_what_it_cannot_do(change, message):
    given = {"starts": ["a", "b"], "z": torch.zeros(2, 2), "decode": words, "score": len} | change
    with pytest.raises(InputError, match=message):
        optimise(**given)


class Chains(Vocabulary):
    """Molecules of some letters, for tests."""

    kind = "smiles"

    def __init__(self, entries: list[str]) -> None:
        self.entries = entries

    def encode(self, text):
        return [2 + self.entries.index(letter) for letter in text]

    def decode(self, tokens):
        kept = list(tokens)
        kept = kept[: kept.index(0)] if 0 in kept else kept
        return "".join(self.entries[t - 2] for t in kept)

    @classmethod
    def fit(cls, texts, size=None):
        return cls(sorted(set("".join(texts))))


@pytest.fixture
def chains(monkeypatch):
    """A model of six letters whose latent is told and whose decoder rounds: what it decodes is known."""
    vocabulary = Chains(["C", "O", "N", "F", "("])
    vae = VAE(Flat(Normal(6), Gaussian(MLP(6, 12))), decoder=Gaussian(MLP(6, 12)))
    artifact = Artifact(vae, DataSpec((7,), "int64", 0, 6, schema=MoleculeSchema(vocabulary)))

    def read(artifact, data, label=None, seed=0):
        rows = [vocabulary.encode(text) + [0] * (6 - len(text)) for text in data]
        z = torch.tensor(rows, dtype=torch.float32)
        return Latents(z, torch.full_like(z, 0.7), None)

    monkeypatch.setattr(molecule_search, "read", read)
    monkeypatch.setattr(molecule_search, "refined", lambda artifact, data, z, steps, seed: z)
    monkeypatch.setattr(molecule_search, "decoded", lambda artifact, z, label, seed: z.round().clamp(0, 6).long())
    return artifact


@torch.no_grad()
def test_a_refined_latent_says_its_text_better_and_nothing_else_changes(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 2)  # three examples are two blocks
    vocabulary = Chains(["C", "O", "N", "F", "("])
    encoder = SequenceEncoder(Transformer(8, 2, 1, causal=False), vocabulary.size, 8)
    decoder = LanguageModel(Transformer(8, 2, 1), vocabulary.size, context=4, longest=9)
    torch.nn.init.normal_(decoder.given.weight)
    artifact = Artifact(
        VAE(Flat(Normal(4), Gaussian(encoder)), decoder), DataSpec((9,), schema=MoleculeSchema(vocabulary))
    )
    artifact.distribution.decoder.token.weight.requires_grad_(False)
    before = {k: v.clone() for k, v in artifact.distribution.state_dict().items()}
    texts = ["CCO", "NNCCFF", "O"]
    z = molecule_search.read(artifact, texts).z
    state = torch.get_rng_state()
    found = refined(artifact, texts, z, 20)

    def said(z):
        x = [torch.tensor([[*vocabulary.encode(text), 0]]) for text in texts]
        return torch.stack([decoder(each[None]).log_prob(x[i]).squeeze() for i, each in enumerate(z)])

    assert (said(found) > said(z) + 0.1).all()
    torch.testing.assert_close(refined(artifact, texts[:1], z[:1], 20), found[:1], rtol=1e-3, atol=1e-3)
    assert torch.equal(refined(artifact, texts, z, 0), z)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in artifact.distribution.state_dict().items())
    held = [k for k, p in artifact.distribution.named_parameters() if not p.requires_grad or p.grad is not None]
    assert held == ["decoder.token.weight"]


@needs_rdkit
@pytest.mark.parametrize("method", ["evolution", "random", "prior"])
def test_molecules_are_optimised_within_their_similarity(chains, method):
    from fusevae.modalities.molecules.chemistry import similarity

    starts = ["CCO", "C((", "CCCCO"]
    found = fusevae.optimise_molecules(chains, starts, "logp", 0.3, 60, method=method)
    assert [f.start for f in found] == starts
    assert (found[1].start_score, found[1].evaluations, found[1].success) == (None, 0, False)
    for each in (found[0], found[2]):
        values = fusevae.properties([each.start, each.best], ["logp"])["logp"]
        assert [each.start_score, each.score] == pytest.approx(values.tolist())
        assert each.similarity == pytest.approx(similarity(each.start, each.best)) and each.similarity >= 0.3
        assert each.gain >= 0 and each.evaluations <= 60
    if method == "evolution":
        assert sum(f.gain for f in found) > 0
        assert found == fusevae.optimise_molecules(chains, starts, "logp", 0.3, 60)
        low = fusevae.optimise_molecules(chains, starts, "weight", 0.3, 60, minimize=True)
        assert low[2].score < low[2].start_score and low[2].gain < 0


@needs_rdkit
def test_a_property_is_predicted_from_the_latent(chains):
    strings = ["C" * n + "O" * m for n in range(1, 5) for m in range(1, 7 - n)] + ["C("] * 2
    probe = fusevae.predict_property(chains, strings, "weight")
    assert probe.fitted + probe.held_out == len(strings) - 2 and probe.r2 > 0.5


@needs_rdkit
def test_the_command_writes_a_table_and_refuses_other_models(chains, tmp_path, monkeypatch, capsys):
    from fusevae.cli import load

    monkeypatch.setattr(load, "opened", lambda options: fusevae.Run("run", artifact=chains))
    data = tmp_path / "starts.smi"
    data.write_text("CCO first\n\nC((\nCCCO\n")
    command = ["optimize", "run", "--property", "logp", "--data", str(data), "--output", str(tmp_path / "better.csv")]
    assert main([*command, "--evaluations", "40", "--similarity", "0.2"]) == 0
    assert "1 of them can't be parsed" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "better.csv").read_text().splitlines()))
    assert list(rows[0]) == ["start", "start_value", "best", "value", "similarity", "evaluations"]
    assert [r["start"] for r in rows] == ["CCO", "C((", "CCCO"] and rows[1]["value"] == "nan"
    data.write_text("\n\n")
    assert main(command) == 2
    assert "holds no molecules" in capsys.readouterr().err
    plain = Artifact(Normal(2), DataSpec((2,)))
    monkeypatch.setattr(load, "opened", lambda options: fusevae.Run("run", artifact=plain))
    assert main(command) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main([*command, "--similarity", "2"]) == 2
    assert "from 0 to 1" in capsys.readouterr().err


@needs_rdkit
def test_molecules_that_spread_too_widely_are_unlike_the_data():
    real = [f"{'C' * n}c1ccc({x})cc1" for n in range(1, 6) for x in ("O", "N", "Cl", "F", "CO")]
    wild = [f"{'C' * (2 * n * n)}c1ccc({x})cc1" for n in range(6) for x in ("O", "N", "Cl", "F", "S(=O)(=O)O")]
    for made, names in ((real, []), (wild, ["unlike the data"])):
        found = fusevae.molecule_quality(made * 8, None, real * 4, fcd=False)
        assert [f.name for f in found.failings() if "spread" in f.evidence] == names


@needs_rdkit
@pytest.mark.parametrize("kind", ["selfies", "selfies-pairs"])
def test_brackets_that_say_nothing_are_no_symbols_of_selfies(kind):
    pytest.importorskip("selfies")
    given = ["CC[CH2][CH]1[CH2][NH][CH2]1", "O[C@H](C)[NH3+]", "[CH3]c1cc[nH]c1", "C[CH]C", "[O-][N+](=O)[CH3]"] * 2
    plain = ["CCCC1CNC1", "O[C@H](C)[NH3+]", "Cc1cc[nH]c1", "C[CH]C", "[O-][N+](=O)C"] * 2
    words, others = vocabulary(kind).fit(given, 40), vocabulary(kind).fit(plain, 40)
    assert words.entries == others.entries
    for text, same in zip(given, plain, strict=True):
        back = words.decode(words.encode(text))
        assert back == others.decode(others.encode(same))
        assert canonical(parse(back), stereo=True) == canonical(parse(text), stereo=True)


def test_selfies_are_not_read_as_radicals(tmp_path):
    (tmp_path / "a.smi").write_text("[C][C][O]\n[C][=C][Branch1][C][O][N]\n[N][C]\n")
    with pytest.raises(InputError, match=r"3 of 3 strings are SELFIES .* give SMILES") as error:
        fusevae.read_data(tmp_path / "a.smi")
    assert "\n" not in str(error.value)


def test_numbers_of_atoms_are_not_lost_in_silence(tmp_path):
    pytest.importorskip("selfies")
    (tmp_path / "a.smi").write_text("[CH3:1][OH:2]\nCCO\n" * 9)
    with pytest.raises(InputError, match=r"line \d+: SELFIES can't hold the numbers of atoms in '\[CH3:1\]\[OH:2\]'"):
        fusevae.read_data(tmp_path / "a.smi", tokens="selfies")


@pytest.mark.parametrize("name", ["smiles", "canonical_smiles", "Isomeric SMILES", "CanonicalSMILES"])
def test_a_column_of_smiles_is_known_by_the_end_of_its_name(tmp_path, name):
    (tmp_path / "a.csv").write_text(f"id,{name},y\n" + "".join(f"{i},CCO,{i}\n" for i in range(20)))
    assert fusevae.read_data(tmp_path / "a.csv").spec.modality == "molecules"


def test_one_molecule_is_not_read_in_windows(tmp_path):
    (tmp_path / "a.smi").write_text("CCO\n")
    with pytest.raises(InputError, match="one example of molecules: give several"):
        fusevae.read_data(tmp_path / "a.smi")
