"""Names of variants: written and read in one place, and chosen by `--trackers`."""

from __future__ import annotations

import pytest

from tnllt.errors import UsageError
from tnllt.eval.selection import choose_trackers
from tnllt.results.store import ResultStore
from tnllt.results.variants import Variant, joined_names, parse_variant, value_text, variant_name

AMONG = ["MIL", "T@seed=1,text=none", "T@seed=1,text=own", "U", "U@text=none"]


def test_keys_are_sorted_and_values_come_back() -> None:
    name = variant_name("T", {"text": "none", "seed": 3})
    assert name == "T@seed=3,text=none"
    assert parse_variant(name) == Variant("T", {"seed": "3", "text": "none"})
    assert parse_variant(name).without("text") == "T@seed=3"
    assert parse_variant(name).without("text", "seed") == "T"
    assert variant_name(name, {"text": "own"}) == "T@seed=3,text=own"
    assert variant_name("T", {}) == "T"


@pytest.mark.parametrize(
    "name", ["MIL", "a@b", "T@text", "T@=none", "T@text=", "T@text=a=b", "x@y.org", "T@1=2", "@a=1"]
)
def test_other_names_are_trackers(name: str) -> None:
    assert parse_variant(name) == Variant(name)


@pytest.mark.parametrize("value", ["openai:http://h:1/v1", "the red car", "a_b", "../up", "", "x" * 300, "é,=@\n"])
def test_any_value_makes_a_name_for_files_and_latex(value: str) -> None:
    spelled = value_text(value)
    assert not set(spelled) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.+-") and spelled
    assert value_text(spelled) == spelled and len(spelled) < 50
    name = variant_name("T", {"option": value})
    assert parse_variant(name).values == {"option": spelled}
    ResultStore("r").path(name, "sequence")


def test_values_that_are_spelled_alike_stay_apart() -> None:
    assert len({value_text(v) for v in ("a b", "a_b", "a-b", "a  b", "", " ", "value")}) == 7


def test_a_key_must_be_a_word() -> None:
    with pytest.raises(UsageError, match="cannot name"):
        variant_name("T", {"a b": 1})


def test_lists_keep_names_together() -> None:
    assert joined_names(["T@a=1", "b=2", "MIL", "b=3", "V@x=1"]) == ["T@a=1,b=2", "MIL", "b=3", "V@x=1"]


def test_a_tracker_without_results_of_its_own_stands_for_its_variants() -> None:
    assert choose_trackers("T", AMONG) == AMONG[1:3]
    assert choose_trackers("U", AMONG) == ["U"]
    assert choose_trackers("U@*,MIL", AMONG) == ["U@text=none", "MIL"]
    assert choose_trackers("MIL,T@seed=1,text=own,U", AMONG) == ["MIL", "T@seed=1,text=own", "U"]
    assert choose_trackers("t@seed=1,text=OWN", AMONG) == ["T@seed=1,text=own"]
