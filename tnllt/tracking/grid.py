"""Variants of one run: every combination of a grid's values and of the texts that the tracker is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

from tnllt.errors import UsageError
from tnllt.options import key_values
from tnllt.sequence import Sequence
from tnllt.tracking.config import RunConfig
from tnllt.tracking.options import parse_settings
from tnllt.tracking.texts import Texts, split_sources, texts_of

#: {key in a variant's name: its value}, the settings of its run, and what its sequences are described by.
Variant = tuple[Mapping[str, Any], RunConfig, Texts | None]


def variants_in(config: RunConfig, sequences: Callable[[], list[Sequence]]) -> list[Variant]:
    """The variants that a configuration names; one without a name of its own where it has neither grid nor text.

    Args:
        config: its `grid` and `text` are settled in what is returned.
        sequences: gives those of the whole split, for texts.

    Raises:
        UsageError: a key or value that is none. DataError: see `texts_of`.
    """
    axes = _axes(config)
    options = config.options if isinstance(config.options, Mapping) else parse_settings(config.options)
    twice = [key for key in axes if key in options]
    if twice:
        raise UsageError(f"{twice[0]} is given by --set and by --grid; give it once")
    known = sequences() if "text" in axes else []
    found: list[Variant] = []
    for combination in product(*axes.values()):
        values = dict(zip(axes, combination, strict=True))
        seed, mode = _seed(values.get("seed", config.seed)), values.get("mode", config.mode)
        more = {key: value for key, value in values.items() if key not in ("seed", "mode", "text")}
        settled = dataclasses.replace(config, seed=seed, mode=mode, options={**options, **more}, text=(), grid=())
        if "text" in values:
            told = texts_of([values["text"]], known, seed)
            found += [({**values, "text": texts.value}, settled, texts) for texts in told]
        else:
            found.append((values, settled, None))
    return found


def _axes(config: RunConfig) -> dict[str, list[Any]]:
    """{key: its values}. A list in `--grid` has commas; texts in quotes may hold some."""
    if isinstance(config.grid, Mapping):
        axes = {str(key): list(values) for key, values in config.grid.items()}
    else:
        axes = {}
        for key, text in key_values(config.grid, "--grid", "KEY=A,B").items():
            parts = split_sources(text) if key == "text" else [part.strip() for part in text.split(",")]
            axes[key.replace("-", "_")] = parts
    if config.text not in (None, "", ()):
        if "text" in axes:
            raise UsageError("text is given by --text and by --grid; give it once")
        axes["text"] = split_sources(config.text)
    empty = [key for key, values in axes.items() if not values or "" in values]
    if empty:
        raise UsageError(f"--grid {empty[0]} has an empty value; write --grid {empty[0]}=A,B")
    return axes


def _seed(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise UsageError(f"--grid seed={value}: a seed is a whole number") from None
