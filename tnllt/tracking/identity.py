"""What decides the results of a run, gathered: code, weights and data by content; see `tnllt.results.records`."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tnllt.errors import DataError
from tnllt.files import plain, sha256_of
from tnllt.tracking import system
from tnllt.tracking.options import check_options

if TYPE_CHECKING:
    from tnllt.sequence import Frames, Sequence
    from tnllt.tracking.config import RunSpec

#: Options that decide where and how fast a tracker runs, not its boxes.
_MACHINE = frozenset({"device", "python", "start_timeout", "frame_timeout", "history", "cuda_graphs"})
#: Options whose files count by content, not by place, unless the tracker's own `identity` has them.
_CONTENT = frozenset({"weights", "checkpoint", "model", "prompt", "vocabulary"})
_EDGE = 1 << 16  # bytes of a video's start and end that its digest is taken from


def run_facts(spec: RunSpec) -> dict[str, Any]:
    """The facts of the run's identity, as JSON has them."""
    cls = spec.tracker.tracker_class
    own = dict(cls.identity(spec.tracker.options))
    options: dict[str, Any] = {}
    for name, value in check_options(cls, spec.tracker.options).items():
        if name in _MACHINE or name in own or (own and isinstance(value, Path)):
            continue
        is_content = name in _CONTENT and isinstance(value, str | Path) and Path(value).is_file()
        options[name] = content_hash(Path(value)) if is_content else value
    only = cls.modes[0].value if len(cls.modes) == 1 else None
    facts = {
        "tracker": _without_folders(spec.tracker.target),
        "code": _code(spec.tracker.target, cls),
        "mode": spec.mode or only,
        "seed": spec.seed,
        "options": options,
        **({} if spec.realtime is None else {"realtime": spec.realtime}),
        **own,
    }
    if spec.texts is not None:
        facts["text"] = spec.texts.fact()
    starter = spec.starter_spec()
    if starter is not None:
        facts["starter"] = starter.identity()
    found: dict[str, Any] = plain(facts)
    return found


def data_digest(sequence: Sequence) -> str:
    """32 hexadecimal digits for annotation and frames; "" where they cannot be read.

    Of the frames, the names and sizes of all and the content of the first and the last count: a second for 10^5 files.
    """
    digest = hashlib.sha256()
    try:
        annotation = sequence.annotation
        digest.update(annotation.groundtruth.tobytes())
        digest.update(b"" if annotation.present is None else annotation.present.tobytes())
        digest.update((annotation.language or "").encode("utf-8", "surrogatepass"))
        _add_frames(digest, sequence.frames)
    except (DataError, OSError):
        return ""
    return digest.hexdigest()[:32]


def content_hash(path: Path, patterns: tuple[str, ...] = ("**/*",)) -> str:
    """SHA-256 of a file, or of a folder's files of these patterns, in hexadecimal.

    A file is read again where its size or time has changed.
    """
    if path.is_dir():
        digest = hashlib.sha256()
        for file in sorted(file for pattern in patterns for file in path.glob(pattern) if file.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()}\0{content_hash(file)}\n".encode("utf-8", "replace"))
        return digest.hexdigest()
    about = path.stat()
    return _file_hash(str(path), about.st_size, about.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _file_hash(path: str, size: int, modified: int) -> str:
    return sha256_of(Path(path))


def _add_frames(digest: Any, frames: Frames) -> None:
    from tnllt.datasets.frames import ImageFrames, VideoFrames

    if isinstance(frames, ImageFrames):
        folder = os.fspath(frames.folder)
        for name in frames.names:
            size = os.stat(f"{folder}/{name}").st_size  # noqa: PTH116  # called once per frame of a dataset
            digest.update(f"{name}\0{size}\n".encode("utf-8", "surrogateescape"))
        for index in {0, len(frames) - 1}:
            digest.update(frames.path(index).read_bytes())
    elif isinstance(frames, VideoFrames):
        with frames.file.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            digest.update(f"{frames.file.name}\0{size}\n".encode("utf-8", "surrogateescape") + stream.read(_EDGE))
            stream.seek(max(0, size - _EDGE))
            digest.update(stream.read(_EDGE))
    else:
        digest.update(str(len(frames)).encode() + frames[0].tobytes())


def _without_folders(target: str) -> str:
    """A target without the folders on this machine: "file.py:Class", "baseline:record.toml", "repo:TRACKER/YAML"."""
    kind, colon, rest = target.partition(":")
    if kind == "repo":
        return f"{kind}:{rest.partition('@')[0]}"
    return f"{kind}:{Path(rest).name}" if kind == "baseline" else f"{Path(kind).name}{colon}{rest}"


def _code(target: str, cls: type) -> str:
    """The code by the hash of the user's file, an installed package by its version."""
    name = target.rpartition(":")[0]
    if target.startswith(("baseline:", "repo:")) or name.partition(".")[0] == "tnllt":
        return f"tnllt {system.versions()['tnllt']}"
    modules = (sys.modules.get(module) for module in (name, cls.__module__))
    files = {name} if name.endswith(".py") else {getattr(module, "__file__", None) for module in modules}
    paths = [Path(file) for file in sorted(filter(None, files))]
    if any({"site-packages", "dist-packages"} & set(path.parts) for path in paths):
        known = {"tnllt", "python", "numpy", "opencv", "torch", "cuda"}
        return " ".join(f"{k} {v}" for k, v in sorted(system.versions(name).items()) if k not in known)
    return "+".join(content_hash(path) for path in paths)
