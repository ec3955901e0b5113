"""A baseline as a `Tracker`: each frame goes to a worker that runs in the baseline's own interpreter and clone."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tnllt.errors import UsageError
from tnllt.files import user_path
from tnllt.sequence import Image
from tnllt.tracking.baselines.find import folder
from tnllt.tracking.baselines.installation import (
    Installation,
    interpreter,
    is_yaml_file,
    repository_state,
    worker_environment,
)
from tnllt.tracking.baselines.process import BaselineError, FrameFile, UpstreamWorker
from tnllt.tracking.baselines.record import BaselineRecord
from tnllt.tracking.identity import content_hash
from tnllt.tracking.tracker import Mode, Prediction, Tracker


class BaselineTracker(Tracker):
    """Upstream's own code, unchanged, as a tracker; the record says how it is called.

    The weights are unpickled by upstream (they hold settings objects): give only files that you trust.

    Args:
        repo: the clone.
        python: the interpreter that upstream's requirements are installed for; by default this one.
        weights: the checkpoint; by default the record's path below `save_dir`.
        save_dir: where upstream keeps what it trained; by default `output` in the clone.
        yaml: another configuration of upstream's, by name, or a YAML file of your own.
        dataset: the benchmark's name that upstream is given.
        cfg: settings changed in upstream's configuration: KEY=VALUE[,KEY=VALUE...], values in JSON.
        device: cuda (the default), cuda:N or cpu.
        start_timeout: seconds for imports and weights.
        frame_timeout: seconds for one frame.

    Raises:
        UsageError: the clone or the weights are missing, or an option has an invalid value.
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
        self.place = Installation.of(
            self.record,
            repo=repo,
            python=python,
            weights=weights,
            save_dir=save_dir,
            yaml=yaml,
            dataset=dataset,
            cfg=cfg,
            device=device,
        )
        self.device, self.start_timeout, self.frame_timeout = self.place.device, start_timeout, frame_timeout
        self.loaded: list[dict[str, Any]] = []
        self.versions: dict[str, str] = {}
        self._frame, self._cut = 0, ""
        self._told: dict[str, str] = {}
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
        if is_yaml_file(made.get("yaml")):
            made["yaml"] = str(user_path(made["yaml"]).absolute())
        return made

    @classmethod
    def identity(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return Installation.of(cls.record, **options).identity()

    def _start(self) -> None:
        name = self.record.name
        self.close()
        self._scratch = tempfile.TemporaryDirectory(prefix=f"tnllt-{name}-", ignore_cleanup_errors=True)
        commit, changed = repository_state(self.place.repo)
        self._state, self._sha256 = {"commit": commit, "changed": list(changed)}, content_hash(self.place.weights)
        spec = {**self.place.worker_spec(), "scratch": self._scratch.name}
        try:
            self._worker = UpstreamWorker(
                name,
                [self.place.python, "-u", str(folder() / "worker.py")],
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
        self._frame, self._cut, self._told = 0, "", {}
        if box is None and Mode.NL not in self.record.modes:
            raise UsageError(f"{self.record.name} needs the initial box (it takes {modes_text(self.record)})")
        initial = None if box is None else [float(v) for v in np.asarray(box, dtype=float)]
        message = {"box": initial, "text": language, "seed": self.run_seed, **self._frames.put(image)}
        answer = self._request("initialize", self.frame_timeout, **message)
        self._note_cut(answer)
        return Prediction(answer["box"]) if box is None else None

    def describe(self, text: str) -> None:
        self._told = {"text": text}

    def _note_cut(self, answer: Mapping[str, Any]) -> None:
        if answer.get("text_cut"):
            self._cut = answer["text_cut"]
            if self.emit is not None:
                self.emit({"event": "text_cut", "dropped": self._cut})

    def track(self, image: Image) -> Prediction:
        return self._track(image)[0]

    def measure(self, image: Image) -> tuple[Prediction, Mapping[str, int]]:
        prediction, answer = self._track(image, count=True)
        return prediction, answer.get("costs", {})

    def _track(self, image: Image, **more: Any) -> tuple[Prediction, dict[str, Any]]:
        if self._worker is None or not self._worker.alive:
            raise BaselineError(f"{self.record.name}: the worker has ended; start the sequence again")
        self._frame += 1
        message, self._told = {**self._told, **more, **self._frames.put(image)}, {}
        answer = self._request("track", self.frame_timeout, f"track, call {self._frame}", **message)
        self._note_cut(answer)
        box = answer["box"]
        if len(box) != 4:
            raise BaselineError(
                f"{self.record.name}: call {self._frame}: upstream answered {len(box)} numbers, not x, y, w, h"
            )
        return Prediction(box, answer.get("confidence"), bool(answer.get("absent"))), answer

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
            **self._state,
            "cfg": dict(self.place.cfg),
            "device": self.device,
            "versions": self.versions,
            "weights": {"file": self.place.weights.name, "sha256": self._sha256, "loads": weights},
        }
        odd = [r for r in self.loaded if r["checkpoint"] and (r["missing"] or r["unexpected"])]
        if odd:
            facts["notice"] = "; ".join(weights_lines(self.record.name, odd))
        return {**facts, "text_cut": self._cut} if self._cut else facts


def tracker_class(record: BaselineRecord) -> type[BaselineTracker]:
    """A `Tracker` class for one record, with the record's modes. UsageError where there is no code to run."""
    record.call  # noqa: B018 - raises for a record without code
    attributes = {"name": record.name, "record": record, "modes": record.modes, "__doc__": BaselineTracker.__doc__}
    if not (record.text.every_frame or record.text.positional):  # upstream reads the text on the first frame alone
        attributes["describe"] = Tracker.describe
    return type(record.name, (BaselineTracker,), {**attributes, "__module__": __name__})


def modes_text(record: BaselineRecord) -> str:
    return ", ".join(mode.value for mode in record.modes)


def doctor_arguments(record: BaselineRecord) -> str:
    """How `tnllt-run doctor` is told of this record."""
    if record.source.suffix != ".toml":
        repo = shlex.quote(str(record.source))
        return f"--repo {repo} --tracker {record.call.name} --yaml {shlex.quote(record.call.yaml)}"
    return record.name if record.source.parent == folder() else f"--baseline {shlex.quote(str(record.source))}"


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
