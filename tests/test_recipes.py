"""Every recipe builds from a description of the data, is a configuration, and trains."""

import typing

import pytest
import torch

import fusevae
from fusevae import DataSpec, Training, build, describe
from fusevae.core.columns import Text
from fusevae.core.conditions import Conditions
from fusevae.core.errors import InputError
from fusevae.data.examples import InMemory
from fusevae.data.sequences import Sequences
from fusevae.data.splits import Splits
from fusevae.modalities.audio.schema import SoundSchema
from fusevae.training.prepare import prepare, trained
from fusevae.training.recipes import find, kinds, reads, recipes

CLASSES = ["a", "b", "c"]


TEXTS = {
    "text": ["a man rides a bike", "two dogs play in the snow", "a girl sings"],
    "captions": ["a man rides a bike", "two dogs play in the snow", "a girl sings"],
    "pretrained": ["a man rides a bike", "two dogs play in the snow", "a girl sings"],
    "character": ["to be or not to be, that is the question: " * 40],
    "molecules": ["CCO", "c1ccccc1O", "CC(=O)N"],
    "selfies": ["CCO", "c1ccccc1O", "CC(=O)N"],
}


def some_text(name: str) -> Splits:
    how = dict(reads(name))
    needs = {"smiles-pairs": ["rdkit", "tokenizers"], "selfies-pairs": ["selfies", "tokenizers"], None: ["tokenizers"]}
    for extra in needs.get(how.get("tokens"), []):
        pytest.importorskip(extra)
    if name.startswith("pretrained"):
        pytest.importorskip("transformers")
    if "stream" in how:
        return fusevae.read_data(TEXTS["character"], validation=0.1, test=0.1, **how | {"stream": 16})
    texts = TEXTS[name.split("-")[0]] * 20
    return fusevae.read_data({"train": texts[:48], "validation": texts[44:], "test": texts[:3]}, **how)


def some_data(name: str) -> Splits:
    label = torch.arange(64) % 3
    if "audio" in kinds()[name]:
        lengths = torch.arange(64) * 7 + 300
        known: Conditions | list[str] = CLASSES
        if name in SPEAKERS:
            known, label = Conditions([Text("text", ["a", "b"])]), torch.tensor([1.0, 2.0, 1.0]).expand(64, 3)
        spec = DataSpec((741,), "float32", -1, 1, known, SoundSchema(8000))
        whole = Sequences(0.3 * torch.randn(int(lengths.sum())), lengths, label, spec)
        return Splits(
            whole.subset(torch.arange(48)), whole.subset(torch.arange(48, 64)), whole.subset(torch.arange(0)), spec, ""
        )
    if name.split("-")[0] in TEXTS:
        return some_text(name)
    if name.startswith("table-"):
        x, spec = torch.randn(64, 5), DataSpec((5,), conditions=CLASSES)
    elif name == "counts-vae":
        x, spec = torch.poisson(torch.rand(64, 5) * 9) + torch.eye(64, 5), DataSpec((5,), conditions=CLASSES)
        x[:, 0] += 1  # no cell is empty
    else:
        x, spec = (
            torch.randint(0, 17, (64, 1, 12, 12), dtype=torch.uint8),
            DataSpec((1, 12, 12), "uint8", 0, 16, CLASSES),
        )
    whole = InMemory(x, label, spec)
    return Splits(
        whole.subset(torch.arange(48)), whole.subset(torch.arange(48, 64)), whole.subset(torch.arange(0)), spec, ""
    )


SPEAKERS = ("text-to-speech", "text-to-waveform")
WRITERS = [n for n in recipes() if n.split("-")[0] in {*TEXTS} - {"pretrained", "character"} and n not in SPEAKERS]


@pytest.mark.parametrize("name", WRITERS)
def test_whatever_writes_selfies_begins_with_an_atom(name):
    pytest.importorskip("selfies")
    torch.manual_seed(0)
    data = fusevae.read_data(["CCO", "c1ccccc1O", "CC(C)N"] * 9, tokens="selfies", validation=0, test=0)
    untrained = fusevae.Artifact(find(name)(data.spec).model, data.spec)
    assert all(data.spec.text(fusevae.sample(untrained, 99)))


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_is_a_configuration_that_trains(name):
    torch.manual_seed(0)
    data = some_data(name)
    experiment = find(name)(data.spec)
    node = describe(experiment)
    assert describe(build(node)) == node
    seldom = any(getattr(part, "every", 1) > 1 for part in experiment.model.modules())  # some learn in some steps
    short = {"epochs": 4 if seldom else 0.5, "batch_size": 16, "log_every": 1}
    settings = Training(**{**experiment.training._arguments, **short})
    loop = prepare(experiment.model, data, experiment.views, experiment.objective, settings, 0, "cpu")
    before = [p.detach().clone() for p in experiment.model.parameters()]
    loop.run()
    moved = [not torch.equal(p, b) for p, b in zip(experiment.model.parameters(), before, strict=True)]
    assert sum(moved) > 0.5 * len(moved)
    artifact = trained(loop)
    assert all(p.isfinite().all() for p in artifact.parameters())
    if artifact.distribution.level >= fusevae.Level.BOUND:
        made = fusevae.sample(artifact, 2, {"text": "ab"} if name in SPEAKERS else None)
        assert made.shape[0] == 2
        assert data.spec.modality in ("text", "molecules", "audio") or made.shape[1:] == data.spec.shape
        found = fusevae.log_likelihood(artifact, data.validation, importance_samples=3)
        assert found.shape == (len(data.validation),) and found.isfinite().all()


NONSENSE = {float: [-3.0, float("nan"), float("inf")], int: [-3], tuple: [(-1,), (0,)]}


@pytest.mark.parametrize("name", recipes())
def test_options_that_mean_nothing_are_refused_in_a_line(name: str) -> None:
    if name.startswith("pretrained"):
        pytest.skip("its sizes are those of a pretrained model")
    spec, recipe = some_data(name).spec, find(name)
    with pytest.raises(InputError, match="has no option 'colour'"):
        recipe(spec, colour=3)
    for key, hint in typing.get_type_hints(recipe).items():
        if key not in ("data", "return"):
            for value in [object(), *(v for kind, bad in NONSENSE.items() if kind.__name__ in str(hint) for v in bad)]:
                with pytest.raises(InputError, match=key) as refused:
                    recipe(spec, **{key: value})
                assert "\n" not in str(refused.value)


def test_what_a_recipe_cannot_be_made_with_is_a_line_too() -> None:
    with pytest.raises(InputError, match=r"the recipe conv-vae can't be made with channels=\(\)"):
        find("conv-vae")(DataSpec((1, 8, 8), "uint8", 0, 16), channels=())
