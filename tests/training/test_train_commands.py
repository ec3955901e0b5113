"""Wrong arguments of `tnllt-train` end in an error of one line, before anything is trained."""

from __future__ import annotations

import importlib.util
import io
import os
import re
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")

from tnllt.cli.common import run_command
from tnllt.cli.train import cli
from tnllt.errors import EXIT_INCOMPLETE, EXIT_USAGE

SMALL = ["--set", "batch=1", "--set", "samples_per_epoch=1", "--set", "epochs=1", "--validate-every", "0", "--cpu"]
DEMO = ["--dataset", "demo", "--split", "all", "--pairs", "1", "--limit", "2"]
LONG = "/".join(["y" * 200] * 25)
TRACKER = [
    (["--out", "FILE"], "FILE"),
    (["--out", "FILE/x"], "FILE"),
    (["--out", "/proc/nope"], "nope"),
    (["--out", "x" * 300], "long|written"),
    (["--out", LONG], "yyy"),
    (["--out", "a\udcff"], "UTF-8"),
    (["--init", "nothing"], "nothing"),
    (["--init", "."], "file"),
    (["--init", LONG], "long"),
    (["--init", "~nobodyknows/x"], "nobodyknows"),
    (["--init", "FILE"], "FILE"),
    (["--data", ""], "empty name"),
    (["--data", LONG], "yyy"),
    (["--data", "nope"], "nope"),
    (["--data", "synth:frames=\udcff"], "number"),
    (["--data", "synth:frames=1e400"], "number"),
    (["--data", "synth:nope=1"], "nope"),
    (["--data", "synth*nan"], "positive"),
    (["--data", "synth*0"], "positive"),
    (["--set", "batch=x"], "batch"),
    (["--set", "batch"], "KEY=VALUE"),
    (["--set", "batch=99999999999999999999"], "batch"),
    (["--set", "nope=1"], "nope"),
    (["--set", "loss=3"], "loss"),
    (["--set", "giou=x"], "giou"),
    (["--set", "config={"], "config|size|JSON"),
    (["--set", "learning_rate=nan"], "learning_rate"),
    (["--set", "seed=-1"], "seed"),
    (["--root", "x"], "NAME=DIR"),
    (["--config", "nope"], "nope"),
]
OTHERS = [
    (["export", "--to", "nope"], "nope"),
    (["export", "--to", "easyr1", "--out", "e"], "nothing to train on"),
    (["export", "--to", "easyr1", "--out", "e", "--samples", LONG], "yyy"),
    (["export", "--to", "easyr1", "--out", "e", "--records", "FILE"], "FILE"),
    (["export", "--to", "easyr1", "--out", "e", "--records", "nothing"], "nothing"),
    (["export", "--to", "easyr1", "--out", "e", "--records", "\udcff"], "read|file"),
    (["export", "--to", "easyr1", "--out", "e", "--dataset", "nope"], "nope"),
    (["export", "--to", "easyr1", "--out", "FILE", *DEMO], "FILE"),
    (["export", "--to", "easyr1", "--out", "e", *DEMO, "--reward-weights", "1,2"], "reward weights"),
    (["export", "--to", "easyr1", "--out", "e", *DEMO, "--gap", "9", "2"], "no pair"),
    (["export", "--to", "easyr1", "--out", "e", *DEMO, "--prompt", "nothing"], "nothing"),
    (["export", "--to", "easyr1", "--out", "e", *DEMO, "--teacher", "nope:"], "nope"),
    (["export", "--to", "easyr1", "--out", "e", *DEMO, "--reward", "gain"], "not exported"),
    (["records", "--out", "r"], "--dataset"),
    (["records", "--out", "r", *DEMO, "--select", "gain"], "--teacher"),
    (["records", "--out", ".", *DEMO], "not empty"),
    (["sft", "--out", "m"], "model"),
    (["sft", "--model", "x", "--out", "m"], "nothing to train on"),
    (["sft", "--model", "x", "--out", "m", *DEMO, "--resume"], "no complete checkpoint"),
    (["grpo", "--model", "x", "--out", "m", *DEMO, "--tracker-weights", "nothing"], "nothing"),
    (["grpo", "--model", "x", "--out", "m", *DEMO, "--tracker-device", "nope"], "nope"),
    (["grpo", "--model", "x", "--out", "m", *DEMO, "--tracker-config", "nope"], "nope"),
    (["grpo", "--model", "x", "--out", "m", *DEMO, "--reward-weights", "a"], "reward weights"),
]


def refused(arguments: list[str], says: str) -> None:
    """The command ends with one line on stderr that says so, and never with 1, which means that a gate failed."""
    stderr = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as caught:
        patch.setattr("sys.argv", ["tnllt-train", *arguments])
        patch.setattr("sys.stderr", stderr)
        run_command(cli, "tnllt-train")
    text = stderr.getvalue()
    assert caught.value.code in (EXIT_USAGE, EXIT_INCOMPLETE), text
    assert re.search(says, text), text[-2000:]
    assert "Traceback" not in text and "please report it" not in text


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("no")
    return tmp_path


@pytest.mark.parametrize(("arguments", "says"), TRACKER)
def test_tracker_refuses(arguments: list[str], says: str, folder: Path) -> None:
    out = [] if "--out" in arguments else ["--out", "out"]
    refused(["tracker", *SMALL, *out, *arguments], says)
    assert not (folder / "out").exists(), "nothing is left of what never began"


@pytest.mark.parametrize(("arguments", "says"), OTHERS)
def test_others_refuse(arguments: list[str], says: str) -> None:
    refused(arguments, says)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder(folder: Path) -> None:
    (folder / "closed").mkdir(mode=0o555)
    refused(["tracker", *SMALL, "--out", "closed/run"], "closed")


def test_init_reads_what_it_checks(folder: Path) -> None:
    """A file with two directories of an archive, one for each of two readers; the second is a TorchScript archive."""
    spec = importlib.util.spec_from_file_location("attacks", Path(__file__).parents[1] / "test_tensors.py")
    assert spec is not None and spec.loader is not None
    attacks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(attacks)
    for name in ("two_directories", "script"):
        (folder / "evil.pth").write_bytes(getattr(attacks, name)())
        refused(["tracker", *SMALL, "--out", "out", "--init", "evil.pth"], r"evil\.pth: not a file of tensors")
    assert not (folder / "out").exists()
