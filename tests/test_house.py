"""The house: who may import whom, how long a file is, and what the front door opens."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fusevae

ROOT = Path(fusevae.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
NUMBER = {
    "core": 1,
    "nets": 2,
    "distributions": 3,
    "models": 4,
    "data": 4,
    "objectives": 5,
    "evaluation": 5,
    "training": 6,
    "modalities": 7,
    "recipes": 8,
    "cli": 9,
    "explorer": 9,
    "sklearn": 9,
    "__main__": 9,
}
#: what asks of what kind data are, which only a modality does
BRANCHES = re.compile(
    r"vocabulary is (not )?None|is_image|is_molecules|\bmodality (==|!=|in) [\[('\"]"
    r"|isinstance\([^)]*(Image|Table|Text|Molecule)Schema"
)


def ids(path):
    return str(path.relative_to(ROOT))


def imported(path):
    """The folders of the library that a file imports from, relative imports included."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ("fusevae", *package)[: len(package) + 2 - node.level] if node.level else ()
            start = ".".join((*base, *filter(None, [node.module])))
            names = [start, *(f"{start}.{a.name}" for a in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "fusevae" and len(parts) > 1:
                yield node.lineno, parts[1]


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_a_folder_imports_only_from_folders_with_a_smaller_number(path):
    home = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if home == "__init__":
        return
    assert home in NUMBER, f"say in CONTRIBUTING.md and here which number {home} has"
    for line, folder in imported(path):
        if folder in NUMBER:
            allowed = folder == home or NUMBER[folder] < NUMBER[home] or NUMBER[home] == 9
            assert allowed, f"{ids(path)}:{line}: {home} ({NUMBER[home]}) imports from {folder} ({NUMBER[folder]})"
        else:
            assert folder in {*fusevae.__all__}, f"{ids(path)}:{line}: what is fusevae.{folder}?"


def test_every_folder_has_a_number():
    folders = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in FILES} - {"__init__"}
    assert folders == set(NUMBER)


def test_nothing_outside_the_modalities_asks_what_kind_data_are():
    found = [
        f"{ids(path)}:{number}: {line.strip()}"
        for path in FILES
        if path.relative_to(ROOT).parts[0] not in ("modalities", "recipes")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if BRANCHES.search(line)
    ]
    assert not found


def test_no_modules_import_each_other_in_a_circle():
    modules = {".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path for path in FILES}
    waiting = {name: set(_modules(path, modules)) - {name} for name, path in modules.items()}
    while free := [name for name, needs in waiting.items() if not needs & waiting.keys()]:
        for name in free:  # what imports nothing that is left is in no circle
            del waiting[name]
    assert not waiting


def _modules(path, modules):
    """The library's modules that a file imports, also for type checkers alone."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fusevae."):
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                yield whole if whole in modules else node.module


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_a_file_is_short_enough_to_read(path):
    assert len(path.read_text().splitlines()) <= 350


@pytest.mark.parametrize("name", fusevae.__all__)
def test_every_name_at_the_front_door_opens(name):
    found = getattr(fusevae, name)
    home = fusevae._HOME.get(name)
    given = getattr(importlib.import_module(f"fusevae.{home}"), name) if home else found
    assert found is given or inspect.unwrap(found) is given


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Bernouli'"):
        fusevae.Bernouli  # noqa: B018


def test_importing_the_library_imports_no_torch():
    code = "import sys, fusevae; print(sorted({'torch', 'numpy', 'pydantic', 'yaml'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT.parent)}
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", [p for p in FILES if p.name != "__init__.py"], ids=ids)
def test_every_file_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text()))
