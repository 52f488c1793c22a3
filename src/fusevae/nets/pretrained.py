"""Networks of the library transformers: made from a plain configuration, with weights from a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.core.vocabulary import END, FIRST, UNKNOWN
from fusevae.core.weights import weights_are_read

CODE = ("auto_map", "quantization_config")  # settings that bring other code in
PLACE = ("_name_or_path", "architectures", "transformers_version", "dtype", "torch_dtype")  # of where it was saved


def config_of(folder: str | Path) -> dict[str, Any]:
    """The configuration in a folder of ``save_pretrained``, as plain data, without what is of its place alone.

    Raises :class:`InputError` where there is none.
    """
    path = Path(folder).expanduser() / "config.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read ({error}): give a folder that save_pretrained wrote") from None
    if not isinstance(found, dict) or not isinstance(found.get("model_type"), str):
        raise InputError(f"{path} names no model_type: give a folder that save_pretrained wrote")
    return {key: value for key, value in found.items() if key not in PLACE}


def pretrained(kind: Literal["causal", "encoder"], config: dict[str, Any], weights: str | None) -> Any:
    """The network of a configuration in float32, its weights random, or those of a folder.

    The folder is opened where a model is made to be trained; where an artifact or a checkpoint gives the weights, it
    isn't (:func:`fusevae.core.weights.weights_follow`). Only ``safetensors`` are read, nothing is fetched, and no code
    but that of the library transformers runs.

    Raises :class:`InputError` where the library is missing, the configuration isn't one of its, or the weights don't
    fit.
    """
    library = transformers()
    auto = library.AutoModelForCausalLM if kind == "causal" else library.AutoModel
    plain = {key: value for key, value in config.items() if "attn_implementation" not in key and key not in PLACE}
    for key in CODE:
        if plain.get(key):
            raise InputError(f"the configuration has {key}, which brings other code in: give a model without it")
    model_type = plain.pop("model_type", None)
    where = None if weights is None or not weights_are_read() else Path(weights).expanduser()
    try:
        with quietly(library):
            settings = library.AutoConfig.for_model(model_type, **plain)
            net = auto.from_config(settings) if where is None else _read(auto, settings, where)
    except InputError:
        raise
    except Exception as error:  # the library raises whatever its parts raise
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"transformers can't make a {kind} net of type {model_type!r} ({reason})") from None
    if getattr(net, "pooler", None) is not None:
        net.pooler = None  # what nothing reads would get no gradient
    return net.float().train()


def _read(auto: Any, settings: Any, folder: Path) -> Any:
    """The network with the weights of a folder, all of them."""
    if not list(folder.glob("*.safetensors")):
        raise InputError(f"no safetensors in {folder}: give a folder that save_pretrained wrote")
    only = {"local_files_only": True, "use_safetensors": True, "trust_remote_code": False}
    net, about = auto.from_pretrained(str(folder), config=settings, output_loading_info=True, **only)
    missing = sorted(key for key in about["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise InputError(f"{folder} has no weights for {', '.join(missing[:3])}: give the folder of this model")
    return net


@contextmanager
def quietly(library: Any) -> Iterator[None]:
    """Inside, the library shows neither warnings nor bars; what becomes of its settings is the user's."""
    logging = library.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def transformers() -> Any:
    """The library ``transformers``."""
    try:
        import transformers as library
    except ImportError:
        raise InputError("pretrained nets need the library transformers: pip install 'fusevae[pretrained]'") from None
    return library


def positions(net: Any) -> int | None:
    """How many positions a net of the library has; None where there is no limit."""
    most = getattr(net.config, "max_position_embeddings", None)
    padding = getattr(getattr(getattr(net, "embeddings", None), "position_embeddings", None), "padding_idx", None)
    return most if most is None or padding is None else most - padding - 1  # RoBERTa's begin after that of the padding


def numbers(vocabulary: int, end: int, unknown: int | None, net: Any) -> Tensor:
    """For each of our tokens the number that the net knows it by, ``(vocabulary,)``."""
    rows = net.get_input_embeddings().num_embeddings
    for name, number in (("end", end), ("unknown", unknown), ("vocabulary - 3", vocabulary - FIRST - 1)):
        if number is not None and not 0 <= number < rows:
            raise InputError(f"{name} is {number}, the net knows tokens 0 to {rows - 1}: give the net's own tokenizer")
    found = torch.arange(-FIRST, vocabulary - FIRST)
    found[END], found[UNKNOWN] = end, end if unknown is None else unknown
    return found
