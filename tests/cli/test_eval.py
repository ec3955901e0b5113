"""`tnllt-eval` as a user meets it: output, files, exit codes, and what it says of bad input."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import pytest

from tests.eval.eval_trees import SMALL, save, write_tree
from tnllt.cli.common import run_command
from tnllt.cli.eval import cli
from tnllt.eval.score_table import aligned
from tnllt.results.store import ResultStore
from tnllt.sequence import Trajectory


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path)


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Runs the command in this process: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object, tree: Path | None = tmp_path) -> tuple[int, str, str]:
        places = [] if tree is None else ["--annos", str(tree / "annos"), "--results", str(tree / "results")]
        words = [str(w) for w in words]
        head = [words.pop(0)] if words and words[0] in ("lint", "explain") else []
        monkeypatch.setattr(sys, "argv", ["tnllt-eval", *head, *places, *words])
        with pytest.raises(SystemExit) as ended:
            run_command(cli, "tnllt-eval")
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return call


def test_table_files_and_figures(tree, run):
    code, out, err = run("--trackers", "all", "--metric", "success", "--attributes", "--out", "plots")
    assert code == 0 and "t0" in out and "ceiling" in out and "files in plots" in err
    plots = tree / "plots"
    for name in ("success", "curves", "success_CM", "success_ROT"):
        for ending in ("png", "pdf", "csv"):
            assert (plots / f"{name}.{ending}").stat().st_size > 100
    table = json.loads((plots / "scores.json").read_text())
    assert table["schema"] == "tnllt.scores/1" and list(table["scores"]) == ["t0", "t1"]
    arrays = np.load(plots / "curves.npz")
    assert arrays["trackers"].tolist() == ["t0", "t1"] and arrays["sequences"].tolist() == ["s0", "s1", "s2"]
    for name, count in (("success", 21), ("precision", 51), ("normalized_precision", 51)):
        assert arrays[name].shape == (2, 3, count) and arrays[name].dtype == np.float64
        assert arrays[f"{name}_thresholds"].shape == (count,)
    assert arrays["success"][0].mean() == pytest.approx(table["scores"]["t0"]["success"])
    curve = (plots / "success.csv").read_text().splitlines()
    assert curve[0] == "metric,threshold,t0,t1,ceiling,floor" and len(curve) == 22
    assert (plots / "attributes_success.csv").read_text().startswith("Tracker,CM,ROT")


@pytest.mark.parametrize("words", ["--attributes", "explain tnllt stark --all-rules"])
def test_lines_fit_a_terminal_and_a_pipe_has_them_whole(tree, run, monkeypatch, words):
    monkeypatch.setenv("COLUMNS", "66")
    piped = run(*words.split())[1]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    shown = run(*words.split())[1]
    assert max(map(len, shown.splitlines())) <= 66 < max(map(len, piped.splitlines()))
    assert set(piped.split()) == set(shown.split())


def test_blocks_of_columns_have_the_first_one_and_their_heading():
    rows = [["", "LaSOT", "", ""], ["Tracker", "AUC", "P", "P_Norm"], None, ["ATOM", "0.514", "0.497", "0.570"]]
    assert aligned(rows, indent="", width=21) == [
        "         LaSOT",
        "Tracker    AUC      P",
        "-------  -----  -----",
        "ATOM     0.514  0.497",
        "",
        "          LaSOT",
        "Tracker  P_Norm",
        "-------  ------",
        "ATOM      0.570",
    ]
    assert aligned(rows, indent="", width=29) == aligned(rows, indent="") and len(aligned(rows, width=1)) == 14


def test_an_equal_run_gives_equal_files(tree, run):
    for name in ("a", "b"):
        assert run("--out", name, "--quiet")[:2] == (0, "")
    for path in sorted((tree / "a").iterdir()):
        assert path.read_bytes() == (tree / "b" / path.name).read_bytes(), path.name


@pytest.mark.parametrize("form", ["text", "markdown", "latex", "csv", "json"])
def test_formats(tree, run, form):
    code, out, _ = run("--format", form, "--metric", "all")
    assert code == 0 and "t1" in out
    if form == "json":
        assert set(json.loads(out)["scores"]["t0"]) >= {"success", "precision", "normalized_precision", "op50"}
    if form == "latex":
        assert r"\textbf{" in out and r"\toprule" in out


def test_choosing_trackers_and_sequences(tree, run):
    assert run("--trackers", "t1")[1].count("t1") >= 1 and "t0" not in run("--trackers", "t1")[1]
    assert "1 sequence," in run("--sequences", "s1")[1] and "2 sequences," in run("--sequences", "s[01]")[1]
    (tree / "names.txt").write_text("s0\ns2")
    assert "2 sequences," in run("--sequences", tree / "names.txt")[1]
    code, _, err = run("--trackers", "nobody")
    assert code == 2 and "no tracker 'nobody'" in err and "t0, t1" in err


def test_split(tree, run):
    """GOT-10k: the test split has one box a sequence and is scored by its server; `val` can be scored here."""
    for split, name, rows in (("val", "V1", 3), ("test", "T1", 1)):
        folder = tree / "got" / split / name
        folder.mkdir(parents=True)
        (folder / "groundtruth.txt").write_text("5,5,20,20\n" * rows)
        (folder / "absence.label").write_text("0\n" * rows)
        results = tree / "got_results" / "Stay_tracking_result"
        results.mkdir(parents=True, exist_ok=True)
        (results / f"{name}.txt").write_text("5,5,20,20\n" * rows)
    given = ("--dataset", "got10k", "--root", tree / "got", "--results", tree / "got_results", "--metric", "got10k-ao")
    code, out, _ = run(*given, "--split", "val", tree=None)
    assert code == 0 and "1 sequence," in out and "1.000" in out
    assert "2 sequences," in run(*given, "--split", "all", tree=None)[1]
    code, _, err = run(*given, "--split", "vall", tree=None)
    assert code == 2 and "no split 'vall'" in err and "--split all" in err


def test_environment_and_toml_say_where_things_are(tree, run, monkeypatch):
    monkeypatch.setenv("TNLLT_ANNOS", str(tree / "annos"))
    (tree / "tnllt.toml").write_text('results = "results"\n')
    assert run(tree=None)[0] == 0
    monkeypatch.setenv("TNLLT_RESULTS", str(tree / "nowhere"))
    code, _, err = run(tree=None)
    assert code == 2 and "nowhere" in err


def result(tree: Path, name: str = "s1", tracker: str = "t0") -> Path:
    return tree / "results" / f"{tracker}_tracking_result" / f"{name}.txt"


def rewrite(row: int, text: str):
    def change(tree: Path) -> None:
        lines = result(tree).read_text().splitlines()
        lines[row - 1] = text
        result(tree).write_text("\n".join(lines))

    return change


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (lambda t: result(t).unlink(), 3, ["t0", "no result for 1 of 3", "s1", "--allow-missing"]),
        (lambda t: result(t).write_text("\n".join(result(t).read_text().splitlines()[:15])), 3,
         ["t0/s1: 15 rows for 20 frames", "--allow-short"]),
        (rewrite(7, "1,2,3"), 2, ["t0_tracking_result/s1.txt, row 7", "3 numbers instead of 4"]),
        (rewrite(9, "1,2,3,4,5"), 2, ["s1.txt, row 9", "5 numbers instead of 4"]),
        (rewrite(4, "1,lost,3,4"), 2, ["s1.txt, row 4", "'lost' is not a number"]),
        (lambda t: result(t).write_text(""), 2, ["s1.txt", "is empty"]),
        (lambda t: result(t).write_bytes(b"\x89PNG\0\0\xff"), 2, ["s1.txt", "not text"]),
        (lambda t: [shutil.rmtree(p) for p in (t / "results").iterdir()], 2, ["no tracker in it"]),
        (lambda t: (t / "annos/absent/s2.txt").unlink(), 2, ["absent/s2.txt", "where the target is absent"]),
        (lambda t: (t / "annos/s0.txt").write_text("1,2,3,4\n1,2,x,4"), 2, ["annos/s0.txt, row 2"]),
        (lambda t: shutil.rmtree(t / "annos"), 2, ["annos"]),
    ],
)  # fmt: skip
def test_bad_input_is_named_and_never_guessed_at(tree, run, change, code, says):
    change(tree)
    ended, out, err = run()
    assert ended == code and out == ""
    for words in says:
        assert words in err
    assert "Traceback" not in err and len(err.splitlines()) <= 3


def test_allow_missing_and_short_say_so_everywhere(tree, run):
    result(tree).unlink()
    short = result(tree, "s0", "t1")
    short.write_text("\n".join(short.read_text().splitlines()[:15]))
    code, out, _ = run("--allow-missing", "--allow-short", "--out", "plots")
    assert code == 0 and "no result for s1" in out and "padded with the last box" in out
    table = json.loads((tree / "plots" / "scores.json").read_text())
    assert any("no result for s1" in note for note in table["footnotes"])
    assert "no result for s1" in (tree / "plots" / "scores.csv").read_text()
    assert np.isnan(np.load(tree / "plots" / "curves.npz")["success"][0, 1]).all()
    result(tree, "s0").unlink()
    result(tree, "s2").unlink()
    # A tracker without any result left is no tracker.
    assert run("--allow-missing", "--allow-short", "--trackers", "t0")[0] == 2


def test_the_cache_is_invisible(tree, run, monkeypatch, tmp_path):
    monkeypatch.setenv("TNLLT_CACHE", str(tmp_path / "cache"))
    first = run("--format", "json")
    assert run("--format", "json") == first == run("--format", "json", "--no-cache")
    entries = list((tmp_path / "cache").rglob("*.npz"))
    assert len(entries) == 4  # two trackers, ceiling, floor
    for entry in entries:
        entry.write_bytes(b"PK damaged")
    assert run("--format", "json") == first
    stamp = result(tree).stat()
    old = result(tree).read_text()
    result(tree).write_text(old.replace(old.splitlines()[3], "900.0,900.0,5.0,5.0"[: len(old.splitlines()[3])]))
    os.utime(result(tree), ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    changed = run("--format", "json")
    assert changed != first and changed == run("--format", "json", "--no-cache")


def test_the_cache_tells_apart_what_lies_beside_by_its_kind(tree, run, monkeypatch, tmp_path):
    monkeypatch.setenv("TNLLT_CACHE", str(tmp_path / "cache"))
    times = result(tree).with_name("s1_time.txt")
    times.write_text("".join(f"{1 + k % 3}\n" for k in range(len(np.loadtxt(result(tree), delimiter=",")))))
    first = run("--format", "json", "--metric", "lt_f")
    times.rename(times.with_name("s1_confidence.txt"))
    renamed = run("--format", "json", "--metric", "lt_f")
    assert renamed != first and renamed == run("--format", "json", "--metric", "lt_f", "--no-cache")


def test_a_run_record_of_another_result_is_not_used_and_said(tree, run):
    store, table = ResultStore(tree / "results"), ("--format", "json")
    boxes = np.loadtxt(result(tree), delimiter=",")
    bare = json.loads(run(*table)[1])["scores"]["t0"]
    store.write("t0", "s1", Trajectory(boxes + 1, np.linspace(0, 1, len(boxes)), record={"mode": "NL"}))
    written = result(tree).read_bytes()
    save(result(tree), boxes)
    code, out, _ = run()
    assert code == 0 and "t0: the boxes alone are scored, because the run record beside them" in out
    assert json.loads(run(*table)[1])["scores"]["t0"] == bare and "started" not in out
    assert [line for line in run("lint")[1].splitlines() if line.startswith("warning foreign-record: t0: a run record")]
    # As before: a record that does not say of which result it is, and one of this result.
    record = store.path("t0", "s1", ".run.json")
    for path, content in ((record, record.read_bytes().replace(b'"result"', b'"other"')), (result(tree), written)):
        path.write_bytes(content)
        code, out, _ = run()
        assert code == 0 and "the boxes alone" not in out and "started from the description alone" in out
        assert "foreign-record" not in run("lint")[1]


def test_gates(tree, run):
    assert run("--save-baseline", "base.json")[0] == 0
    assert run("--baseline", "base.json", "--max-drop", "0.002")[0] == 0
    assert run("--fail-under", "success=0.1")[0] == 0
    code, _, err = run("--fail-under", "success=0.99,precision=0.1")
    assert code == 1 and "t0: success" in err and "under 0.99" in err and "precision" not in err
    boxes = np.loadtxt(result(tree), delimiter=",")
    save(result(tree), boxes + np.array([30, 0, 0, 0]))
    code, out, err = run("--baseline", "base.json", "--max-drop", "0.002")
    assert code == 1 and "t0: success fell by" in err and "t1" not in err and "ceiling" in out
    assert run("--baseline", "base.json", "--max-drop", "1")[0] == 0
    code, _, err = run("--baseline", "base.json", "--trackers", "t1")
    assert code == 1 and "t0: in the baseline, but not among these results" in err
    assert run("--baseline", "base.json", "--protocol", "stark")[0] == 2
    assert run("--baseline", "base.json", "--sequences", "s0")[0] == 2
    code, _, err = run("--baseline", "base.json", "--round", "trunc")
    assert code == 2 and "scored with --round none, these with trunc" in err
    assert run("--baseline", "nowhere.json")[0] == 2
    assert run("--max-drop", "0.1")[0] == 2 and run("--fail-under", "success")[0] == 2
    assert run("--fail-under", "sucess=0.5")[0] == 2


@pytest.mark.parametrize(
    ("change", "code", "row"),
    [
        (lambda t: result(t).unlink(), "missing", None),
        (lambda t: result(t).write_text("\n".join(result(t).read_text().splitlines()[:15])), "short", 16),
        (lambda t: result(t).write_text(result(t).read_text() + "1,2,3,4\n"), "long", 21),
        (rewrite(5, "nan,2,3,4"), "nan", 5),
        (rewrite(6, "1,2,0,4"), "non-positive-size", 6),
        (rewrite(6, "1,2,0"), "unreadable", 6),
    ],
)
def test_lint_names_file_and_row(tree, run, change, code, row):
    change(tree)
    _, out, _ = run("lint", "--format", "json")
    found = json.loads(out)["findings"]
    assert [(f["code"], f["tracker"], f["sequence"], f["row"]) for f in found if f["code"] == code] == [
        (code, "t0", "s1", row)
    ]
    ended, text, _ = run("lint")
    assert code in text and ended == int(any(f["severity"] == "error" for f in found))


def reshape(change):
    def apply(tree: Path) -> None:
        truth = np.loadtxt(tree / "annos" / "s1.txt", delimiter=",")
        save(result(tree), change(np.loadtxt(result(tree), delimiter=","), truth))

    return apply


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (reshape(lambda b, t: np.concatenate([b[:, :2], b[:, :2] + b[:, 2:]], axis=1)), "corners"),
        (reshape(lambda b, t: b / 1000), "normalized"),
        (reshape(lambda b, t: np.concatenate([t[:1] + np.array([1, 1, 0, 0]), b[1:]])), "off-by-one"),
        (reshape(lambda b, t: np.repeat(b[:1], len(b), axis=0)), "constant"),
        (reshape(lambda b, t: np.concatenate([t[:1] + np.array([9, 0, 0, 0]), b[1:]])), "first-box"),
        (reshape(lambda b, t: np.floor(b)), "integers"),
        (reshape(lambda b, t: t), "groundtruth"),
        (lambda t: shutil.copy(result(t), result(t, tracker="t1")), "duplicate"),
        (lambda t: (result(t).parent / "s9.txt").write_text("1,2,3,4"), "unknown-file"),
    ],
)
def test_lint_sees_wrong_formats(tree, run, change, code):
    change(tree)
    found = json.loads(run("lint", "--format", "json")[1])["findings"]
    assert code in {f["code"] for f in found}
    clean = {f["code"] for f in found if f["tracker"] == "t1" and f["code"] not in ("duplicate", "first-box")}
    assert not clean


def test_lint_annotations_for_github(tree, run):
    rewrite(6, "1,2,0")(tree)
    result(tree, "s0").unlink()
    _, out, _ = run("lint", "--format", "github")
    lines = out.splitlines()
    path = "results/t0_tracking_result/s1.txt"
    assert any(line.startswith(f"::error file={path},line=6,title=unreadable::t0 on s1: 3 numbers") for line in lines)
    assert any(line.startswith("::error title=missing::t0 on s0") for line in lines)


def test_score_file_and_protocols(tree, capsys, monkeypatch):
    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tnllt-eval", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            run_command(cli, "tnllt-eval")
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    truth, flags = tree / "annos" / "s1.txt", tree / "annos" / "absent" / "s1.txt"
    code, out, _ = call("score-file", truth, result(tree))
    assert code == 0 and "s1" in out and "1 sequence," in out
    with_flags = call("score-file", truth, result(tree), "--absent", flags, "--present-value", 1)
    assert with_flags[0] == 0 and with_flags[1] != out
    assert call("score-file", truth, result(tree), "--absent", flags)[0] == 2
    assert call("score-file", truth, tree / "nothing.txt")[0] == 2
    code, out, _ = call("protocols")
    assert code == 0 and all(name in out for name in ("tnllt-matlab", "pytracking-uav", "trackingnet", "strict"))
    code, out, _ = call("protocols", "ostrack")
    assert code == 0 and "stark" in out and "(official:" in out
    assert len(json.loads(call("protocols", "--format", "json")[1])) == 14
    code, _, err = call("protocols", "pytraking")
    assert code == 2 and "did you mean 'pytracking'" in err


def test_names_as_people_type_them(tree, run):
    exact = run("--metric", "success,precision", "--trackers", "t0")
    headings = run("--metric", "AUC,p", "--trackers", "T0")
    assert exact[0] == 0 and headings == exact
    code, _, err = run("--metric", "sucess")
    assert code == 2 and "did you mean 'success'" in err
    code, _, err = run("--trackers", "u0")
    assert code == 2 and "no tracker 'u0' among the results; found t0" in err


def test_hostile_names_do_no_harm(tree, run):
    name = '=cmd()|<script>alert("x")&_%$#\x1b[31m\u202e~^\\{}'
    shutil.copytree(tree / "results" / "t0_tracking_result", tree / "results" / f"{name}_tracking_result")
    code, out, err = run("--out", "plots", "--trackers", "all")
    assert code == 0 and "\x1b" not in out + err and "\u202e" not in out + err
    assert "<script>" not in run("--format", "markdown")[1]
    latex = run("--format", "latex")[1]
    assert r"\_\%\$\#" in latex and "\x1b" not in latex
    assert "'=cmd()" in run("--format", "csv")[1]
    assert name in json.loads((tree / "plots" / "scores.json").read_text())["scores"]


TEXT = {"capture_output": True, "text": True, "check": True}


def loaded_after(*modules: str) -> list[str]:
    """A command that runs `tnllt-eval` and then prints which of the modules it has loaded."""
    code = "import sys; from tnllt.cli.eval import main\ntry: main()\nfinally: print(sorted(%r & set(sys.modules)))"
    return [sys.executable, "-c", code % set(modules)]


def test_help_lists_everything_and_imports_nothing_heavy():
    made = subprocess.run([*loaded_after("numpy", "pandas", "matplotlib", "torch"), "--help"], **TEXT)
    assert made.stdout.rstrip().endswith("[]")
    for word in ("--annos", "--trackers", "--metric", "--attributes", "--round", "lint", "score-file", "protocols"):
        assert word in made.stdout


def test_scoring_imports_neither_torch_nor_pandas(tree):
    words = ["--annos", str(tree / "annos"), "--results", str(tree / "results"), "--no-intervals"]
    made = subprocess.run([*loaded_after("pandas", "matplotlib", "torch", "scipy"), *words], **TEXT)
    assert made.stdout.rstrip().endswith("[]")


def test_the_command_is_a_click_group():
    assert isinstance(cli, click.Group) and {"lint", "score-file", "protocols"} <= set(
        cli.list_commands(click.Context(cli))
    )


@pytest.mark.slow
def test_help_is_fast():
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "tnllt.cli.eval", "--help"], check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5


def test_golden_tree_by_the_command(run, tmp_path):
    shutil.copytree(SMALL / "annos", tmp_path / "annos")
    shutil.copytree(SMALL / "tracking_results", tmp_path / "results")
    assert run("--out", "plots", "--no-plots", "--quiet")[0] == 0
    expected, arrays = np.load(SMALL / "expected.npz"), np.load(tmp_path / "plots" / "curves.npz")
    order = [arrays["trackers"].tolist().index(t) for t in expected["trackers"]]
    for name in ("success", "precision", "normalized_precision"):
        assert np.array_equal(arrays[name][order], expected[name])


def test_options_before_a_subcommand_are_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tnllt.cli.eval", "--trackers", "x", "explain", "a", "b"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "--trackers must follow `explain`" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--out", "taken"], "--out taken: the folder cannot be made"),
        (["--out", "taken/below"], "--out taken/below: the folder cannot be made"),
        (["--save-baseline", "results"], "results: cannot be written"),
        (["report", "--out", "taken"], "--out taken: the folder cannot be made"),
        (["compare", "--out", "taken"], "--out taken: the folder cannot be made"),
        (["explain", "tnllt", "nosuch"], "no protocol 'nosuch'"),
        (["explain", "x" * 300, "stark"], "no protocol"),
        (["explain", "--reported", "high"], "expected a score such as 0.559"),
        (["explain", "results", "annos"], "no tracker is in both"),
        (["compare", "t0"], "Give a second tracker"),
        (["compare", "t0", "t9"], "no tracker 't9' among the results"),
        (["compare", "-m", "success,precision"], "compare takes one --metric"),
        (["lint", "--sequences", ""], "--sequences '' names nothing"),
        (["report", "--out", "page", "--sequences", ""], "--sequences '' names nothing"),
        (["pack", "t9"], "no tracker 't9' among the results"),
        (["pack", "t0", "--out", "results"], "results: cannot be written"),
        (["report", "--out", "page", "--max-size", "0.1"], "--max-size"),
    ],
)
def test_subcommands_refuse_in_one_line(tree, run, words, says):
    (tree / "taken").write_text("a file")
    places = ["--annos", tree / "annos", "--results", tree / "results"]
    code, _, err = run(*words, *places, tree=None)
    assert code == 2 and says in err and "Traceback" not in err and "unexpected" not in err
    assert (tree / "taken").read_text() == "a file" and not (tree / "page" / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["view", "s*"], "matches 3 sequences"),
        (["view", "s9"], "no sequence 's9' here"),
        (["view", "s1", "--trackers", ""], "--trackers '' names nothing"),
        (
            ["view", "s1", "--no-browser", "--frames", "1:5"],
            "--rerun FILE records one SEQUENCE, and --frames is for it",
        ),
        (["render", "s1", "--out", "clip.mp4"], "has annotations but no frames"),
        (["score-file", "annos", "results"], "is a folder, not a file"),
        (["unpack", "taken"], "unpack needs --out DIR, or --verify"),
        (["unpack", "taken", "--verify"], "is a damaged zip file"),
        (["protocols", "nosuch"], "no protocol 'nosuch'"),
    ],
)
def test_other_subcommands_refuse_in_one_line(tree, run, words, says):
    (tree / "taken").write_text("a file")
    places = ["--annos", tree / "annos", "--results", tree / "results"] if words[0] in ("view", "render") else []
    code, _, err = run(*words, *places, tree=None)
    assert code == 2 and says in err and "Traceback" not in err and "unexpected" not in err
