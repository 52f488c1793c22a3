"""Laws of text and molecules as kinds of data, and inputs on which users' tools fail."""

from __future__ import annotations

import csv
import importlib.util
import inspect
import itertools
import json
import logging
import math
import random
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Distribution, constraints

import fusevae
from fusevae import InputError, LanguageModel, Transformer, read_data
from fusevae.cli import main
from fusevae.cli.molecules import molecules
from fusevae.core import noise
from fusevae.core.conditional import Conditional
from fusevae.core.generation import Generation, generating
from fusevae.core.vocabulary import END, UNKNOWN
from fusevae.data.baseline import Unigram
from fusevae.data.modality import modality, modality_of
from fusevae.data.sheet import Rows
from fusevae.data.source import read_examples
from fusevae.modalities.molecules.selfies_tokens import symbols
from fusevae.modalities.text.quality import words
from fusevae.modalities.text.reader import too_few, unseen
from fusevae.modalities.text.tokens import MARK
from fusevae.modalities.text.utf8 import states
from fusevae.training.recipes import find, kinds, reads, recipes

needs_rdkit = pytest.mark.skipif(
    importlib.util.find_spec("rdkit") is None, reason="rdkit is not installed: pip install 'fusevae[molecules]'"
)
TEXTS = [
    'he said "no", twice',
    "semicolons; and\ttabs",
    "今天天气很好，我们去公园。",
    "  spaces around  ",
    "é, \U0001f600 and a zero\0",
    "1.5",
    "null",
    "-1, 2",
]
LINES = [*TEXTS, "two\nlines", "three\r\nlines\n\nand more"]
SMILES = "CCO CCN CCC c1ccccc1 Cc1ccccc1 CC(=O)O C[C@H](N)C(=O)O ClCCBr C1CCNCC1 CC(=O)Oc1ccccc1C(=O)O".split()
GIVEN = {"mood": ["good", "", "bad"], "year": [1999.0, float("nan"), 2001.5]}
CHINESE = ["今天天气很好，我们去公园。", "他昨天买了一本新书。", "咖啡馆里有很多人在说话。", "一只猫睡在窗台上。"]


def texts(examples):
    return examples.spec.text(examples.batch(torch.arange(len(examples)))[0])


def said(caplog):
    return [record.getMessage() for record in caplog.records]


def beside(n):
    return {name: np.array((values * n)[:n]) for name, values in GIVEN.items()}


# ---------------------------------------------------------------- laws


@pytest.mark.parametrize(
    ("name", "suffix", "given"),
    [(name, suffix, found)
     for name, found in (("text", LINES), ("molecules", SMILES))
     for suffix in modality(name).formats if suffix != ".png"],
)  # fmt: skip
def test_what_is_written_reads_back_the_same(tmp_path, name, suffix, given):
    if name == "molecules" or suffix == ".parquet":
        pytest.importorskip("rdkit" if name == "molecules" else "pyarrow")
    given = TEXTS if suffix == ".txt" and name == "text" else given
    tokens = "bytes" if name == "text" else "smiles"
    whole = read_data(given, tokens=tokens, validation=0, test=0)
    assert whole.spec.modality == name and texts(whole.train) == given
    x, path, columns = whole.train.batch(torch.arange(len(given)))[0], tmp_path / f"a{suffix}", beside(len(given))
    modality(name).write(x, whole.spec, path, columns)
    plain = suffix in (".txt", ".smi")
    again = read_examples(path, modality=name, tokens=tokens, conditions=None if plain else ["mood", "year"])
    assert texts(again) == given
    if not plain:
        found = again.spec.conditions.values(again.batch(torch.arange(len(given)))[1])
        assert found["mood"].tolist() == columns["mood"].tolist()
        np.testing.assert_array_equal(found["year"], columns["year"])


def test_what_a_line_does_not_hold_is_said(tmp_path, caplog):
    spec = read_data(LINES, tokens="bytes", validation=0, test=0)
    with caplog.at_level(logging.WARNING):
        modality("text").write(spec.train.batch(torch.arange(len(LINES)))[0], spec.spec, tmp_path / "a.txt", {})
    assert said(caplog) == ["2 of 10 texts have lines of their own, which a .txt doesn't keep together: .jsonl does"]


@pytest.mark.parametrize("name", ["text", "molecules"])
def test_another_kind_of_file_is_refused_in_a_line(tmp_path, name):
    (tmp_path / "numbers.csv").write_text("a,b\n1,2\n3,4\n")
    np.savez(tmp_path / "x.npz", x=np.zeros((9, 8, 8), np.uint8))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.png").write_bytes(b"\x89PNG")
    (tmp_path / "bytes.txt").write_bytes(bytes(range(128, 256)))
    other = tmp_path / ("a.smi" if name == "text" else "a.txt")
    other.write_text("a film of great charm\nthe plot is thin\n")
    for given in ("numbers.csv", "x.npz", "folder", "bytes.txt", other.name):
        with pytest.raises(InputError) as error:
            read_data(tmp_path / given, modality=name)
        assert "\n" not in str(error.value)
    for given in (torch.zeros(5, 3), np.zeros((5, 1, 8, 8), np.uint8)):
        with pytest.raises(InputError, match=f"holds no {name}"):
            read_data(given, modality=name)


@pytest.mark.parametrize("name", ["text", pytest.param("molecules", marks=needs_rdkit)])
def test_drawing_never_fails(tmp_path, name):
    given = ["C" * 5000, "<b>&\0\n\r é", "C1CC(", "\ufffd" * 40, "CCO"]
    spec = read_data(given, tokens="bytes", longest=6000, validation=0, test=0).spec
    spec = spec.replaced(schema=modality(name).schema(spec.schema.vocabulary))
    x = torch.zeros(len(given) + 2, 5100, dtype=torch.int64)  # the last two are empty, and nothing but unknown
    for row, text in zip(x, given, strict=False):
        row[: len(text.encode())] = torch.tensor(spec.schema.vocabulary.encode(text))
    x[-1] = UNKNOWN
    kind = modality(name)
    sheets = [kind.draw([("one", x), ("", x[:1])], spec), kind.draw([("", x)], spec), kind.pairs(x, x, spec)]
    for i, sheet in enumerate([*sheets, *kind.portrait(x, x, spec).values(), *kind.portrait(x[-2:], x, spec).values()]):
        path = sheet.beside(tmp_path / str(i))
        assert path.stat().st_size and "<" in sheet.html("alt")
        if isinstance(sheet, Rows):
            assert len(Rows.read(path).rows) == len(sheet.rows)
    assert Rows.read(tmp_path / "1.csv").rows[0] == ["C" * 5000]


@pytest.mark.parametrize("name", ["text", "molecules"])
def test_the_baseline_is_a_distribution(name):
    splits = read_data(["abba", "ab", "b"] * 3, tokens="characters", validation=0, test=0)
    x = splits.train.batch(torch.arange(9))[0]
    found = modality(name).baseline(x, splits.spec, "mass")
    assert isinstance(found, Unigram)
    every = torch.tensor(list(itertools.product(range(splits.spec.schema.vocabulary.size), repeat=5)))
    ends = (every == END).cumsum(1) > 0
    every = every[((every == END) == ends).all(1)]  # ends follow an end: each sequence, or beginning, once
    assert found.log_prob(every).exp().sum() == pytest.approx(1)


class _Rows(Distribution):
    arg_constraints = {}
    support = constraints.nonnegative_integer

    def __init__(self, rows):
        super().__init__(torch.Size(), rows.shape[1:], validate_args=False)
        self.rows = rows

    def sample(self, shape=()):
        return self.rows[: shape[0]]


class Copies(Conditional):
    """A model whose samples are given examples, in their order."""

    discrete, has_mean, space = True, False, "sequences"

    def __init__(self, rows):
        super().__init__()
        self.rows = nn.Buffer(rows) if hasattr(nn, "Buffer") else rows

    def forward(self, *given):
        return _Rows(self.rows)


@pytest.mark.parametrize("name", ["text", pytest.param("molecules", marks=needs_rdkit)])
def test_real_against_real_is_at_the_floor(name):
    pytest.importorskip("sacrebleu" if name == "text" else "fcd_torch")
    given = SMILES if name == "molecules" else [f"a {a} of the {b}" for a in ("cat", "dog") for b in ("king", "sea")]
    splits = read_data({"train": ["CC"] * 9, "test": given}, tokens="bytes")
    x = splits.test.batch(torch.arange(len(given)))[0]
    reference = modality(name).reference(splits.test, splits, len(given), None, "cpu", True)
    found = reference.judge(fusevae.Artifact(Copies(x), splits.spec))
    if name == "text":
        for key in ("distinct_1", "distinct_2", "self_bleu", "words"):
            assert getattr(found, key) == getattr(found.real, key)
        assert found.repeated == found.copied == 0
    else:
        assert (found.validity, found.uniqueness, found.novelty) == (1, 1, 1)
        assert found.kl_score == pytest.approx(1) and found.snn == pytest.approx(1)
        assert found.fcd == pytest.approx(0, abs=1e-2) and max(found.wasserstein.values()) == pytest.approx(0)


# ---------------------------------------------------------------- writing


def test_what_no_text_is_made_of_is_never_sampled_and_the_rest_in_proportion():
    torch.manual_seed(1)
    model = LanguageModel(Transformer(8, heads=2, layers=1), 4, longest=3).eval()
    nn.init.normal_(model.token.weight, std=0.3)
    how, n = Generation(never=(UNKNOWN,), never_first=(END,)), 40_000
    with torch.no_grad():
        with noise.keyed(0):
            plain = model().sample((n,))
        with noise.keyed(0), generating(how):
            drawn = model().sample((n,))
        assert (drawn[:, 0] != END).all() and not (drawn == UNKNOWN).any()
        fine = (plain[:, 0] != END) & ~(plain == UNKNOWN).any(1)
        assert 0.02 < fine.float().mean() < 0.98
        assert torch.equal(drawn[fine], plain[fine])  # what may be written is what it would have been
        first, log_p = torch.tensor([[2], [3]]), model().log_prob
        p = log_p(first).softmax(0)
        second = torch.tensor([[2, 0], [2, 2], [2, 3]])
        q = log_p(second).softmax(0)
    share = torch.stack([(drawn[:, 0] == t).float().mean() for t in (2, 3)])
    torch.testing.assert_close(share, p, atol=4 * (0.25 / n) ** 0.5, rtol=0)
    after = drawn[drawn[:, 0] == 2][:, 1]
    share = torch.stack([(after == t).float().mean() for t in (0, 2, 3)])
    torch.testing.assert_close(share, q, atol=4 * (0.25 / len(after)) ** 0.5, rtol=0)
    for how in (
        Generation(temperature=0, never=(1, 2), never_first=(0,)),
        Generation(top_k=1, never=(1, 2), never_first=(0,)),
        Generation(beams=3, never=(1, 2), never_first=(0,)),
    ):
        with generating(how):
            drawn = model().sample((5,))
        assert set(drawn.unique().tolist()) <= {0, 3} and (drawn[:, 0] == 3).all()


def test_samples_of_a_model_of_text_hold_no_unknown_token_and_none_is_empty():
    spec = read_data(["ab ab"] * 20, tokens="words").spec
    artifact = fusevae.Artifact(LanguageModel(Transformer(8, heads=2, layers=1), spec.schema.vocabulary.size), spec)
    drawn = artifact.data.text(fusevae.sample(artifact, 300))
    assert all(drawn) and not any("\ufffd" in text for text in drawn)


WAYS = (
    None,
    Generation(temperature=0),
    Generation(1.5),
    Generation(top_k=2),
    Generation(top_p=0.6),
    Generation(beams=3),
)


WRITERS = [(kind, name) for name, of in kinds().items() for kind in of if kind in ("text", "molecules")]


@pytest.mark.parametrize(("kind", "name"), WRITERS)
def test_no_recipe_writes_an_unknown_token_or_nothing(kind, name):
    """Of a model that would rather write these than anything else, in whatever way it is asked to write."""
    for library in {"pretrained-vae": ["transformers"], "selfies-vae": ["selfies", "tokenizers"]}.get(
        name, ["tokenizers"]
    ):
        pytest.importorskip(library)
    given = (
        SMILES if kind == "molecules" else [f"a {a} of the {b}" for a in ("cat", "dog", "cow") for b in ("king", "sea")]
    )
    recipe, small = find(name), {"width": 16, "heads": 2, "layers": 1}
    how_read = {"tokens": "words" if kind == "text" else "smiles"} | reads(name)
    data = read_data(given * 3, validation=0, test=0, **how_read)
    spec, words = data.spec, data.spec.schema.vocabulary
    assert END in words.never_first
    taken = inspect.signature(recipe).parameters
    model = recipe(spec, **{key: value for key, value in small.items() if key in taken}).model
    decoder = getattr(model, "decoder", model).eval()
    with torch.no_grad():
        bias = decoder.bias if hasattr(decoder, "bias") else decoder.impossible  # both are added to the logits
        bias[UNKNOWN], bias[END] = 9.0, 7.0
    artifact = fusevae.Artifact(model, spec)
    with torch.no_grad(), noise.keyed(0):
        plain = model().sample((50,))
    assert (plain == UNKNOWN).any() and (plain[:, 0] != END).all()  # the model itself gives one of them a probability

    def check(x):
        assert not (x == UNKNOWN).any() and (x[..., 0] != END).all()
        assert all(spec.text(x.flatten(0, -2)))

    start = tuple(words.encode(given[0])[:1])
    for how in (*WAYS, Generation(start=start), Generation(0.5, start=start, beams=2)):
        check(fusevae.sample(artifact, 20, generation=how))
    if model.has_latents:
        check(fusevae.reconstruct(artifact, given))
        for how in WAYS[1:]:
            check(fusevae.reconstruct(artifact, given, generation=how))
        if name != "text-vq":
            check(fusevae.interpolate(artifact, given[:2], given[2:4], steps=3))
    x = data.train.batch(torch.arange(4))[0]
    x[1, 1] = UNKNOWN  # of a held-out text with a word that it doesn't know
    assert fusevae.log_likelihood(artifact, x, importance_samples=2).isfinite().all()
    nothing = torch.zeros(2, 3, dtype=torch.int64)
    assert (fusevae.log_likelihood(artifact, nothing, importance_samples=2) == -torch.inf).all()


# ---------------------------------------------------------------- reading


def test_words_that_do_not_fit_a_text_say_what_does(tmp_path, caplog):
    (tmp_path / "chinese.txt").write_text("\n".join(CHINESE * 20) + "\n", encoding="utf-8")
    for tokens in ("words", None, "characters", "bytes"):
        with caplog.at_level(logging.WARNING):
            found = read_data(tmp_path / "chinese.txt", tokens=tokens, validation=0, test=0)
        assert texts(found.train) == CHINESE * 20
        if tokens == "words":
            (one,) = said(caplog)
            assert "no spaces between words" in one and "data.tokens=characters or bpe" in one
            caplog.clear()
    assert not caplog.records
    rare = [" ".join(f"word{i}x{j}" for j in range(4)) for i in range(12)]
    with caplog.at_level(logging.WARNING):
        read_data([*rare, *[f"{c} {c} {c}" for c in "abcdefghijkl"]], tokens="words", validation=0, test=0)
    assert "60 of 108 are unknown: take data.tokens=characters or bpe" in said(caplog)[0]


def test_what_is_half_a_character_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n{"text": "half \\ud83d"}\n')
    with pytest.raises(InputError, match=r"line 2 holds half a character .* --skip-damaged"):
        read_data(tmp_path / "a.jsonl")


REVIEWS = [
    (f"a {w} film about {'cats and ' * (i % 3)}men number {i}", ["bad", "good"][i % 2] if i % 5 else "", 1970 + i % 30)
    for i, w in enumerate(["dull and slow", "fine, fresh"] * 30)
]


def reviews(tmp_path, name, sentiment="sentiment"):
    import pandas

    frame = pandas.DataFrame(REVIEWS, columns=["review", sentiment, "year"])
    path = tmp_path / name
    if name.endswith(".csv"):
        frame.to_csv(path, index=False)
    elif name.endswith(".jsonl"):
        frame.replace({sentiment: {"": None}}).to_json(path, orient="records", lines=True)
    elif name.endswith(".parquet"):
        frame.replace({sentiment: {"": None}}).to_parquet(path)
    else:
        datasets = pytest.importorskip("datasets")
        made = datasets.Dataset.from_pandas(frame.replace({sentiment: {"": None}}))
        if name == "dataset":
            return made
        if name == "frame":
            return frame.replace({sentiment: {"": None}})
        made.save_to_disk(str(path))
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "saved", "dataset", "frame"])
def test_a_table_with_one_column_of_sentences_is_text(tmp_path, caplog, name):
    pytest.importorskip("pandas")
    with caplog.at_level(logging.WARNING):
        whole = read_data(reviews(tmp_path, name), tokens="bytes", validation=0, test=0)
    assert whole.spec.modality == "text" and whole.spec.conditions is None
    assert texts(whole.train) == [review for review, _, _ in REVIEWS]
    (one,) = said(caplog)  # what is not used is said
    assert "review is read as text, sentiment, year not used" in one and "a table by data.modality=tables" in one
    asked = ["sentiment", "year"]
    found = read_data(reviews(tmp_path, name), tokens="bytes", conditions=asked, validation=0, test=0)
    kinds = [type(column).__name__ for column in found.spec.conditions.columns]
    assert kinds == ["Label", "Number"] and found.spec.conditions.columns[0].classes == ["bad", "good"]
    values = found.spec.conditions.values(found.train.batch(torch.arange(60))[1])
    assert values["sentiment"].tolist() == [sentiment for _, sentiment, _ in REVIEWS]
    assert values["year"].tolist() == [year for _, _, year in REVIEWS]
    labelled = read_data(reviews(tmp_path, name.replace("saved", "other"), "label"), tokens="bytes")
    assert labelled.spec.classes == ["bad", "good"]  # a column of this name is taken unasked
    wanted = tmp_path / "no"
    with pytest.raises(InputError, match="no column 'years' for the conditions; did you mean 'year'"):
        read_data(reviews(tmp_path, name.replace("saved", wanted.name)), conditions=["years"])


@needs_rdkit
def test_a_header_is_skipped_and_what_is_no_molecule_left_out_and_counted(tmp_path, caplog):
    (tmp_path / "header.smi").write_text("SMILES name\n" + "CCO ethanol\nc1ccccc1\n" * 20)
    (tmp_path / "invalid.smi").write_text("CCO\nC1CC(\nCCN\nnot a molecule\nc1ccccc1\nCC(C)(C)(C)C\n" * 15)
    (tmp_path / "prose.smi").write_text("a film of great charm\nthe plot is thin\n" * 40)
    with caplog.at_level(logging.WARNING):
        header = read_data(tmp_path / "header.smi", validation=0, test=0)
        invalid = read_data(tmp_path / "invalid.smi", validation=0, test=0)
    assert texts(header.train) == ["CCO", "c1ccccc1"] * 20 and texts(invalid.train) == ["CCO", "CCN", "c1ccccc1"] * 15
    assert header.spec.schema.vocabulary.entries == ["1·<", "1·>", "C", "O", "c"]  # nothing of the header
    assert said(caplog) == [
        f"{tmp_path / 'header.smi'}: line 1 is a header (SMILES) and left out",
        f"{tmp_path / 'invalid.smi'}: left out 45 strings that are no molecules of 90, first "
        f"{tmp_path / 'invalid.smi'}: line 2",
    ]
    assert invalid.train.rows()[:4].tolist() == [0, 2, 4, 6]
    with pytest.raises(InputError, match="100% of 80 strings are no molecules, the first is 'a'"):
        read_data(tmp_path / "prose.smi")
    known = read_examples(tmp_path / "invalid.smi", known=header.spec)  # for a model as well
    assert len(known) == 45
    assert len(read_examples(["CCO", "C1CC("], known=header.spec)) == 2  # what is given one by one stays


@needs_rdkit
def test_what_leaves_no_mark_of_ascii_is_in_no_molecule(tmp_path):
    """rdkit reads over some of it, and takes what follows a space for a name."""
    from fusevae.modalities.molecules.chemistry import molecule_table, parsable, parse, properties, similarity

    odd = [
        "CC\ufffd",
        "CC\u00b7",
        "\uff23C",
        "CC ",
        "C\u200bC",
        "CC OC",
        "CC\tname",
        "\0C",
        "C\x7f",
        "CC\x1cO",
        " CC",
        "",
    ]
    assert [parse(text) for text in odd] == [None] * len(odd)
    assert parsable(["CCO", *odd]) == [True, *[False] * len(odd)]
    assert molecule_table(odd)["valid"].tolist() == [False] * len(odd)
    assert np.isnan(properties(odd)["weight"]).all() and similarity("CC", "CC OC") == 0
    (tmp_path / "a.csv").write_text("smiles,n\n" + "".join(f'"{text}",1\n' for text in ["CCO", *odd[:6], " CCN "]))
    assert texts(read_data(tmp_path / "a.csv", validation=0, test=0).train) == ["CCO", "CC", "CCN"]  # blanks around
    assert molecules(str(tmp_path / "a.csv"))[-2:] == ["CC OC", "CCN"]  # from which a search starts, or doesn't
    (tmp_path / "a.smi").write_text("CCO\tethanol\nCC\u00a0OC\nCC\x1cO\n  CCN amine\n")
    assert texts(read_data(tmp_path / "a.smi", validation=0, test=0).train) == ["CCO", "CCN"]


def test_without_rdkit_molecules_are_known_by_their_spelling(tmp_path, caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit", None)
    (tmp_path / "prose.smi").write_text("a film of great charm\nthe plot is thin\n" * 40)
    (tmp_path / "poem.smi").write_text(
        "".join(f"I saw {w}\n{w}, alas\n" for w in "many crows above fields at night where wheat was cut".split())
    )
    (tmp_path / "invalid.smi").write_text("CCO\nC1CC(\nCCN\nnot a molecule\nc1ccccc1\nCC OC\n" * 15)
    (tmp_path / "only.smi").write_text("smiles\n")
    for name, says in (
        ("prose.smi", "100% of 80 strings are no SMILES by their spelling, the first is 'a'"),
        ("poem.smi", r"50% of 20 strings are no SMILES .* the first is 'many,'"),
        ("only.smi", "holds a header and no molecules"),
    ):
        with pytest.raises(InputError, match=says):
            read_data(tmp_path / name)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        found = read_data(tmp_path / "invalid.smi", validation=0, test=0)
    assert texts(found.train) == ["CCO", "CCN", "c1ccccc1", "CC"] * 15
    missing, left = said(caplog)
    assert "rdkit, which would check" in missing and "pip install 'fusevae[molecules]'" in missing
    assert "left out 30 strings that are no molecules of 90" in left


@pytest.mark.parametrize(
    ("missing", "name", "tokens", "extra"),
    [
        ("tokenizers", "a.txt", None, "text"),
        ("tokenizers", "a.smi", "smiles-pairs", "molecules"),
        ("tokenizers", "a.smi", "selfies-pairs", "molecules"),
        ("selfies", "a.smi", "selfies", "molecules"),
    ],
)
def test_a_library_that_is_missing_names_its_extra(tmp_path, monkeypatch, missing, name, tokens, extra):
    (tmp_path / name).write_text("CCO\nCCN\n" * 9)
    symbols.cache_clear()
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InputError, match=rf"need the library {missing}: pip install 'fusevae\[{extra}\]'"):
        read_data(tmp_path / name, tokens=tokens, validation=0, test=0)


@needs_rdkit
def test_what_is_a_molecule_is_spelt_as_one():
    """Strings a change or three away from molecules: none that rdkit reads is refused, most of the others are."""
    from fusevae.modalities.molecules.chemistry import parse
    from fusevae.modalities.molecules.spelling import is_spelt

    draw, told = random.Random(0), []
    known = [
        *SMILES,
        "[2H]O[2H]",
        "*C",
        "[*:1]C",
        "F/C=C/F",
        "C%(100)CC%(100)",
        "[#6]C",
        "CC(=O)[O-].[Na+]",
        "C->[Fe+2]",
    ]
    assert all(map(is_spelt, known)) and not any(
        map(is_spelt, ["CCO>>CC=O", "c1cccc", "[D]O", "C(", "C..C", "-C", "film"])
    )
    for _ in range(1500):
        text = list(draw.choice(known))
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(len(text) + 1)
            text[at : at + draw.randint(0, 1)] = draw.choice(["", *"CNOcnFIBrlHsp()[]=#$:~/123%+-@.*A"])
        changed = "".join(text)
        if parse(changed) is not None:
            assert is_spelt(changed), changed
        else:
            told.append(not is_spelt(changed))
    assert sum(told) > 0.6 * len(told) > 300


UTF = "one two\nthree é\nfour \U0001f600\n"


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (UTF.encode("utf-8-sig"), None),
        (UTF.encode("utf-16"), None),
        (b"\xfe\xff" + UTF.encode("utf-16-be"), None),
        (UTF.encode("utf-16-le"), None),
        (UTF.encode("utf-32"), None),
        (UTF.replace("\n", "\r\n").encode(), None),
        (UTF.replace("\n", "\r").encode(), None),
        (b"one two\r\nthree\nand\rmore\n", ["one two", "three", "and\rmore"]),
        ("a\u2028b\nc\x85d\n\x0ce\na\0b\n".encode(), ["a\u2028b", "c\x85d", "\x0ce", "a\0b"]),
        ("\u05e9\u05dc\u05d5\u05dd  \n\U0001f468\u200d\U0001f467 e\u0301\t\n".encode() * 2, None),
    ],
    ids=["mark", "utf-16", "utf-16 big", "utf-16 no mark", "utf-32", "crlf", "cr", "mixed", "separators", "joined"],
)  # fmt: skip
def test_lines_are_read_as_they_stand(tmp_path, caplog, content, wanted):
    (tmp_path / "a.txt").write_bytes(content)
    for tokens in ("bytes", "characters"):
        with caplog.at_level(logging.WARNING):
            found = texts(read_data(tmp_path / "a.txt", tokens=tokens, validation=0, test=0).train)
        assert found == (
            wanted or UTF.split("\n")[:-1] if b"\xd7" not in content else content.decode().split("\n")[:-1]
        )
    assert not caplog.records


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (("\u4eca\u5929\n" + UTF).encode("utf-16-le"), "line 1 is no UTF-8|holds zeros as no text in UTF-8 does"),
        (UTF[:18].encode("latin-1"), "line 2 is no UTF-8"),
    ],
)
def test_other_encodings_are_refused_in_a_line(tmp_path, content, says):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_data(tmp_path / "a.txt", tokens="bytes")


@needs_rdkit
def test_a_column_of_smiles_is_molecules_and_its_properties_are_computed(tmp_path, caplog):
    rows = [f"ethanol {i},{SMILES[i % 10]},{i / 7}" for i in range(40)]
    (tmp_path / "a.csv").write_text("name,SMILES,qed\n" + "\n".join(rows) + "\n")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"smiles": s, "n": 1}) + "\n" for s in SMILES * 2))
    with caplog.at_level(logging.WARNING):
        found = read_data(tmp_path / "a.csv", conditions=["qed", "weight"], validation=0, test=0)
    assert found.spec.modality == "molecules" and texts(found.train) == SMILES * 4
    assert ["name not used" in line for line in said(caplog)] == [True]
    given = found.train.batch(torch.arange(40))[1]
    assert given[:, 0].tolist() == pytest.approx([i / 7 for i in range(40)])  # a column comes before what is computed
    assert given[:10, 1].numpy() == pytest.approx(fusevae.properties(SMILES)["weight"], rel=1e-5)
    assert read_data(tmp_path / "a.jsonl").spec.modality == "molecules"
    assert read_data(tmp_path / "a.csv", column="name").spec.modality == "text"
    with pytest.raises(InputError, match="qed were asked for"):
        read_data(["a b"] * 9, conditions=["qed"])


# ---------------------------------------------------------------- through the commands


def test_a_model_given_a_class_and_a_number_is_used_from_end_to_end(tmp_path, capsys, monkeypatch):
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    reviews(tmp_path, "reviews.csv")
    small = ["recipe.width=16", "recipe.heads=2", "recipe.layers=1", "recipe.latent=4", "training.epochs=2"]
    asked = ["recipe.conditional=true", "data.conditions=[sentiment,year]", "data.tokens=bpe", *small]
    recipe = next(name for name in ("text-vae", "captions-vae-transformer") if name in recipes())
    settings = [word for setting in asked for word in ("--set", setting)]
    assert main(["train", recipe, "--data", "reviews.csv", "--output", "run", *settings]) == 0

    def rows(*words, output="o.csv"):
        assert main([words[0], "run", *words[1:], "--output", output]) == 0
        if output.endswith(".jsonl"):
            with open(output, encoding="utf-8") as file:
                return [json.loads(line) for line in file]
        with open(output, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    made = rows("sample", "-n", "3", "--label", "sentiment=good,year=1999", output="o.jsonl")
    assert [(row["sentiment"], row["year"]) for row in made] == [("good", 1999.0)] * 3
    made = rows("sample", "-n", "3", "--label", "sentiment=good", output="o.jsonl")
    assert [(row["sentiment"], row["year"]) for row in made] == [("good", None)] * 3
    assert list(rows("sample", "-n", "2")[0]) == ["text"]
    assert list(rows("sample", "-n", "2", "--label", "year=1980")[0]) == ["text", "sentiment", "year"]
    data = ["--data", "reviews.csv"]
    for command in ("encode", "anomaly"):
        found = rows(command, *data)
        assert [row["text"] for row in found] == [review for review, _, _ in REVIEWS]
        assert [row["sentiment"] for row in found] == [sentiment for _, sentiment, _ in REVIEWS]
        assert [float(row["year"]) for row in found] == [year for _, _, year in REVIEWS]
        assert [int(row["row"]) for row in found] == list(range(60))
    found = rows("reconstruct", *data)
    assert [row["given_text"] for row in found] == [review for review, _, _ in REVIEWS]
    assert [row["sentiment"] for row in found] == [sentiment for _, sentiment, _ in REVIEWS]
    near = rows("neighbours", *data, "-n", "2", "-k", "1")
    for row in near:
        at = int(row["near_row_0"])
        review, sentiment, year = REVIEWS[at]
        assert (row["near_text_0"], row["near_sentiment_0"], float(row["near_year_0"])) == (review, sentiment, year)
    capsys.readouterr()
    for wrong, message in (("sentiment=fine", "known are bad, good"), ("mood=good", "no condition of the model")):
        assert main(["sample", "run", "--label", wrong]) == 2
        err = capsys.readouterr().err
        assert message in err and len(err.strip().splitlines()) == 1


def test_a_picture_of_molecules_says_how_many_it_shows(tmp_path, caplog):
    pytest.importorskip("rdkit")
    whole = read_data(SMILES * 11, tokens="smiles", validation=0, test=0)
    with caplog.at_level(logging.WARNING):
        modality("molecules").write(whole.train.batch(torch.arange(110))[0], whole.spec, tmp_path / "a.png", {})
    assert said(caplog) == ["the picture shows the first 100 of 110 molecules: .smi or .csv holds all"]


# ---------------------------------------------------------------- folders, forms, settings


def test_of_a_folder_hidden_files_are_left_out_and_others_are_said(tmp_path, caplog):
    (tmp_path / "a.txt").write_text("one text\nanother\n")
    (tmp_path / "._a.txt").write_bytes(b"\0\5\x16\7" + b"x" * 30)  # what macOS leaves beside a file
    (tmp_path / "b.csv").write_text("text\nof a table\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "c.txt").write_text("below\n")
    with caplog.at_level(logging.WARNING):
        found = read_data(tmp_path, tokens="bytes", validation=0, test=0)
    assert texts(found.train) == ["one text", "another"]
    assert f"{tmp_path}: left out 2 files that are no .txt in the folder itself (.csv, .txt), such as b.csv" in said(
        caplog
    )


def test_texts_in_folders_are_a_file_each_and_the_folders_their_classes(tmp_path, caplog):
    for split in ("train", "test"):
        for i in range(8):
            file = tmp_path / split / ("neg", "pos")[i % 2] / f"{i}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(f"number {i}\r\nof {split}\r\n".encode())
    found = read_data(tmp_path, tokens="bytes", validation=0)
    assert found.spec.conditions.label.classes == ["neg", "pos"]
    assert sorted(texts(found.test)) == [f"number {i}\nof test" for i in range(8)]
    x, label = found.train.batch(torch.arange(8))[:2]
    assert [int(found.spec.text(x)[i][7]) % 2 for i in range(8)] == label.tolist()
    assert f"{tmp_path}: each of 16 files in its sub-folders is read as one example of text" in said(caplog)[0]
    (tmp_path / "train" / "pos" / "1.txt").write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match=r"1\.txt: text 1 is no UTF-8"):
        read_data(tmp_path)


@pytest.mark.parametrize("index", ["metadata.csv", "metadata.jsonl"])
@pytest.mark.parametrize("folder", ["", "a/"])
def test_texts_that_an_index_names_are_a_file_each(folder, index, tmp_path, caplog):
    rows = [{"file_name": f"{folder}{i}.txt", "year": 2000 + i} for i in range(24)]
    for i, row in enumerate(rows):
        file = tmp_path / row["file_name"]
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"number {i}\nin two lines\n")
    lines = ["file_name,year", *(f"{row['file_name']},{row['year']}" for row in rows)]
    (tmp_path / index).write_text("\n".join(lines if index.endswith(".csv") else map(json.dumps, rows)))
    found = read_data(tmp_path, tokens="bytes", conditions=["year"], validation=0, test=0).train
    year = found.spec.conditions.columns[0]
    assert {*texts(found)} == {f"number {i}\nin two lines" for i in range(24)}
    x, y = found.batch(torch.arange(24))[:2]
    numbers = [int(text.split()[1]) for text in found.spec.text(x)]
    assert [round(year.word(value)) for value in y.flatten().tolist()] == [2000 + n for n in numbers]
    assert f"each of 24 files is read as one example of text, with what {index} says of it" in caplog.text


def test_what_looks_like_molecules_or_sequences_is_said(tmp_path, caplog):
    (tmp_path / "a.txt").write_text("".join(f">s{i}\nACGTTGCA\n" for i in range(20)))
    read_data(tmp_path / "a.txt", tokens="bytes")
    read_data(["CC=O", "CCO", "C#N"] * 9, modality="text")
    assert ["leave FASTA's headers out" in said(caplog)[0], "spelt as SMILES" in said(caplog)[1]] == [True, True]


def test_lines_of_objects_in_folders_below_are_refused_with_what_to_do(tmp_path):
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "b.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(InputError, match=r"below it alone, such as test/b.jsonl: .*give one of those folders") as error:
        read_data(tmp_path)
    assert "\n" not in str(error.value)


def test_a_first_row_of_words_that_come_again_is_data(tmp_path, caplog):
    (tmp_path / "t.tsv").write_text("good\ta fine play\nbad\tmuch too long\ngood\tonce more please\n")
    found = read_data(tmp_path / "t.tsv", tokens="bytes", validation=0, test=0)
    assert len(found.train) == 3
    assert "the first row, good, a fine play, was taken for data (data.header=true, if it is not)" in said(caplog)[0]


def test_letters_in_two_forms_are_said(caplog):
    one, two = "caf\u00e9 noir", "cafe\u0301 noir"
    with caplog.at_level(logging.WARNING):
        read_data([one] * 5, tokens="characters")
        read_data([two] * 5, tokens="characters")
        assert not said(caplog)
        read_data([one, two] * 5, tokens="characters")
    assert "\u00e9: in some texts one character, in others two" in said(caplog)[0]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.txt.gz", b"\x1f\x8b\x08\0\0", "is no file of data but compressed by gzip: unpack it"),
        ("a.docx", b"PK\x03\x04", "Word: unpack it"),
        ("a.txt", b"{\\rtf1\\ansi hello}", "is no text but RTF: save it as plain text"),
        ("a.md", b"# Title\n", r"of type '\.md': .* ends in .*\.txt.*\.jsonl.* rename it"),
        ("noted", b"some text\n", "without a type: .* rename it"),
    ],
)
def test_files_of_other_types_say_what_to_do(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_data(tmp_path / name)


def test_molecules_in_a_text_file_are_said(tmp_path, caplog):
    (tmp_path / "a.txt").write_text("CCO\nc1ccccc1\nCC(=O)O\n" * 5)
    (tmp_path / "b.txt").write_text("Bob\nCo\nNo\n" * 5)
    with caplog.at_level(logging.WARNING):
        read_data(tmp_path / "b.txt", tokens="characters")
        assert not said(caplog)
        read_data(tmp_path / "a.txt", tokens="characters")
    assert "each line is spelt as SMILES, and is taken for a text as it stands: name it .smi" in said(caplog)[0]


def test_a_list_with_something_else_names_it_and_a_text_is_no_path():
    with pytest.raises(InputError, match="the list in memory: item 2 is no text but '3'"):
        read_data(["a", "b", 3])
    with pytest.raises(InputError, match="of several lines, is no path of data: give texts as a list") as error:
        read_data("one line\nand more")
    assert "\n" not in str(error.value)


def test_how_other_data_are_read_can_be_said_to_each_command(tmp_path, capsys, caplog):
    spec = read_data(["some words", "more of them"], tokens="characters", validation=0, test=0).spec
    made = find("text-transformer")(spec, width=16, layers=1, heads=2)
    fusevae.Artifact(made.model, spec).save(tmp_path / "run")
    (tmp_path / "two.csv").write_text("title,body\n" + "some words,more of them\n" * 3)
    command = ["evaluate", str(tmp_path / "run"), "--importance-samples", "1"]
    given = ["--data", str(tmp_path / "two.csv")]
    assert main([*command, *given]) == 2 and "data.column=" in capsys.readouterr().err
    assert main([*command, *given, "--set", "data.column=body"]) == 0
    assert "evaluating 3 examples" in capsys.readouterr().err
    assert main([*command, *given, "--set", "data.colum=body"]) == 2 and "colum" in capsys.readouterr().err
    assert main([*command, "--set", "data.column=body"]) == 2
    assert "give them, --data PATH" in capsys.readouterr().err
    vae = find("text-vae")(spec, latent=2, width=16, layers=1, heads=2).model
    fusevae.Artifact(vae, spec).save(tmp_path / "vae")
    (tmp_path / "one.txt").write_text("some words\n")
    for (first, *others), says in (
        (["impute", "--missing", "nan"], "tokens with no values to fill in"),
        (["denoise", "--noise", "1"], "tokens with no values to fill in"),
        (["neighbours"], "1 example has no neighbours: give more"),
    ):
        rest = [str(tmp_path / "vae"), "--data", str(tmp_path / "one.txt"), "--output", str(tmp_path / "z.csv")]
        assert main([first, *rest, *others]) == 2 and says in capsys.readouterr().err
    for name in ("bench", "tune"):
        rest = ["text-lstm", *given, "--total", "9s", "--output", str(tmp_path / name), "--set", "data.modality=text"]
        assert main([name, *rest]) == 2 and "name the one" in capsys.readouterr().err
        assert main([name, *rest, "--set", "training.epochs=1"]) == 2
        assert "is no setting of the data" in capsys.readouterr().err
        assert main([name, *rest, "--set", "data.column=bod"]) == 2 and "no column 'bod'" in capsys.readouterr().err
        assert not (tmp_path / name).exists()


# ---------------------------------------------------------------- characters of several bytes


def test_the_states_of_bytes_are_those_of_utf8():
    def is_text(given: bytes) -> bool:
        try:
            return bool(given.decode()) or not given
        except UnicodeDecodeError:
            return False

    some = (0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xED, 0xEF, 0xF0, 0xF4, 0xF5)
    made = [bytes(x) for n in (1, 2, 3) for x in itertools.product(some, repeat=n)]
    tails = [bytes(x) for n in (1, 2, 3) for x in itertools.product((0x80, 0xA0), repeat=n)]
    for given, state in zip(made, states(made)[0].tolist(), strict=True):
        if is_text(given):
            assert state == 0
        else:  # it goes on as one, or doesn't
            assert (state > 0) == any(is_text(given + tail) for tail in tails), given


@pytest.mark.parametrize("tokens", ["bytes", "bpe"])
def test_what_is_written_is_made_of_whole_characters(tokens):
    if tokens == "bpe":
        pytest.importorskip("tokenizers", reason="pip install 'fusevae[text]'")
    spec = read_data(CHINESE * 20, tokens=tokens, validation=0, test=0).spec
    torch.manual_seed(0)
    model = LanguageModel(Transformer(8, heads=2, layers=1), spec.schema.vocabulary.size, longest=60).eval()
    with torch.no_grad():
        model.bias[END] = 3.0
    artifact = fusevae.Artifact(model, spec)
    with torch.no_grad(), noise.keyed(0):
        assert any(MARK in text for text in spec.text(model().sample((50,))))  # the model alone breaks them
    for how in (None, Generation(0.7, top_p=0.9), Generation(beams=3)):
        x = fusevae.sample(artifact, 30, generation=how)
        ended = (x == END).any(-1)
        found = [text for text, whole in zip(spec.text(x), ended.tolist(), strict=True) if whole]
        assert found and not any(MARK in text for text in found)


def sentences(n, seed=0):
    """Of eight words drawn by Zipf's law from 2,000."""
    chance = 1 / np.arange(1.0, 2001)
    drawn = np.random.default_rng(seed).choice(2000, (n, 8), p=chance / chance.sum())
    return [" ".join(f"w{i}" for i in row) for row in drawn]


@pytest.mark.parametrize("n", [60, 300, 3000])
def test_how_many_words_are_new_is_told_by_those_that_come_once(n):
    """Good and Turing's estimate, beside the words of other texts."""
    read, others = ([words(text) for text in sentences(size, seed)] for size, seed in ((n, 1), (2000, 2)))
    known = {word for text in read for word in text}
    new = [word not in known for text in others for word in text]
    error = math.sqrt(0.25 / (8 * n)) + math.sqrt(0.25 / len(new))
    assert unseen(read) == pytest.approx(np.mean(new), abs=4 * error)


def test_of_few_texts_it_is_said_how_many_would_do_before_a_training_and_after(caplog):
    fusevae.read_data(sentences(60))
    assert len(caplog.messages) == 1 and caplog.messages[0].startswith("48 training texts are few: ")
    want = int(caplog.messages[0].split("about ")[1].split(" would")[0].replace(",", ""))
    once = unseen([words(text) for text in sentences(60)])
    assert want == pytest.approx(48 * (10 * once) ** 2.5, rel=0.5) and want > 1000
    caplog.clear()
    data = fusevae.read_data({"train": sentences(60, 3), "test": sentences(20, 4)})
    model = LanguageModel(Transformer(8, heads=2, layers=1), data.spec.schema.vocabulary.size, longest=9).eval()
    reference = modality_of(data.spec).reference(data.test, data, 10, None, "cpu", True)
    found = reference.judge(fusevae.Artifact(model, data.spec)).failings()
    assert found[0].name == "too few texts" and found[0].evidence in caplog.messages


@pytest.mark.parametrize(
    "texts",
    [
        ["a man rides a bike", "two dogs play", "a dog runs in the park"] * 20,  # of which nothing would be new
        [f"n{i * i % 9973}" for i in range(60)],  # names
        [f"c{i} d{i} e{i}" for i in range(60)],  # nothing comes again, as of codes
        sentences(5000)[:1] * 5000,
        ["one"],
    ],
    ids=["known", "names", "codes", "many", "one"],
)
def test_of_texts_that_are_enough_or_no_sentences_nothing_is_said(texts):
    assert too_few([words(text) for text in texts]) == ""
