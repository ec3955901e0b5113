"""What `tnllt-eval` refuses, `tnllt.score` refuses: with the same words and the same exit code."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnllt
from tests.eval.eval_trees import write_tree
from tnllt.cli.common import run_command
from tnllt.cli.eval import cli
from tnllt.errors import TnlltError
from tnllt.eval.gates import Gates
from tnllt.results.layouts import find_results
from tnllt.results.reading import read_results
from tnllt.text import printable


@dataclass(frozen=True)
class Refusal:
    """One thing that is refused.

    Attributes:
        says: a part of the message.
        code: the exit code.
        given: arguments besides `annos` and `results`; None takes one of these away.
        break_: what is done to the tree of annotations and results before.
        then: what Python does with the scores, where the command is refused after or besides scoring.
        words: what the command gets for `then`.
    """

    says: str
    given: dict[str, Any] = field(default_factory=dict)
    break_: Callable[[Path], object] = lambda tree: None
    code: int = 2
    then: Callable[[tnllt.Scores], object] = lambda scores: None
    words: tuple[str, ...] = ()


def result(tree: Path) -> Path:
    return tree / "results" / "t0_tracking_result" / "s1.txt"


def cut_rows(tree: Path) -> None:
    result(tree).write_text("\n".join(result(tree).read_text().splitlines()[:15]))


def change_row(tree: Path) -> None:
    lines = result(tree).read_text().splitlines()
    lines[3] = "1,2,three,4"
    result(tree).write_text("\n".join(lines))


def damaged_zip(tree: Path) -> None:
    packed = Path(shutil.make_archive(str(tree / "packed"), "zip", tree / "results"))
    raw = bytearray(packed.read_bytes())
    raw[len(raw) // 3 : len(raw) // 3 + 200] = bytes(200)
    packed.write_bytes(raw)


def cut_zip(tree: Path) -> None:
    shutil.make_archive(str(tree / "packed"), "zip", tree / "results")
    raw = (tree / "packed.zip").read_bytes()
    (tree / "packed.zip").write_bytes(raw[: len(raw) // 2])


def two_results(tree: Path) -> None:
    other = tree / "results" / "t0" / "s1.txt"
    other.parent.mkdir()
    shutil.copy(result(tree), other)


def empty_annos(tree: Path) -> None:
    shutil.rmtree(tree / "annos")
    (tree / "annos").mkdir()


def own_release(tree: Path) -> None:
    """A GOT-10k-like release, whose splits are folders."""
    for name in ("V1", "V2"):
        folder = tree / "annos" / "val" / name
        folder.mkdir(parents=True)
        (folder / "groundtruth.txt").write_text("5,5,20,20\n" * 3)
        (folder / "absence.label").write_text("0\n" * 3)


def baseline_of_another(tree: Path) -> None:
    scores = tnllt.score("tnllt", annos=tree / "annos", results=tree / "results", sequences="s0")
    from tnllt.eval.gates import write_baseline

    write_baseline(scores, tree / "baseline.json")


REFUSALS = {
    "no results folder": Refusal("no results folder", {"results": None}),
    "results folder is not there": Refusal("no such results folder", {"results": "nowhere"}),
    "results are a file": Refusal("neither a folder nor a zip", {"results": "annos/s0.txt"}),
    "empty results folder": Refusal("no tracker in it", {"results": "empty"}, lambda t: (t / "empty").mkdir()),
    "result named after no sequence": Refusal("none is named after a sequence", {"results": "strange"},
        lambda t: ((t / "strange").mkdir(), (t / "strange" / "x.txt").write_text("1,2,3,4"))),
    "unknown dataset": Refusal("neither a benchmark nor a folder", {"dataset": "lasott"}),
    "dataset that has no place": Refusal("Give --root DIR or --annos DIR", {"annos": None}),
    "annotations are not there": Refusal("no such folder", {"annos": "nowhere"}),
    "empty annotations": Refusal("no TNLLT sequence is here", {}, empty_annos),
    "unknown tracker": Refusal("no tracker 't7' among the results; found t0, t1", {"trackers": "t7"}),
    "no tracker named": Refusal("--trackers '' names nothing", {"trackers": ""}),
    "unknown metric": Refusal("did you mean 'success'?", then=lambda s: s.table("sucess"), words=("-m", "sucess")),
    "unknown protocol": Refusal("no protocol 'strak'; did you mean", {"protocol": "strak"}),
    "missing presence files": Refusal("no file that says where the target is absent (nor have 2 more)", {},
        lambda t: shutil.rmtree(t / "annos" / "absent")),
    "one missing presence file": Refusal("sequence 's1' has no file", {},
        lambda t: (t / "annos" / "absent" / "s1.txt").unlink()),
    "presence file with too few flags": Refusal("every frame needs one", {},
        lambda t: (t / "annos" / "absent" / "s1.txt").write_text("0\n1\n")),
    "missing result": Refusal("--allow-missing", {}, lambda t: result(t).unlink(), 3),
    "no result at all": Refusal("no result for any", {"sequences": "s1", "trackers": "t0", "allow_missing": True},
        lambda t: result(t).unlink(), 3),
    "short result": Refusal("--allow-short", {}, cut_rows, 3),
    "empty result": Refusal("is empty", {}, lambda t: result(t).write_text("")),
    "unreadable row": Refusal("s1.txt, row 4", {}, change_row),
    "a folder in place of a result": Refusal("no result for 1 of 3 sequences (s1)", {},
        lambda t: (result(t).unlink(), result(t).mkdir()), 3),
    "two results of one tracker": Refusal("two results of 't0' on 's1'", {}, two_results),
    "no sequence matched": Refusal("no sequence matches 'z*'", {"sequences": "z*"}),
    "unknown sequence": Refusal("no sequence 's9' here", {"sequences": "s9"}),
    "no sequence named": Refusal("--sequences '' names nothing", {"sequences": ""}),
    "unknown split": Refusal("no split 'vall'", {"dataset": "got10k", "root": "annos", "annos": None, "split": "vall"},
        own_release),
    "damaged zip": Refusal("packed.zip", {"results": "packed.zip"}, damaged_zip),
    "cut zip": Refusal("neither a folder nor a zip file", {"results": "packed.zip"}, cut_zip),
    "no configuration file": Refusal("no such configuration file", {"config": "none.toml"}),
    "damaged configuration file": Refusal("is not valid TOML", {"config": "bad.toml"},
        lambda t: (t / "bad.toml").write_text("results = [")),
    "wrong type in the configuration file": Refusal("`results` must be a string", {"config": "c.toml", "results": None},
        lambda t: (t / "c.toml").write_text("results = 3")),
    "zero byte in a name": Refusal("not a path", {"annos": None, "config": "c.toml"},
        lambda t: (t / "c.toml").write_text('annos = "an\\u0000nos"')),
    "name that is too long": Refusal("is too long", {"results": "x" * 300}),
    "dataset's name that is too long": Refusal("is too long", {"dataset": "x" * 300}),
    "sequence's name that is too long": Refusal("no sequence", {"sequences": "x" * 300}),
    "lone surrogate in a name": Refusal("no such folder", {"annos": "an\udcffnos"}),
    "path that is too long": Refusal("is too long", {"annos": "y/" * 2100}),
    "no such home folder": Refusal("write it out in full", {"results": "~nobody-of-this-name"}),
    "floor": Refusal("gate failed", {}, code=1, then=lambda s: Gates.of({"success": 0.999}).check(s),
        words=("--fail-under", "success=0.999")),
    "floor that is not one": Refusal("write --fail-under METRIC=SCORE", then=lambda s: Gates.of(["success"]),
        words=("--fail-under", "success")),
    "floor that every score passes": Refusal("write a score from 0 to 1", then=lambda s: Gates.of({"success": -0.1}),
        words=("--fail-under", "success=-0.1")),
    "drop in per cent": Refusal("--max-drop 2: write a drop from 0 to 1", {}, baseline_of_another,
        then=lambda s: Gates.of(baseline="baseline.json", max_drop=2),
        words=("--baseline", "baseline.json", "--max-drop", "2")),
    "drop below none": Refusal("--max-drop -1: write a drop", {}, baseline_of_another,
        then=lambda s: Gates({}, None, -1.0), words=("--baseline", "baseline.json", "--max-drop=-1")),
    "drop without a baseline": Refusal("needs --baseline", then=lambda s: Gates.of(max_drop=0.1),
        words=("--max-drop", "0.1")),
    "baseline that is not one": Refusal("--baseline", {}, lambda t: (t / "baseline.json").write_text("{}"),
        then=lambda s: Gates.of(baseline="baseline.json"), words=("--baseline", "baseline.json")),
    "baseline of other sequences": Refusal("scored on other sequences", {}, baseline_of_another,
        then=lambda s: Gates.of(baseline="baseline.json").check(s), words=("--baseline", "baseline.json")),
}  # fmt: skip


def words_of(given: dict[str, Any]) -> list[str]:
    words = []
    for name, value in given.items():
        if value is not None and value is not False:
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return words


def command(words: list[str], monkeypatch: Any, capsys: Any) -> tuple[int, str]:
    """(exit code, message) of the command."""
    monkeypatch.setattr(sys, "argv", ["tnllt-eval", *words])
    with pytest.raises(SystemExit) as ended:
        run_command(cli, "tnllt-eval")
    message = capsys.readouterr().err
    return int(ended.value.code or 0), message[message.index("Error: ") + 7 :].rstrip("\n")


@pytest.mark.parametrize("name", REFUSALS)
def test_python_and_command_refuse_alike(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal = REFUSALS[name]
    write_tree(tmp_path)
    refusal.break_(tmp_path)
    monkeypatch.chdir(tmp_path)
    given = {"dataset": "tnllt", "annos": "annos", "results": "results", **refusal.given}
    code, message = command([*words_of(given), *refusal.words], monkeypatch, capsys)
    with pytest.raises(TnlltError) as refused:
        refusal.then(tnllt.score(**given))
    assert refusal.says in message
    shown = "\n".join(f"{line[:1000]}..." if len(line) > 1000 else line for line in str(refused.value).split("\n"))
    assert (refused.value.exit_code, printable(shown)) == (code, message)
    assert code == refusal.code


def test_an_intact_tree_is_not_refused(tmp_path: Path) -> None:
    write_tree(tmp_path)
    places = {"annos": tmp_path / "annos", "results": tmp_path / "results"}
    scores = tnllt.score("tnllt", **places, trackers=["t1", "t0"], sequences=["s0", "s[12]"], cache=False)
    assert scores.trackers == ("t1", "t0") and scores.sequences == ("s0", "s1", "s2")
    opened = tnllt.open_dataset("tnllt", annos=tmp_path / "annos")
    again = tnllt.score(opened, results=tmp_path / "results", trackers="t1,t0")
    assert np.array_equal(again.score(), scores.score())


@pytest.mark.parametrize("protocol", ["tnllt", "lasot", "pysot"])
def test_evaluate_refuses_missing_presence_files_itself(tmp_path: Path, protocol: str) -> None:
    write_tree(tmp_path)
    shutil.rmtree(tmp_path / "annos" / "absent")
    sequences = tnllt.open_dataset("tnllt", annos=tmp_path / "annos")
    found = find_results(tmp_path / "results", sequences.names)
    results = {tracker: read_results(files) for tracker, files in found.trackers.items()}
    if tnllt.eval.get_protocol(protocol).needs_presence:
        with pytest.raises(tnllt.TnlltError, match=r"absent.s0\.txt: sequence 's0' has no file"):
            tnllt.evaluate(sequences, results, protocol)
    assert tnllt.evaluate(sequences, results, "got10k").score().shape == (2,)


def test_an_unknown_rounding_is_refused(tmp_path: Path) -> None:
    write_tree(tmp_path)
    with pytest.raises(tnllt.TnlltError, match="rounding='up': give none or nearest or trunc"):
        tnllt.score("tnllt", annos=tmp_path / "annos", results=tmp_path / "results", rounding="up")
