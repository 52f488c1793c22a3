"""Options that several commands have."""

from __future__ import annotations

import argparse

from fusevae.cli.values import names, positive

TEXTS = "texts to a .txt, .csv or .jsonl, or to stdout without it"
AS_SAMPLE = "a folder, or a file as of sample; " + TEXTS
READ = "how the data are read: data.tokens=words; repeatable"
DATA = "a folder of images, .npz, .npy, .parquet, .csv, .tsv, .xlsx, .json, .jsonl, or text in .txt, .smi or .jsonl"


def run(parser: argparse.ArgumentParser) -> None:
    """The trained model."""
    parser.add_argument("run", metavar="RUN", help="a run folder, or a model.safetensors")


def data(
    parser: argparse.ArgumentParser, required: bool, default: str = "; without it the run's own test split"
) -> None:
    """Data to use it on, and how they are read."""
    default = "" if required else default
    parser.add_argument("--data", required=required, metavar="PATH", help=DATA + default)
    conditions(parser)
    damaged(parser)
    settings(parser, "how --data are read, or the model: data.column=review, distribution.sampler.steps=50; repeatable")


def conditions(parser: argparse.ArgumentParser) -> None:
    """What stands beside the data."""
    parser.add_argument(
        "--conditions", metavar="NAMES", type=names,
        help="columns or arrays beside the data, by name with commas between, or a file of labels (default: those of "
        "the model)",
    )  # fmt: skip


def settings(parser: argparse.ArgumentParser, text: str) -> None:
    """What is set one by one."""
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings", help=text)


def damaged(parser: argparse.ArgumentParser) -> None:
    """What becomes of examples that can't be read."""
    parser.add_argument("--skip-damaged", action="store_true", help="leave out examples that can't be read")


def kind(parser: argparse.ArgumentParser) -> None:
    """What is shown of p(x | z)."""
    parser.add_argument(
        "--kind", choices=("auto", "mean", "sample"), default="auto",
        help="of samples: the mean of p(x | z), or a draw from it (default: auto, the mean for images)",
    )  # fmt: skip


def importance(parser: argparse.ArgumentParser) -> None:
    """Importance samples of a bound."""
    few = "(default: 1000, or as many as take about a minute of each model)"
    parser.add_argument("--importance-samples", type=positive, metavar="K", help=few)


def judging(parser: argparse.ArgumentParser) -> None:
    """By what samples are judged."""
    parser.add_argument(
        "--extractor", metavar="FILE",
        help="features to judge samples by: an extractor that fusevae kept (.safetensors), or a TorchScript file, "
        "which is a program: name only one that you trust (default: a classifier of the data, trained once); of texts "
        "the run of another language model, for their perplexity",
    )  # fmt: skip
    kind(parser)


def output(parser: argparse.ArgumentParser, text: str, required: bool = True) -> None:
    """Where the result goes."""
    parser.add_argument("--output", required=required, metavar="PATH", help=text)


def writing(parser: argparse.ArgumentParser) -> None:
    """How a language model writes."""
    parser.add_argument("--temperature", type=float, metavar="T", help="of text: 0 takes the likeliest token each time")
    parser.add_argument("--top-k", type=positive, metavar="K", help="of text: draw from the K likeliest tokens alone")
    parser.add_argument(
        "--top-p", type=float, metavar="P", help="of text: draw from the likeliest tokens that together reach P"
    )
    parser.add_argument("--beams", type=positive, metavar="B", help="of text: search for the likeliest with B beams")
    parser.add_argument("--start", metavar="TEXT", help="of text: what every sample begins with")
    parser.add_argument("--longest", type=positive, metavar="N", help="of text: tokens after which one is given up")


def device(parser: argparse.ArgumentParser, seed: int | None) -> None:
    """Where and how the nets are computed, and the seed."""
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 ... (default: auto, the best there is)")
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16"), help="of the nets; likelihoods are summed in float32 or better"
    )
    parser.add_argument("--seed", type=int, default=seed, help="the same seed gives the same result")


def trust(parser: argparse.ArgumentParser) -> None:
    """Code of one's own."""
    parser.add_argument(
        "--trust", action="append", default=[], metavar="NAME",
        help="a module or class of your own, dotted, that the model may use; repeatable",
    )  # fmt: skip
