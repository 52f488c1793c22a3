"""What a line of ``metrics.jsonl`` holds, which may have been edited, or come from a stranger."""

from __future__ import annotations

import math
from typing import Any

from fusevae.core.errors import InputError
from fusevae.core.untrusted import from_json

MOST = 10**15
COUNT, NUMBER, MAYBE = int, (int, float), (int, float, type(None))

#: types, a form by name (``name?`` may be left out, ``*`` is any name), or in a list that of each of its values
Form = Any
CODES: Form = {"used": COUNT, "codes": COUNT, "perplexity": MAYBE}
FIGURES: Form = {f"{name}?": MAYBE for name in ("elbo", "log_bound", "reconstruction", "kl", "loss")}
FIGURES |= {"kl_per_dimension?": {"*": [MAYBE]}, "codes?": {"*": CODES}}
LATENTS: Form = {
    "examples": COUNT,
    "units": {"*": COUNT},
    "active_units": {"*": MAYBE},
    "codes": {"*": CODES | {"places?": COUNT}},
}
LATENTS |= {"mutual_information": MAYBE, "aggregate_gap": MAYBE, "elbo?": MAYBE, "kl?": MAYBE, "largest_kl?": MAYBE}
KNOWN: Form = {"constant_model?": MAYBE, "constant_model_error?": MAYBE, "log_bound?": MAYBE}
RECORD: Form = {"step": COUNT, "epoch?": NUMBER, "seconds?": NUMBER, "learning_rate?": NUMBER, "event?": str}
RECORD |= {"train?": FIGURES, "validation?": FIGURES, "diagnosis?": KNOWN}
WENT_BACK: Form = {"from": COUNT, "cause": str, "rate_scale": NUMBER}


def parsed(line: str, where: str) -> dict[str, Any]:
    """A record from its line, or :class:`InputError` where it is not one that was written here; a figure that was not
    finite is NaN again."""
    found = from_json(line, where)
    form = RECORD
    if isinstance(found, dict):
        form = form | {name: MAYBE for name in found if name.endswith(("gradient_norm", "skipped"))}
        if "event" in found:
            form |= WENT_BACK if found["event"] == "went back" else {"says": str}
        if isinstance(found.get("diagnosis"), dict) and "units" in found["diagnosis"]:
            form |= {"diagnosis": LATENTS | KNOWN}
    if wrong := _unlike(found, form):
        raise InputError(f"{where} is no record of a training ({wrong}): put the file back as it was")
    return {name: value if name == "diagnosis" else _again(value) for name, value in found.items()}


def _unlike(value: Any, form: Form, name: str = "it") -> str:
    """What in a value is unlike its form; empty where nothing is."""
    if isinstance(form, list):
        if not isinstance(value, list):
            return f"{name} is {str(value)[:40]!r}"
        return next(filter(None, (_unlike(one, form[0], name) for one in value)), "")
    if not isinstance(form, dict):
        fits = isinstance(value, form) and not isinstance(value, bool)
        fits = fits and (not isinstance(value, int) or 0 <= value < MOST or form is not COUNT)
        return "" if fits else f"{name} is {str(value)[:40]!r}"
    if not isinstance(value, dict):
        return f"{name} is {str(value)[:40]!r}"
    for key, one in form.items():
        plain = key.removesuffix("?")
        for each in value if key == "*" else [plain] if plain in value or plain == key else []:
            if each not in value:
                return f"{name} has no {each!r}"
            if wrong := _unlike(value[each], one, repr(each)):
                return wrong
    return ""


def _again(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _again(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_again(one) for one in value]
    return math.nan if value is None else value
