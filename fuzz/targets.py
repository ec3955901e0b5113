"""What is fuzzed: every reader of what comes from outside, as a table of functions of bytes.

A target takes a folder of its own and bytes. It may return, or raise a `TnlltError` (for servers' answers, a
`ReasonerError`) that names the file; anything else is a finding. `fuzz/run.py` drives the table with coverage-guided
input for as long as you like, `tests/test_fuzz.py` with Hypothesis for some seconds.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import random
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from tnllt.errors import DataWarning, TnlltError

Read = Callable[[Path, bytes], object]


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        read: writes the bytes below a folder and reads them.
        seeds: well-formed input to start from.
        json: whether input is JSON, or lines of it: then values are changed, not bytes alone.
    """

    read: Read
    seeds: Callable[[], list[bytes]]
    json: bool = False


@contextmanager
def expected(name: str) -> Iterator[None]:
    """Passes errors that a user is meant to see; an AssertionError where one does not name the file."""
    from tnllt.reasoningtrack.reasoners.base import ReasonerError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("ignore", DataWarning)
            yield
    except TnlltError as error:
        said = str(error)
        assert name in said, f"the error does not name {name}: {said!r}"
    except ReasonerError as error:
        assert error.kind and len(str(error)) < 2000, f"a server's error of {len(str(error))} characters"


def put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


_ODD = (None, True, -1, 0, 10**30, 1e308, float("nan"), float("inf"), "", "x" * 3000, "\x1b[2J\u202e", "\ud800",
        "../../x", "/etc/passwd", "a.b", [], {}, [[]], [None], {"": {}}, "1e999")  # fmt: skip


def changed(value: Any, chance: random.Random) -> Any:
    """A value with one thing in it replaced, removed, doubled or nested."""
    if isinstance(value, dict | list) and value and chance.random() < 0.85:
        key = chance.choice(list(value) if isinstance(value, dict) else range(len(value)))
        act = chance.random()
        if act < 0.15:
            del value[key]
        elif act < 0.25 and isinstance(value, list):
            value.append(value[key])
        else:
            value[key] = changed(value[key], chance)
        return value
    if chance.random() < 0.03:
        nest: Any = value
        for _ in range(chance.choice((2, 990, 3000))):
            nest = [nest]
        return nest
    return chance.choice(_ODD)


# --- numbers, boxes, annotations -------------------------------------------------------------------------------------

_BOXES = [
    b"1,2,3,4\n5,6,7,8\n",
    b"1.5\t2.25\t3\t4\r\n1 2 3 4\r\n",
    b"\xef\xbb\xbf1;2;3;4\n",
    b"nan,1e5,-.5,inf\n1,2,3,4",
]


def boxes(folder: Path, data: bytes) -> None:
    from tnllt.numbers import parse_table
    from tnllt.results.reading import read_boxes

    path = put(folder, "boxes.txt", data)
    with expected("boxes.txt"):
        assert read_boxes(path).shape[1] == 4
    with expected("boxes.txt"):
        table = parse_table(data, None, path)
        # Whatever is read must be what Python reads, row by row.
        lines = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        assert len(table) <= len(lines)
        assert not any(line.replace(",", " ").replace(";", " ").split() for line in lines[len(table) :]), (
            "a row was lost"
        )
        for row, line in zip(table, lines, strict=False):
            cells = [c for c in line.replace(",", " ").replace(";", " ").split() if c]
            assert np.array_equal(row, [float(c) for c in cells], equal_nan=True)


def stored(folder: Path, data: bytes) -> None:
    from tnllt.results.store import ResultStore

    store = ResultStore(folder)
    put(folder, "T_tracking_result/s.txt", data)
    with expected("s.txt"):
        assert store.read("T", "s").boxes.shape[1] == 4
    store.entry("T", "s")


def beside(folder: Path, data: bytes) -> None:
    """Times and confidences of other frameworks, beside three boxes."""
    from tnllt.results.layouts import find_results
    from tnllt.results.reading import read_many

    put(folder, "T/s.txt", b"1,2,3,4\n" * 3)
    put(folder, "T/s_001_confidence.value", data)
    put(folder, "T/s_time.txt", data)
    with expected("s.txt"):
        read_many([find_results(folder, ["s"]).trackers["T"]["s"]])


def annotation(folder: Path, data: bytes) -> None:
    from tnllt.datasets import text

    path = put(folder, "x.txt", data)
    for form in text.BOX_FORMATS:
        with expected("x.txt"):
            found = text.read_boxes(path, form)
            assert found.ndim == 2 and found.shape[1] == 4
    with expected("x.txt"):
        assert text.read_flags(path).ndim == 1
    with expected("x.txt"):
        text.read_first_line(path)


def dataset(folder: Path, data: bytes) -> None:
    """A sequence in TNLLT's and in LaSOT's layout; the parts of the input are its files."""
    from tnllt.datasets import open_dataset

    parts = (data + b"\xff\xff\xff\xff").split(b"\xff")
    root = folder / "root"
    files = ["s/groundtruth.txt", "s/absent_label.txt", "s/language.txt", "s/attributes.txt", "testing_set.txt"]
    for name, part in zip(files, parts, strict=False):
        put(root, name, part)
    (root / "s" / "imgs").mkdir()
    for layout in ("tnllt", str(root)):
        with expected(""):
            for sequence in open_dataset(layout, root if layout == "tnllt" else None, split=None):
                _ = sequence.annotation


def dataset_toml(folder: Path, data: bytes) -> None:
    from tnllt.datasets import open_dataset

    put(folder, "s/groundtruth.txt", b"1,2,3,4\n")
    path = put(folder, "dataset.toml", data)
    with expected(""):
        for sequence in open_dataset(str(path), split=None):
            _ = sequence.annotation
            leads_nowhere(sequence.name)


def spans(folder: Path, data: bytes) -> None:
    from tnllt.datasets import text

    path = put(folder, "x.xlsx", data)
    with expected("x.xlsx"):
        text.read_story(path)
        text.read_descriptions(path, 20)


def tracks(folder: Path, data: bytes) -> None:
    from tnllt.datasets.synth.sources import read_tracks

    put(folder, "x.txt", data)
    with expected(""):
        read_tracks(folder, least=2)


# --- TOML and JSON ---------------------------------------------------------------------------------------------------


def config(folder: Path, data: bytes) -> None:
    from tnllt.config import LocationConfig

    path = put(folder, "tnllt.toml", data)
    with expected("tnllt.toml"):
        LocationConfig(config=path).locate()
    with expected("tnllt.toml"):
        LocationConfig("lasot", config=path).locate()


def baseline(folder: Path, data: bytes) -> None:
    from tnllt.tracking.baselines.find import load

    path = put(folder, "mine.toml", data)
    with expected("mine.toml"):
        load(path).options_with(repo=None, weights="x")


def record(folder: Path, data: bytes) -> None:
    from tnllt.cli.run_status import _look
    from tnllt.eval.view.scene import answers_of
    from tnllt.results.layouts import find_results
    from tnllt.results.reading import read_many
    from tnllt.results.store import ResultStore

    put(folder, "T_tracking_result/s.txt", b"1,2,3,4\n" * 3)
    put(folder, "T_tracking_result/s.run.json", data)
    store = ResultStore(folder)
    store.entry("T", "s")
    for read in (lambda: store.failures("T"), lambda: store.read("T", "s").record):
        with expected("s.run.json"):
            read()
    with expected("s.run.json"):
        found = store.record("T", "s")
        if found is not None:
            found.fps()
    with expected("s"):
        answers_of(read_many([find_results(folder, ["s"]).trackers["T"]["s"]])[0], ())
    _look(store, "T", {"s": None})


def trace(folder: Path, data: bytes) -> None:
    from tnllt.eval.view.scene import read_trace
    from tnllt.reasoningtrack.reasoners.base import ReasonerError
    from tnllt.reasoningtrack.reasoners.trace import ReplayReasoner
    from tnllt.results.layouts import ResultFile
    from tnllt.results.store import ResultStore

    path = put(folder, "T_tracking_result/s.trace.jsonl", data)
    with expected("s.trace.jsonl"):
        ResultStore(folder).trace("T", "s")
    read_trace(ResultFile("T", "s", str(path.with_name("s.txt")), lambda: b""))
    with expected("s.trace.jsonl"):
        replay = ReplayReasoner(path)
        for events in list(replay._answers.values()):
            replay._answers.clear()
            image = np.zeros((2, 2, 3), np.uint8)
            from tnllt.reasoningtrack.reasoners.trace import image_hash

            replay._answers[image_hash(image), image_hash(image), "x"] = events
            for _ in events:
                try:
                    replay.describe(image, image, "x")
                except ReasonerError as error:
                    assert isinstance(error.kind, str) and isinstance(str(error), str)


def score_baseline(folder: Path, data: bytes) -> None:
    from tnllt.eval.gates import Gates, read_baseline

    path = put(folder, "old.json", data)
    with expected(""):
        Gates({}, read_baseline(path), 0.01).check(_scores())


@cache
def _scores() -> Any:
    from tnllt.eval.evaluate import evaluate
    from tnllt.sequence import Annotation, Sequence

    truth = np.tile(np.array([[1.0, 2, 30, 40]]), (5, 1))
    return evaluate([Sequence("s", Annotation(truth))], {"T": {"s": truth + 1}})


def answer_cache(folder: Path, data: bytes) -> None:
    from tnllt.reasoningtrack.reasoners.cache import AnswerCache

    put(folder, "ab/abc.json", data)
    kept = AnswerCache(folder).get("abc")
    assert kept is None or isinstance(kept, str)


def score_cache(folder: Path, data: bytes) -> None:
    from tnllt.eval.cache import ScoreCache
    from tnllt.eval.protocols import TNLLT

    put(folder, "ab/abc.npz", data)
    ScoreCache(folder).get("abc", "T", 1, TNLLT)


def score_cache_seeds() -> list[bytes]:
    from tempfile import TemporaryDirectory

    from tnllt.eval.cache import ScoreCache

    with TemporaryDirectory() as folder:
        ScoreCache(Path(folder)).put("abc", _scores().tracker_curves[0])
        return [file.read_bytes() for file in Path(folder).rglob("*.npz")]


def saved_scores(folder: Path, data: bytes) -> None:
    """scores.json, two bytes \xff, curves.npz."""
    from tnllt.eval.scores import Scores

    names, _, arrays = data.partition(b"\xff\xff")
    put(folder, "scores.json", names)
    put(folder, "curves.npz", arrays)
    with expected(str(folder)):
        Scores.load(folder).table()


def saved_scores_seeds() -> list[bytes]:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        _scores().save(folder)
        return [b"\xff\xff".join(Path(folder, name).read_bytes() for name in ("scores.json", "curves.npz"))]


def pairs(folder: Path, data: bytes) -> None:
    from tnllt.training.vlm.records import read_published, read_samples

    path = put(folder, "pairs.json", data)
    with expected("pairs.json"):
        read_published(path, folder)
    put(folder, "sample1/data.json", data)
    with expected("data.json"):
        read_samples(folder)


def texts(folder: Path, data: bytes) -> None:
    """Files of `--text`: TOML, JSON, a cache by anchor frame, a folder of lines."""
    from tnllt.tracking.texts import head_noun, texts_of

    for name in ("prompts.toml", "prompts.json", "prompts/s.txt"):
        path = put(folder, name, data)
        with expected("prompts"):
            for found in texts_of(f"{path.parent if name.endswith('txt') else path}", []):
                found.fact()
    head_noun(data.decode("utf-8", "replace"))


def settings(folder: Path, data: bytes) -> None:
    """Options given as text: `--set`, the network's config, a reasoner's options."""
    from tnllt.options import json_value
    from tnllt.reasoningtrack.build import _parse_options
    from tnllt.reasoningtrack.config import Config

    text = data.decode("utf-8", "replace")
    with expected(""):
        Config.make(text)
    with expected(""):
        _parse_options(text)
    json_value(text)


def manifest(folder: Path, data: bytes) -> None:
    from tnllt.results.pack import read_manifest

    with expected("T.zip"):
        for name in read_manifest(data, folder / "T.zip").files:
            assert len(Path(name).parts) == 2 and name.endswith((".txt", ".json", ".jsonl")) and name.isprintable()


def manifest_seeds() -> list[bytes]:
    return [zipfile.ZipFile(io.BytesIO(pack_seeds()[0])).read("manifest.json")]


def pairs_of_text(folder: Path, data: bytes) -> None:
    """KEY=VALUE options, and gates."""
    from tnllt.eval.gates import parse_floors
    from tnllt.options import json_value, key_values, split_pairs

    text = data.decode("utf-8", "replace")
    with expected(""):
        for value in key_values(split_pairs(text), "--set").values():
            json_value(value)
    with expected(""):
        parse_floors([text])


def leaving(folder: Path, data: bytes) -> None:
    """Text on its way out: nothing steers a terminal, no cell is a formula, no secret remains, JSON stays JSON."""
    from tnllt import text as leaves
    from tnllt.files import plain, to_json, user_path

    text = data.decode("utf-8", "surrogateescape")
    secret = text[:12]
    odd = len(set(secret)) < 6  # no key: escapes, or what stands in its place, could spell it again
    leaves._secrets.clear()
    leaves.register_secret(secret)
    for leave in (leaves.one_line, leaves.csv_cell, leaves.markdown, leaves.latex):
        left = leave(text)
        assert left.isprintable(), repr(left)
        assert odd or len(secret.strip()) < 4 or secret not in left, repr(left)
    assert not leaves.csv_cell(text).lstrip().startswith(tuple("=+-@"))
    assert leaves.printable(text).replace("\n", "").replace("\t", "").isprintable()
    leaves._secrets.clear()
    whole = to_json({text: [text, float("nan"), float("-inf")]})
    assert whole.replace("\n", "").isprintable() and json.loads(whole) == plain({text: [text, None, "-Infinity"]})
    with expected(""):
        user_path(text)


# --- archives --------------------------------------------------------------------------------------------------------


def results_zip(folder: Path, data: bytes) -> None:
    from tnllt.results.layouts import find_results

    path = put(folder, "results.zip", data)
    with expected("results.zip"):
        for own in find_results(path, ["s", "t"]).trackers.values():
            for file in own.values():
                with expected("results.zip"):
                    file.read()


def pack(folder: Path, data: bytes) -> None:
    from tnllt.results.pack import open_pack, unpack

    path = put(folder, "in/T.zip", data)
    with expected("T.zip"):
        _, members = open_pack(path)
        out = folder / "out"
        for place in unpack(members, out):
            assert out.resolve() in place.resolve().parents


def entry(folder: Path, data: bytes) -> None:
    from tnllt.results.entry import Entry, read_entry

    path = put(folder, "entry.toml", data)
    with expected("entry.toml"):
        read = read_entry(folder)
        path.write_text(read.to_toml(), "utf-8")
        assert isinstance(read, Entry) and read_entry(folder) == read, "it is written as it was read"


def blind(folder: Path, data: bytes) -> None:
    from tnllt.results.blind import blinded

    with expected("s.run.json"):
        once = blinded(data, "s.run.json")
        assert blinded(once, "s.run.json") == once, "nothing is left to be hidden"


def leads_nowhere(name: str) -> None:
    """A sequence's name becomes that of folders and files, wherever a conversion, a board or results are written."""
    assert Path(name).name == name, name


def published(folder: Path, data: bytes) -> None:
    from tnllt.datasets import open_dataset

    put(folder, "annotations.parquet", data)
    with expected("annotations.parquet"):
        for sequence in open_dataset(folder, split=None):
            _ = sequence.annotation, sequence.has_frames and len(sequence.frames)
            leads_nowhere(sequence.name)


def published_seeds() -> list[bytes]:
    pyarrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    from tnllt.datasets.published import COLUMNS

    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {"sequence": "a", "dataset": "t", "frames": 1, "groundtruth": [1.0, 2.0, 3.0, 4.0], "lacks_presence": False}
    stream = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist([row]), stream)
    return [stream.getvalue()]


def archive(folder: Path, data: bytes) -> None:
    """`tnllt-data prepare` on a download."""
    from tnllt.datasets.archives.prepare import prepare

    name = "TNLLT.zip" if data[:2] == b"PK" else "TNLLT_part_aa" if data[:1] == b"T" else "TNLLT.tar.gz"
    put(folder, f"in/{name}", data)
    with expected(""):
        prepare(folder / "in", folder / "in" / "out")
    outside = [p for p in folder.rglob("*") if "out" not in p.relative_to(folder).parts and p.name not in ("in", name)]
    assert not outside, outside


def prepare_records(folder: Path, data: bytes) -> None:
    """A plan that an earlier run, or somebody, left in the tree."""
    from tnllt.datasets.archives.prepare import prepare

    victim = put(folder, "victim", b"x")
    put(folder, "in/annos.zip", _zip({"annos/s.txt": b"1,2,3,4\n"}))
    put(folder / "out" / ".tnllt-prepare", "annos.zip.plan.jsonl", data)
    with expected(""):
        prepare(folder / "in", folder / "out")
    assert victim.is_file()


def _zip(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, method)
    return stream.getvalue()


def _tar(members: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def archive_seeds() -> list[bytes]:
    members = {"TNLLT/s/groundtruth.txt": b"1,2,3,4\n", "TNLLT/s/language.txt": b"the car", f"TNLLT/{'x' * 120}": b"y"}
    tars = [_tar(members), _tar(members, tarfile.GNU_FORMAT)]
    return [_zip(members), _zip(members, zipfile.ZIP_STORED), *tars, *(gzip.compress(t, mtime=0) for t in tars)]


def pack_seeds() -> list[bytes]:
    from tempfile import TemporaryDirectory

    from tnllt.results.layouts import find_results
    from tnllt.results.pack import pack as write
    from tnllt.sequence import Annotation, Sequence

    with TemporaryDirectory() as place:
        folder = Path(place)
        put(folder, "T/s.txt", b"1,2,3,4\n")
        found = find_results(folder, ["s"]).trackers["T"]
        write(folder / "T.zip", "T", [Sequence("s", Annotation(np.array([[1.0, 2, 3, 4]])))], found)
        return [(folder / "T.zip").read_bytes()]


# --- weights, servers, workers, images -------------------------------------------------------------------------------


def checkpoint(folder: Path, data: bytes) -> None:
    from tnllt.reasoningtrack.checkpoint import read_checkpoint
    from tnllt.reasoningtrack.config import Config

    path = put(folder, "weights.pth.tar", data)
    with expected("weights.pth.tar"):
        tensors, spec = read_checkpoint(path)
        for name, tensor in tensors.items():
            assert isinstance(name, str) and tensor.device.type == "cpu"
    with expected(""):
        Config.make(spec if "spec" in locals() else {})


def checkpoint_seeds() -> list[bytes]:
    import torch
    from safetensors.torch import save

    net = {"a.weight": torch.zeros(2, 3), "b": torch.ones(1, dtype=torch.float16)}
    found = [save(net, {"config": '{"size": "tiny"}'})]
    stream = io.BytesIO()
    torch.save({"net": net, "epoch": 3, "config": {"size": "tiny"}, "names": [PurePosixPath("x")]}, stream)
    return [*found, stream.getvalue()]


def pickled(folder: Path, data: bytes) -> None:
    from tnllt.pickles import Unpickler
    from tnllt.stored_zip import Refused

    with suppress(Refused):
        Unpickler().load(io.BytesIO(data))


def pickled_seeds() -> list[bytes]:
    value = {
        "a": [1, 2.5, None, True, "x", b"y", (1, 2, 3, 4)],
        "when": date(2024, 1, 1),
        "set": {1},
        3: PurePosixPath("x"),
    }
    return [pickle.dumps(value, protocol) for protocol in range(6)]


def reply(folder: Path, data: bytes) -> None:
    from tnllt.reasoningtrack.reasoners.parsing import parse_answer
    from tnllt.reasoningtrack.reasoners.resilience import retry_after
    from tnllt.reasoningtrack.reasoners.server import read_reply

    for compat in ("ours", "released"):
        with expected(""):
            text, facts = read_reply(data, "application/json")
            json.dumps(facts)
            parse_answer(text, compat)
        parse_answer(data.decode("utf-8", "replace"), compat)
    wait = retry_after({"retry-after": data.decode("latin-1")})
    assert wait is None or wait >= 0


_ANSWER = "<think>it turned</think><d>yes</d><answer>the red car, seen from behind</answer>"


def reply_seeds() -> list[bytes]:
    choices: list[Any] = [
        {"message": {"content": _ANSWER}, "finish_reason": "stop"},
        {"message": {"content": [{"type": "text", "text": "<d>no</d>"}], "reasoning_content": "because"}},
        {"text": None},
    ]
    replies: list[Any] = [{"choices": choices}, {"choices": choices[1:]}, {"error": {"message": "busy"}}, [], {}]
    return [json.dumps(r).encode() for r in replies] + [
        _ANSWER.encode(), b"data: {}\n\ndata: [DONE]\n", b"3", b"Wed, 21 Oct 2015 07:28:00 GMT",
    ]  # fmt: skip


def worker(folder: Path, data: bytes) -> None:
    """Both ends of the framed protocol between tnllt and a baseline's worker."""
    from tnllt.tracking.baselines.process import read_answer

    stream = io.BytesIO(data)

    def read(length: int) -> bytes:
        if len(block := stream.read(length)) < length:
            raise EOFError
        return block

    with suppress(OSError, ValueError, EOFError):  # what `UpstreamWorker` turns into a BaselineError
        assert isinstance(read_answer(read), dict)
    module = _worker_script()
    with suppress(module.WorkerError, ValueError, RecursionError):  # requests come from tnllt itself
        module.Channel(io.BytesIO(data), io.BytesIO()).receive()


@cache
def _worker_script() -> Any:
    import importlib.util

    from tnllt.tracking.baselines.find import folder

    spec = importlib.util.spec_from_file_location("tnllt_worker_script", folder() / "worker.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def image(folder: Path, data: bytes) -> None:
    from tnllt.datasets.frames import examine, image_size, is_truncated, read_image

    path = put(folder, "00001.jpg", data)
    is_truncated(data)
    for read in (image_size, read_image):
        with expected("00001.jpg"):
            read(path)
    examine(path)


def image_seeds() -> list[bytes]:
    import cv2

    frame = np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3)
    return [cv2.imencode(ending, frame)[1].tobytes() for ending in (".png", ".jpg", ".bmp", ".webp", ".ppm", ".tiff")]


def video(folder: Path, data: bytes) -> None:
    from tnllt.datasets.frames import VideoFrames

    path = put(folder, "x.avi", data)
    with expected("x.avi"):
        frames = VideoFrames(path)
        assert len(frames) > 0
        _ = frames[0]
        _ = frames[min(len(frames) - 1, 3)]


def video_seeds() -> list[bytes]:
    from tempfile import TemporaryDirectory

    import cv2

    with TemporaryDirectory() as place:
        path = Path(place, "x.avi")
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (32, 24))
        for i in range(3):
            writer.write(np.full((24, 32, 3), i, np.uint8))
        writer.release()
        return [path.read_bytes()]


def xlsx_seeds() -> list[bytes]:
    import openpyxl

    book, stream = openpyxl.Workbook(), io.BytesIO()
    for row in (("level", "start_frame", "end_frame", "description"), ("action", 0, 5, "a car"), ("story", 0, 9, "b")):
        book.active.append(row)
    book.save(stream)
    return [stream.getvalue()]


def record_seeds() -> list[bytes]:
    from tnllt.results.records import RunRecord

    whole = RunRecord("T", "s", frames=3, confidence=[1.0, None, 0.5], absent=[False, True, False])
    whole.seconds = {"load": 1.0, "track": [0.1, 0.2, 0.3]}
    lost = RunRecord("T", "s", status="failed", failure={"kind": "data", "message": "x", "frame": 1, "traceback": ""})
    return [whole.to_json(), lost.to_json()]


def trace_seeds() -> list[bytes]:
    side = {"frame": 1, "sha256": "a" * 64}
    event = {"schema": "tnllt.trace/1", "event": "refresh", "frame": 3, "first": side, "second": side, "own": "a car",
             "before": "a car", "after": "a car", "raw": _ANSWER, "update": True, "answer": "x", "seconds": 1.2,
             "error": None, "detail": {}}  # fmt: skip
    failed = {**event, "error": {"kind": "timeout", "message": "late"}}
    return [b"".join(json.dumps(e).encode() + b"\n" for e in (event, failed, {"event": "other"}))]


def pair_seeds() -> list[bytes]:
    row = {"instruction": "x", "input": "<image><image>a car", "output": _ANSWER, "images": ["a.jpg", "b.jpg"]}
    sample = {"language_description": "a car", "img1_groundtruth": "1,2,3,4", "img2_groundtruth": "1,2,3,4"}
    return [json.dumps([row]).encode(), json.dumps(sample).encode()]


def worker_seeds() -> list[bytes]:
    text = b'{"ok": true, "box": [1, 2, 3, 4]}'
    return [struct.pack(">4sI", b"TNLT", len(text)) + text, struct.pack(">4sI", b"TNLT", 0xFFFFFFFF)]


def baseline_seeds() -> list[bytes]:
    from tnllt.tracking.baselines.find import folder

    return [
        (folder() / name).read_bytes() for name in ("ostrack.toml", "uvltrackNL.toml") if (folder() / name).is_file()
    ]


TARGETS: dict[str, Target] = {
    "boxes": Target(boxes, lambda: _BOXES),
    "stored": Target(stored, lambda: _BOXES),
    "beside": Target(beside, lambda: [b"\n0.5\n0.25\n", b"1\n2\n3\n", b"1,2,3\n"]),
    "annotation": Target(
        annotation, lambda: [*_BOXES, b'1 2 3 4 5 0 0 "a car"\n', b"0,1,0,1", b"1,2,3,4,5,6,7,8\n", b"the red car\n"]
    ),
    "dataset": Target(
        dataset, lambda: [b"1,2,3,4\n0,0,0,0\n\xff1\n0\n\xffthe car\xff" + b",".join([b"0"] * 15) + b"\xffs\n"]
    ),
    "texts": Target(
        texts,
        lambda: [
            b'{"s": ["a", {"0": "b", "9": "c"}], "t": ["d", "e"]}', b"0\ta car\n7\ta red car\n",
            b'{"entries": {"s:9": {"target": "a", "qwen_target": "b"}}}', b's = ["a", "b"]\n[t]\n0 = "c"\n',
        ],
        json=True,
    ),
    "dataset_toml": Target(
        dataset_toml,
        lambda: [b'name = "mine"\nabsent = "{folder}/absent.txt"\npresent = 1\n[splits]\ntest = "list.txt"\n'],
    ),
    "spans": Target(spans, xlsx_seeds),
    "tracks": Target(tracks, lambda: _BOXES),
    "config": Target(config, lambda: [b'dataset = "tnllt"\nroot = "/x"\n[datasets.lasot]\nroot = "y"\n']),
    "baseline": Target(baseline, baseline_seeds),
    "record": Target(record, record_seeds, json=True),
    "trace": Target(trace, trace_seeds, json=True),
    "score_baseline": Target(score_baseline, lambda: [_scores().table("all", "json").encode()], json=True),
    "answer_cache": Target(answer_cache, lambda: [b'{"raw": "x"}'], json=True),
    "score_cache": Target(score_cache, score_cache_seeds),
    "saved_scores": Target(saved_scores, saved_scores_seeds),
    "pairs": Target(pairs, pair_seeds, json=True),
    "settings": Target(
        settings, lambda: [b"tiny", b'{"size": "tiny", "depths": [1, 1, 2]}', b"top_k=3,seed=x"], json=True
    ),
    "manifest": Target(manifest, manifest_seeds, json=True),
    "pairs_of_text": Target(
        pairs_of_text, lambda: [b'a=1,B.C=[1,{"x":2}], d = x', b"success=0.5,precision=0.1", b'a="x,y"']
    ),
    "leaving": Target(
        leaving, lambda: [b"sk-secret-12 =1+1\x1b[2J", "\u202e\x9b\ufeff=x é".encode(), b"~root/x,\xff\x00", b"-1"]
    ),
    "results_zip": Target(
        results_zip, lambda: [_zip({"T/s.txt": b"1,2,3,4\n", "U_tracking_result/t.txt": b"1,2,3,4"})]
    ),
    "pack": Target(pack, pack_seeds),
    "entry": Target(entry, lambda: [b'schema = "tnllt.entry/1"\ntracker = "T"\n[claims.tnllt]\nsuccess = 0.5\n']),
    "blind": Target(blind, record_seeds, json=True),
    "published": Target(published, published_seeds),
    "archive": Target(archive, archive_seeds),
    "prepare_records": Target(
        prepare_records,
        lambda: [b'{"version": 1, "files": [], "entries": 1, "md5": null, "verified": true}\n'
                 b'["s.txt", "annos/s.txt", 8, 1]\n'],
        json=True,
    ),
    "checkpoint": Target(checkpoint, checkpoint_seeds),
    "pickled": Target(pickled, pickled_seeds),
    "reply": Target(reply, reply_seeds, json=True),
    "worker": Target(worker, worker_seeds),
    "image": Target(image, image_seeds),
    "video": Target(video, video_seeds),
}  # fmt: skip
