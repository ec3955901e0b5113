"""Options that the subcommands for reasoners share: where records come from, which model, on how many devices."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tnllt.errors import UsageError

_PATH = click.Path(path_type=Path)

_SOURCES = (
    click.option("--records", type=_PATH, multiple=True, help="Published JSON file, or a folder of them. Repeatable."),
    click.option("--images", type=_PATH, help="Folder of their pictures (takes the place of /your_root_path)."),
    click.option("--samples", type=_PATH, multiple=True, help="Folder of sample*/ (two pictures, data.json)."),
    click.option("--dataset", "-d", help="Benchmark's name, or a folder of sequences, to make pairs of frames from."),
    click.option("--root", type=_PATH, help="Folder of the benchmark."),
    click.option("--annos", type=_PATH, help="Folder of annotations alone."),
    click.option("--split", default="train", show_default=True, help="Split of the dataset; `none` for all of it."),
    click.option("--pairs", type=int, default=4, show_default=True, help="Pairs of frames per sequence."),
    click.option("--gap", type=(int, int), default=(10, 400), show_default=True, help="Frames between the two."),
    click.option("--teacher", help="Reasoner that writes the answers of those pairs, such as openai:URL."),
    click.option("--prompt", type=_PATH, help="System prompt to train with, in place of the records' own."),
    click.option("--skip-missing", is_flag=True, help="Leave out records whose pictures are not there."),
    click.option("--limit", type=int, help="At most so many records."),
)
_MODEL = (
    click.option("--model", required=True, help="Vision-language model: a folder, or a name on the hub."),
    click.option("--min-pixels", type=int, default=59_536, show_default=True, help="Pixels of a picture, at least."),
    click.option("--max-pixels", type=int, default=262_144, show_default=True, help="Pixels of a picture, at most."),
    click.option("--lora", type=int, default=0, show_default=True, help="Rank of adapters; 0 trains all parameters."),
    click.option("--freeze-vision", is_flag=True, help="Leave the vision tower as it is."),
    click.option("--bf16/--no-bf16", default=None, help="bfloat16 arithmetic.  [default: on a GPU that can]"),
    click.option("--gradient-checkpointing/--no-gradient-checkpointing", default=None, help="[default: on a GPU]"),
)
_LAUNCH = (
    click.option("--launch", help="Several devices: ddp, fsdp, zero2, zero3 (DeepSpeed), or an accelerate YAML file."),
    click.option("--processes", type=int, help="Number of devices, with --launch."),
    click.option("--resume", is_flag=True, help="Go on from the last checkpoint in --out."),
    click.option("--seed", type=int, default=0, show_default=True),
)


def _add(options: tuple[Callable[..., Any], ...], function: Any) -> Any:
    for option in reversed(options):
        function = option(function)
    return function


def source_options(function: Any) -> Any:
    """Adds the options of `RecordSources`; the command gets `sources`."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kw: Any) -> Any:
        from tnllt.training.vlm.gather import RecordSources
        from tnllt.training.vlm.pairs import PairOptions

        pairs = PairOptions(kw.pop("pairs"), kw.pop("gap"), kw.get("seed", 0))
        names = (
            "records",
            "images",
            "samples",
            "dataset",
            "root",
            "annos",
            "teacher",
            "prompt",
            "skip_missing",
            "limit",
        )
        split = kw.pop("split")
        chosen = {name: kw.pop(name) for name in names}
        kw["sources"] = RecordSources(**chosen, pairs=pairs, split=None if split == "none" else split)
        return function(*args, **kw)

    return _add(_SOURCES, wrapper)


def model_options(function: Any) -> Any:
    """Adds the options of `ModelOptions`; the command gets `model`."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kw: Any) -> Any:
        from tnllt.training.vlm.rows import ModelOptions

        names = ("min_pixels", "max_pixels", "lora", "freeze_vision", "bf16", "gradient_checkpointing")
        options = {name: kw.pop(name) for name in names}
        for name in ("min_pixels", "max_pixels"):
            options[name] = options[name] or None
        kw["model"] = ModelOptions(kw["model"], **options)
        return function(*args, **kw)

    return _add(_MODEL, wrapper)


def launch_options(function: Any) -> Any:
    """Adds --launch, --processes, --resume, --seed; under --launch the command runs in processes of its own."""

    @functools.wraps(function)
    def wrapper(*args: Any, launch: str | None, processes: int | None, **kw: Any) -> Any:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        logging.getLogger("httpx").setLevel(logging.WARNING)
        from tnllt.training.vlm.launch import launched, relaunch

        if processes is not None and launch is None:
            raise UsageError("--processes goes with --launch")
        if launch is None or launched():
            return function(*args, **kw)
        code = relaunch(launch, processes, sys.argv[1:])
        if code:
            sys.exit(code)
        return None

    return _add(_LAUNCH, wrapper)
