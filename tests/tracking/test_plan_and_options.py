"""Which sequences, on which machine; options as the constructor declares them; where trackers are found."""

from __future__ import annotations

import enum
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracking.conftest import TRACKERS
from tnllt.config import DatasetConfig
from tnllt.errors import UsageError
from tnllt.tracking import registry
from tnllt.tracking.config import RunSpec
from tnllt.tracking.options import check_options, parse_settings
from tnllt.tracking.plan import in_shard, longest_first, parse_shard
from tnllt.tracking.registry import RESERVED, find_tracker, registered

LENGTHS = st.dictionaries(st.text(min_size=1, max_size=3), st.integers(1, 3000), min_size=1, max_size=40)


@given(LENGTHS, st.integers(1, 9))
def test_shards_are_disjoint_complete_and_balanced(lengths: dict[str, int], count: int) -> None:
    parts = [in_shard(lengths, index, count) for index in range(count)]
    assert sorted(name for part in parts for name in part) == sorted(lengths)
    loads = [sum(lengths[name] for name in part) for part in parts]
    assert max(loads) - min(loads) <= max(lengths.values()), "greedy, longest first"
    assert in_shard(lengths, count, count) == parts[0], "counted from 1 or from 0"
    assert in_shard(dict(reversed(lengths.items())), 0, count)[::-1] == parts[0], "whatever order names come in"


def test_the_longest_first() -> None:
    assert longest_first({"b": 5, "a": 5, "c": 9}) == ["c", "a", "b"]
    assert parse_shard("2/8") == (2, 8) and parse_shard("0/1") == (0, 1)
    for text in ("", "3", "a/b", "-1/2", "1/0", "9/8", "1/2/3"):
        with pytest.raises(UsageError, match="i/n"):
            parse_shard(text)


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


class Asks:
    name = "Asks"

    def __init__(
        self,
        flag: bool = False,
        count: int = 1,
        share: float = 0.5,
        weights: Path | None = None,
        kind: Literal["a", "b", 3] = "a",
        size: Size = Size.SMALL,
        steps: Sequence[int] = (),
        pair: tuple[float, float] = (0, 0),
        table: Mapping[str, Any] | str = "",
        either: int | str | None = None,
        place: str | Path = "",
        untyped=2.5,
        free=None,
        *,
        made: object = None,
        files: list[str | Path] | None = None,
    ) -> None: ...


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("flag=yes", True),
        ("flag=0", False),
        ("count=1_000", 1000),
        ("share=1e-3", 0.001),
        ("weights=a/b", Path("a/b")),
        ("weights=none", None),
        ("kind=b", "b"),
        ("kind=3", 3),
        ("size=large", Size.LARGE),
        ("steps=[1, 2]", [1, 2]),
        ("steps=1,2", [1, 2]),
        ("pair=[1, 2.5]", (1.0, 2.5)),
        ('table={"size": 256}', {"size": 256}),
        ("table=256", "256"),
        ("either=7", 7),
        ("either=seven", "seven"),
        ("either=null", None),
        ("place=org/model", "org/model"),
        ("place=/", Path("/")),
        ("untyped=3", 3.0),
        ("free=[1]", [1]),
        ("free=text", "text"),
        ("weights=a=b", Path("a=b")),
        ('files=["a", "b"]', ["a", "b"]),
    ],
)
def test_texts_become_what_is_declared(text: str, value: Any) -> None:
    found = check_options(Asks, parse_settings([text]))
    assert list(found.values()) == [value] and [type(v) for v in found.values()] == [type(value)]
    assert check_options(Asks, found) == found, "values that have their type already are taken as they are"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("flag=maybe", "takes true or false"),
        ("count=1.5", "takes a whole number"),
        ("share=much", "takes a number"),
        ("kind=c", "takes a or b or 3"),
        ("size=huge", "takes small or large"),
        ("steps=[1, x]", "takes a JSON value"),
        ("made=thing", "takes object"),
        ("wieghts=x", "no option 'wieghts'; did you mean 'weights'?"),
        ("zzz=1", "it has flag, count"),
    ],
)
def test_texts_that_do_not_fit(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_options(Asks, parse_settings([text]))


def test_settings_and_constructors_of_other_kinds() -> None:
    for wrong in ("x", "=1"):
        with pytest.raises(UsageError, match="KEY=VALUE"):
            parse_settings([wrong])
    with pytest.raises(UsageError, match="twice"):
        parse_settings(["a=1", "a=2"])

    class Needs:
        def __init__(self, weights: Path, **more: Any) -> None: ...

    with pytest.raises(UsageError, match=r"Needs needs --set weights=VALUE \(a path\)$"):
        check_options(Needs, {"anything": "1"})
    with pytest.raises(UsageError, match=r"sam2 lacks: --set weights=FOLDER or facebook/"):
        find_tracker("sam2")  # in the words of `tnllt-run list`
    assert check_options(Needs, {"weights": "w", "anything": "1"}) == {"weights": Path("w"), "anything": 1}

    class Nothing: ...

    with pytest.raises(UsageError, match="it takes none"):
        check_options(Nothing, {"a": 1})


def test_a_run_survives_json() -> None:
    spec = RunSpec(tracker=find_tracker("still"), dataset=DatasetConfig("demo", sequences=["a"]), results="r", batch=2,
                   starter_set={})  # fmt: skip
    assert RunSpec.from_json(json.loads(json.dumps(spec.as_json()))) == spec


def test_names_of_trackers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_tracker("STILL").name == "still" and find_tracker("mil").target == "tnllt.tracking.opencv:MIL"
    assert find_tracker("tnllt.tracking.references:StaticBox").name == "still"
    assert find_tracker(f"{TRACKERS}:Drift", {"step": "2"}, "Mine").options == {"step": 2.0}
    assert not set(RESERVED) & set(registered())
    with pytest.raises(UsageError, match="subcommand"):
        find_tracker("still", label="status")
    with pytest.raises(UsageError, match="did you mean 'groundtruth"):
        find_tracker("groundtrut")
    with pytest.raises(UsageError, match=r"trackers there: .*Drift"):
        find_tracker(f"{TRACKERS}:Drfit")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "mine_here.py").write_text(
        "from tnllt.tracking.references import StaticBox\nclass Mine(StaticBox):\n    name = ''\nclass Not: ...\n"
        "class Looks:\n    def initialize(self): ...\n    def track(self): ...\n"
    )
    assert find_tracker("mine_here:Mine").name == "Mine", "the working folder is searched"
    for cls, said in (("Not", "is not a tracker"), ("Looks", "must inherit")):
        with pytest.raises(UsageError, match=said):
            find_tracker(f"mine_here:{cls}")
    (tmp_path / "lacks.py").write_text("import no_such_package_at_all\n")
    for name in ("lacks:A", f"{tmp_path}/lacks.py:A"):
        with pytest.raises(UsageError, match="no_such_package_at_all"):
            find_tracker(name)
    with pytest.raises(UsageError, match="no such file"):
        find_tracker("nowhere.py:A")


def test_plug_ins_and_what_they_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    points = [
        EntryPoint("Plugged", f"{TRACKERS}:Drift", registry.GROUP),
        EntryPoint("still", "evil:StaticBox", registry.GROUP),
        EntryPoint("Broken", "no_such_module:A", registry.GROUP),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    assert registered()["still"] == "tnllt.tracking.references:StaticBox", "built-in names cannot be taken over"
    assert find_tracker("plugged").name == "Plugged"
    assert registry.missing("Plugged") == "" and "no_such_module" in registry.missing("Broken")
