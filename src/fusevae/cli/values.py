"""Values of options, from their words."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    """A whole number above 0."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} was given, expected a whole number above 0")
    return value


def names(text: str) -> str | list[str]:
    """One name, pattern or file as it is; several names as a list."""
    return text.split(",") if "," in text and "{" not in text else text


def part(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} was given, expected a number from 0 to 1")
    return value


def count(text: str) -> int:
    """A whole number from 0 on."""
    return 0 if text == "0" else positive(text)


def pair(text: str) -> tuple[int, int]:
    """Two numbers of examples."""
    first, _, second = text.partition(",")
    if not (first.isdecimal() and second.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} was given, expected two numbers of examples: 3,17")
    return int(first), int(second)
