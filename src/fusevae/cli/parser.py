"""The commands and their options."""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

from fusevae import __version__
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
    _device(demo, seed=0)

    command("recipes", "recipes:recipes", "list the ready compositions")

    train = command("train", "train:train", "train a recipe or a YAML configuration")
    train.add_argument("what", nargs="?", metavar="RECIPE_OR_YAML", help="fusevae recipes lists the recipes")
    train.add_argument("--data", metavar="PATH", help=f"{_DATA}; without it the data of the YAML, or digits")
    train.add_argument("--output", metavar="DIR", help="run folder to make")
    train.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
        help="change a setting: training.epochs=50, model.decoder=ContinuousBernoulli, recipe.latent=32; repeatable",
    )  # fmt: skip
    train.add_argument("--resume", metavar="DIR", help="go on with a run that was stopped")
    train.add_argument("--from", metavar="RUN", dest="weights", help="start from the weights of another run")
    train.add_argument(
        "--importance-samples", type=_positive, metavar="K", help="of the evaluation at the end (default: at most 100)"
    )
    _device(train, seed=None)
    _trust(train)
    _damaged(train)

    sample = command("sample", "use:sample", "new examples from a trained model")
    _run(sample)
    sample.add_argument("-n", type=_positive, default=16, metavar="N", help="how many (default: 16)")
    sample.add_argument("--label", help="class to sample from, by name or number")
    sample.add_argument(
        "--kind", choices=("auto", "mean", "sample"), default="auto",
        help="the mean of p(x | z), or a draw from it (default: auto, the mean for images)",
    )  # fmt: skip
    _output(sample, "a folder (images, and grid.png), or a .npz, .npy, .csv, .parquet or .png file")
    _device(sample, seed=0)
    _trust(sample)

    for name, function, text, output in (
        ("reconstruct", "use:reconstruct", "data after encoding and decoding", "a folder, or a file as of sample"),
        ("encode", "use:encode", "the latents of data", "a .npz, .csv or .parquet file"),
    ):
        found = command(name, function, text)
        _run(found)
        _data(found, required=True)
        _output(found, output)
        _device(found, seed=0)
        _trust(found)

    evaluate = command("evaluate", "judge:evaluate", "likelihood of held-out data, the ELBO and its parts")
    _run(evaluate)
    _data(evaluate, required=False)
    evaluate.add_argument("--importance-samples", type=_positive, default=1000, metavar="K", help="(default: 1000)")
    _device(evaluate, seed=0)
    _trust(evaluate)

    compare = command("compare", "judge:compare", "likelihoods of several models as pairs on the same held-out data")
    compare.add_argument("runs", nargs="+", metavar="RUN", help="run folders, or model.safetensors files")
    _data(compare, required=False)
    compare.add_argument("--importance-samples", type=_positive, default=1000, metavar="K", help="(default: 1000)")
    _device(compare, seed=0)
    _trust(compare)

    info = command("info", "judge:info", "what a trained model is")
    _run(info)
    _trust(info)
    return parser


_DATA = "a folder of images, .npz, .npy, .parquet, .csv or .tsv"


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run folder, or a model.safetensors")


def _data(parser: argparse.ArgumentParser, required: bool) -> None:
    default = "" if required else "; without it the run's own test split"
    parser.add_argument("--data", required=required, metavar="PATH", help=_DATA + default)
    parser.add_argument("--labels", metavar="NAME", help="array or column of the labels, or a file of them")
    _damaged(parser)


def _damaged(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--skip-damaged", action="store_true", help="leave out images that can't be decoded")


def _output(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--output", required=True, metavar="PATH", help=text)


def _device(parser: argparse.ArgumentParser, seed: int | None) -> None:
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 ... (default: auto, the best there is)")
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16"), help="of the nets; likelihoods are summed in float32 or better"
    )
    parser.add_argument("--seed", type=int, default=seed, help="the same seed gives the same result")


def _trust(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trust", action="append", default=[], metavar="NAME",
        help="a module or class of your own, dotted, that the model may use; repeatable",
    )  # fmt: skip


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} was given, expected a whole number above 0")
    return value
