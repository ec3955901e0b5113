"""`tnllt-run` from the outside: official layout, records, resuming, options, modes, batches, shards."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.tracking.conftest import LENGTHS, TRACKERS, results, tnllt_run, write_dataset
from tnllt.results.store import ResultStore


def record(folder: Path, tracker: str, sequence: str) -> dict:
    return json.loads((folder / f"{tracker}_tracking_result" / f"{sequence}.run.json").read_text())


def test_results_records_and_resuming(data: Path, tmp_path: Path) -> None:
    words = (f"{TRACKERS}:Drift", "--dataset", data, "--results", tmp_path)
    first = tnllt_run(*words)
    assert first.returncode == 0, first.stderr
    files = results(tmp_path, "Drift")
    assert {name: text.count(b"\n") for name, text in files.items()} == LENGTHS
    assert files["a"].splitlines()[0] == b"10.0000,12.0000,9.0000,8.0000"
    told = record(tmp_path, "Drift", "a")
    assert told["schema"] == "tnllt.run/1" and told["status"] == "done" and told["mode"] == "BB"
    assert len(told["seconds"]["read"]) == len(told["seconds"]["track"]) == len(told["confidence"]) == 12
    assert told["confidence"][0] is None and told["confidence"][1] > 0
    assert told["concurrency"]["workers"] == 1 and told["versions"]["numpy"] == np.__version__
    assert len(told["sha256"]["read"]) == 64 and told["attempts"] == 1 and told["failure"] is None
    # What is there is left alone; one file removed is one sequence tracked, to the same bytes.
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.txt")}
    (tmp_path / "Drift_tracking_result" / "c.txt").unlink()
    second = tnllt_run(*words)
    assert second.returncode == 0 and "1 of 5 sequences to track, 4 there already" in second.stderr
    assert results(tmp_path, "Drift") == files
    assert sum(before[p] != p.stat().st_mtime_ns for p in tmp_path.rglob("*.txt")) == 1


def test_order_and_number_of_workers_change_nothing(data: Path, tmp_path: Path) -> None:
    for number in (1, 3):
        done = tnllt_run(
            f"{TRACKERS}:Drift",
            "-d",
            data,
            "--results",
            tmp_path / str(number),
            "--workers",
            number,
            "--read-ahead",
            3 - number,
        )
        assert done.returncode == 0, done.stderr
    assert results(tmp_path / "1", "Drift") == results(tmp_path / "3", "Drift")
    other = tnllt_run(f"{TRACKERS}:Drift", "-d", data, "--results", tmp_path / "seed", "--seed", 1)
    assert other.returncode == 0
    assert results(tmp_path / "seed", "Drift") != results(tmp_path / "1", "Drift")


def test_other_options_are_not_mixed_in(data: Path, tmp_path: Path) -> None:
    words = (f"{TRACKERS}:Drift", "-d", data, "--results", tmp_path, "-s", "a")
    assert tnllt_run(*words).returncode == 0
    mixed = tnllt_run(*words, "--set", "step=2")
    assert mixed.returncode == 2 and "step None, now 2.0" in mixed.stderr and "--name" in mixed.stderr
    assert tnllt_run(*words, "--set", "step=2", "--name", "Drift2").returncode == 0
    assert tnllt_run(*words, "--set", "step=2", "--again").returncode == 0
    assert results(tmp_path, "Drift") == results(tmp_path, "Drift2") != {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--set", "pauze=1"), "no option 'pauze'; did you mean 'pause'?"),
        (("--set", "pause=soon"), "--set pause=soon: Drift takes a number"),
        (("--set", "pause"), "--set KEY=VALUE"),
        (("--mode", "NL"), "cannot start from NL; it takes BB"),
        (("--batch", "2"), "one sequence at a time"),
        (("--timing", "--workers", "2"), "--timing measures one worker alone"),
        (("--shard", "3/2"), "--shard 3/2: write i/n"),
        (("--sequences", "nobody"), "nobody"),
    ],
)
def test_wishes_that_cannot_be_meant(data: Path, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    done = tnllt_run(f"{TRACKERS}:Drift", "-d", data, "--results", tmp_path / "r", *words)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("name", ["Nanotrak", "no.such.module:Class", f"{TRACKERS}:Nobody", "tnllt.boxes:overlap"])
def test_no_such_tracker(data: Path, tmp_path: Path, name: str) -> None:
    done = tnllt_run(name, "-d", data, "--results", tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("Error: ") and "Traceback" not in done.stderr


def test_modes_language_trace_and_absence(data: Path, tmp_path: Path) -> None:
    expected = {None: (1, 1), "BB": (1, 0), "NL": (0, 1), "NL+BB": (1, 1)}
    for mode, start in expected.items():
        folder = tmp_path / str(mode)
        chosen = () if mode is None else ("--mode", mode)
        done = tnllt_run(f"{TRACKERS}:Both", "-d", data, "--results", folder, "-s", "a", *chosen)
        assert done.returncode == 0, done.stderr
        assert "these are no weights at all" in done.stderr
        store = ResultStore(folder)
        answer = store.read("Both", "a")
        assert answer.boxes[1].tolist() == [*start, 5, 5]
        assert answer.boxes[0].tolist() == ([*start, 5, 5] if mode == "NL" else [10, 12, 9, 8])
        assert answer.absent is not None and np.flatnonzero(answer.absent).tolist() == [3]
        assert answer.record["mode"] == mode or "NL+BB"
        assert answer.record["description_changes"] == [{"frame": 2, "description": "a black cat"}]
        assert [event["after"] for event in store.trace("Both", "a")] == ["a black cat"]


def test_batches_answer_as_single_sequences(data: Path, tmp_path: Path) -> None:
    for batch in (1, 3):
        done = tnllt_run(f"{TRACKERS}:Batched", "-d", data, "--results", tmp_path / str(batch), "--batch", batch)
        assert done.returncode == 0, done.stderr
    assert results(tmp_path / "1", "Batched") == results(tmp_path / "3", "Batched") != {}
    infos = [record(tmp_path / "3", "Batched", name)["info"] for name in LENGTHS]
    assert [i["tracked"] for i in infos] == [n - 1 for n in LENGTHS.values()]
    assert max(i["largest_batch"] for i in infos) == 3


def test_one_faulty_sequence_does_not_spoil_its_batch(data: Path, tmp_path: Path) -> None:
    done = tnllt_run(f"{TRACKERS}:Batched", "-d", data, "--results", tmp_path, "--batch", 3, "--set", "breaks=2")
    assert done.returncode == 3 and "4 done, 1 failed" in done.stdout
    assert set(results(tmp_path, "Batched")) == {"a", "b", "d", "e"}
    assert record(tmp_path, "Batched", "c")["failure"]["message"] == "frame 2: RuntimeError: breaks"


def test_shards_together_are_the_whole(data: Path, tmp_path: Path) -> None:
    for index in (1, 2, 3):
        done = tnllt_run(f"{TRACKERS}:Drift", "-d", data, "--results", tmp_path / "parts", "--shard", f"{index}/3")
        assert done.returncode == 0, done.stderr
    assert tnllt_run(f"{TRACKERS}:Drift", "-d", data, "--results", tmp_path / "whole").returncode == 0
    assert results(tmp_path / "parts", "Drift") == results(tmp_path / "whole", "Drift")


def test_devices_go_round_and_reach_the_tracker(data: Path, tmp_path: Path) -> None:
    words = ("-d", data, "--results", tmp_path, "--workers", 2, "--device", "cpu,meta")
    done = tnllt_run(f"{TRACKERS}:Batched", *words)
    assert done.returncode == 0, done.stderr
    assert {record(tmp_path, "Batched", name)["device"] for name in LENGTHS} == {"cpu", "meta"}


def test_timing_is_alone_and_replaces_times_measured_otherwise(data: Path, tmp_path: Path) -> None:
    words = (f"{TRACKERS}:Drift", "-d", data, "--results", tmp_path, "-s", "a")
    assert tnllt_run(*words).returncode == 0
    before = results(tmp_path, "Drift")
    assert "1 of 1 sequences to track" in tnllt_run(*words, "--timing").stderr
    told = record(tmp_path, "Drift", "a")
    assert told["concurrency"]["exclusive"] and told["concurrency"]["read_ahead"] == 0
    assert results(tmp_path, "Drift") == before
    assert "1 there already" in tnllt_run(*words, "--timing").stderr


@pytest.mark.parametrize(("what", "more"), [("raise", "--timing"), ("hang", "--profile"), ("raise", "--again")])
def test_a_result_stays_until_it_is_measured_again(what: str, more: str, data: Path, tmp_path: Path) -> None:
    once = tmp_path / "once"
    once.write_text("")
    words = [f"{TRACKERS}:Habit", "-d", data, "--results", tmp_path, "-s", "a,b", "--frame-timeout", 2]
    words += ["--set", f"what={what}", "--set", f"once={once}"]
    assert tnllt_run(*words).returncode == 0
    before = record(tmp_path, "Habit", "b")
    once.unlink()
    again = tnllt_run(*words, more)
    assert (
        again.returncode == 3 and "earlier result is kept, and the failure's record is b.failure.json" in again.stdout
    )
    assert record(tmp_path, "Habit", "b") == before and sorted(results(tmp_path, "Habit")) == ["a", "b"]
    status = tnllt_run("status", "-d", data, "--results", tmp_path, "-s", "a,b", "--format", "json")
    told = json.loads(status.stdout)[0]
    assert status.returncode == 0 and told["done"] == 2 and not told["failed"] and not told["damaged"]
    assert tnllt_run(*words, more).returncode == 0
    assert not list(tmp_path.glob("*/b.failure.*")) and record(tmp_path, "Habit", "b") != before


def test_video(data: Path, tmp_path: Path) -> None:
    import cv2

    words = (f"{TRACKERS}:Both", "-d", data, "--results", tmp_path, "-s", "a", "--video")
    assert tnllt_run(*words).returncode == 0
    path = tmp_path / "Both_tracking_result" / "a.mp4"
    film = cv2.VideoCapture(str(path))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 12 and film.get(cv2.CAP_PROP_FRAME_WIDTH) == 64
    path.unlink()
    assert tnllt_run(*words).returncode == 0
    assert path.is_file(), "a result that is there gets its video, too"


def test_status_tells_done_failed_missing_and_speed(data: Path, tmp_path: Path) -> None:
    done = tnllt_run(f"{TRACKERS}:Drift", "-d", data, "--results", tmp_path, "-s", "a", "-s", "c")
    assert done.returncode == 0, done.stderr
    table = tnllt_run("status", "-d", data, "--results", tmp_path)
    assert table.returncode == 3 and "missing  Drift  b, d, e" in table.stdout
    told = json.loads(tnllt_run("status", "-d", data, "--results", tmp_path, "--format", "json").stdout)[0]
    assert told["done"] == 2 and told["missing"] == ["b", "d", "e"] and told["fps"] > 100
    assert told["measured"] == ["1 worker on cpu"]
    # A result that was cut short afterwards is not taken for whole.
    path = tmp_path / "Drift_tracking_result" / "a.txt"
    path.write_bytes(path.read_bytes()[:30])
    table = tnllt_run("status", "-d", data, "--results", tmp_path)
    assert "damaged  Drift  a" in table.stdout
    for command in ("status", "retry"):
        for words, named in (([tmp_path / "nowhere"], "any tracker"), ([tmp_path, "Bd"], "Bd; there are: Drift")):
            refused = tnllt_run(command, "--results", *words)
            assert refused.returncode == 2 and f"has no results of {named}" in refused.stderr


def test_list_shows_all_of_it_on_one_screen_and_what_is_missing() -> None:
    shown = tnllt_run("list").stdout.splitlines()
    assert len(shown) <= 34 and max(len(line) for line in shown if "https://" not in line) <= 100
    headings = [line.split(" (")[0] for line in shown if not line.startswith(" ")]
    assert headings[:3] == ["References", "OpenCV's", "The reference tracker of TNLLT"]
    assert "Foundation models" in headings and "Baselines beyond them" in headings
    lines = {line.split()[0]: line for line in shown if line.startswith("  ")}
    assert "lacks" not in lines["MIL"] + lines["still"] + lines["groundtruth"]
    for name, lacking in (("ViT", "weights"), ("sam2", "--set weights="), ("vlm", "model=")):
        assert "lacks: " in lines[name] and lacking in lines[name]
    text = "\n".join(shown)
    assert "TNLLT_NANOTRACK=PATH; see https://github.com/" in " ".join(text.split()), "no remedy is cut off"
    assert all(name in text for name in ("ostrack BB", "lmtrack result files only", "seqtrack BB", "--starter"))
    assert "  step   a number  [default: 1.0]" in tnllt_run("list", f"{TRACKERS}:Drift").stdout


def test_all_of_a_dataset_with_a_list_of_its_own(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "data", {"a": 3, "b": 3})
    (folder / "splits").mkdir()
    (folder / "splits" / "test.txt").write_text("b\n")
    words = ("still", "-d", folder, "--results", tmp_path / "results")
    assert tnllt_run(*words).returncode == 0
    assert list(results(tmp_path / "results", "still")) == ["b"]
    status = ("status", "-d", folder, "--results", tmp_path / "results")
    assert tnllt_run(*status).returncode == 0
    assert tnllt_run(*status, "--split", "all").returncode == 3
    assert tnllt_run(*words, "--split", "all").returncode == 0
    assert list(results(tmp_path / "results", "still")) == ["a", "b"]
    assert tnllt_run(*status, "--split", "all").returncode == 0
