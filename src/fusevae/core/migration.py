"""Descriptions of earlier formats, brought up to this one."""

from __future__ import annotations

from typing import Any

from fusevae.core.errors import InputError

#: classes whose vocabulary is of molecules
MOLECULES = ("SmilesAtoms", "SmilesPairs", "Selfies", "SelfiesPairs")


def migrated(node: Any, _seen: dict[int, Any] | None = None) -> Any:
    """A description or configuration as this version writes it; one of this version is returned as it is.

    Format 1 had the names of classes, and properties, in the place of conditions, and a vocabulary in the place of a
    schema.
    """
    seen = {} if _seen is None else _seen
    if isinstance(node, list):
        return [migrated(each, seen) for each in node]
    if not isinstance(node, dict):
        return node
    if id(node) in seen:  # an object that stands in two places stays one
        return seen[id(node)]
    found: dict[str, Any] = {}
    seen[id(node)] = found
    found |= {key: migrated(value, seen) for key, value in node.items()}
    change = CHANGES.get(str(node.get("class")))
    if change is not None:
        try:
            change(found)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{node['class']} is not as any version wrote it ({error!r}): mend it there") from None
    return found


def _spec(node: dict[str, Any]) -> None:
    if not {"classes", "vocabulary", "properties"} & set(node):
        return
    classes, words, numbers = (node.pop(key, None) for key in ("classes", "vocabulary", "properties"))
    node["conditions"] = numbers
    if classes is not None:
        label = {"class": "Label", "name": "label", "classes": classes}
        node["conditions"] = {"class": "Conditions", "columns": [label]}
    if words is not None:
        node["schema"] = {
            "class": "MoleculeSchema" if words["class"] in MOLECULES else "TextSchema",
            "vocabulary": words,
        }
    elif len(node["shape"]) == 3:
        node["schema"] = {"class": "ImageSchema"}
    elif len(node["shape"]) == 1:
        columns = [f"x_{i}" for i in range(node["shape"][0])]
        node["schema"] = {"class": "TableSchema", "columns": columns}


def _properties(node: dict[str, Any]) -> None:
    rows = zip(node.pop("names"), node.pop("mean"), node.pop("scale"), strict=True)
    node["class"] = "Conditions"
    node["columns"] = [{"class": "Number", "name": name, "mean": mean, "scale": scale} for name, mean, scale in rows]


def _source(node: dict[str, Any]) -> None:
    labels, properties = node.pop("labels", None), node.pop("properties", None)
    if labels is not None or properties is not None:
        node["conditions"] = properties if properties is not None else labels


CHANGES = {"DataSpec": _spec, "Properties": _properties, "Source": _source}
