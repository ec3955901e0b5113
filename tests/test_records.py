"""Tables against dataclasses: errors name file, field and remedy. KEY=VALUE options: one parser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from tnllt.errors import DataError, UsageError
from tnllt.options import json_value, key_values, split_pairs
from tnllt.records import from_table


@dataclass(frozen=True)
class Inner:
    sha256: str
    size: int = 0


@dataclass(frozen=True)
class Outer:
    name: str
    files: Mapping[str, Inner] = field(default_factory=dict)
    kinds: tuple[Inner, ...] = ()
    mode: Literal["fast", "exact"] = "fast"
    factor: float = 1.0
    place: Path | None = None
    inner: Inner | None = None
    anything: Any = None

    def __post_init__(self) -> None:
        if self.factor < 0:
            raise ValueError("`factor` must not be negative")


def test_a_table_becomes_the_dataclass() -> None:
    table = {"name": "x", "files": {"a": {"sha256": "0"}}, "kinds": [{"sha256": "1", "size": 3}], "factor": 2,
             "place": "a/b", "anything": {"unknown": [1]}, "inner": {"sha256": "2"}}  # fmt: skip
    made = from_table(table, Outer)
    assert made.files == {"a": Inner("0")} and made.kinds == (Inner("1", 3),) and made.place == Path("a/b")
    assert made.factor == 2.0 and made.anything == {"unknown": [1]} and made.inner == Inner("2")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([], "the file must be a table, not a list"),
        ({}, "lacks the field `name`; add it"),
        ({"name": 1}, "`name` must be text, not a whole number"),
        ({"name": "x", "factor": "1"}, "`factor` must be a number, not text"),
        ({"name": "x", "factor": True}, "`factor` must be a number, not true or false"),
        ({"name": "x", "mode": "fas"}, "`mode` cannot be 'fas'; use 'fast', 'exact'"),
        ({"name": "x", "factor": -1}, "`factor` must not be negative"),
        ({"name": "x", "nmae": "y"}, "has an unknown field `nmae`; did you mean 'name'?"),
        ({"name": "x", "zzz": "y"}, "has an unknown field `zzz`; remove it; known are name, files"),
        (
            {"name": "x", "files": {"a": {"sha256": "0", "sise": 1}}},
            "unknown field `files.a.sise`; did you mean 'size'?",
        ),
        ({"name": "x", "kinds": [{"sha256": "0", "sise": 1}]}, "unknown field `kinds.sise`"),
        ({"name": "x", "inner": {"sha": "0"}}, "unknown field `inner.sha`"),
        ({"name": "x", "files": {"a": {"sha256": 0}}}, "`files[...].sha256` must be text"),
        ({"name": "x", "kinds": [{}]}, "lacks the field `kinds[0].sha256`"),
        ({"name": "x", "place": 3}, "`place`: Expected|`place` must be text"),
        ({"name": "x", "factor": 10**400}, "`factor`|cannot be read"),
        ({"name": "x", "mode": "\ud800"}, "cannot be read"),
        ({"name": "x", "\ud800": 1}, "unknown field"),
    ],
)
def test_errors_name_file_field_and_remedy(table: Any, words: str) -> None:
    with pytest.raises(DataError) as caught:
        from_table(table, Outer, "x.toml")
    assert str(caught.value).startswith("x.toml: ") and any(w in str(caught.value) for w in words.split("|"))
    assert len(str(caught.value)) < 500


def test_unknown_fields_may_be_ignored() -> None:
    assert from_table({"name": "x", "from_the_future": 1}, Outer, unknown="ignore") == Outer("x")


def test_key_values() -> None:
    assert key_values(["a=1", " b =x=y, z "], "--set") == {"a": "1", "b": "x=y, z"}
    for wrong in (["a"], ["=1"], [""]):
        with pytest.raises(UsageError, match="write --set KEY=VALUE"):
            key_values(wrong, "--set")
    with pytest.raises(UsageError, match="--set a is given twice"):
        key_values(["a=1", "a=2"], "--set")


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", []),
        ("a=1", ["a=1"]),
        ("A.B=1, C=[2,3],D = {\"x\": [1,2]} ,E=x", ["A.B=1", "C=[2,3]", 'D = {"x": [1,2]}', "E=x"]),
        ('a="x,y",b=http://h/?q=1', ['a="x,y"', "b=http://h/?q=1"]),
        ("a=[1,b=2", ["a=[1", "b=2"]),
        ("a,b=1", ["a,b=1"]),
        ("a=,b=1", ["a=", "b=1"]),
        ("a", ["a"]),
        ("a=" + "[" * 100_000, ["a=" + "[" * 100_000]),
    ],
)  # fmt: skip
def test_pairs_are_split_at_commas_outside_json(text: str, pairs: list[str]) -> None:
    assert split_pairs(text) == pairs


def test_json_values() -> None:
    assert [json_value(t) for t in ("1", "1.5", "true", "[1]", "x", "", "[" * 100_000)][:6] == [
        1,
        1.5,
        True,
        [1],
        "x",
        "",
    ]
