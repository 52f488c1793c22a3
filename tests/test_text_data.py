"""Text and molecules as tokens: what is read comes back, what is wrong is said, batches are of like length."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Distribution, constraints

import fusevae
from fusevae import InputError, build, describe
from fusevae.cli import main
from fusevae.core.conditional import Conditional
from fusevae.core.vocabulary import END, UNKNOWN, counted
from fusevae.data.baseline import Unigram
from fusevae.data.source import Source, read_data, read_examples
from fusevae.evaluation.blocks import as_examples
from fusevae.modalities.molecules.random_smiles import RandomSmiles
from fusevae.modalities.molecules.selfies_tokens import Selfies, SelfiesPairs, flat, nested, symbols
from fusevae.modalities.molecules.smiles_tokens import SmilesAtoms, SmilesPairs
from fusevae.modalities.text.tokens import BPE, MARK, Bytes, Characters, Words, vocabularies
from fusevae.training import batches as batches_module
from fusevae.training.batches import Batches
from fusevae.training.recipes import reads
from fusevae.training.settings import Training

CAPTIONS = [
    "a dog runs on the grass.",
    "two men, a dog and a boat",
    "the dog's ball",
    "a man in a boat on the grass",
] * 6
MOLECULES = ["CCO", "c1ccccc1Cl", "C[C@H](N)C(=O)O", "BrCC%12CC%12", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "OCC(O)CO"] * 5
SHARED = Path(__file__).parent.parent.parent / "shared" / "data"


def texts(examples) -> list[str]:
    return examples.spec.text(examples.batch(torch.arange(len(examples)))[0])


# ---------------------------------------------------------------- vocabularies


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(), min_size=1, max_size=5))
@pytest.mark.parametrize("kind", [Characters, Bytes, BPE, SmilesAtoms, SmilesPairs])
def test_what_a_vocabulary_is_fitted_on_comes_back(kind, found):
    made = kind.fit(found)
    for text in found:
        assert made.decode(made.encode(text)) == text
        assert min(made.encode(text), default=2) >= 2


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(alphabet="C()12%[]·<>"), min_size=1, max_size=5))
@pytest.mark.parametrize("kind", [SmilesAtoms, SmilesPairs])
def test_what_only_looks_like_a_token_of_smiles_comes_back_too(kind, found):
    made = kind.fit(found * 2)
    assert [made.decode(made.encode(text)) for text in found] == found


def test_a_token_of_smiles_says_how_deep_it_is_and_what_it_closes():
    found = SmilesAtoms.pieces("C(C(C)(C)C)C%10C1C%10C1" + "C(" * 7 + "C" + ")" * 7)
    brackets = [piece for piece in found if piece[0] in "()"]
    assert brackets[:6] == ["(·1", "(·2", ")·2", "(·2", ")·2", ")·1"]
    assert brackets[6:13] == ["(·1", "(·2", "(·3", "(·4", "(·5", "(·5", "(·5"]
    assert brackets[13:] == [")·5", ")·5", ")·5", ")·4", ")·3", ")·2", ")·1"]
    assert [piece for piece in found if piece[-1] in "<>"] == ["%10·<", "1·<", "%10·>", "1·>"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="ab .,!\n\u00e9\u4e2d"), min_size=1, max_size=5))
def test_words_come_back(found):
    known = [text for text in found if text]
    if known:
        made = Words.fit(known * 2)
        assert [made.decode(made.encode(text)) for text in known] == known


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_bytes_and_byte_pairs_know_every_text(text):
    for made in (Bytes(), BPE.fit(CAPTIONS, size=300)):
        assert UNKNOWN not in made.encode(text)
        assert made.decode(made.encode(text)) == text


@pytest.mark.parametrize("kind", sorted({*vocabularies()} - {"pretrained"}))  # those are read from a folder
def test_a_vocabulary_is_its_description(kind):
    made = vocabularies()[kind].fit(MOLECULES * 2)
    again = build(describe(made))
    assert again.entries == made.entries and again.size == made.size == len(made.entries) + 2
    assert again.fingerprint == made.fingerprint
    for text in MOLECULES:
        assert again.encode(text) == made.encode(text)
        assert again.decode([*made.encode(text), END, 5]) == made.decode(made.encode(text))


def test_what_is_unknown_is_one_mark():
    assert Characters.fit(["ab"]).decode(Characters.fit(["ab"]).encode("axyb")) == f"a{MARK}{MARK}b"
    words = Words.fit(["a dog a dog"] * 2)
    assert words.decode(words.encode("a dog sleeps a dog")) == f"a dog{MARK} a dog"
    pairs = BPE.fit(["ab"])
    assert pairs.decode([*pairs.encode("a"), UNKNOWN, *pairs.encode("b")]) == f"a{MARK}b"
    assert Bytes().decode([99, UNKNOWN, 100]) == f"a{MARK}b"


def test_the_most_frequent_are_kept():
    assert Characters.fit(["aaabbc"], size=4).entries == ["a", "b"]
    assert BPE.fit(CAPTIONS, size=280).size == 280
    assert BPE.fit(CAPTIONS).entries == BPE.fit(CAPTIONS).entries
    with pytest.raises(InputError, match="258"):
        BPE.fit(CAPTIONS, size=100)
    with pytest.raises(InputError, match="no word is seen twice"):
        Words.fit(["each word once"])
    with pytest.raises(InputError, match="the tokenizer can't be read"):
        BPE("{}")


@pytest.mark.parametrize("kind", [Selfies, SelfiesPairs])
def test_selfies_come_back_as_the_same_molecule(kind):
    from rdkit import Chem

    made = kind.fit([*MOLECULES * 2, "C[C"])
    for smiles in MOLECULES:
        again = made.decode(made.encode(smiles))
        assert Chem.CanonSmiles(again) == Chem.CanonSmiles(smiles)
    generator = torch.Generator().manual_seed(0)
    first = torch.tensor([i for i in range(2, made.size) if i not in made.never_first])
    for _ in range(200):  # any sequence of them is a molecule, once an atom comes first
        drawn = torch.randint(2, made.size, (12,), generator=generator)
        drawn[0] = first[drawn[0] % len(first)]
        assert Chem.MolFromSmiles(made.decode(drawn.tolist())).GetNumAtoms()
    with pytest.raises(InputError, match=r"can't hold the molecule 'C\[C'"):
        made.encode("C[C")
    with pytest.raises(InputError, match="did you mean 'selfies'"):
        read_data(MOLECULES, tokens="selfie")


# the last two close a ring between two branches, and have two parts
@pytest.mark.parametrize(
    "smiles", [*MOLECULES[:6], "C1CC2CCC1(C(=O)N3CC3)C2", "C/C=C/c1ccc2c(c1)OCO2", "C(C1)C1", "CC(=O)O.N"]
)
def test_nested_selfies_are_selfies(smiles):
    pieces = list(nested(symbols(smiles)))
    assert flat(pieces) == list(symbols(smiles))
    depth = [("Branch" in p) - ("End" in p) for p in pieces]
    assert sum(depth) == 0 and all(sum(depth[:i]) >= 0 for i in range(len(depth)))


def test_a_ring_says_its_size_whatever_hangs_on_it():
    for smiles in ("C1CCCCC1", "C1CC(CCO)C(C(=O)N)CC1"):
        assert [p for p in nested(symbols(smiles)) if "Ring" in p] == ["[Ring·5]"]


def test_what_makes_no_sense_in_nested_selfies_is_passed_over():
    assert flat(["[End·1]", "[Ring·2]", "[Branch·1]", "[C]", "[Branch·1]", "[End·1]", "[Ring·9]", "[C]"]) == [
        "[C]",
        "[C]",
    ]
    assert flat(["[C]", "[Branch·1]", "[O]", ".", "[N]"]) == ["[C]", "[Branch1]", "[C]", "[O]", ".", "[N]"]
    assert flat(["[C]", "[C]", "[C]", "[Ring·9]"]) == ["[C]", "[C]", "[C]", "[Ring1]", "[Ring1]"]


# ---------------------------------------------------------------- batches


def test_a_batch_is_as_long_as_its_longest():
    splits = read_data(CAPTIONS, tokens="words")
    train, lengths = splits.train, splits.train.lengths
    for rows in torch.randperm(len(train)).split(5):
        x, label = train.batch(rows)
        assert label is None and x.dtype == torch.int64 and x.shape == (len(rows), int(lengths[rows].max()))
        assert counted(x).sum(1).tolist() == lengths[rows].tolist()
        alone = [splits.spec.text(train.batch(row[None])[0])[0] for row in rows]
        assert splits.spec.text(x) == alone
    assert train.batch(torch.arange(0))[0].shape[0] == 0
    assert torch.equal(train.subset(torch.tensor([3, 1])).lengths, lengths[[3, 1]])
    assert splits.spec.shape == (max(int(p.lengths.max()) for p in (train, splits.validation, splits.test)),)
    assert (splits.spec.low, splits.spec.high) == (0, splits.spec.schema.vocabulary.size - 1)


def many(n: int = 1003) -> list[str]:
    generator = torch.Generator().manual_seed(0)
    return ["ab" * int(k) for k in torch.randint(1, 40, (n,), generator=generator)]


def padding(examples, size: int) -> float:
    found = Batches(examples, Training(epochs=1, batch_size=size), seed=0)
    xs = [batch.x for batch in found.since(0)]
    return 1 - sum(int(counted(x).sum()) for x in xs) / sum(x.numel() for x in xs)


def test_an_epoch_sees_each_example_once_and_depends_on_the_seed_alone():
    examples = read_data(many(), tokens="characters", validation=0, test=0).train
    size = 32
    made = Batches(examples, Training(epochs=3, batch_size=size), seed=1)
    orders = [torch.cat(list(made._indices(at))[: made.per_epoch]) for at in (0, made.per_epoch)]
    for order in orders:
        assert len(order) == len(order.unique()) == made.per_epoch * size
    assert not torch.equal(*orders)
    assert set(orders[0].tolist()) != set(orders[1].tolist())  # who is left out changes
    again = Batches(examples, Training(epochs=3, batch_size=size), seed=1)
    late = [batch.x for batch in made.since(0)][40:]
    assert all(torch.equal(a, b.x) for a, b in zip(late, again.since(40), strict=True))
    # what follows another is no longer: the batches are shuffled
    means = [examples.lengths[rows].float().mean() for rows in orders[0].split(size)]
    assert means != sorted(means)
    assert padding(examples, size) < 0.1


def test_processes_and_parts_see_the_same_batches(monkeypatch):
    examples = read_data(many(200), tokens="characters", validation=0, test=0).train
    whole = Batches(examples, Training(epochs=2, batch_size=12, accumulate=3), seed=0)
    steps = list(whole.since(0))
    for part, rows in whole.parts(steps[0]):
        assert torch.equal(part.x, steps[0].x[rows.start : rows.stop])
    found = []
    for rank in range(3):
        monkeypatch.setattr(batches_module, "world", lambda rank=rank: (rank, 3))
        found.append(list(Batches(examples, Training(epochs=2, batch_size=12), seed=0).since(0)))
    for step, parts in zip(steps, zip(*found, strict=True), strict=True):
        assert torch.equal(step.x, torch.cat([part.x for part in parts]))


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the captions in shared/data")
@pytest.mark.parametrize("tokens", ["bpe", "words"])
def test_captions_are_filled_up_by_less_than_a_tenth(tokens):
    splits = read_data(SHARED / "text" / "captions_valid.txt", tokens=tokens, validation=0, test=0)
    assert padding(splits.train, 64) < 0.1


# ---------------------------------------------------------------- reading


def test_the_vocabulary_is_of_the_training_part(tmp_path, caplog):
    data = {"train": ["abc"] * 5, "test": ["abz"], "validation": ["cba"]}
    with caplog.at_level(logging.WARNING):
        splits = read_data(data, tokens="characters")
    assert splits.spec.schema.vocabulary.entries == ["a", "b", "c"]
    assert texts(splits.test) == [f"ab{MARK}"] and texts(splits.validation) == ["cba"]
    said = ["the dict in memory: test (test): 1 of 4 tokens (characters) are unknown to the vocabulary"]
    assert [record.getMessage() for record in caplog.records] == said
    random = read_data(["ab"] * 20, tokens="characters", seed=3)
    assert (len(random.train), len(random.validation), len(random.test)) == (16, 2, 2)


def test_the_split_is_by_the_seed():
    numbered = [f"line {i}" for i in range(50)]
    parts = [[texts(p) for p in (s.train, s.validation, s.test)] for s in (
        read_data(numbered, seed=1), read_data(numbered, seed=1), read_data(numbered, seed=2))]  # fmt: skip
    assert parts[0] == parts[1] != parts[2]
    assert sorted(text for part in parts[0] for text in part) == sorted(numbered)


def test_every_format_gives_the_same(tmp_path):
    datasets = pytest.importorskip("datasets")
    lines = [f'text {i}, "quoted"' for i in range(12)]
    label = [i % 3 for i in range(12)]
    (tmp_path / "a.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "crlf.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"t": t, "k": k}) + "\n" for t, k in zip(lines, label, strict=True))
    )
    rows = [f'{k},"{t.replace(chr(34), chr(34) * 2)}"' for t, k in zip(lines, label, strict=True)]
    (tmp_path / "a.csv").write_text("k,t\n" + "\n".join(rows) + "\n")
    table = datasets.Dataset.from_dict({"t": lines, "k": label})
    table.to_parquet(str(tmp_path / "a.parquet"))
    table.save_to_disk(str(tmp_path / "saved"))
    datasets.DatasetDict({"train": table, "test": table}).save_to_disk(str(tmp_path / "dict"))
    expected = read_examples(lines)
    for name in ("a.txt", "crlf.txt"):
        assert texts(read_examples(tmp_path / name)) == lines
    for name in ("a.jsonl", "a.csv", "a.parquet", "saved", "dict"):
        found = read_examples(tmp_path / name, column="t", conditions="k")
        x, y = found.batch(torch.arange(12))
        assert torch.equal(x, expected.batch(torch.arange(12))[0]) and y.tolist() == label, name
        assert found.spec.classes == ["0", "1", "2"]
        with pytest.raises(InputError, match="no column 'tt' for the text; did you mean 't'"):
            read_examples(tmp_path / name, column="tt")
    assert len(read_data(tmp_path / "dict", column="t").test) == 12
    for data in (table, (lines, label), np.array(lines), {"train": (lines, label)}):
        given_ = read_data(data, column="t", conditions="k" if data is table else None, validation=0, test=0)
        assert texts(given_.train) == lines
    np.save(tmp_path / "y.npy", np.array(label))
    assert read_examples(tmp_path / "a.txt", conditions=str(tmp_path / "y.npy")).batch(torch.arange(3))[1].tolist() == [
        0,
        1,
        2,
    ]


def test_smiles_are_the_first_field(tmp_path):
    (tmp_path / "a.smi").write_text("CCO ethanol\nc1ccccc1\tbenzene\n\nCCl\n")
    found = read_examples(tmp_path / "a.smi")
    assert texts(found) == ["CCO", "c1ccccc1", "CCl"] and found.spec.schema.vocabulary.kind == "smiles"
    assert "Cl" in found.spec.schema.vocabulary.entries


def test_a_folder_gives_the_splits_and_a_file_only_itself(tmp_path):
    for name, n in (("train", 9), ("valid", 3), ("test", 2)):
        (tmp_path / f"captions_{name}.txt").write_text("\n".join([f"{name} text"] * n))
    splits = read_data(tmp_path)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (9, 3, 2)
    alone = read_data(tmp_path / "captions_train.txt", validation=0, test=0)
    assert (len(alone.train), len(alone.validation), len(alone.test)) == (9, 0, 0)
    named = read_data(tmp_path / "captions_train.txt", test_path=str(tmp_path / "captions_test.txt"), validation=0)
    assert texts(named.test) == ["test text"] * 2 and len(named.train) == 9
    (tmp_path / "notes.txt").write_text("something")
    with pytest.raises(InputError, match=r"notes\.txt is neither for training"):
        read_data(tmp_path)


def test_other_data_by_path_in_any_format(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((20, 3), "float32"))
    np.save(tmp_path / "b.npy", np.ones((4, 3), "float32"))
    splits = Source(str(tmp_path / "a.npy"), validation=0, test_path=str(tmp_path / "b.npy")).read()
    assert (len(splits.train), len(splits.test)) == (20, 4)
    (tmp_path / "c.txt").write_text("some text\n")
    with pytest.raises(InputError, match=r"c\.txt holds no table"):
        Source(str(tmp_path / "a.npy"), test_path=str(tmp_path / "c.txt")).read()


def test_one_long_text_is_cut_into_windows(tmp_path):
    text = "".join(chr(97 + i % 26) + ("\n\n" if i % 7 == 0 else "") for i in range(2000))
    (tmp_path / "a.txt").write_text(text)
    splits = read_data(tmp_path / "a.txt", stream=64, tokens="characters")
    assert splits.spec.shape == (64,) and splits.train.lengths is None
    held = ["".join(texts(part)) for part in (splits.train.subset(torch.arange(0, len(splits.train), 16)),
                                              splits.validation, splits.test)]  # fmt: skip
    sizes = [len(text) - 2 * round(0.1 * len(text)), round(0.1 * len(text)), round(0.1 * len(text))]
    start = 0
    for found, n in zip(held, sizes, strict=True):
        assert text[start : start + n].startswith(found) and len(found) > n - 2 * 64
        start += n
    x, _ = splits.train.batch(torch.tensor([0, 1]))
    assert (x != END).all() and torch.equal(x[0, 4:], x[1, :-4])  # 64 // 16 apart
    source = Source(str(tmp_path / "a.txt"), stream=64, tokens="bytes")
    assert "".join(texts(read_examples(source))) == text[: len(text) // 64 * 64]
    with pytest.raises(InputError, match="a window 5000"):
        read_data(tmp_path / "a.txt", stream=5000)
    with pytest.raises(InputError, match="may be anything"):
        read_data(torch.zeros(9, 2), stream=4)
    with pytest.raises(InputError, match="holds no text"):
        read_data(torch.zeros(9, 2), stream=4, modality="text")


def test_pairs_are_tokens_where_they_say_more_than_chance():
    draw = np.random.default_rng(0)
    letters = ["".join(draw.choice([*"ACDEFGHIKLMNPQRSTVWY"], n)) for n in draw.integers(5, 15, 400)]
    words = ["".join(draw.choice([*"ACDEFGHIKLMNPQRSTVWY"], 6)) for _ in range(40)]
    lines = [" ".join(draw.choice(words, 3)) for _ in range(400)]
    sizes = {}
    for name, some in {"letters": letters, "lines": lines, "few": letters[:50]}.items():
        data = read_data(some, tokens="bpe", validation=0, test=0)
        assert texts(data.train) == some
        sizes[name] = data.spec.schema.vocabulary.size
    assert sizes["letters"] == 258 and sizes["lines"] > 300 and sizes["few"] > 258  # bytes, an end and an unknown
    asked = read_data(letters, tokens="bpe", vocabulary_size=400, validation=0, test=0)
    assert asked.spec.schema.vocabulary.size == 400


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("name", "content", "settings_", "message"),
    [
        ("a.txt", b"", {}, "holds no text"),
        ("a.txt", b"\n \n", {}, "holds no text"),
        ("a.txt", b"fine\n\xff\xfe bad\n", {}, r"a\.txt: line 2 is no UTF-8: mend it, or pass --skip-damaged"),
        ("a.txt", b"fine\n\n" + b"x" * 600, {"tokens": "bytes"}, r"line 3 has 601 tokens .* longest=512: .*=601"),
        ("a.txt", b"fine\n" + b"x" * 600 + b"\n" + b"x" * 900, {"tokens": "bytes"},
         r"line 3 has 901 tokens .* longest=512 \(2 texts have\): .*=901"),
        ("a.txt", b"fine\n", {"column": "text"}, "no columns"),
        ("a.txt", b"fine\n", {"tokens": "letters"}, "expected a kind of token"),
        ("a.txt", b"fine\n", {"longest": 1}, "longest=1 was given"),
        ("a.jsonl", b"", {}, "no JSON objects"),
        ("a.jsonl", b'{"text": "a"}\n{"text": 3}\n', {}, "line 2 is no text but '3'"),
        ("a.jsonl", b'{"text": "a"}\n{"text"\n', {}, "line 2 is no JSON object"),
        ("a.jsonl", b'{"text": "a"}\n{"txt": "b"}\n', {}, "line 2 has no 'text'"),
        ("a.jsonl", b'{"a": "a", "b": "c"}\n', {"modality": "text"}, "has columns a, b: name the one"),
        ("a.jsonl", b'{"a": "a"}\n', {"conditions": "b"}, "no column 'b' for the conditions"),
        ("a.csv", b"text,k\n", {"column": "text"}, "no rows"),
        ("a.smi", b"CCO\nO=[Cl](=O)(=O)O\n", {"tokens": "selfies"}, r"line 2: SELFIES can't hold the molecule 'O="),
        ("a.smi", b"a film\nthe plot\n", {}, "100% of 2 strings are no molecules, the first is 'a'"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(tmp_path, name, content, settings_, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_data(tmp_path / name, validation=0, test=0, **settings_)
    assert "\n" not in str(error.value)


def test_what_is_damaged_is_left_out_and_counted(tmp_path, caplog):
    lines = [b"good one", b"", b"\xff", b"long " * 50, b"good two", b"  "]
    (tmp_path / "a.txt").write_bytes(b"\n".join(lines))
    np.save(tmp_path / "y.npy", np.arange(6))
    with caplog.at_level(logging.WARNING):
        found = read_examples(tmp_path / "a.txt", skip_damaged=True, longest=30, tokens="bytes",
                              conditions=str(tmp_path / "y.npy"))  # fmt: skip
    assert texts(found) == ["good one", "good two"]
    labels = found.batch(torch.arange(2))[1]
    assert [found.spec.classes[k] for k in labels] == ["0", "4"]  # each has kept its own
    said = [record.getMessage() for record in caplog.records]
    path = tmp_path / "a.txt"
    assert said == [
        f"{path}: left out 2 empty texts of 6, first {path}: line 2",
        f"{path}: left out 1 damaged texts of 6, first {path}: line 3",
        f"{path}: left out 1 texts that are too long or can't be encoded of 6, first {path}: line 4",
    ]
    (tmp_path / "long.smi").write_text("CCCCCC\nCCCCCCC\n")
    with pytest.raises(InputError, match="no text is left"):
        read_examples(tmp_path / "long.smi", longest=5, skip_damaged=True)


# ---------------------------------------------------------------- with a model


class _Drawn(Distribution):
    """Tokens drawn one by one from the same probabilities, until the end."""

    arg_constraints = {}
    support = constraints.nonnegative_integer

    def __init__(self, logits, longest, batch_shape=()):
        super().__init__(torch.Size(batch_shape), torch.Size((longest,)), validate_args=False)
        self.logits, self.longest = logits.log_softmax(-1), longest

    def log_prob(self, x):
        return self.logits[x].masked_fill(~counted(x), 0).sum(-1)

    def expand(self, shape):
        return _Drawn(self.logits, self.longest, shape)

    def sample(self, shape=()):
        shape = (*shape, *self.batch_shape)
        length = 2 + int(torch.randint(self.longest - 2, ()))  # as a generator that stops when all have ended
        gumbel = -(-torch.rand(*shape, length, len(self.logits)).log()).log()
        return (self.logits + gumbel).argmax(-1)


class Letters(Conditional):
    discrete, has_mean = True, False

    def __init__(self, size, longest):
        super().__init__()
        self.logits, self.longest = nn.Parameter(torch.zeros(size)), longest

    def forward(self, *given):
        return _Drawn(self.logits, self.longest)


def test_a_model_of_text_is_trained_judged_saved_and_sampled(tmp_path):
    splits = read_data(CAPTIONS * 4, tokens="characters")
    size, longest = splits.spec.schema.vocabulary.size, splits.spec.shape[0]
    training = Training(epochs=40, batch_size=16, learning_rate=0.1)
    artifact = fusevae.fit(Letters(size, longest), splits, training=training, quiet=True)
    assert artifact.support == (
        f"mass on sequences of {size} characters tokens ({splits.spec.schema.vocabulary.fingerprint})"
    )
    assert artifact.is_mass
    log_p = fusevae.log_likelihood(artifact, splits.test)
    x = splits.train.batch(torch.arange(len(splits.train)))[0]
    unigram = Unigram(x, size).log_prob(splits.test.batch(torch.arange(len(splits.test)))[0])
    assert log_p.mean() == pytest.approx(unigram.mean().item(), rel=0.02)
    assert torch.equal(fusevae.log_likelihood(artifact, texts(splits.test)), log_p)  # by its own vocabulary
    artifact.save(tmp_path)
    again = fusevae.load(tmp_path, trust={f"{__name__}.Letters": Letters})
    assert again.support == artifact.support
    drawn = fusevae.sample(again, 600)
    assert drawn.dtype == torch.int64 and drawn.shape[0] == 600
    assert len(again.data.text(drawn)) == 600
    assert torch.equal(fusevae.sample(again, 600), drawn)
    assert fusevae.log_likelihood(again, drawn).shape == (600,)  # tokens, as it gives them, are data
    assert torch.equal(again.restore(again.view(drawn)), drawn)
    with pytest.raises(InputError, match="tokens up to 99 were given"):
        as_examples(again, torch.full((2, 3), 99))
    with pytest.raises(InputError, match=r"torch\.float32 was given: expected texts, or tokens"):
        as_examples(again, torch.zeros(2, 3))


def test_other_data_are_read_with_the_models_vocabulary(caplog):
    model = read_data(CAPTIONS, tokens="words").spec
    with caplog.at_level(logging.WARNING):
        found = read_examples(["a zebra on the grass."], known=model)
    assert found.spec.schema.vocabulary is model.schema.vocabulary
    assert texts(found) == [f"a{MARK} on the grass."]
    assert len(caplog.records) == 1 and "1 of " in caplog.text
    model.check(found.spec)
    with pytest.raises(InputError, match="another of"):
        model.check(read_examples(["a a zebra zebra"], tokens="words").spec)


def test_the_unigram_is_the_counts():
    x = torch.tensor([[2, 3, 0, 7], [3, 0, 0, 0]])  # 2, 3, 0, 3, 0 count
    counts = np.array([2, 0, 1, 2]) + 0.5
    found = Unigram(x, 4).log_prob(torch.tensor([[2, 3, 0], [0, 2, 2]]))
    p = np.log(counts / counts.sum())
    assert found.tolist() == pytest.approx([p[2] + p[3] + p[0], p[0]])


def test_random_smiles_are_the_same_molecules():
    from rdkit import Chem

    splits = read_data(MOLECULES, tokens="smiles", validation=0, test=0)
    view = RandomSmiles()
    assert view.spec(splits.spec) is splits.spec
    x, _ = splits.train.batch(torch.arange(len(splits.train)))
    assert view.eval()(x) is x
    view.train()
    with fusevae.core.noise.keyed(0, "a"):
        first = view(x)
    with fusevae.core.noise.keyed(0, "a"):
        assert torch.equal(view(x), first)
    with fusevae.core.noise.keyed(0, "b"):
        second = view(x)
    before, after = splits.spec.text(x), splits.spec.text(first)
    assert [Chem.CanonSmiles(s) for s in before] == [Chem.CanonSmiles(s) for s in after]
    assert before != after and after != splits.spec.text(second)
    bad = read_data(["CCC(", "CC"], tokens="characters", validation=0, test=0)
    view.spec(bad.spec)
    assert bad.spec.text(view(bad.train.batch(torch.tensor([0]))[0])) == ["CCC("]


# ---------------------------------------------------------------- recipes


def test_a_recipe_says_how_its_data_are_read(monkeypatch, tmp_path):
    from fusevae.recipes import binary_vae, candidates
    from fusevae.recipes.compose import compose

    (tmp_path / "a.txt").write_text("\n".join(CAPTIONS))
    monkeypatch.setattr(binary_vae, "modality", "text")
    monkeypatch.setattr(binary_vae, "reads", {"tokens": "characters", "longest": 40}, raising=False)
    seen = []
    monkeypatch.setattr(binary_vae, "recipe", lambda data: seen.append(data) or fusevae.Experiment(Letters(9, 9)))
    node, _ = compose("binary-vae", str(tmp_path / "a.txt"), ["data.longest=50"], trust=[f"{__name__}.Letters"])
    assert seen[0].schema.vocabulary.kind == "characters"
    assert (node["data"]["tokens"], node["data"]["longest"]) == ("characters", 50)  # --set comes over it
    assert reads("made") == {}
    both = {"binary-vae": ("binary-vae", {}), "made": ("made", {})}
    assert candidates.read_by(both) == {"tokens": "characters", "longest": 40}
    monkeypatch.setattr("fusevae.recipes.made.reads", {"tokens": "words"}, raising=False)
    with pytest.raises(InputError, match="binary-vae reads its data with tokens=characters, made with tokens=words"):
        candidates.read_by(both)


def test_text_that_no_recipe_takes_is_refused_in_one_line(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("\n".join(CAPTIONS))
    assert main(["train", "binary-vae", "--data", str(tmp_path / "a.txt"), "--output", str(tmp_path / "run")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
