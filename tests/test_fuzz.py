"""Whatever comes from outside is read, or refused with an error that a user can act on: the targets of `fuzz/`.

Here they get some seconds of random, bent and cut input; `fuzz/run.py` gives them hours (SECURITY.md). Inputs that once
got through are kept at the end, each with the target that found it.
"""

from __future__ import annotations

import importlib.util
import json
import random
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SCRIPT = Path(__file__).resolve().parents[1] / "fuzz" / "targets.py"


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("fuzz_targets", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_targets"] = module
    spec.loader.exec_module(module)
    return module


targets = _load()
TARGETS: dict[str, Any] = targets.TARGETS


NEEDS = {"spans": "openpyxl", "published": "pyarrow"} | dict.fromkeys(
    ("checkpoint", "settings", "pairs", "trace", "reply", "answer_cache"), "torch"
)


def read(name: str, data: bytes) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    with tempfile.TemporaryDirectory() as folder:
        TARGETS[name].read(Path(folder, "in"), data)


def bent(data: bytes, chance: random.Random, is_json: bool) -> bytes:
    """A well-formed input with a value changed, bytes changed, or its end cut off."""
    if is_json and chance.random() < 0.7:
        lines = data.split(b"\n")
        try:
            return json.dumps(targets.changed(json.loads(data), chance)).encode()
        except (ValueError, RecursionError):
            at = chance.randrange(len(lines))
        try:
            lines[at] = json.dumps(targets.changed(json.loads(lines[at]), chance)).encode()
            return b"\n".join(lines)
        except (ValueError, RecursionError):
            pass
    out = bytearray(data)
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(len(out) + 1)
        out[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(4))
    return bytes(out[: chance.randrange(len(out) + 1)] if chance.random() < 0.2 else out)


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_is_read_or_refused(name: str) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    seeds = TARGETS[name].seeds()
    for seed in seeds:
        read(name, seed)

    @settings(max_examples=40, deadline=None)
    @given(st.one_of(st.binary(max_size=120), st.tuples(st.sampled_from(seeds), st.randoms(use_true_random=False))))
    def check(given_: Any) -> None:
        read(name, given_ if isinstance(given_, bytes) else bent(*given_, TARGETS[name].json))

    check()


def _record(**changes: Any) -> bytes:
    return json.dumps({"schema": "tnllt.run/1", "tracker": "T", "sequence": "s", "frames": 3, **changes}).encode()


NESTED = b"[" * 100_000
FOUND = [
    ("blind", b"[" * 600 + b"]" * 600),
    ("entry", b'schema = "tnllt.entry/1"\ntracker = "T/"\n'),
    ("beside", b""),
    ("record", _record(seconds="x")),
    ("record", _record(seconds={"track": 3})),
    ("record", _record(seconds={"track": [None, "1", 2]})),
    ("record", _record(confidence=[1.0, [], None])),
    ("record", _record(confidence=[10**400, 1, 1])),
    ("record", _record(confidence=7)),
    ("record", _record(confidence=[0.5])),
    ("record", _record(sha256=[])),
    ("record", _record(status="ok")),
    ("record", _record(seconds={"track": [1, None, 2], "read": ["x"]})),
    ("record", _record(status="failed", failure={})),
    ("record", _record(description_changes=[{}])),
    ("record", NESTED),
    ("trace", NESTED),
    ("trace", b'{"schema": []}'),
    ("trace", b"[1]\n"),
    ("score_baseline", NESTED),
    ("score_baseline", b'{"schema": "tnllt.scores/1", "scores": {"T": 3}}'),
    ("answer_cache", NESTED),
    ("score_cache", b"PK\x03\x04 and no more"),
    ("pairs", NESTED),
    ("settings", b'{"a":' + NESTED),
    ("config", b"a = " + NESTED),
    ("baseline", b"a = " + NESTED),
    ("prepare_records", NESTED),
    ("prepare_records", b'{"annos.zip": []}'),
    ("worker", struct.pack(">4sI", b"TNLT", 0xFFFFFFFF) + b"{}"),
    ("worker", struct.pack(">4sI", b"TNLT", len(NESTED)) + NESTED),
    ("reply", NESTED),
    ("reply", json.dumps({"choices": [{"finish_reason": "x" * 3000}]}).encode()),
    ("reply", b"1 Jan 99999999999999999999 00:00:00"),
    ("checkpoint", b"\x1f\x8b cut off"),
    # The header of an lzma stream that wants 4 GB.
    ("checkpoint", b"\x5d\xff\xff\xff\xff" + b"\xff" * 8 + bytes(300)),
    ("results_zip", b"PK\x05\x06" + b"\x01" * 18),
]


@pytest.mark.parametrize(("name", "data"), FOUND, ids=[f"{name}-{i}" for i, (name, _) in enumerate(FOUND)])
def test_what_once_got_through(name: str, data: bytes) -> None:
    read(name, data)


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parent / "data" / "fuzz").iterdir()), ids=lambda path: path.stem
)
def test_what_the_fuzzer_found(path: Path) -> None:
    """The fuzzer's own inputs, as it left them: the target's name, and a mark of the place in the code."""
    read(path.stem.rpartition("-")[0], path.read_bytes())
