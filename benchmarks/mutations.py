"""Mutations of valid files for ``fuzz.py``: of bytes, of cells, of descriptions; each decided by its generator."""

from __future__ import annotations

import copy
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

CELLS = ["", "nan", "-inf", "1e999", "-1", "1_0", '"', "\x00", "\ufffd", "9" * 400, "1,5", "\t", "a\nb", "é", "x" * 999]
VALUES: list[Any] = [
    None, True, -1, 0, 1, 3, 1.5, 1e300, float("inf"), float("nan"), 2**31, 2**70, "", "²", "x" * 5000, "\x00", [], {},
    [27000, 27000], [1] * 5000, [[]], {"class": "VAE"}, "float99", {"a": {"b": "c"}}, -(2**63), "../../etc/passwd",
]  # fmt: skip
TEXTS = (".csv", ".tsv", ".txt", ".jsonl", ".smi")


def mutate_bytes(data: bytes, chance: random.Random) -> tuple[bytes, str]:
    """A file with a few bytes flipped, cut, put in, taken out or doubled."""
    at, size = chance.randrange(max(1, len(data))), chance.choice((1, 1, 2, 8, 64))
    kind = chance.choice(("flip", "flip", "flip", "truncate", "insert", "delete", "zero", "double", "head"))
    if kind in ("flip", "head"):
        found = bytearray(data)
        for _ in range(size if found else 0):
            i = chance.randrange(min(len(found), 128) if kind == "head" else len(found))
            found[i] ^= 1 << chance.randrange(8)
        return bytes(found), f"{kind} of {size} bits"
    if kind == "truncate":
        return data[:at], f"cut at {at}"
    if kind == "insert":
        return data[:at] + chance.randbytes(size) + data[at:], f"{size} random bytes at {at}"
    if kind == "zero":
        return data[:at] + bytes(min(size, len(data) - at)) + data[at + size :], f"{size} zeros at {at}"
    if kind == "double":
        return data[: at + size] + data[at:], f"{size} bytes doubled at {at}"
    return data[:at] + data[at + size :], f"{size} bytes out at {at}"


def mutate_text(data: bytes, chance: random.Random) -> tuple[bytes, str]:
    """A text with a cell, a line or a character replaced."""
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    i, new = chance.randrange(len(lines)), chance.choice(CELLS)
    kind = chance.choice(("cell", "cell", "line out", "line twice", "surrogate", "header", "all in one"))
    if kind == "cell":
        separator = next((s for s in ("\t", ",", " ") if s in lines[i]), " ")
        cells = lines[i].split(separator)
        cells[chance.randrange(len(cells))] = new
        lines[i] = separator.join(cells)
    elif kind == "line out":
        del lines[i]
    elif kind == "line twice":
        lines.insert(i, lines[0])
    elif kind == "surrogate":
        lines[i] = lines[i].replace("a", "\\ud800", 1) + "\udc80"
    elif kind == "header":
        lines[0] = new
    else:
        lines = ["".join(lines)]
    return "\n".join(lines).encode("utf-8", "surrogateescape"), f"{kind} {i} {new[:20]!r}"


def mutate_file(path: Path, others: list[Path], chance: random.Random) -> str:
    """Change a file in its place; returns what was done."""
    data = path.read_bytes()
    if chance.random() < 0.06:
        other = chance.choice(others)
        path.write_bytes(other.read_bytes())
        return f"the content of a {other.suffix}"
    how = mutate_text if path.suffix in TEXTS and chance.random() < 0.6 else mutate_bytes
    if path.suffix == ".npy" and chance.random() < 0.3:
        return _header_of_npy(path, data, chance)
    changed, said = how(data, chance)
    path.write_bytes(changed)
    return said


def _header_of_npy(path: Path, data: bytes, chance: random.Random) -> str:
    length = struct.unpack("<H", data[8:10])[0]
    header = data[10 : 10 + length].decode("latin1")
    kinds = [("<f4", new) for new in ("|O", "<f8", "<U4", ">i4")]
    shapes = [("(", new) for new in ("(-1, ", "(10**9, ", "(99999999999, ", "((1,), ")]
    old, new = chance.choice([*kinds, *shapes, ("False", "True"), ("{", "{{"), ("shape", "shap")])
    changed = header.replace(old, new, 1).encode("latin1")
    path.write_bytes(data[:8] + struct.pack("<H", len(changed)) + changed + data[10 + length :])
    return f"{old} -> {new} in the header"


def mutate_plain(node: Any, chance: random.Random) -> tuple[Any, str]:
    """A copy of plain data in which one or two values or names are others."""
    node = copy.deepcopy(node)
    said = []
    for _ in range(chance.choice((1, 1, 1, 2))):
        places = list(_places(node))  # anew each time, since some may be gone
        if not places:
            return chance.choice(VALUES), "another value for all"
        inside, key = chance.choice(places)
        kind = chance.choice(("value", "value", "value", "number", "out", "name", "subtree", "twice", "deep"))
        value = inside[key]
        if kind == "number" and isinstance(value, (int, float)) and not isinstance(value, bool):
            inside[key] = chance.choice((0, -value, value + 1, value * 1000, value / 3, 10**12))
        elif kind == "out":
            del inside[key]
        elif kind == "name" and isinstance(inside, dict):
            inside[chance.choice(("clas", "class", "x", key + "s"))] = inside.pop(key)
        elif kind == "subtree":
            other, name = chance.choice(places)
            inside[key] = copy.deepcopy(other[name])
        elif kind == "twice":
            inside[key] = [value, copy.deepcopy(value)]
        elif kind == "deep":
            for _ in range(chance.choice((5, 150))):
                value = [value]
            inside[key] = value
        else:
            inside[key] = copy.deepcopy(chance.choice(VALUES))
        said.append(f"{kind} at {key!r}")
    return node, ", ".join(said)


def _places(node: Any) -> Any:
    for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield node, key
        yield from _places(node[key])


def mutate_yaml(text: str, chance: random.Random) -> tuple[str, str]:
    """A YAML text with another structure, or other characters."""
    if chance.random() < 0.25:
        changed, said = mutate_bytes(text.encode(), chance)
        return changed.decode("utf-8", "replace"), said
    node, said = mutate_plain(yaml.safe_load(text), chance)
    return yaml.safe_dump(node, sort_keys=False), said


def mutate_json(text: str, chance: random.Random) -> tuple[str, str]:
    """A JSON text with another structure."""
    node, said = mutate_plain(json.loads(text), chance)
    return json.dumps(node), said


def mutate_safetensors(path: Path, key: str, chance: random.Random, how: Callable[..., tuple[str, str]]) -> str:
    """Change the text under ``key`` in the metadata of a file, its tensors, its header or its bytes."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    kind = chance.choice(("text", "text", "text", "text", "header", "entry", "bytes", "values", "length"))
    said = kind
    if kind == "bytes":
        changed, said = mutate_bytes(data, chance)
        path.write_bytes(changed)
        return said
    if kind == "text":
        header["__metadata__"][key], said = how(header["__metadata__"][key], chance)
    elif kind == "header":
        header, said = mutate_plain(header, chance)
    elif kind == "entry":
        name = chance.choice([n for n in header if n != "__metadata__"])
        header[name], said = mutate_plain(header[name], chance)
    elif kind == "values":
        at = chance.randrange(0, len(body) - 4, 4)
        body = body[:at] + struct.pack("<f", chance.choice((float("nan"), float("inf"), 1e38))) + body[at + 4 :]
    text = json.dumps(header).encode()
    size = len(text) if kind != "length" else chance.choice((0, 2**62, len(text) - 1, len(text) + 1, 10**8 + 1))
    path.write_bytes(struct.pack("<Q", size) + text + body)
    return f"{kind}: {said}"
