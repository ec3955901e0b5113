"""What SECURITY.md promises of files from somebody else: small ones that claim much, and ones that reach for more."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import resource
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tnllt.config import LocationConfig
from tnllt.datasets import open_dataset, text
from tnllt.datasets.archives.prepare import prepare
from tnllt.datasets.frames import read_image
from tnllt.errors import DataError, TnlltError
from tnllt.files import MOST_BYTES, check_schema, read_bytes, read_toml
from tnllt.results.records import read_record
from tnllt.results.store import ResultStore
from tnllt.sequence import Trajectory


def endless(path: Path, size: int) -> Path:
    """A file of one line of zeros, which takes no room on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.truncate(path, size)
    return path


@pytest.mark.parametrize(
    "read",
    [
        read_bytes,
        text.read_boxes,
        text.read_flags,
        text.read_first_line,
        read_record,
        read_toml,
        lambda path: LocationConfig(config=path).locate(),
    ],
    ids=["bytes", "boxes", "flags", "sentence", "record", "toml", "config"],
)
def test_files_that_never_end_are_not_read(tmp_path: Path, read: Callable[[Path], object]) -> None:
    path = endless(tmp_path / "x.txt", MOST_BYTES + 1)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"x\.txt.*larger than"):
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(30_000, 30_000), (1 << 31, 1), ((1 << 32) - 1, (1 << 32) - 1)])
def test_pictures_that_claim_too_many_pixels(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "1.png"
    path.write_bytes(png(*size))
    with pytest.raises(DataError, match=r"1\.png: frame claims .* pixels"):
        read_image(path)


def test_a_part_of_a_png_that_claims_gigabytes(tmp_path: Path) -> None:
    """OpenCV 5.0 takes 3 GB and 20 seconds for such a file of 200 bytes, and then says that it is no picture."""
    path = tmp_path / "1.png"
    whole = png(16, 12)
    at = whole.index(b"IDAT") - 4
    path.write_bytes(whole[:at] + struct.pack(">I", 0x7FFFFFF0) + whole[at + 4 :])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"1\.png: frame cannot be decoded"):
        read_image(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10


def test_jpeg_that_claims_too_many_pixels(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    data = bytearray(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 65_000, 65_000)
    (tmp_path / "1.jpg").write_bytes(data)
    with pytest.raises(DataError, match=r"1\.jpg: frame claims 65000 x 65000"):
        read_image(tmp_path / "1.jpg")


def download(folder: Path, name: str, data: bytes) -> Path:
    (folder / "in").mkdir(exist_ok=True)
    (folder / "in" / name).write_bytes(data)
    return folder / "in"


def test_a_tar_header_cannot_claim_memory(tmp_path: Path) -> None:
    """A hundred kilobytes that unpack to a name of a hundred megabytes."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 100 << 20
    place = download(tmp_path, "x.tar.gz", gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(100 << 20)))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"x\.tar\.gz.*claims 104,857,600 bytes"):
        prepare(place, tmp_path / "out")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return stream.getvalue()


def test_damage_inside_a_zip_member_is_named(tmp_path: Path) -> None:
    data = bytearray(zipped({"annos/s.txt": b"1,2,3,4\n"}))
    data[data.index(b"1,2,3,4")] = ord("9")
    with pytest.raises(DataError, match=r"annos\.zip is damaged .*download this file again"):
        prepare(download(tmp_path, "annos.zip", bytes(data)), tmp_path / "out")


def test_an_archive_cannot_write_the_records_of_prepare(tmp_path: Path) -> None:
    place = download(
        tmp_path, "x.zip", zipped({"a/.tnllt-prepare/done.json": b"{}", ".tnllt-prepare/done.json": b"{}"})
    )
    with pytest.raises(DataError, match="keeps for its own records"):
        prepare(place, tmp_path / "out")


@pytest.mark.parametrize("name", ["../victim", "/victim", "..", "in/../../victim", "a\\b"])
def test_records_in_a_tree_delete_nothing_elsewhere(tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    place = download(tmp_path, "annos.zip", zipped({"annos/s.txt": b"1,2,3,4\n"}))
    desk = tmp_path / "out" / ".tnllt-prepare"
    desk.mkdir(parents=True)
    about = victim.stat()
    files = [[str(victim) if name == "/victim" else name, about.st_size, about.st_mtime_ns]]
    (desk / "done.json").write_text(json.dumps({"x": {"verified": True, "files": files, "count": 1}}))
    prepare(place, tmp_path / "out")
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize("template", ["{root.__class__}", "{root:>999999999}", "{root!r:>9}", "{nobody}", "{", "{0}"])
@pytest.mark.parametrize("key", ["boxes", "images", "language", "sequences"])
def test_templates_hold_plain_variables_alone(tmp_path: Path, key: str, template: str) -> None:
    (tmp_path / "dataset.toml").write_text(f"{key} = {json.dumps(template)}\n")
    with pytest.raises(TnlltError, match=r"dataset\.toml: .* is not a template"):
        open_dataset(str(tmp_path / "dataset.toml"))


# --- weights ----------------------------------------------------------------------------------------------------------


def weights(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "weights.pth"
    path.write_bytes(data)
    return path


def refused(path: Path, words: str) -> None:
    pytest.importorskip("torch")
    from tnllt.reasoningtrack.checkpoint import read_checkpoint

    tracemalloc.start()
    with pytest.raises(DataError, match=rf"weights\.pth.*{words}"):
        read_checkpoint(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20


def test_safetensors_headers_that_claim_gigabytes(tmp_path: Path) -> None:
    refused(weights(tmp_path, struct.pack("<Q", 4 << 30) + b"{}" + bytes(50)), "header of 4,294,967,296 bytes")
    header = json.dumps({"a": {"dtype": "F32", "shape": [1 << 30], "data_offsets": [0, 4 << 30]}}).encode()
    refused(weights(tmp_path, struct.pack("<Q", len(header)) + header + bytes(64)), "claim more bytes than it has")
    nested = json.dumps({"__metadata__": {"config": "[" * 100_000}}).encode()
    refused(weights(tmp_path, struct.pack("<Q", len(nested)) + nested), "nested too deeply")


def test_a_pickle_cannot_claim_memory(tmp_path: Path) -> None:
    """LONG_BINPUT with an index of 2^28: the unpickler in C would make room for as many objects."""
    refused(weights(tmp_path, b"\x80\x02}r" + struct.pack("<I", 1 << 28) + b"."), "not a file of tensors")


def test_torchscript_is_code_and_refused(tmp_path: Path) -> None:
    data = zipped({"m/data.pkl": pickle.dumps({}, 2), "m/constants.pkl": pickle.dumps((), 2), "m/version": b"3"})
    refused(weights(tmp_path, data), "TorchScript")


def test_a_checkpoint_with_packed_members(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("m/data/0", bytes(50 << 20))
    refused(weights(tmp_path, stream.getvalue()), "compressed")


def test_a_view_that_claims_terabytes_is_of_the_wrong_shape(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from tnllt.reasoningtrack.checkpoint import load_strictly

    huge = torch.zeros(1).expand(1 << 42)
    with pytest.raises(DataError, match="of the wrong shape"):
        load_strictly(torch.nn.Linear(2, 2), {"weight": huge, "bias": torch.zeros(2)})


def test_resuming_runs_no_code(tmp_path: Path) -> None:
    """Training resumes with accelerate's `load_state`: a state folder's pickles are read for plain values alone."""
    accelerate = pytest.importorskip("accelerate")
    mark = tmp_path / "executed"

    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {mark}",)

    accelerator = accelerate.Accelerator(cpu=True)
    accelerator.save_state(str(tmp_path / "state"))
    (random_states,) = (tmp_path / "state").glob("random_states_*.pkl")
    torch = pytest.importorskip("torch")
    torch.save({"step": Attack()}, random_states)
    with suppress(pickle.UnpicklingError):  # of random states, a failure is only noted
        accelerator.load_state(str(tmp_path / "state"))
    assert not mark.exists()
    torch.load(random_states, weights_only=False)  # the check can fail: this does run it
    assert mark.exists()


# --- text from models and records -------------------------------------------------------------------------------------


class Odd:
    """A reasoner that says what JSON can spell and UTF-8 cannot."""

    def describe(self, first: Any, second: Any, description: str) -> Any:
        from tnllt.reasoningtrack.reasoners.base import Reasoning

        return Reasoning("a\ud800b", True, "the \udfff car", "\ud800")


def loaders() -> dict[str, Callable[[str], object]]:
    from tnllt.foundation.starters import DetectorStarter
    from tnllt.foundation.vlm import VlmTracker
    from tnllt.reasoningtrack.reasoners.factory import make_reasoner
    from tnllt.training.vlm.finetune import load_for_training
    from tnllt.training.vlm.options import ModelOptions

    return {
        "starter": lambda model: DetectorStarter(model, device="cpu"),
        "reasoner": lambda model: make_reasoner(f"transformers:{model}", device="cpu", cache="off"),
        "tracker": lambda model: VlmTracker(f"transformers:{model}", "qwen2.5-vl", model_options="device=cpu"),
        "training": lambda model: load_for_training(ModelOptions(model)),
    }


@pytest.mark.parametrize("loader", ["starter", "reasoner", "tracker", "training"])
def test_code_of_a_model_is_not_run_and_nobody_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loader: str
) -> None:
    pytest.importorskip("transformers")
    names = {"AutoConfig": "own.Own", "AutoModelForImageTextToText": "own.Own", "AutoProcessor": "own.Own"}
    for file in ("config.json", "processor_config.json", "tokenizer_config.json"):
        (tmp_path / file).write_text(json.dumps({"model_type": "own", "auto_map": names}))
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')")
    monkeypatch.setattr("builtins.input", lambda *words: "y")
    with pytest.raises(DataError, match="needs code of its own, which is not run; choose a model that"):
        loaders()[loader](str(tmp_path))
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("loader", ["starter", "reasoner", "tracker", "training"])
def test_a_name_on_the_hub_reaches_no_network(monkeypatch: pytest.MonkeyPatch, loader: str) -> None:
    pytest.importorskip("transformers")
    from huggingface_hub import constants

    asked: list[object] = []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("socket.getaddrinfo", lambda *place, **_: asked.append(place) or [])
    with pytest.raises(DataError, match=r"nobody/nothing is neither a folder nor .* download=yes"):
        loaders()[loader]("nobody/nothing")
    assert not asked


def test_lone_surrogates_in_an_answer_do_no_harm(tmp_path: Path) -> None:
    from tnllt.reasoningtrack.reasoners import Look, Question, ask

    look = Look(np.zeros((2, 2, 3), np.uint8), (0.0, 0, 1, 1), 0)
    outcome = ask(Odd(), Question.of_pair(look, look, "a car"))
    assert outcome.description == "the ? car" and outcome.event["think"] == "a?b"
    store = ResultStore(tmp_path)
    events = [outcome.event, {"event": "x", "odd": "\ud800", "line": "one\u2028two\x85three"}]
    store.write("T", "s", Trajectory(np.ones((2, 4))), events)
    assert store.trace("T", "s") == events


def test_hostile_records_do_not_steer_the_terminal(tmp_path: Path) -> None:
    from tnllt.cli.run import cli
    from tnllt.results.records import RunRecord

    store = ResultStore(tmp_path)
    bad = "x\x1b[2J\u202e\r"
    store.write_failure(RunRecord(bad, bad, "failed", device=bad, failure={"kind": bad, "message": bad, "frame": 1}))
    result = CliRunner().invoke(cli, ["status", "--results", str(tmp_path)], catch_exceptions=False)
    assert "failed" in result.output and "\\x1b" in result.output
    assert not [c for c in result.output if not c.isprintable() and c != "\n"], repr(result.output)


# --- schemas ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["tnllt.run/1", "tnllt.run/2", "tnllt.run/3"])
def test_older_schemas_are_read(said: str) -> None:
    assert check_schema({"schema": said, "a": 1}, "tnllt.run/3", "x") == {"schema": said, "a": 1}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"schema": "tnllt.run/4"}, "reads up to tnllt.run/3; update tnllt"),
        ({"schema": "tnllt.run/0"}, "reads up to"),
        ({"schema": "tnllt.run/"}, "none of tnllt's files"),
        ({"schema": "tnllt.run/٣"}, "none of tnllt's files"),
        ({"schema": "tnllt.run/" + "9" * 5000}, "none of tnllt's files"),
        ({"schema": "other/1"}, "none of tnllt's files"),
        ({"schema": ["tnllt.run/1"]}, "none of tnllt's files"),
        ({}, "none of tnllt's files"),
        ([], "none of tnllt's files"),
    ],
)
def test_newer_and_other_schemas_are_refused(table: Any, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        check_schema(table, "tnllt.run/3", "x.json", 7)
    assert str(caught.value).startswith("x.json, row 7: ") and len(str(caught.value)) < 300
