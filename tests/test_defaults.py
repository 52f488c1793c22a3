"""Which recipes suit which data: what is refused, what is recommended, and what the command line says of it."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch

import fusevae
from fusevae import InputError, Source, describe, read_data
from fusevae.cli import main
from fusevae.data.modality import Choice, modalities, modality_of
from fusevae.recipes.candidates import recommended
from fusevae.recipes.compose import compose
from fusevae.recipes.default import as_settings
from fusevae.training import configuration
from fusevae.training.compose import composed
from fusevae.training.prepare import prepare
from fusevae.training.recipes import RENAMED, find, fits, kinds, modalities_of, reads, recipes

N = 24
SENTENCES = ["a man rides a bike", "two dogs play in the snow", "a girl sings a song", "the cat sleeps"] * 5
SMILES = ["CCO", "c1ccccc1O", "CC(=O)N", "CCN"] * 5
SPLIT = {"validation": 0.2, "test": 0.1}


def array(*shape, high=1.0, dtype="float32"):
    return (np.random.default_rng(0).random((N, *shape)) * high).astype(dtype)


PICTURES = {
    "grey": array(8, 8, high=17, dtype="uint8"),
    "odd sides": array(13, 9, high=255, dtype="uint8"),
    "colour": array(16, 16, 3, high=255, dtype="uint8"),
    "floats": array(12, 12),
    "black and white": array(12, 12, high=2).astype(bool),
}
TABLES = {
    "two columns": np.random.default_rng(0).normal(size=(N, 2)).astype("float32"),
    "thirty columns": np.random.default_rng(0).normal(size=(N, 30)).astype("float32"),
    "integers": array(3, high=50, dtype="int64"),
}
DATA = dict.fromkeys(PICTURES, "images") | dict.fromkeys(TABLES, "tables")
DATA |= {"sentences": "text", "smiles": "molecules", "clips": "audio", "clips with texts": "audio"}


def given(what, how=()):
    if what in PICTURES or what in TABLES:
        x = {**PICTURES, **TABLES}[what]
        return read_data((x, np.arange(N) % 3) if what == "grey" else x, **SPLIT)
    if what == "clips with texts":
        soundfile = pytest.importorskip("soundfile")
        with tempfile.TemporaryDirectory() as folder:
            (wavs := Path(folder) / "wavs").mkdir()
            for i, clip in enumerate(array(900) - 0.5):
                soundfile.write(wavs / f"{i}.wav", clip, 8000)
            (wavs.parent / "metadata.csv").write_text("".join(f"{i}|{'ab'[i % 2]}a\n" for i in range(N)))
            return read_data(folder, **SPLIT)
    if DATA[what] == "audio":
        return read_data(array(900) - 0.5, **SPLIT, modality="audio", rate=8000)
    if DATA[what] == "molecules":
        pytest.importorskip("rdkit")
        return read_data(SMILES, **SPLIT, modality="molecules", **dict(how))
    return read_data(SENTENCES, **SPLIT, **dict(how))


def whole(data, how):
    """The same texts as one, for a recipe that reads a stream."""
    return read_data(["\n".join(SENTENCES)], **SPLIT, **{**how, "stream": 8}) if "stream" in how else data


def two_steps(made, data):
    settings = made.training.replaced(epochs=2, batch_size=8, log_every=1, patience=None)
    loop = prepare(made.model, data, made.views, made.objective, settings, 0, "cpu")
    loop.total = 2
    loop.run()
    assert loop.step == 2
    assert all(p.isfinite().all() for p in made.model.parameters())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", recipes())
def test_a_recipe_takes_two_steps_or_refuses_the_data_in_one_line(name):
    pytest.importorskip("tokenizers")
    if name in ("selfies-vae", "pretrained-vae"):
        pytest.importorskip({"selfies-vae": "selfies", "pretrained-vae": "transformers"}[name])
    torch.manual_seed(0)
    ours, refused, taken = modalities_of(name), {}, []
    assert ours and set(ours) <= set(modalities())
    for what, kind in DATA.items():
        how = reads(name) if kind in ours and kind in ("text", "molecules") else {}
        data = whole(given(what, {k: v for k, v in how.items() if k != "stream"}), how)
        try:
            made = find(name)(data.spec)
        except InputError as error:
            refused[what] = str(error)
            continue
        two_steps(made, data)
        taken.append(what)
    assert taken
    for what, reason in refused.items():
        assert "\n" not in reason and len(reason) < 300
        if DATA[what] not in ours:
            assert reason.startswith(f"{name} is for {' or '.join(ours)}, these data are {DATA[what]}: take ")
        else:
            assert (name, what) in REFUSED, reason
    assert {what for what in DATA if DATA[what] not in ours} <= set(refused)


INTEGERS = "beta-tc-vae beta-vae capacity-vae conv-vae factor-vae fsq-vae info-vae logistic-vae pixel-cnn-pp vq-vae wae"
REFUSED = {(name, "floats") for name in INTEGERS.split()} | {("glow", "odd sides")}
REFUSED |= {("text-to-speech", "clips"), ("text-to-waveform", "clips")}
REFUSED |= {("counts-vae", "two columns"), ("counts-vae", "thirty columns")}
REFUSED |= {("conditional-vae", what) for what in PICTURES if what != "grey"}
REFUSED |= {("semi-vae", what) for what in (*PICTURES, *TABLES) if what != "grey"}


@pytest.mark.parametrize("what", DATA)
def test_what_is_recommended_fits_with_its_options(what):
    pytest.importorskip("tokenizers")
    data = given(what)
    kind = modality_of(data.spec)
    for n in (20, 3000, 10**6):
        for seconds in (None, 60.0):
            found = kind.recommend(data.spec, n, seconds)
            assert len({choice.recipe for choice in found}) == len(found) > (what != "clips")  # of sound there is one
            for choice in found:
                options, settings = configuration.parted(as_settings(choice.options), "recipe")
                chosen = dict(configuration.parse(s.removeprefix("recipe.")) for s in options)
                made = find(choice.recipe)(data.spec, **chosen)
                built = configuration.experiment(configuration.override(describe(made), settings))
                assert choice.why and "\n" not in choice.why
                if choice is found[0]:
                    # no default runs on when it has begun to overfit, where it has a bound that says so
                    assert built.training.patience or built.model.level < fusevae.Level.BOUND
    first = [choice.recipe for choice in kind.recommend(data.spec, 3000)]
    how = [reads(name) for name in first]
    assert all(one == how[0] for one in how)  # so that bench can read the data once for all of them


def test_the_default_follows_size_and_values():
    def first(shape, dtype, high, n=3000):
        x = torch.zeros(2, *shape)
        spec = read_data(x, validation=0, test=0).spec.replaced(dtype=dtype, low=0, high=high)
        found = modality_of(spec).recommend(spec, n)[0]
        return found.recipe, found.options

    assert first((1, 28, 28), "uint8", 255)[0] == "binary-vae"
    assert first((1, 64, 64), "uint8", 255)[0] == "conv-vae"
    assert first((3, 32, 32), "uint8", 255)[1]["recipe.channels"] == (32, 64)
    assert first((3, 64, 64), "uint8", 255)[1]["recipe.channels"] == (32, 64)  # squares of 2 x 2 pixels
    assert first((3, 128, 128), "uint8", 255)[1]["recipe.channels"] == (32, 64, 128)
    assert first((3, 64, 64), "float32", 1)[0] == "sigma-vae"
    assert first((6,), "float32", 1)[0] == "table-vae"
    few, many = (first((1, 28, 28), "uint8", 255, n)[1]["training.epochs"] for n in (2000, 60_000))
    assert few > many


def test_nets_of_molecules_are_narrow_where_time_is_short():
    spec = read_data(["CCO", "CCN", "c1ccccc1O"] * 5, tokens="smiles", validation=0, test=0).spec
    found = {seconds: modality_of(spec).recommend(spec, 6400, seconds)[0].options for seconds in (None, 60.0, 600.0)}
    assert found[60.0]["recipe.width"] == 128 and "recipe.dropout" not in found[60.0]
    assert found[60.0]["training.learning_rate"] > 1e-3 and "training.learning_rate" not in found[600.0]
    assert "recipe.width" not in found[None] and "recipe.width" not in found[600.0]


def test_nets_of_pictures_and_sounds_are_quick_where_time_is_short():
    def options(spec, seconds):
        return modality_of(spec).recommend(spec, 1000, seconds)[0].options

    x = {side: np.zeros((4, 3, side, side), np.uint8) for side in (16, 32, 64)}
    pictures = {side: read_data(each, validation=0, test=0).spec for side, each in x.items()}
    taken = {(side, t): options(pictures[side], t).get("recipe.patch") for side in pictures for t in (60.0, 600.0)}
    assert taken.pop((32, 60.0)) == 2 and set(taken.values()) == {None}  # of 64 it is the recipe's own
    clips = given("clips").spec
    short, long = (options(clips, t) for t in (60.0, 200.0))
    assert short["recipe.width"] == 64 and short["training.learning_rate"] > 1e-3 and "recipe.width" not in long


@pytest.mark.parametrize(("misfits", "taken"), [(1, "selfies-vae"), (9, "molecules-vae")])
def test_molecules_are_selfies_by_default_where_time_is_short(tmp_path, capsys, misfits, taken):
    pytest.importorskip("rdkit")
    pytest.importorskip("selfies")
    strange = ["C" * n + "O[IH2](O)C" for n in range(1, misfits + 1)]  # rdkit knows them, SELFIES don't
    path = tmp_path / "m.smi"
    path.write_text("\n".join(["C" * n + end for n in range(1, 41) for end in ("", "O", "N", "Cl", "F")] + strange))
    long, _ = compose(None, str(path), budget="20m")
    assert long["data"]["tokens"] == "smiles-pairs"
    capsys.readouterr()
    node, splits = compose(None, str(path), budget="60s")
    said = capsys.readouterr().err
    assert f"so it is {taken}" in said and "so it is selfies-vae" in said
    assert node["data"]["tokens"] == ("selfies-pairs" if misfits == 1 else "smiles-pairs")
    assert sum(map(len, (splits.train, splits.validation, splits.test))) == 200 + (misfits if misfits > 1 else 0)
    # candidates of a bench are those whose likelihoods can be compared, so SMILES
    assert set(recommended(splits, 60.0)) == {"molecules-vae", "molecules-transformer"}


def test_few_rows_begin_as_a_mixture_by_default():
    draw = np.random.default_rng(0)

    def first(rows, columns=3, **more):
        x = {f"c{i}": draw.normal(size=rows) for i in range(columns)}
        spec = read_data(pandas.DataFrame(x | more), validation=0, test=0).spec
        return modality_of(spec).recommend(spec, rows)[0].recipe

    assert {first(rows) for rows in (10, 900)} == {"table-transformer"}
    assert first(9) == first(1000) == first(900, 70) == "table-vae"
    words = draw.choice(["a", "b"], 100)
    assert first(100, k=words) == "table-transformer"
    assert first(100, 1, k=words, m=words[::-1]) == first(100, k=np.repeat([0.5, np.nan], 50)) == "table-vae"
    assert (
        first(150, 1, k=np.repeat(words, 2)[:150], m=np.repeat(words, 2)[50:])
        == first(300, k=np.repeat([0.5, np.nan], 150))
        == "table-transformer"
    )
    assert first(100, k=np.where(np.arange(100) < 40, 0.25, draw.normal(size=100))) == "table-vae"  # it has a density


def test_old_names_find_the_same_recipe_and_say_so(caplog):
    spec = fusevae.DataSpec((1, 8, 8), "uint8", 0, 16)
    for old, new in RENAMED.items():
        assert old not in recipes() and new in recipes()
        caplog.clear()
        with caplog.at_level("WARNING", "fusevae"):
            found = find(old)
        assert [r.getMessage() for r in caplog.records] == [f"the recipe {old} is called {new} now"]
        if "images" in kinds()[new]:
            assert describe(found(spec)) == describe(find(new)(spec))


def test_the_kinds_that_are_read_without_an_import_are_those_of_the_modules():
    assert {name: modalities_of(name) for name in recipes()} == kinds()


def test_a_recipe_without_a_modality_takes_what_it_can():
    spec = read_data(TABLES["two columns"], validation=0, test=0).spec

    def mine(data, latent=1):
        return fusevae.Experiment(fusevae.Normal(data.shape))

    assert modalities_of(mine) == () and fits(mine, spec) is None
    assert fits("gan", spec).startswith("gan is for images, these data are tables: take table-vae")


def test_whether_a_recipe_of_ones_own_fits_is_told_by_its_outline():
    spec = read_data(TABLES["two columns"], validation=0, test=0).spec

    def mine(data, layers=5):
        assert layers == 0
        return fusevae.Experiment(fusevae.Normal(data.shape))

    mine.outline = {"layers": 0}
    assert fits(mine, spec) is None


# ---------------------------------------------------------------- the command line


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "wine.csv"
    rows = np.random.default_rng(0).normal(size=(60, 3))
    path.write_text("a,b,c\n" + "\n".join(",".join(f"{v:.4f}" for v in row) for row in rows) + "\n")
    return path


TINY = [arg for s in ("training.epochs=0.3", "training.batch_size=8") for arg in ("--set", s)]


def test_train_without_a_recipe_takes_the_default_and_says_why(table, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", "--data", str(table), "--output", str(out), *TINY, "--set", "recipe.width=16"]) == 0
    said = capsys.readouterr().err.splitlines()[0]
    assert said.startswith("no recipe was named, so it is table-transformer --set ") and "48 rows of 3" in said
    node = configuration.read(out / "config.yaml")
    assert "recipe.width=32" in said and node["model"]["net"]["width"] == 16  # the user's setting comes over it
    assert node["training"]["epochs"] == 0.3 and node["training"]["patience"] == 4
    assert main(["train", "--output", str(tmp_path / "other")]) == 2
    assert "--data photos/" in capsys.readouterr().err


def test_the_default_reads_the_data_as_its_recipe_wants_them(tmp_path, capsys):
    pytest.importorskip("rdkit")
    path = tmp_path / "a.smi"
    path.write_text("\n".join(SMILES * 3))
    small = ["--set", "recipe.width=16", "--set", "recipe.latent=2", "--set", "data.vocabulary_size=30"]
    assert main(["train", "--data", str(path), "--output", str(tmp_path / "run"), *TINY, *small]) == 0
    assert configuration.read(tmp_path / "run" / "config.yaml")["data"]["tokens"] == "smiles-pairs"
    assert "molecules-vae" in capsys.readouterr().err


def test_another_modality_is_refused_by_train_and_bench_before_any_work(table, tmp_path, capsys):
    for recipe in ("gan", "flow-vae"):
        assert main(["train", recipe, "--data", str(table), "--output", str(tmp_path / "run")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: {recipe} is for images, these data are tables: take table-vae, maf")
    assert not (tmp_path / "run").exists()
    assert main(["bench", "gan,flow-vae", "--data", str(table), "--budget", "5s", "--output", str(tmp_path / "b")]) == 2
    assert "gan is for images" in capsys.readouterr().err


def test_one_long_text_is_told_from_many(tmp_path, capsys):
    (tmp_path / "play.txt").write_text("to be or not to be, that is the question " * 60)
    assert main(["train", "--data", str(tmp_path / "play.txt"), "--output", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "data.stream=128" in line and "character-transformer" in line


def test_recipes_for_some_data(table, capsys):
    assert main(["recipes", "--data", str(table)]) == 0
    out = capsys.readouterr().out
    first, *rest = out.splitlines()
    assert first.startswith("table-transformer (the default)  48 rows of 3 columns")
    assert any(line.split() == ["gan", "for", "images"] for line in rest)
    assert main(["recipes", "--data", str(table), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    names = [choice["recipe"] for choice in found["recommended"]] + [*found["fit"]] + [*found["unfit"]]
    assert sorted(names) == sorted(recipes()) and found["recommended"][0]["options"]["recipe.width"] == 32
    assert main(["recipes", "--data", str(table), "--set", "training.epochs=3"]) == 2
    assert "no setting of the data" in capsys.readouterr().err


def test_one_recipe_in_full(table, capsys):
    assert main(["recipes", "mnist-vae", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    model = find("binary-vae")(Source().read().spec).model
    assert found["recipe"] == "binary-vae" and found["modality"] == ["images"]
    assert found["options"] == {"latent": 50, "hidden": [200, 200]}
    assert found["parameters"] == sum(p.numel() for p in model.parameters())
    assert found["steps"] == 440 * (1437 // 200) and found["seconds_per_step"] > 0
    assert main(["recipes", "text-vae"]) == 0
    assert "add --data" in capsys.readouterr().out
    assert main(["recipes", "table-vae", "--data", str(table)]) == 0
    assert "wine.csv" in capsys.readouterr().out
    assert main(["recipes", "table-vea"]) == 2
    assert "did you mean 'table-vae'" in capsys.readouterr().err


def test_a_choice_is_what_the_command_line_takes():
    assert as_settings(Choice("a", "b", {"recipe.hidden": (4, 4), "training.patience": 6}).options) == [
        "recipe.hidden=[4,4]",
        "training.patience=6",
    ]


@pytest.mark.parametrize(
    ("recipe", "file", "settings", "options"),
    [
        ("maf", "t.csv", {"conditions": ["kind"]}, {"transforms": 2}),
        ("maf", "t.csv", {"conditions": ["kind"]}, {"conditional": False}),
        ("table-vae", "t.csv", {"columns": ["a", "b"], "seed": 3}, {}),
        ("sigma-vae", "strips.npy", {}, {"latent": 3}),  # refused as what they look like, images by their recipe
        ("logistic-vae", None, {}, {"latent": 3}),
        ("character-transformer", "t.txt", {"stream": 8, "validation": 0.3}, {}),
    ],
)
def test_python_and_the_command_line_make_the_same_configuration(recipe, file, settings, options, tmp_path):
    (tmp_path / "t.csv").write_text("a,b,kind\n" + "1,2.5,x\n2,0.5,y\n" * 20)
    (tmp_path / "t.txt").write_text(" ".join(SENTENCES * 3))
    np.save(tmp_path / "strips.npy", array(20, 16))
    path = file and str(tmp_path / file)
    told = [f"data.{key}={json.dumps(value)}" for key, value in settings.items()]
    told += [f"recipe.{key}={json.dumps(value)}" for key, value in options.items()]
    node, theirs = compose(recipe, path, told, seed=5)
    made, ours = composed(recipe, Source(path, **settings), options, 5)
    assert describe(made) == describe(configuration.experiment(node))
    assert describe(ours.spec) == describe(theirs.spec) and len(ours.train) == len(theirs.train)
    assert made.data.options.modality == ours.spec.modality
    for a, b in zip(made.model.parameters(), configuration.experiment(node).model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_recipe_tells_what_data_in_memory_are():
    strips = array(20, 3)
    with pytest.raises(InputError, match="say what it is"):
        read_data(strips)
    made, splits = composed("sigma-vae", strips, {"latent": 2, "channels": (8,)}, 0)
    assert splits.spec.shape == (1, 20, 3) and made.data.options.modality == "images"
