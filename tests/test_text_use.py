"""Texts through every function and command: written, encoded, interpolated, judged, compared."""

from __future__ import annotations

import csv
import json

import pytest
import torch

import fusevae
from fusevae import Generation, InputError, Training
from fusevae.cli import main
from fusevae.modalities.text.quality import (
    TextReference,
    bleu,
    distinct,
    overlap,
    perplexity,
    self_bleu,
    text_reconstruction,
)
from fusevae.training.recipes import find

SENTENCES = ["a man rides a bike", "two dogs play in the snow", "a girl sings a song", "a man plays a guitar"]
SMALL = {"width": 16, "heads": 2, "layers": 1}


@pytest.fixture(scope="module")
def data():
    return fusevae.read_data({"train": SENTENCES * 12, "validation": SENTENCES, "test": SENTENCES * 3}, tokens="words")


@pytest.fixture(scope="module")
def vae(data):
    made = find("text-vae")(data.spec, latent=4, **SMALL)
    training = Training(epochs=30, batch_size=16, learning_rate=1e-2)
    return fusevae.fit(made.model, data, objective=made.objective, training=training, quiet=True)


@pytest.fixture(scope="module")
def language_model(data):
    made = find("text-transformer")(data.spec, **SMALL)
    return fusevae.fit(made.model, data, training=Training(epochs=20, batch_size=16, learning_rate=1e-2), quiet=True)


@pytest.fixture(scope="module")
def runs(vae, language_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    vae.save(folder / "vae")
    language_model.save(folder / "lm")
    (folder / "texts.txt").write_text("\n".join(SENTENCES * 3) + "\n")
    return folder


def run(capsys, *words):
    code = main([str(w) for w in words])
    return code, capsys.readouterr()


def test_samples_are_texts_and_a_start_is_kept(vae):
    texts = vae.data.text(fusevae.sample(vae, 300, seed=1))
    assert len(texts) == 300 and len({len(t) for t in texts}) > 1
    start = tuple(vae.data.schema.vocabulary.encode("two dogs"))
    begun = vae.data.text(fusevae.sample(vae, 5, generation=Generation(0.5, start=start)))
    assert all(t.startswith("two dogs") for t in begun)


def test_a_way_of_writing_is_for_text():
    artifact = fusevae.Artifact(fusevae.Normal(2), fusevae.DataSpec((2,)))
    with pytest.raises(InputError, match="for text"):
        fusevae.sample(artifact, 2, generation=Generation(0.5))


def test_saved_and_loaded_it_gives_the_same_numbers_and_texts(vae, runs):
    again = fusevae.load(runs / "vae")
    assert torch.equal(fusevae.sample(vae, 5), fusevae.sample(again, 5))
    found = [fusevae.log_likelihood(m, SENTENCES, importance_samples=5) for m in (vae, again)]
    assert torch.equal(*found)
    assert again.support == vae.support and "words" in vae.support


def test_latents_of_texts_are_read(vae):
    assert fusevae.encode(vae, SENTENCES)["mean"].shape == (4, 4)
    way = fusevae.interpolate(vae, SENTENCES[:2], SENTENCES[2:], steps=3)
    assert way.shape[:2] == (2, 3)
    assert vae.data.text(way[:, 0]) == vae.data.text(fusevae.reconstruct(vae, SENTENCES[:2]))
    about_men = {"man": ["man" in s for s in SENTENCES]}
    vector = fusevae.attribute_vectors(vae, SENTENCES, about_men)["man"]
    moved = fusevae.add_attribute(vae, SENTENCES[:3], vector)  # of texts of several lengths
    assert moved.shape[:2] == (3, 3)
    assert vae.data.text(moved[:, 1]) == vae.data.text(fusevae.reconstruct(vae, SENTENCES[:3]))
    assert fusevae.neighbours(vae, SENTENCES, SENTENCES[:1], k=1).indices.item() == 0


def test_a_model_given_labels_writes_what_they_say():
    labels = ["people", "animals", "people", "people"] * 12
    data = fusevae.read_data((SENTENCES * 12, labels), tokens="words", validation=0.1, test=0.1)
    made = find("text-vae")(data.spec, latent=4, conditional=True, **SMALL)
    training = Training(epochs=120, batch_size=16, learning_rate=1e-2, average=0.9)
    model = fusevae.fit(made.model, data, objective=made.objective, training=training, quiet=True)
    dogs = model.data.text(fusevae.sample(model, 20, label="animals"))
    people = model.data.text(fusevae.sample(model, 20, label="people"))
    assert sum("dogs" in t for t in dogs) > 15 and sum("dogs" in t for t in people) < 5
    assert len(fusevae.sample(model, 3)) == 3  # without a label, too


def test_evaluation_counts_tokens(vae, data):
    found = fusevae.evaluate(vae, data.test, importance_samples=5)
    assert found.tokens == sum(len(vae.data.schema.vocabulary.encode(s)) + 1 for s in SENTENCES * 3)
    assert found.nats_per_token == pytest.approx(-found.log_likelihood.value * 12 / found.tokens)
    assert found.bits_per_dim is None and found.perplexity > 1
    assert found.active_units["z"] is not None and found.mutual_information is not None


def test_figures_of_texts_have_their_known_values(language_model):
    assert distinct(["a a a", "a"], 1) == 0.25 and distinct(["a b", "a b"], 2) == 0.5
    assert bleu(SENTENCES, SENTENCES) == pytest.approx(1)
    assert bleu(["x y z w v"] * 4, SENTENCES) < 0.05
    assert self_bleu([SENTENCES[0]] * 5) == pytest.approx(1)
    assert self_bleu(SENTENCES) < 0.5
    assert overlap("a b", "c d") == 0 and overlap("A b", "a, B!") == 1
    total = fusevae.log_likelihood(language_model, SENTENCES).sum().item()
    tokens = sum(len(language_model.data.schema.vocabulary.encode(s)) + 1 for s in SENTENCES)
    assert perplexity(language_model, SENTENCES) == pytest.approx(torch.tensor(-total / tokens).exp().item())


def test_samples_of_a_model_that_copies_are_found_out(language_model, data):
    found = TextReference(data.test, data.train, 12, language_model).judge(language_model)
    assert 0 <= found.copied <= 1 and found.n == 12
    assert found.real.perplexity > 1 and found.ratio > 0
    rebuilt = text_reconstruction(exact_autoencoder(data), data.test)
    assert rebuilt.exact == 1 and rebuilt.tokens == 1 and rebuilt.bleu == pytest.approx(1)


def exact_autoencoder(data):
    """A model whose latent tells the few sentences apart."""
    torch.manual_seed(0)
    made = find("text-vae")(data.spec, latent=4, free_bits=0.0, **SMALL)
    training = Training(epochs=150, batch_size=16, learning_rate=1e-2, average=0.9)
    return fusevae.fit(made.model, data, objective=fusevae.ELBO(beta=0.01), training=training, quiet=True)


def test_commands_print_texts(runs, capsys):
    code, out = run(capsys, "sample", runs / "vae", "-n", 3, "--temperature", 0.5, "--top-p", 0.9, "--top-k", 5)
    assert code == 0 and len(out.out.splitlines()) == 3
    code, out = run(capsys, "sample", runs / "vae", "-n", 2, "--start", "two dogs", "--json")
    assert code == 0 and out.out.endswith("\n")
    assert all(t.startswith("two dogs") for t in json.loads(out.out)["texts"])
    code, out = run(capsys, "interpolate", runs / "vae", *SENTENCES[:2], "--steps", 4)
    assert code == 0 and len(out.out.splitlines()) == 4
    code, out = run(capsys, "reconstruct", runs / "vae", "--text", SENTENCES[0], "--beams", 2)
    assert code == 0 and len(out.out.splitlines()) == 1


def test_commands_write_texts(runs, capsys, tmp_path):
    for name in ("a.txt", "a.csv", "a.jsonl"):
        assert run(capsys, "sample", runs / "vae", "-n", 3, "--output", tmp_path / name)[0] == 0
    texts = (tmp_path / "a.txt").read_text().splitlines()
    with open(tmp_path / "a.csv", newline="") as file:
        assert [row["text"] for row in csv.DictReader(file)] == texts
    assert [json.loads(line)["text"] for line in (tmp_path / "a.jsonl").read_text().splitlines()] == texts
    assert run(capsys, "encode", runs / "vae", "--text", "a man", "--output", tmp_path / "z.csv")[0] == 0
    texts = ["--data", runs / "texts.txt", "--output", tmp_path / "n.csv", "-n", 2, "-k", 2]
    assert run(capsys, "neighbours", runs / "vae", *texts)[0] == 0


def test_the_table_of_anomalies_holds_the_texts_and_how_odd_they_are_for_their_length(runs, capsys, tmp_path):
    data = ["--data", runs / "texts.txt", "--reference", runs / "texts.txt", "--output", tmp_path / "odd.csv"]
    code, out = run(capsys, "anomaly", runs / "vae", *data, "--importance-samples", 5)
    assert code == 0 and "p_surprise_given_length below 0.05" in out.out
    with open(tmp_path / "odd.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == SENTENCES * 3
    for row in rows:
        tokens = len(row["text"].split()) + 1
        assert float(row["surprise_per_token"]) == pytest.approx(-float(row["log_likelihood"]) / tokens)


def test_commands_judge_and_compare_texts(runs, capsys, tmp_path):
    data = ["--data", runs / "texts.txt"]
    code, out = run(capsys, "evaluate", runs / "vae", *data, "--importance-samples", 5, "--json")
    assert code == 0 and json.loads(out.out)["tokens"] > 12
    page = ["--importance-samples", 5, "--samples", 0, "--output", tmp_path / "page.html"]
    code, out = run(capsys, "compare", runs / "vae", runs / "lm", *data, *page)
    assert code == 0 and "LanguageModel" in out.out and "a man" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["sample", "vae", "--temperature", "-1"], "temperature is -1"),
        (["sample", "vae", "--start", "two zebras"], "start is 'two\ufffd', which holds what"),
        (["sample", "vae", "--output", "a.png"], "text can't be written to a.png"),
        (["interpolate", "vae", "a man"], "in pairs"),
        (["interpolate", "vae", "a", "b", "--pairs", "0,1"], "no --data or --pairs"),
        (["reconstruct", "vae", "--text", "a", "--data", "texts.txt"], "expected one of them"),
        (["encode", "lm", "--text", "a", "--output", "z.csv"], "no latents"),
    ],
)
def test_bad_input_is_said_in_one_line(runs, capsys, monkeypatch, words, says):
    monkeypatch.chdir(runs)
    code, out = run(capsys, *words)
    assert code == 2 and says in out.err and len(out.err.strip().splitlines()) == 1


def test_a_reader_of_samples_knows_less_of_real_texts_where_these_say_less(data, language_model):
    training = Training(epochs=30, batch_size=16, learning_rate=1e-2)
    found = fusevae.reverse_perplexity(language_model, data.train, data.test, 48, 16, training)
    assert found["ratio"] == pytest.approx(found["perplexity"] / found["real"]) and found["n"] == 48
    few = fusevae.read_data({"train": [SENTENCES[0]] * 40 + SENTENCES, "test": SENTENCES}, tokens="words")
    dull = fusevae.fit(find("text-transformer")(few.spec, **SMALL).model, few, training=training, quiet=True)
    worse = fusevae.reverse_perplexity(dull, data.train, data.test, 48, 16, training)
    assert worse["real"] < worse["perplexity"] and worse["ratio"] > found["ratio"]
    with pytest.raises(InputError, match="is for text"):
        fusevae.reverse_perplexity(fusevae.Artifact(fusevae.Normal(2), fusevae.DataSpec((2,))), data.train, data.test)
