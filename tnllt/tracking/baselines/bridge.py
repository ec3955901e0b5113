"""A baseline as a `Tracker`: the pixels and the sentence go to a worker in the baseline's own interpreter and clone."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tnllt.errors import UsageError
from tnllt.files import user_path
from tnllt.sequence import Image
from tnllt.tracking.baselines.find import folder
from tnllt.tracking.baselines.process import BaselineError, FrameFile, UpstreamWorker
from tnllt.tracking.baselines.record import BaselineRecord
from tnllt.tracking.tracker import Mode, Prediction, Tracker


class BaselineTracker(Tracker):
    """Upstream's own code, untouched, as a tracker; the record says how it is called.

    The weights are unpickled by upstream (they hold settings objects): give only files that you trust.

    Args:
        repo: the clone.
        python: the interpreter that upstream's requirements are installed for; by default this one.
        weights: the checkpoint; by default the record's path below `save_dir`.
        save_dir: where upstream keeps what it trained; by default `output` in the clone.
        yaml: another configuration of upstream's, by name, or a YAML file of your own.
        dataset: the benchmark's name that upstream is told.
        cfg: settings changed in upstream's configuration: KEY=VALUE[,KEY=VALUE...], values in JSON.
        device: cuda (the default), cuda:N or cpu.
        start_timeout: seconds for imports and weights.
        frame_timeout: seconds for one frame.

    Raises:
        UsageError: the clone, the weights or an option is not there or not meant.
        BaselineError: the worker did not start; upstream's traceback is in its text.
    """

    name: ClassVar[str]
    record: ClassVar[BaselineRecord]

    def __init__(
        self,
        *,
        repo: Path | None = None,
        python: str | None = None,
        weights: Path | None = None,
        save_dir: Path | None = None,
        yaml: str | None = None,
        dataset: str | None = None,
        cfg: str = "",
        device: str | None = None,
        start_timeout: float = 1800.0,
        frame_timeout: float = 600.0,
    ) -> None:
        call, name = self.record.call, self.record.name
        own = self.record.options_with(
            repo=repo,
            python=python,
            weights=weights,
            save_dir=save_dir,
            yaml=yaml,
            dataset=dataset,
            cfg=cfg,
            device=device,
        )
        yaml, device = own["yaml"], own["device"] or "cuda"
        self.repo = existing_repo(self.record, own["repo"])
        self.python = interpreter(own["python"])
        self.save_dir = user_path(own["save_dir"] or self.repo / "output").resolve()
        self.weights = find_weights(self.record, self.save_dir, own["weights"], yaml)
        self.device, self.start_timeout, self.frame_timeout = device, start_timeout, frame_timeout
        if not (device in ("cpu", "cuda") or (device.startswith("cuda:") and device[5:].isdigit())):
            raise UsageError(f"{name}: device={device!r} is none of cpu, cuda, cuda:N")
        told = own["dataset"] or call.dataset
        self.spec = worker_spec(self.record, self.repo, self.weights, self.save_dir, yaml, told, own["cfg"] or "")
        self.spec["device"] = "cpu" if device == "cpu" else "cuda"
        self.loaded: list[dict[str, Any]] = []
        self.versions: dict[str, str] = {}
        self._frame, self._cut = 0, ""
        self._worker: UpstreamWorker | None = None
        self._frames = FrameFile()
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._start()

    @classmethod
    def anchored(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options with those relative paths made absolute that are also names of something: `python`, `yaml`.

        Links are kept: an environment's interpreter is one.
        """
        made = dict(options)
        if made.get("python"):
            made["python"] = interpreter(made["python"])
        if is_own_yaml(made.get("yaml")):
            made["yaml"] = str(user_path(made["yaml"]).absolute())
        return made

    def _start(self) -> None:
        name = self.record.name
        self.close()
        self._scratch = tempfile.TemporaryDirectory(prefix=f"tnllt-{name}-", ignore_cleanup_errors=True)
        spec = {**self.spec, "scratch": self._scratch.name}
        try:
            self._worker = UpstreamWorker(
                name,
                [self.python, "-u", str(folder() / "worker.py")],
                worker_environment(self.record, self.device),
                self.start_timeout,
            )
            answer = self._request("start", self.start_timeout, "start", spec=spec)
        except BaselineError as error:
            self.close()
            hint = (
                f"`tnllt-run doctor {doctor_arguments(self.record)}` with the same --set options says what is missing"
            )
            raise BaselineError(f"{error.message}\n{hint}", error.details) from error
        first_start = not self.versions
        self.loaded, self.versions = answer["weights"], answer["versions"]
        if first_start:
            for line in dict.fromkeys(weights_lines(name, self.loaded)):
                print(line, file=sys.stderr)

    def _request(self, op: str, timeout: float, what: str = "", **message: Any) -> dict[str, Any]:
        assert self._worker is not None
        try:
            return self._worker.request(op, timeout, what, **message)
        except BaselineError:
            self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Print the end of what upstream printed since the last time: it belongs to this sequence's record."""
        if self._worker is None:
            return
        printed = self._worker.output()
        self._worker.forget_output()
        if printed:
            print(printed, file=sys.stderr, end="" if printed.endswith("\n") else "\n", flush=True)

    def initialize(
        self, image: Image, box: Sequence[float] | None = None, language: str | None = None
    ) -> Prediction | None:
        if self._worker is None or not self._worker.alive:
            self._start()
        self._frame, self._cut = 0, ""
        if box is None and Mode.NL not in self.record.modes:
            raise UsageError(f"{self.record.name} needs the first box (it takes {modes_text(self.record)})")
        given = None if box is None else [float(v) for v in np.asarray(box, dtype=float)]
        answer = self._request("initialize", self.frame_timeout, box=given, text=language, **self._frames.put(image))
        if answer.get("text_cut"):
            self._cut = answer["text_cut"]
            if self.emit is not None:
                self.emit({"event": "text_cut", "dropped": self._cut})
        return Prediction(answer["box"]) if box is None else None

    def track(self, image: Image) -> Prediction:
        if self._worker is None or not self._worker.alive:
            raise BaselineError(f"{self.record.name}: the worker has ended; start the sequence again")
        self._frame += 1
        answer = self._request("track", self.frame_timeout, f"track, call {self._frame}", **self._frames.put(image))
        box = answer["box"]
        if len(box) != 4:
            raise BaselineError(
                f"{self.record.name}: call {self._frame}: upstream answered {len(box)} numbers, not x, y, w, h"
            )
        return Prediction(box, confidence=answer.get("confidence"))

    def finish(self) -> None:
        if self._worker is not None and self._worker.alive:
            self._request("finish", self.frame_timeout)
            self._pass_on()

    def close(self) -> None:
        worker, self._worker = self._worker, None
        self._frames.close()
        if worker is not None:
            worker.close()
        scratch, self._scratch = self._scratch, None
        if scratch is not None:
            scratch.cleanup()

    def info(self) -> Mapping[str, Any]:
        weights = [
            {**report, "missing": report["missing"][:20], "unexpected": report["unexpected"][:20]}
            for report in self.loaded
        ]
        facts: dict[str, Any] = {
            "baseline": self.record.name,
            "repository": self.record.repository,
            "commit": commit_of(self.repo),
            "device": self.device,
            "versions": self.versions,
            "weights": {"file": self.weights.name, "sha256": self._weights_hash, "loads": weights},
        }
        odd = [r for r in self.loaded if r["checkpoint"] and (r["missing"] or r["unexpected"])]
        if odd:
            facts["notice"] = "; ".join(weights_lines(self.record.name, odd))
        return {**facts, "text_cut": self._cut} if self._cut else facts

    @cached_property
    def _weights_hash(self) -> str:
        with self.weights.open("rb") as file:
            return file_digest(file)


def file_digest(file: Any) -> str:
    """SHA-256 of an open file, in hexadecimal."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def tracker_class(record: BaselineRecord) -> type[BaselineTracker]:
    """A `Tracker` class for one record, with the record's modes. UsageError where there is no code to run."""
    record.call  # noqa: B018 - raises for a record without code
    attributes = {"name": record.name, "record": record, "modes": record.modes, "__doc__": BaselineTracker.__doc__}
    return type(record.name, (BaselineTracker,), {**attributes, "__module__": __name__})


def modes_text(record: BaselineRecord) -> str:
    return ", ".join(mode.value for mode in record.modes)


def doctor_arguments(record: BaselineRecord) -> str:
    """How `tnllt-run doctor` is told of this record."""
    if record.source.suffix != ".toml":
        repo = shlex.quote(str(record.source))
        return f"--repo {repo} --tracker {record.call.name} --yaml {shlex.quote(record.call.yaml)}"
    return record.name if record.source.parent == folder() else f"--baseline {shlex.quote(str(record.source))}"


def existing_repo(record: BaselineRecord, repo: Path | None) -> Path:
    """The clone, resolved. UsageError, with the command that brings it, where it is not there."""
    if repo is None and Path(record.repository).is_dir():
        repo = Path(record.repository)
    if repo is None:
        raise UsageError(f"{record.name} needs its clone: --set repo=DIR ({clone_command(record)})")
    found = user_path(repo).resolve()
    needed = Path("lib", "test", "tracker", f"{record.call.name}.py")
    if not (found / needed).is_file():
        raise UsageError(f"{found} is no clone of {record.title} (no {needed} in it): {clone_command(record)}")
    return found


def clone_command(record: BaselineRecord, into: str | Path | None = None) -> str:
    place = Path(into) if into is not None else Path(record.repository.rstrip("/").rsplit("/", 1)[-1])
    quoted = shlex.quote(str(place))
    checkout = f" && git -C {quoted} checkout {record.commit}" if record.commit else ""
    return f"git clone {shlex.quote(record.repository)} {quoted}{checkout}"


def interpreter(given: str | None) -> str:
    """The interpreter's path; a bare word is searched on PATH; by default this one."""
    return str(user_path(given).absolute()) if given and "/" in given else given or sys.executable


def is_own_yaml(yaml: str | None) -> bool:
    """Whether `yaml` is a user's file; else it is the name of one of upstream's."""
    return yaml is not None and yaml.endswith((".yaml", ".yml"))


def find_configuration(record: BaselineRecord, repo: Path, yaml: str | None) -> Path:
    """The YAML file: upstream's by name, or the user's own by path. UsageError, naming those that are there."""
    if yaml is not None and is_own_yaml(yaml):
        path = user_path(yaml).resolve()
    else:
        path = repo / "experiments" / (record.call.experiments or record.call.name) / f"{yaml or record.call.yaml}.yaml"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise UsageError(f"{record.name}: no configuration at {path}" + (f"; there are: {there}" if there else ""))
    return path


def find_weights(record: BaselineRecord, save_dir: Path, weights: Path | None, yaml: str | None) -> Path:
    """The checkpoint. UsageError, with where it can be had, where it is not there."""
    assert record.checkpoint is not None
    name = Path(yaml).stem if yaml else record.call.yaml
    place = user_path(weights) if weights else save_dir / record.checkpoint.path.replace("{yaml}", name)
    if place.is_dir():
        place = max(place.glob("*.pth*"), default=place, key=lambda path: path.name)
    if not place.is_file():
        raise UsageError(f"{record.name}: no weights at {place}; {record.checkpoint.source}; give --set weights=FILE")
    return place.resolve()


def worker_spec(
    record: BaselineRecord, repo: Path, weights: Path, save_dir: Path, yaml: str | None, dataset: str, cfg: str
) -> dict[str, Any]:
    """What the worker must know to build the tracker, as JSON-able values."""
    call, text = record.call, record.text
    configuration = find_configuration(record, repo, yaml)

    def filled(value: Any) -> Any:
        known = {"{weights}": weights.name, "{checkpoint}": str(weights)}
        return known.get(value, value) if isinstance(value, str) else value

    return {
        "repo": str(repo),
        "save_dir": str(save_dir),
        "checkpoint": str(weights),
        "tracker": call.name,
        "parameter": call.parameter or call.name,
        "config_module": call.config_module or f"lib.config.{call.name}.config",
        "yaml": configuration.stem,
        "yaml_file": str(configuration) if is_own_yaml(yaml) else "",
        "constructor": list(call.constructor),
        "arguments": {key: filled(value) for key, value in call.arguments.items()},
        "dataset": dataset,
        "reuse": call.reuse,
        "score": call.score,
        "placeholder_box": list(call.placeholder_box),
        "info": dict(call.info),
        "params": {"debug": 0, **call.params},
        "config": {**call.config, **parse_cfg(cfg)},
        "env": {key: filled(value) for key, value in call.env.items()},
        "paths": list(call.paths),
        "text": {
            "key": text.key,
            "every_frame": text.every_frame,
            "positional": text.positional,
            "max_tokens": text.max_tokens,
            "tokenizer": text.tokenizer,
        },
    }


def parse_cfg(text: str) -> dict[str, Any]:
    """ "A.B=1,C=[2,3]" as {"A.B": 1, "C": [2, 3]}; a value that is not JSON is a string."""
    decoder, settings = json.JSONDecoder(), {}
    rest = text.strip()
    while rest:
        key, equals, rest = rest.partition("=")
        if not equals:
            raise UsageError(f"cfg: {key!r} is not KEY=VALUE")
        try:
            value, end = decoder.raw_decode(rest)
            if rest[end : end + 1] not in ("", ","):
                raise json.JSONDecodeError("more follows", rest, end)
        except json.JSONDecodeError:
            value = rest.partition(",")[0]
            end = len(value)
        settings[key.strip()] = value
        rest = rest[end + 1 :].strip()
    return settings


def worker_environment(record: BaselineRecord, device: str) -> dict[str, str]:
    """This environment without what would leak our own packages, with the record's variables and the chosen GPU."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    environment.update({"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"})
    if record.environment is not None:
        environment.update(record.environment.variables)
    if device.startswith("cuda:"):
        visible = [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
        index = int(device[5:])
        if visible and index >= len(visible):
            raise UsageError(f"{device}: CUDA_VISIBLE_DEVICES shows only {len(visible)} device(s)")
        environment["CUDA_VISIBLE_DEVICES"] = visible[index] if visible else str(index)
    return environment


def weights_lines(name: str, reports: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for each load of weights: what fitted, what was missing, what was unexpected."""
    lines = []
    for report in reports:
        line = f"{name}: {report['file']} into {report['module']}: {report['fitted']} tensors fitted"
        for kind in ("missing", "unexpected"):
            keys = report[kind]
            listed = ", ".join(keys[:5]) + (", ..." if len(keys) > 5 else "")
            line += f", {len(keys)} {kind}" + (f" ({listed})" if keys else "")
        lines.append(line)
    return lines


def commit_of(repo: Path) -> str | None:
    """The clone's commit, or None where it is not a git work tree of its own."""
    asked = ["git", "-C", str(repo), "rev-parse", "--show-toplevel", "HEAD"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    top, _, commit = done.stdout.strip().rpartition("\n")
    # An unpacked archive within another work tree must not be taken for that one's commit.
    return commit if done.returncode == 0 and Path(top).resolve() == Path(repo).resolve() else None
