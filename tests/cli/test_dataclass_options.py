"""A dataclass declares the options of a command and the arguments of a function once."""

from __future__ import annotations

import inspect
from dataclasses import KW_ONLY, MISSING, dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tnllt.cli.dataclass_options import config_options
from tnllt.options import option, takes_fields_of


@dataclass(frozen=True)
class Where:
    dataset: str | Path | None = option(None, "Name or folder.", "-d", kind=str, environment="TNLLT_DATASET")
    _: KW_ONLY
    root: str | Path | None = option(None, "Folder.", kind=Path)


@dataclass(frozen=True, kw_only=True)
class Work(Where):
    workers: int = option(1, "Processes at once.", "-w", minimum=1)
    limit: float | None = option(None, "Seconds.", "--most-seconds", above=0)
    cache: bool = option(True, "Do not keep anything.")
    quiet: bool = option(False, "Print nothing.", "-q")
    names: tuple[str, ...] | None = option(None, "Names.", "-n", multiple=True)
    rounding: str = option("none", "How to round.", "--round", choices=("none", "trunc"))
    mode: str = option("box", "Inputs.  [default: as it ran]")
    internal: int = 3


@click.command()
@config_options(Work, without=["quiet"])
def command(config: Work) -> None:
    click.echo(repr(config))


@takes_fields_of(Work)
def work(*args: Any, **how: Any) -> Work:
    return Work(*args, **how)


def run(*words: str) -> Any:
    return CliRunner().invoke(command, words)


def test_flags_become_fields() -> None:
    assert run().output.strip() == repr(Work())
    words = [
        "-d",
        "x",
        "--root",
        "y",
        "-w",
        "2",
        "--most-seconds",
        "3",
        "--no-cache",
        "-n",
        "a",
        "--names",
        "b",
        "--round",
        "trunc",
    ]
    made = Work("x", root=Path("y"), workers=2, limit=3.0, cache=False, names=("a", "b"), rounding="trunc")
    assert run(*words).output.strip() == repr(made)


def test_help_shows_flags_defaults_and_environment() -> None:
    text = run("--help").output
    for words in ("-d, --dataset", "[env: TNLLT_DATASET]", "[default: 1; x>=1]", "--no-cache", "[none|trunc]"):
        assert words in text
    assert text.count("[default: as it ran]") == 1 and "[default: box]" not in text
    assert "--quiet" not in text and "internal" not in text


@pytest.mark.parametrize("words", [["-w", "0"], ["--most-seconds", "0"], ["--round", "up"], ["--quiet"]])
def test_values_out_of_bounds_are_refused(words: list[str]) -> None:
    assert run(*words).exit_code == 2


def test_a_function_has_the_signature_of_the_dataclass() -> None:
    assert list(inspect.signature(work).parameters) == list(inspect.signature(Work).parameters)
    assert work("x", workers=2) == Work("x", workers=2)
    with pytest.raises(TypeError):
        work(wrkers=2)  # type: ignore[call-arg]


def test_an_option_without_a_default_is_required() -> None:
    @dataclass(frozen=True)
    class Target:
        out: Path = option(MISSING, "Folder.", "-o")

    @click.command()
    @config_options(Target)
    def write(config: Target) -> None:
        click.echo(config.out)

    assert CliRunner().invoke(write, ["-o", "x"]).output == "x\n"
    without = CliRunner().invoke(write, [])
    assert without.exit_code == 2 and "Missing option '--out'" in without.output
