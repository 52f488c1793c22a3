"""The commands and their options."""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

from fusevae import __version__
from fusevae.cli import options
from fusevae.cli.values import count, pair, part, positive
from fusevae.core.errors import near


class UsageError(Exception):
    """Arguments that make no command; a line."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other error is said."""

    def error(self, message: str) -> NoReturn:
        choice = re.match(r"argument \S+: invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if choice:
            known = re.findall(r"[-\w]+", choice[2])
            message = f"unknown {choice[1]!r}{near(choice[1], known)}"
        raise UsageError(f"{message} (see {self.prog} --help)")


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each names the function that runs it, which is imported only then."""
    parser = Parser("fusevae", description="Train, judge, sample and fuse deep generative models.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"fusevae {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)

    def command(name: str, function: str, text: str) -> argparse.ArgumentParser:
        found = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
        found.set_defaults(command=function)
        found.add_argument("--json", action="store_true", help="print one JSON object on stdout")
        return found

    demo = command("demo", "train:demo", "train, judge and sample a VAE on hand-written digits, in about a minute")
    demo.add_argument("--output", help="run folder (default: runs/demo, or runs/demo-2 ... where that is taken)")
    options.device(demo, seed=0)

    recipes = command("recipes", "recipes:recipes", "list the compositions, those that fit some data, or one in full")
    recipes.add_argument("what", nargs="?", metavar="RECIPE", help="one, with its options and what it costs")
    recipes.add_argument("--data", metavar="PATH", help=f"{options.DATA}: what fits, the default first")
    options.settings(recipes, options.READ)
    recipes.add_argument(
        "--device", default="auto", help="for what one costs: auto, cpu, cuda or cuda:N (default: auto)"
    )

    train = command("train", "train:train", "train a recipe or a YAML configuration")
    train.add_argument(
        "what", nargs="?", metavar="RECIPE_OR_YAML", help="without it the default for --data (see recipes)"
    )
    train.add_argument("--data", metavar="PATH", help=f"{options.DATA}; without it the data of the YAML, or digits")
    train.add_argument("--output", metavar="DIR", help="run folder to make")
    options.settings(
        train,
        "change a setting: training.epochs=50, model.decoder=ContinuousBernoulli, recipe.latent=32; repeatable; "
        "with --resume what makes it no other training",
    )
    train.add_argument("--budget", metavar="TIME", help="of everything, which is planned for it: 90s, 20m, 1h30m")
    train.add_argument("--resume", metavar="DIR", help="go on with a run that was stopped")
    train.add_argument("--from", metavar="RUN", dest="weights", help="start from the weights of another run")
    train.add_argument(
        "--only", action="append", default=[], metavar="PART",
        help="of --from: only the weights of this part (latents, latents.posterior, decoder ...); repeatable",
    )  # fmt: skip
    train.add_argument(
        "--importance-samples", type=positive, metavar="K", help="of the evaluation at the end (default: at most 100)"
    )
    options.device(train, seed=None)
    options.damaged(train)

    sample = command("sample", "use:sample", "new examples from a trained model")
    options.run(sample)
    sample.add_argument("-n", type=positive, default=16, metavar="N", help="how many (default: 16)")
    sample.add_argument(
        "--label",
        help="conditions, all or some: sentiment=positive,year=1999; of one column 7 or qed=0.9; of a table "
        "any columns: income='>50K',sex=Female",
    )
    options.kind(sample)
    options.settings(sample, "change a setting of the model: distribution.sampler.steps=50, say")
    options.writing(sample)
    options.output(
        sample, "a folder (images, and grid.png), or a .npz, .npy, .csv, .parquet or .png file; " + options.TEXTS, False
    )

    speak = command("speak", "speak:speak", "texts as sound, by a model that says texts (text-to-speech)")
    options.run(speak)
    speak.add_argument("texts", nargs="+", metavar="TEXT", help="what is to be said, a clip each")
    speak.add_argument("--label", help="what else is known: speaker=george")
    speak.add_argument("--rate", type=float, default=1.0, metavar="R", help="2 is twice as fast (default: 1)")
    speak.add_argument(
        "--temperature", type=float, default=0.5, metavar="T",
        help="0 says a text the same each time, 1 as various as the model has it (default: 0.5)",
    )  # fmt: skip
    options.output(speak, "a .wav, .flac or .ogg file, a folder, or a .npz or .parquet file")

    for name, function, text, output in (
        ("reconstruct", "use:reconstruct", "data after encoding and decoding", options.AS_SAMPLE),
        ("encode", "use:encode", "the latents of data", "a .npz, .csv or .parquet file"),
        ("classify", "use:classify", "the labels of data, with their probabilities", "a .npz, .csv or .parquet file"),
    ):
        found = command(name, function, text)
        options.run(found)
        options.data(found, required=False)
        found.add_argument("--text", nargs="+", metavar="TEXT", help="texts in place of --data")
        if name == "reconstruct":
            options.writing(found)
        if name == "encode":
            found.add_argument("--codebooks", type=positive, metavar="N", help="of a codec: the first N (default: all)")
        options.output(found, output, name != "reconstruct")

    decode = command("decode", "codec:decode", "the recording that the codes of a codec stand for")
    options.run(decode)
    decode.add_argument("--data", required=True, metavar="PATH", help="a .npz that encode wrote of a recording")
    options.output(decode, "a .wav, .flac or .ogg file")

    evaluate = command("evaluate", "judge:evaluate", "likelihood of held-out data, the ELBO and its parts")
    options.run(evaluate)
    options.data(evaluate, required=False)
    options.importance(evaluate)
    evaluate.add_argument(
        "--samples", type=positive, nargs="?", const=2000, metavar="N",
        help="judge N samples too (2000 where N is left out): FID, KID, precision, recall, copying ...",
    )  # fmt: skip
    options.judging(evaluate)

    compare = command("compare", "compare:compare", "one table of several models, whatever their families")
    compare.add_argument("runs", nargs="+", metavar="RUN", help="run folders, or model.safetensors files")
    options.data(compare, required=False)
    options.importance(compare)
    compare.add_argument(
        "--samples", type=count, default=2000, metavar="N",
        help="of each model, judged against as many real examples; 0 for none (default: 2000)",
    )  # fmt: skip
    options.judging(compare)
    compare.add_argument("--output", metavar="PAGE", help="write a page with the table and pictures, a .html file")

    bench = command("bench", "bench:bench", "which model for these data: train several, compare them, and say")
    bench.add_argument(
        "what", nargs="?", metavar="RECIPE,RECIPE,...",
        help="recipes, or YAML configurations; without them what suits --data and the time",
    )  # fmt: skip
    bench.add_argument("--budget", metavar="TIME", help="of each training: 90s, 20m, 1h30m")
    bench.add_argument(
        "--total", metavar="TIME", help="in its place: of everything; the better half is trained on, round by round"
    )
    bench.add_argument("--data", metavar="PATH", help=f"{options.DATA}; without it digits")
    options.conditions(bench)
    options.damaged(bench)
    options.settings(bench, options.READ)
    bench.add_argument(
        "--output", default="runs/bench", metavar="DIR",
        help="folder of the runs and the page; the same command goes on with it (default: runs/bench)",
    )  # fmt: skip
    bench.add_argument("--importance-samples", type=positive, default=100, metavar="K", help="(default: 100)")
    bench.add_argument("--samples", type=count, default=2000, metavar="N", help="as of compare (default: 2000)")
    options.judging(bench)

    tune = command("tune", "tune:tune", "search better settings for a recipe; the best is a run like any other")
    tune.add_argument("what", metavar="RECIPE", help="whose ranges are searched")
    tune.add_argument("--total", required=True, metavar="TIME", help="of everything: 20m, 1h30m")
    tune.add_argument("--data", metavar="PATH", help=f"{options.DATA}; without it digits")
    options.conditions(tune)
    options.damaged(tune)
    options.settings(tune, options.READ)
    tune.add_argument(
        "--output", default="runs/tune", metavar="DIR",
        help="folder of the trials and of the run, best; the same command goes on with it (default: runs/tune)",
    )  # fmt: skip

    anomaly = command("anomaly", "density:anomaly", "how unusual examples are: likelihood, typicality, p-values")
    options.run(anomaly)
    options.data(anomaly, required=True)
    anomaly.add_argument(
        "--reference", metavar="PATH", help="usual examples, not trained on (default: the run's own test split)"
    )
    some = "(default: 100, or as many as take about a minute)"
    anomaly.add_argument("--importance-samples", type=positive, metavar="K", help=some)
    options.output(anomaly, "a .csv, .npz or .parquet file")

    for name, text, samples, steps in (
        ("impute", "missing values given those that are there", 4, 200),
        ("denoise", "examples without the noise that was added to them", 1, 300),
    ):
        found = command(name, f"density:{name}", text)
        options.run(found)
        options.data(found, required=True)
        if name == "impute":
            found.add_argument(
                "--missing", required=True, metavar="MASK",
                help="a .npy, .npz or .png, true or white where values are missing, for each example or for all; or "
                "nan: the empty cells of a .csv, the NaN of a .npy",
            )  # fmt: skip
        else:
            found.add_argument(
                "--noise", required=True, type=float, metavar="S",
                help="standard deviation in the data's units; for a Bernoulli decoder the probability of a flip",
            )  # fmt: skip
        found.add_argument(
            "--kind", choices=("sample", "mean"), default="sample", help="a draw, or the mean of all (default: sample)"
        )
        found.add_argument(
            "--samples",
            type=positive,
            default=samples,
            help=f"chains of each example, for its mean (default: {samples})",
        )
        found.add_argument("--steps", type=positive, default=steps, help=f"of each chain (default: {steps})")
        if name == "impute":
            found.add_argument(
                "-n", "--draws", type=positive, default=1, metavar="M",
                help="completions of each example that are written, numbered in a column draw (default: 1)",
            )  # fmt: skip
        options.output(found, "a folder, or a file as of sample")

    interpolate = command("interpolate", "read:interpolate", "examples on the way between two, in latent space")
    options.run(interpolate)
    interpolate.add_argument("texts", nargs="*", metavar="TEXT", help="two texts (or more pairs), of a model of text")
    options.data(interpolate, required=False)
    chosen = interpolate.add_mutually_exclusive_group()
    chosen.add_argument(
        "-n", type=positive, default=8, metavar="N", help="how many pairs, evenly over the data (default: 8)"
    )
    chosen.add_argument(
        "--pairs", type=pair, nargs="+", metavar="I,J", help="numbers of examples, from 0: 3,17 20,4"
    )  # fmt: skip
    interpolate.add_argument("--steps", type=positive, default=7, help="examples on a way, both ends included")
    interpolate.add_argument(
        "--path", choices=("spherical", "linear"), default="spherical", help="(default: spherical)"
    )  # fmt: skip
    traverse = command("traverse", "read:traverse", "one dimension of the latent at a time, through its quantiles")
    options.run(traverse)
    options.data(traverse, required=False)
    traverse.add_argument("--example", type=int, default=0, metavar="I", help="whose latent is changed (default: 0)")
    traverse.add_argument("-n", type=positive, default=10, metavar="N", help="dimensions, most active first")
    traverse.add_argument("--steps", type=positive, default=7, help="values of each (default: 7)")
    for found in (interpolate, traverse):
        options.output(found, options.AS_SAMPLE, False)
    neighbours = command("neighbours", "read:neighbours", "the examples nearest to others in latent space")
    options.run(neighbours)
    options.data(neighbours, required=False)
    neighbours.add_argument(
        "-n", type=positive, default=8, metavar="N", help="of how many, evenly over the data (default: 8)"
    )
    neighbours.add_argument("-k", type=positive, default=8, metavar="K", help="how many of each (default: 8)")
    map_ = command("map", "read:draw_map", "where examples lie in latent space, in the plane")
    options.run(map_)
    options.data(map_, required=False)
    map_.add_argument(
        "-n", type=positive, default=2000, metavar="N", help="how many, evenly over the data (default: 2000)"
    )
    map_.add_argument(
        "--method", choices=("auto", "pca", "tsne"), default="auto",
        help="the latent itself where it has two dimensions, else the first principal components (default: auto)",
    )  # fmt: skip
    for found in (neighbours, map_):
        options.output(found, "a .png, .npz, .csv or .parquet file")

    optimize = command("optimize", "molecules:optimize", "molecules with more of a property, like those given")
    options.run(optimize)
    optimize.add_argument(
        "--property", required=True, choices=("qed", "logp", "sa", "weight"),
        help="drug-likeness, octanol-water logP, synthetic accessibility (1 is easy), molecular weight",
    )  # fmt: skip
    optimize.add_argument("--data", required=True, metavar="PATH", help="molecules to start from, a SMILES a line")
    options.settings(optimize, options.READ)
    optimize.add_argument(
        "--evaluations", type=positive, default=200, metavar="N", help="molecules scored for each start (default: 200)"
    )
    optimize.add_argument(
        "--similarity", type=part, default=0.4, metavar="S", help="least Tanimoto similarity to the start, 0 to 1"
    )
    optimize.add_argument("--minimize", action="store_true", help="lower the property, instead of raising it")
    options.output(optimize, "a .csv, .npz or .parquet file")

    explore = command("explore", "explore:explore", "look at runs and their latents in a browser")
    explore.add_argument("runs", nargs="+", metavar="RUN", help="run folders, model.safetensors files, folders of runs")
    explore.add_argument("--data", metavar="PATH", help="show these examples (default: the run's own)")
    explore.add_argument("--host", default="127.0.0.1", help="where it listens; any but this machine needs a token")
    explore.add_argument("--port", type=count, default=8000, help="(default: 8000; 0 takes a free one)")
    explore.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 ... (default: auto)")

    prior = command("fit-prior", "prior:fit", "a copy of a trained model with a prior fitted to its latents")
    options.run(prior)
    kinds = ("flow", "mixture", "made", "vae", "diffusion", "pixel-cnn", "transformer", "autoregressive", "normal")
    prior.add_argument(
        "kind",
        choices=kinds,
        metavar="KIND",
        help="%(choices)s; of these pixel-cnn and transformer for codes (vq-vae), autoregressive for sound "
        "(speech-codec, speech-vae), for which flow, diffusion and normal do as well (speech-vae)",
    )
    options.data(prior, required=False, default="; without it the run's own training split")
    prior.add_argument("--components", type=positive, default=10, metavar="N", help="of the mixture (default: 10)")
    prior.add_argument(
        "--epochs", type=positive, metavar="N", help="of the others' training (default: 30; of sequences 40)"
    )
    options.output(prior, "a new folder")

    info = command("info", "judge:info", "what a trained model is")
    options.run(info)
    for name, found in commands.choices.items():
        if name not in ("demo", "recipes", "train", "explore", "info"):
            options.device(found, seed=0)
        if name not in ("demo", "recipes"):
            options.trust(found)
    return parser
