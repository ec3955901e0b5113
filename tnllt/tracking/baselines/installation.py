"""Where the parts of a baseline are on this machine, what is in them, and what its worker must be given."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tnllt.errors import UsageError
from tnllt.files import user_path
from tnllt.options import json_value, key_values, split_pairs
from tnllt.tracking.baselines.record import BaselineRecord
from tnllt.tracking.identity import content_hash

#: Files of a clone with the code that tracks.
CODE = ("lib/**/*.py", "tracking/**/*.py", "external/**/*.py")
_OTHER_FRAMEWORKS = ("cls", "keywords", "initialize", "track", "answer", "weights_name", "autocast")


@dataclass(frozen=True)
class Installation:
    """A baseline with every option settled.

    Attributes:
        repo: the clone.
        python: the interpreter.
        save_dir: where upstream keeps what it trained.
        weights: the checkpoint.
        configuration: the YAML file.
        dataset: the benchmark's name that upstream is given.
        cfg: settings changed in upstream's configuration, the record's and the user's, by dotted name.
        device: cpu, cuda or cuda:N.
    """

    record: BaselineRecord
    repo: Path
    python: str
    save_dir: Path
    weights: Path
    configuration: Path
    dataset: str
    cfg: Mapping[str, Any]
    device: str

    @classmethod
    def of(cls, record: BaselineRecord, **given: Any) -> Installation:
        """The options that were given, the record's own and the defaults. Raises UsageError where a part is missing."""
        call = record.call
        own = record.options_with(**given)
        device, repo = own["device"] or "cuda", existing_repo(record, own["repo"])
        if not (device in ("cpu", "cuda") or (device.startswith("cuda:") and device[5:].isdigit())):
            raise UsageError(f"{record.name}: device={device!r} is not one of cpu, cuda, cuda:N")
        save_dir = user_path(own["save_dir"] or repo / "output").resolve()
        weights = find_weights(record, save_dir, own["weights"], own["yaml"])
        configuration = find_configuration(record, repo, own["yaml"])
        cfg = {**call.config, **parse_cfg(own["cfg"] or "")}
        if call.cls and cfg:
            raise UsageError(f"{record.name} takes no cfg: its code has no configuration in OSTrack's form")
        dataset = own["dataset"] or call.dataset
        return cls(record, repo, interpreter(own["python"]), save_dir, weights, configuration, dataset, cfg, device)

    def worker_spec(self) -> dict[str, Any]:
        """What the worker needs to build the tracker, as JSON-able values."""
        call = self.record.call
        is_upstreams = self.configuration.parent == _experiments(self.record, self.repo)
        known = {"{weights}": self.weights.name, "{checkpoint}": str(self.weights)}

        def filled(values: Mapping[str, Any]) -> dict[str, Any]:
            return {key: known.get(v, v) if isinstance(v, str) else v for key, v in values.items()}

        return {
            **{key: value for key, value in asdict(call).items() if key not in ("name", "experiments")},
            "repo": str(self.repo),
            "save_dir": str(self.save_dir),
            "checkpoint": str(self.weights),
            "module": self.record.module,
            "parameter": call.parameter or call.name,
            "yaml": self.configuration.stem,
            "yaml_file": "" if is_upstreams else str(self.configuration),
            "arguments": filled(call.arguments),
            "dataset": self.dataset,
            "params": {"debug": 0, **call.params},
            "config": dict(self.cfg),
            **{name: getattr(call, name) for name in _OTHER_FRAMEWORKS},
            "env": filled(call.env),
            "text": asdict(self.record.text),
            "device": "cpu" if self.device == "cpu" else "cuda",
        }

    def identity(self) -> dict[str, Any]:
        """What decides the boxes, by content: files by SHA-256, the rest as it is. No path is part of it."""
        commit, changed = repository_state(self.repo)
        rest = {**self.worker_spec(), "checkpoint": "", "repo": "", "save_dir": "", "yaml_file": "", "device": ""}
        call = json.dumps({**rest, "config": {}, "env": self.record.call.env}, sort_keys=True)
        return {
            "baseline": self.record.name,
            "commit": commit,
            "changed": list(changed),
            "code": content_hash(self.repo, ("**/*.py",) if self.record.call.cls else CODE),
            "configuration": content_hash(self.configuration),
            "cfg": dict(self.cfg),
            "dataset": self.dataset,
            "call": hashlib.sha256(call.encode()).hexdigest(),
            "weights": content_hash(self.weights),
        }


def existing_repo(record: BaselineRecord, repo: Path | str | None) -> Path:
    """The clone, resolved. UsageError, with the command that brings it, where there is none."""
    if repo is None and Path(record.repository).is_dir():
        repo = Path(record.repository)
    if repo is None:
        raise UsageError(f"{record.name} needs its clone: --set repo=DIR ({clone_command(record)})")
    found = user_path(repo).resolve()
    needed = Path(*record.module.split(".")).with_suffix(".py")
    if not (found / needed).is_file():
        raise UsageError(f"{found} is not a clone of {record.title} (no {needed} in it): {clone_command(record)}")
    return found


def clone_command(record: BaselineRecord) -> str:
    quoted = shlex.quote(record.repository.rstrip("/").rsplit("/", 1)[-1])
    checkout = f" && git -C {quoted} checkout {record.commit}" if record.commit else ""
    return f"git clone {shlex.quote(record.repository)} {quoted}{checkout}"


def interpreter(given: str | None) -> str:
    """The interpreter's path; a bare word is searched on PATH; by default this one."""
    return str(user_path(given).absolute()) if given and "/" in given else given or sys.executable


def is_yaml_file(yaml: str | None) -> bool:
    """Whether `yaml` is a user's file; else it is the name of one of upstream's."""
    return yaml is not None and yaml.endswith((".yaml", ".yml"))


def find_configuration(record: BaselineRecord, repo: Path, yaml: str | None) -> Path:
    """The YAML file: upstream's by name, or the user's own by path. UsageError, naming those that exist."""
    if yaml is not None and is_yaml_file(yaml):
        path = user_path(yaml).resolve()
    else:
        path = _experiments(record, repo) / f"{yaml or record.call.yaml}.yaml"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise UsageError(f"{record.name}: no configuration at {path}" + (f"; there are: {there}" if there else ""))
    return path


def _experiments(record: BaselineRecord, repo: Path) -> Path:
    return repo / ("" if record.call.cls else "experiments") / (record.call.experiments or record.call.name)


def find_weights(record: BaselineRecord, save_dir: Path, weights: Path | str | None, yaml: str | None) -> Path:
    """The checkpoint. UsageError, with where it can be had, where there is none."""
    assert record.checkpoint is not None
    name = Path(yaml).stem if yaml else record.call.yaml
    place = user_path(weights) if weights else save_dir / record.checkpoint.path.replace("{yaml}", name)
    if place.is_dir():
        place = max(place.glob("*.pth*"), default=place, key=lambda path: path.name)
    if not place.is_file():
        raise UsageError(f"{record.name}: no weights at {place}; {record.checkpoint.source}; give --set weights=FILE")
    return place.resolve()


def parse_cfg(text: str) -> dict[str, Any]:
    """ "A.B=1,C=[2,3]" as {"A.B": 1, "C": [2, 3]}; a value that is not JSON is a string."""
    return {key: json_value(value) for key, value in key_values(split_pairs(text), "cfg").items()}


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


def repository_state(repo: Path) -> tuple[str | None, tuple[str, ...]]:
    """The clone's commit, and its tracked files that differ from it; (None, ()) where it is not a work tree of its own.

    An unpacked archive within another work tree does not have that one's commit.
    """
    top = _git(repo, "rev-parse", "--show-toplevel", "HEAD").strip().rpartition("\n")
    if not top[0] or Path(top[0]).resolve() != Path(repo).resolve():
        return None, ()
    changes = _git(repo, "status", "--porcelain", "--untracked-files=no", "-z").split("\0")
    return top[2], tuple(sorted(change[3:] for change in changes if change))


def _git(repo: Path, *arguments: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(repo), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
