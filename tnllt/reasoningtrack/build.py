"""Builds the network, ready to run, and the reasoner from a tracker's options."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from tnllt.errors import DataError, UsageError
from tnllt.files import parse_json, user_path
from tnllt.options import key_values, split_pairs
from tnllt.reasoningtrack.checkpoint import load_strictly, read_checkpoint
from tnllt.reasoningtrack.config import FREE, PRESETS, Config, ConfigLike
from tnllt.reasoningtrack.inference import Engine
from tnllt.reasoningtrack.network import Network
from tnllt.reasoningtrack.reasoners import Reasoner, ReasonerError, make_reasoner
from tnllt.reasoningtrack.reasoners.models import torch_device
from tnllt.tracking.identity import content_hash

Precision: TypeAlias = Literal["float32", "bfloat16", "float16"]

#: The bundled weights: small, to see the tracker run, and not those of a publication.
DEMONSTRATION = Path(__file__).parent / "weights" / "tiny.safetensors"


def load_engine(
    config: ConfigLike | None,
    weights: str | Path | Mapping[str, Tensor] | None,
    device: str,
    precision: str,
    cuda_graphs: bool,
) -> tuple[Engine, dict[str, Any]]:
    """The network with its weights, and facts about both that JSON can hold.

    Raises:
        UsageError: an invalid option, or no weights. DataError: weights that do not fit.
    """
    if precision not in get_args(Precision):
        raise UsageError(f"precision must be one of {', '.join(get_args(Precision))}, not {precision!r}")
    place = torch_device(device)
    facts: dict[str, Any] = {}
    own: dict[str, Any] = {}
    if isinstance(weights, Mapping):
        tensors, source = {name: torch.as_tensor(value) for name, value in weights.items()}, None
        facts["weights"] = "state dict"
    else:
        source = user_path(weights) if weights is not None else _demonstration(config)
        tensors, own = read_checkpoint(source)
        facts |= {"weights": source.name, "weights_sha256": content_hash(source)}
    chosen = Config.make(config if config is not None else own or published_preset(tensors) or "256")
    with torch.device("meta"):
        network = Network(chosen)
    network.to_empty(device="cpu")
    load_strictly(network, tensors, source)
    engine = Engine(network, place, getattr(torch, precision), cuda_graphs)
    shown = f"{place} ({torch.cuda.get_device_name(place)})" if place.type == "cuda" else str(place)
    facts |= {"config": chosen.to_dict(), "device": shown, "precision": precision}
    return engine, facts | {"torch": torch.__version__, "threads": torch.get_num_threads()}


def default_reasoner(weights: object) -> str:
    """The reasoner where none is named: the bundled one beside the bundled weights, which it was trained with."""
    return "bundled" if weights is None else "static"


def content_hashes(options: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of the files that a tracker's options name, and of the bundled ones where none are named."""
    named = {name: options.get(name) for name in ("weights", "prompt")}
    named["weights"] = named["weights"] or DEMONSTRATION
    if (options.get("reasoner") or default_reasoner(options.get("weights"))) == "bundled":
        own = _parse_options(options.get("reasoner_options"))
        named["reasoner_weights"] = own.get("weights") or Path(__file__).parent / "weights" / "reasoner.safetensors"
    places = {name: user_path(value) for name, value in named.items() if isinstance(value, str | Path) and value}
    return {f"{name}_sha256": content_hash(place) for name, place in places.items() if place.is_file()}


def resolve_reasoner(
    spec: str | Reasoner, options: str | Mapping[str, Any] | None, prompt: str | Path | None, compat: str
) -> Reasoner:
    """The reasoner that the options name, or the object itself. Raises UsageError for options that it does not have."""
    given = _parse_options(options)
    if prompt is not None:
        given["prompt"] = prompt
    if not isinstance(spec, str):
        if not callable(getattr(spec, "describe", None)):
            needed = "describe(first, second, description) or describe(question)"
            raise UsageError(f"a reasoner needs {needed}; {type(spec).__name__} has none")
        if given:
            raise UsageError("reasoner_options and prompt are for a reasoner given by name, not for an object")
        return spec
    if spec.startswith(("openai:", "transformers:")):
        given = {"compat": compat, **given}
    return make_reasoner(spec, **given)


def _parse_options(options: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """A mapping, JSON text, or "name=value,..."; the reasoner's parameters give the types of texts."""
    if not isinstance(options, str):
        return dict(options or {})
    if not options.lstrip().startswith("{"):
        return dict(key_values(split_pairs(options), "reasoner_options", "NAME=VALUE"))
    try:
        return dict(parse_json(options))
    except DataError as error:
        raise UsageError(f"reasoner_options {error}") from error


def require_reachable(reasoner: Reasoner) -> None:
    """Asks a reasoner that has a server whether it answers. Raises UsageError where it does not."""
    reach = getattr(reasoner, "reach", None)
    try:
        if callable(reach):
            reach()
    except ReasonerError as error:
        remedy = "start it, or track without it: --set reasoner=static (or --set reasoner_required=no)"
        raise UsageError(f"the reasoner's server does not answer: {error}; {remedy}") from error


def _demonstration(config: ConfigLike | None) -> Path:
    tiny = PRESETS["tiny"]
    same = {name: getattr(tiny, name) for name in FREE}
    if config is not None and dataclasses.replace(Config.make(config), **same) != tiny:
        raise UsageError("no weights: give --set weights=FILE, a published DUTrack checkpoint or a safetensors file")
    if not DEMONSTRATION.is_file():
        raise UsageError("no weights: give --set weights=FILE; this installation has no demonstration weights")
    note = "ReasoningTrack: no weights given; running the small bundled demonstration weights, not a published model."
    print(note, file=sys.stderr)
    return DEMONSTRATION


def published_preset(tensors: Mapping[str, Tensor]) -> str | None:
    """The published preset ("256", "384") that the search region's position table belongs to, or None."""
    table = tensors.get("backbone.pos_embed_x")
    rows = table.shape[1] if table is not None and table.ndim == 3 else 0
    return next((name for name in ("256", "384") if PRESETS[name].search_tokens == rows), None)
