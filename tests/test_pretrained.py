"""Models of the library transformers as parts: tiny ones with random weights, saved to disk; nothing is fetched."""

from __future__ import annotations

import itertools
import json
import shutil
import sys

import pytest
import torch

import fusevae
from fusevae import Flat, Gaussian, InputError, Normal, build, describe
from fusevae.cli import main
from fusevae.core import noise
from fusevae.core.generation import GREEDY, Generation, generating
from fusevae.core.vocabulary import END, UNKNOWN, counted
from fusevae.core.weights import weights_follow
from fusevae.data.source import Source
from fusevae.distributions.pretrained_language_model import PretrainedLanguageModel
from fusevae.modalities.text.pretrained_tokens import PretrainedTokens
from fusevae.nets.pretrained_encoder import PretrainedEncoder
from fusevae.training.prepare import prepare, trained
from fusevae.training.recipes import find
from fusevae.training.train import resume
from fusevae.training.train import train as run

transformers = pytest.importorskip("transformers", reason="pip install 'fusevae[pretrained]'")
tokenizers = pytest.importorskip("tokenizers", reason="pip install 'fusevae[pretrained]'")

WORDS = ["a", "dog", "cat", "runs", "sleeps", "man", "rides"]
TEXTS = [f"a {who} {does}" for who in ("dog", "cat", "man") for does in ("runs", "sleeps", "rides", "runs a dog")]


def words_of(entries):
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: i for i, w in enumerate(entries)}, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return made


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    """A folder with a decoder of random weights and its tokens."""
    folder = tmp_path_factory.mktemp("gpt2")
    torch.manual_seed(3)
    entries = [*WORDS, "[UNK]", "<eos>"]
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words_of(entries), eos_token="<eos>", bos_token="<eos>", unk_token="[UNK]"
    )
    config = transformers.GPT2Config(
        vocab_size=len(entries) + 1, n_embd=16, n_head=2, n_layer=2, n_positions=16, bos_token_id=8, eos_token_id=8
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A folder with an encoder of random weights, and tokens of its own."""
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(4)
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *reversed(WORDS)]
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words_of(entries), unk_token="[UNK]", sep_token="[SEP]", cls_token="[CLS]", pad_token="[PAD]"
    )
    config = transformers.BertConfig(
        vocab_size=len(entries),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
    )
    transformers.BertModel(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def decoder(folder, **settings):
    return PretrainedLanguageModel.from_folder(
        folder, **PretrainedTokens.read(folder).numbering, longest=8, **settings
    ).eval()


WAYS = [{}, {"context": 3}, {"context": 3, "inject": "prefix", "places": 2}, {"classes": 2}]
every_way = pytest.mark.parametrize("way", WAYS, ids=["alone", "add", "prefix", "classes"])


def given(way, n):
    generator = torch.Generator().manual_seed(1)
    if "classes" in way:
        return (torch.arange(n) % 2,)
    return (torch.randn(n, 3, generator=generator),) if "context" in way else ()


def loosened(model):
    """Far from the uniform distribution."""
    torch.manual_seed(0)
    for p in model.parameters():
        p.data += 0.4 * torch.randn_like(p)
    return model


def tiny(**settings):
    ends = {"bos_token_id": 1, "eos_token_id": 1}
    config = {"model_type": "gpt2", "vocab_size": 3, "n_embd": 8, "n_head": 2, "n_layer": 1, "n_positions": 9} | ends
    return loosened(PretrainedLanguageModel(config, 5, end=1, longest=6, **settings)).eval()


@every_way
@torch.no_grad()
def test_the_probabilities_of_all_sequences_up_to_a_length_sum_to_one(way):
    model = tiny(**way)
    x = torch.tensor(list(itertools.product(range(5), repeat=4)))
    x = x[(x.masked_fill(~counted(x), END) == x).all(1)]
    found = model(*(g[0] for g in given(way, 1))).log_prob(x)
    assert found.double().exp().sum().item() == pytest.approx(1, abs=1e-5)
    possible = ~((x == UNKNOWN) | (x == 3)).any(1)  # no unknown token, and the end under its other number
    assert found[possible].isfinite().all() and (found[~possible] == -torch.inf).all()


@every_way
@torch.no_grad()
def test_cached_generation_writes_the_same_tokens_as_whole_passes(way):
    model = tiny(**way)
    p = model(*given(way, 4))

    class Again:
        def __init__(self):
            self.tokens = None

        def __call__(self, new, of):
            self.tokens = new if self.tokens is None else torch.cat([self.tokens, new], 1)
            return model.logits(self.tokens, of)

    for how in (Generation(), GREEDY, Generation(0.7, top_k=2, start=(2,))):
        with noise.keyed(0), generating(how):
            cached = p.sample((20,))
        with noise.keyed(0):
            whole = p.write(torch.Size((20, *p.batch_shape)), how, Again())
        assert torch.equal(cached, whole)


@every_way
@torch.no_grad()
def test_a_wide_enough_beam_finds_the_likeliest_sequence(way):
    model = tiny(**way)
    p = model(*given(way, 2))
    x = torch.tensor(list(itertools.product((0, 2, 4), repeat=3)))
    x = x[(x.masked_fill(~counted(x), END) == x).all(1)]
    shape = () if p.batch_shape else (2,)
    best = (
        x[p.log_prob(x[:, None]).expand(-1, 2).argmax(0)] if p.batch_shape else x[p.log_prob(x).argmax()].expand(2, -1)
    )
    with generating(Generation(beams=27, longest=3)):
        found = p.sample(shape)
    assert torch.equal(torch.nn.functional.pad(found, (0, 3 - found.shape[1])), best)


@torch.no_grad()
def test_without_a_latent_it_is_the_model_of_the_folder(gpt2):
    """The nats of a text under the library's own loss, where the tokens that are left out have no share."""
    theirs = transformers.GPT2LMHeadModel.from_pretrained(gpt2, local_files_only=True).eval()
    ours, words = decoder(gpt2), PretrainedTokens.read(gpt2)
    ids = torch.tensor([[8, *words.tokenizer.encode("a cat rides a dog").ids, 8]])
    log_p = theirs(ids).logits[0, :-1, :9].log_softmax(-1)
    exact = log_p.gather(1, ids[0, 1:, None]).sum()
    x = torch.tensor([[*words.encode("a cat rides a dog"), END, 5, 1]])
    torch.testing.assert_close(ours().log_prob(x)[0], exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("begin", [None, 2])
@torch.no_grad()
def test_the_encoder_ignores_what_follows_the_end(bert, begin):
    own = PretrainedTokens.read(bert)
    net = PretrainedEncoder.from_folder(bert, outputs=4, **own.numbering | {"begin": begin}).eval()
    short, long = torch.tensor([[7, 6, 0]]), torch.tensor([[7, 6, 0, 1, 8, 0]])
    torch.testing.assert_close(net(short), net(long), rtol=1e-5, atol=1e-6)
    assert (net(short) - net(torch.tensor([[6, 7, 0]]))).abs().max() > 1e-4
    theirs = transformers.BertModel.from_pretrained(bert, local_files_only=True, add_pooling_layer=False).eval()
    ids = [5, 4, 3] if begin is None else [2, 5, 4, 3]
    exact = net.head(theirs(torch.tensor([ids])).last_hidden_state.mean(1))
    torch.testing.assert_close(net(short), exact, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_an_encoder_begins_by_telling_what_was_asked_and_what_was_trained_stays(bert):
    reader = PretrainedEncoder.from_folder(bert, **PretrainedTokens.read(bert).numbering, outputs=8, tells=2.0).eval()
    x = torch.randint(4, 10, (200, 5), generator=torch.Generator().manual_seed(0))
    latents = Flat(Normal(4), Gaussian(reader))
    latents.start_from(lambda: x)
    q = latents.posterior(x)
    kl = torch.distributions.kl_divergence(q.base_dist, torch.distributions.Normal(0.0, 1.0)).sum(1)
    assert kl.mean().item() == pytest.approx(2.0, abs=0.05) and q.mean.std(0).min() > 0.3
    before = reader.head.weight.clone()
    latents.start_from(lambda: x[:50])
    assert torch.equal(reader.head.weight, before)


@torch.no_grad()
def test_a_latent_is_no_noise_to_a_decoder_that_begins(gpt2):
    model = decoder(gpt2, context=32).eval()
    x = torch.randint(2, 9, (40, 6), generator=torch.Generator().manual_seed(0))
    told, alone = model(torch.randn(40, 32)).log_prob(x), model(torch.zeros(40, 32)).log_prob(x)
    assert (told - alone).std() < 0.5 * alone.std()  # of the map's weights at 0.02 they would drown the tokens


@torch.no_grad()
def test_an_encoder_with_other_tokens_reads_the_text(gpt2, bert):
    theirs, own = PretrainedTokens.read(gpt2), PretrainedTokens.read(bert)
    alone = PretrainedEncoder.from_folder(bert, outputs=4, **own.numbering).eval()
    both = PretrainedEncoder.from_folder(bert, outputs=4, texts=(theirs, own), **own.numbering).eval()
    both.head.load_state_dict(alone.head.state_dict())
    texts = ["a dog runs", "a cat"]

    def tokens(words):
        rows = [[*words.encode(t), END] for t in texts]
        return torch.nn.utils.rnn.pad_sequence([torch.tensor(r) for r in rows], batch_first=True)

    torch.testing.assert_close(both(tokens(theirs)), alone(tokens(own)))


def test_tokens_of_a_folder_are_a_vocabulary(gpt2):
    made = PretrainedTokens.read(gpt2)
    again = build(describe(made))
    assert again.entries == made.entries == [*WORDS, "[UNK]", "<eos>"]
    assert made.numbering == {"vocabulary": 11, "end": 8, "begin": 8, "unknown": 7}
    assert made.encode("a bird runs") == again.encode("a bird runs") == [2, UNKNOWN, 5]
    with pytest.raises(InputError, match="<eos>"):
        made.encode("a <eos>")


def folder_of_texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TEXTS * 4) + "\n")
    return path


def experiment(path, gpt2, bert, **options):
    data = Source(str(path), tokens=str(gpt2))
    splits = data.read()
    made = find("pretrained-vae")(splits.spec, decoder=str(gpt2), encoder=str(bert), latent=2, **options)
    return made.replaced(data=data, training=made.training.replaced(epochs=1, batch_size=8)), splits


def test_the_recipe_starts_from_the_folders_and_its_artifact_is_whole_without_them(tmp_path, gpt2, bert):
    parts = [shutil.copytree(folder, tmp_path / folder.name) for folder in (gpt2, bert)]
    made, splits = experiment(folder_of_texts(tmp_path), *parts, frozen=("decoder.net",))
    theirs = transformers.GPT2LMHeadModel.from_pretrained(gpt2, local_files_only=True).state_dict()
    ours = made.model.decoder.net.state_dict()
    assert theirs.keys() == ours.keys() and all(torch.equal(theirs[k], ours[k]) for k in ours)

    node = describe(made)
    assert node["model"]["decoder"]["weights"] == str(parts[0])  # the configuration is plain and small
    done = run(node, tmp_path / "run", splits, device="cpu", importance_samples=2, quiet=True)
    assert done.finished
    for part in parts:  # the tokens are still needed to read the texts again
        (part / "model.safetensors").unlink()
    assert resume(tmp_path / "run", device="cpu", importance_samples=2, quiet=True).finished
    for part in parts:
        shutil.rmtree(part)
    artifact = fusevae.load(tmp_path / "run")
    now = artifact.distribution.decoder.net.state_dict()
    assert all(torch.equal(theirs[k], now[k]) for k in now)  # frozen
    moved = artifact.distribution.latents.posterior.net.net.state_dict()
    before = made.model.latents.posterior.net.net.state_dict()
    assert any(not torch.equal(moved[k], before[k]) for k in moved)
    again = fusevae.log_likelihood(artifact, splits.test, importance_samples=3)
    assert again.isfinite().all()
    assert isinstance(artifact.data.text(fusevae.sample(artifact, 3))[0], str)
    copy = fusevae.load(artifact.save(tmp_path / "copy"))
    x, _ = splits.test.batch(torch.arange(3))
    with torch.no_grad():
        assert torch.equal(*(a.distribution.encode(x)["mean"] for a in (copy, artifact)))


def test_weights_that_are_not_all_there_are_refused(tmp_path, gpt2):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(gpt2, tmp_path / "partly")
    tensors = load_file(folder / "model.safetensors")
    tensors.pop(next(name for name in tensors if "mlp" in name))
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="mlp"):
        decoder(folder)


def test_a_part_without_a_folder_starts_anew(tmp_path):
    data = Source(str(folder_of_texts(tmp_path)), tokens="characters").read()
    made = find("pretrained-vae")(data.spec, latent=2)
    assert describe(build(describe(made))) == describe(made)
    settings = made.training.replaced(epochs=1, batch_size=8)
    loop = prepare(made.model, data, [], made.objective, settings, 0, "cpu")
    loop.run()
    assert fusevae.log_likelihood(trained(loop), data.test, importance_samples=2).isfinite().all()


def test_an_artifact_opens_no_folder_that_it_names(tmp_path, gpt2):
    node = describe(decoder(gpt2))
    node["weights"] = str(tmp_path / "nowhere")
    with pytest.raises(InputError, match="nowhere"):
        build(node)
    with weights_follow():
        build(node)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"auto_map": {"AutoModelForCausalLM": "evil.Model"}}, "other code"),
        ({"model_type": "nonsense"}, "nonsense"),
        ({"n_head": 3}, "gpt2"),
    ],
)
def test_a_configuration_that_does_not_fit_is_one_line(change, says, gpt2):
    config = json.loads((gpt2 / "config.json").read_text()) | change
    with pytest.raises(InputError, match=says) as error:
        PretrainedLanguageModel(config, 11, end=8)
    assert "\n" not in str(error.value)


def test_what_does_not_fit_is_named(tmp_path, gpt2):
    with pytest.raises(InputError, match="positions"):
        PretrainedLanguageModel.from_folder(gpt2, vocabulary=11, end=8, longest=20)
    with pytest.raises(InputError, match="end is 80"):
        PretrainedLanguageModel.from_folder(gpt2, vocabulary=11, end=80, longest=8)
    with pytest.raises(InputError, match="save_pretrained"):
        PretrainedLanguageModel.from_folder(tmp_path, vocabulary=11, end=8)
    with pytest.raises(InputError, match="tokenizer"):
        PretrainedTokens.read(tmp_path)
    with pytest.raises(InputError, match=r"data\.tokens="):
        find("pretrained-vae")(Source(str(folder_of_texts(tmp_path)), tokens="words").read().spec, decoder=str(gpt2))
    with pytest.raises(InputError, match="FOLDER"):
        Source(str(folder_of_texts(tmp_path)), tokens="pretrained").read()


def test_pickled_weights_are_refused(tmp_path, gpt2):
    folder = shutil.copytree(gpt2, tmp_path / "pickled")
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="no safetensors"):
        PretrainedLanguageModel.from_folder(folder, vocabulary=11, end=8)


def test_a_missing_library_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"fusevae\[pretrained\]"):
        tiny()
    assert PretrainedLanguageModel.examples() == []


def test_the_commands_train_and_use_it(tmp_path, gpt2, bert, capsys):
    data, place = folder_of_texts(tmp_path), str(tmp_path / "run")
    settings = [f"data.tokens={gpt2}", f"recipe.decoder={gpt2}", f"recipe.encoder={bert}", "recipe.latent=4"]
    settings += ["recipe.frozen=[decoder.net]", "training.epochs=1"]
    words = [word for s in settings for word in ("--set", s)]
    assert main(["train", "pretrained-vae", "--data", str(data), "--output", place, *words]) == 0
    capsys.readouterr()
    assert main(["sample", place, "-n", "3", "--temperature", "0.8", "--longest", "6"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert main(["interpolate", place, "a dog runs", "a man rides", "--steps", "3"]) == 0
    assert main(["reconstruct", place, "--text", "a cat sleeps"]) == 0
    assert main(["evaluate", place, "--importance-samples", "5", "--json"]) == 0
    assert '"perplexity"' in capsys.readouterr().out
