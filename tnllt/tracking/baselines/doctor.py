"""What a baseline still lacks on this machine, and the command that brings it. Runs no code of upstream's."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from tnllt.errors import UsageError
from tnllt.files import user_path
from tnllt.findings import Checker, Finding, Findings, Kind
from tnllt.tracking.baselines.bridge import modes_text
from tnllt.tracking.baselines.installation import (
    clone_command,
    existing_repo,
    find_configuration,
    find_weights,
    interpreter,
    parse_cfg,
    repository_state,
    worker_environment,
)
from tnllt.tracking.baselines.record import BaselineRecord, Environment, Weight

CHECKER = Checker(
    "doctor",
    (
        Kind("record", "ok", "the baseline's record"),
        Kind("code", "error", "there is no code that can be run here"),
        Kind("clone", "error", "the clone is missing"),
        Kind("commit", "note", "the clone's commit is not the record's"),
        Kind("changed", "warning", "files of the clone differ from its commit"),
        Kind("yaml", "error", "the configuration is missing"),
        Kind("path", "error", "the configuration names a path that does not exist"),
        Kind("interpreter", "error", "the interpreter is missing"),
        Kind("packages", "error", "packages are missing"),
        Kind("device", "error", "the accelerator is missing"),
        Kind("weights", "error", "the weights are missing"),
        Kind("file", "error", "a further file is missing"),
        Kind("start", "ok", "upstream's code imports and the weights load"),
        Kind("trap", "note", "what changes results silently"),
    ),
)

#: Run by the baseline's interpreter: which modules import, in what version, and whether CUDA is there.
_PROBE = """
import importlib, json, sys
sys.path[:] = [place for place in sys.path if place]  # not what happens to lie in the working folder
found = {}
for name in sys.argv[1:]:
    try:
        module = importlib.import_module(name)
        found[name] = str(getattr(module, "__version__", ""))
    except BaseException as error:
        found[name] = None
torch = sys.modules.get("torch")
cuda = bool(torch is not None and torch.cuda.is_available())
print("\\n" + json.dumps({"python": sys.version.split()[0], "modules": found, "cuda": cuda}))
"""
_YAML_LINE = re.compile(r"( *)(?:- )?([A-Za-z_][\w.]*) *: *(?:'([^']*)'|\"([^\"]*)\"|([^#]*))")


def examine(record: BaselineRecord, **given: Any) -> Findings:
    """Look at clone, interpreter, packages, device and weights.

    Args:
        record: the baseline.
        **given: options as `BaselineTracker`'s.

    Returns:
        All findings, in the order in which a user would mend them.
    """
    found = list(_look(record, given) if record.tracker is not None else [CHECKER.finding("code", record.reason)])
    return Findings(CHECKER, found, record.name, {"baseline": record.name}, checklist=True)


def _look(record: BaselineRecord, given: Mapping[str, Any]) -> Iterator[Finding]:
    own = record.options_with(**given)
    yield CHECKER.finding("record", f"{record.title}, {modes_text(record)}, licence {record.licence}, {record.source}")
    cfg = {**record.call.config, **parse_cfg(own["cfg"] or "")}
    clone, astray = None, set[str]()
    try:
        clone = existing_repo(record, own["repo"])
        astray = yield from _clone(record, clone, own["yaml"], cfg)
    except UsageError as error:
        text = str(error).split(": ")[0] if own["repo"] is not None else "none given"
        yield CHECKER.finding("clone", text, remedy=f"{clone_command(record)}; then --set repo=DIR")
    yield from _interpreter(record, own["python"], own["device"] or "cuda")
    yield from _weights(record, clone, own)
    for weight in record.weights:
        yield _file(weight, clone, cfg, astray)
    for trap in record.traps:
        yield CHECKER.finding("trap", trap)


def _clone(
    record: BaselineRecord, clone: Path, yaml: str | None, cfg: Mapping[str, Any]
) -> Generator[Finding, None, set[str]]:
    """Gives the settings whose paths do not exist here."""
    commit, changed = repository_state(clone)
    yield CHECKER.finding("clone", f"{clone}, commit {commit[:12] if commit else 'unknown'}", severity="ok")
    quoted = shlex.quote(str(clone))
    if record.commit and commit and commit != record.commit:
        text = f"the record was made from commit {record.commit[:12]}"
        yield CHECKER.finding("commit", text, remedy=f"git -C {quoted} checkout {record.commit}")
    if changed:
        listed = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        text = f"{listed}: not as in the commit; runs are recorded as changed"
        yield CHECKER.finding("changed", text, count=len(changed), remedy=f"git -C {quoted} diff shows the changes")
    try:
        configuration = find_configuration(record, clone, yaml)
    except UsageError as error:
        yield CHECKER.finding("yaml", str(error).removeprefix(f"{record.name}: "), remedy="--set yaml=NAME")
        return set()
    foreign = foreign_paths(configuration.read_text(encoding="utf-8", errors="replace"), cfg)
    for key, path in foreign.items():
        text = f"{configuration.name} sets {key} to {path}, which does not exist here"
        for_training = any(weight.setting == key and weight.needed == "train" for weight in record.weights)
        severity = "note" if for_training or key.startswith(("TRAIN.", "DATA.")) else "error"
        yield CHECKER.finding("path", text, severity=severity, remedy=f"--set cfg={key}=PATH")
    return set(foreign)


def foreign_paths(yaml: str, cfg: Mapping[str, Any]) -> dict[str, str]:
    """Absolute paths in the text of a YAML configuration that do not exist here, by dotted name of their setting.

    Settings that `cfg` changes count with their new value.
    """
    folders: list[tuple[int, str]] = []
    found: dict[str, str] = {}
    for match in filter(None, map(_YAML_LINE.match, yaml.splitlines())):
        indent, key, *values = match.groups()
        while folders and folders[-1][0] >= len(indent):
            folders.pop()
        folders.append((len(indent), key))
        found[".".join(name for _, name in folders)] = next(filter(None, values), "").strip()
    found.update((key, str(value)) for key, value in cfg.items())
    return {key: value for key, value in found.items() if value.startswith("/") and not Path(value).exists()}


def _interpreter(record: BaselineRecord, given: str | None, device: str) -> Iterator[Finding]:
    known, python = record.environment, interpreter(given)
    path = shutil.which(python)
    answer = None if path is None else _probe(path, known.modules if known else ("torch", "numpy", "cv2"), record)
    if path is None or answer is None:
        text = f"{python} is missing or cannot be run" if path is None else f"{path} does not answer as Python does"
        yield CHECKER.finding("interpreter", text, remedy=environment_command(known))
        return
    yield CHECKER.finding("interpreter", f"{path}, Python {answer['python']}", severity="ok")
    versions = answer["modules"]
    there = ", ".join(f"{name} {version}".strip() for name, version in versions.items() if version is not None)
    yield CHECKER.finding("packages", there or "none of those needed", severity="ok")
    lacking = [name for name, version in versions.items() if version is None]
    if lacking:
        remedy = environment_command(known)
        if given is not None and known is not None:  # else it is tnllt's own: upstream's old versions would spoil it
            remedy = f"{shlex.quote(path)} -m pip install {shlex.join(known.packages)}"
        yield CHECKER.finding("packages", f"cannot be imported: {', '.join(lacking)}", remedy=remedy)
    if known is not None and known.upstream:
        text = f"known to work: Python {known.python} with {' '.join(known.packages)}; upstream's own: {known.upstream}"
        yield CHECKER.finding("packages", text, severity="note")
    if device == "cpu":
        yield CHECKER.finding("device", "CPU; what upstream sends to CUDA stays there", severity="ok")
    elif answer["cuda"]:
        yield CHECKER.finding("device", "CUDA", severity="ok")
    elif versions.get("torch") is not None:
        text = "this interpreter's torch finds no CUDA device"
        yield CHECKER.finding("device", text, remedy="--device cpu, or another torch")


def _weights(record: BaselineRecord, clone: Path | None, own: Mapping[str, Any]) -> Iterator[Finding]:
    assert record.checkpoint is not None
    place = user_path(own["save_dir"]) if own["save_dir"] else (clone or Path("CLONE")) / "output"
    try:
        file = find_weights(record, place, own["weights"], own["yaml"])
    except UsageError as error:
        text = str(error).removeprefix(f"{record.name}: ").split(";")[0]
        yield CHECKER.finding("weights", text, remedy=f"{record.checkpoint.source}; then --set weights=FILE")
        return
    with file.open("rb") as stream:
        head = stream.read(4)
    size = f"{file}, {file.stat().st_size / 1e6:.0f} MB"
    if head[:2] in (b"PK", b"\x80\x02"):
        yield CHECKER.finding("weights", size, severity="ok")
    else:
        yield CHECKER.finding("weights", f"{size}: not a checkpoint of torch's", remedy="download it again")
    text = "they are unpickled, which can run code: use only files that you trust"
    yield CHECKER.finding("weights", text, severity="note")


def _file(weight: Weight, clone: Path | None, cfg: Mapping[str, Any], astray: set[str]) -> Finding:
    text, training = f"{weight.path} ({weight.what})", weight.needed == "train"
    if weight.setting in astray:
        remedy = f"{weight.source}; then --set cfg={weight.setting}=PATH"
        severity = "note" if training else "error"
        return CHECKER.finding("file", f"{weight.setting} does not lead to {text}", severity=severity, remedy=remedy)
    if (clone is not None and (clone / weight.path).exists()) or (weight.setting and weight.setting in cfg):
        return CHECKER.finding("file", text, severity="ok")
    if weight.needed == "hub":
        text = f"upstream reads {text}" if weight.setting else f"upstream fetches {text} itself"
        return CHECKER.finding("file", text, severity="note", remedy=weight.source)
    if training:
        remedy = f"{weight.source}, to {weight.path}"
        return CHECKER.finding("file", f"for training the clone lacks {text}", severity="note", remedy=remedy)
    return CHECKER.finding("file", f"the clone has no {text}", remedy=f"{weight.source}, to CLONE/{weight.path}")


def _probe(python: str, modules: tuple[str, ...], record: BaselineRecord) -> dict[str, Any] | None:
    environment = worker_environment(record, "cuda")
    try:
        done = subprocess.run(
            [python, "-c", _PROBE, *modules], capture_output=True, text=True, timeout=300, env=environment, check=False
        )
        answer = json.loads(done.stdout.strip().splitlines()[-1])
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError):
        return None
    return answer if isinstance(answer, dict) else None


def environment_command(known: Environment | None) -> str:
    """The commands that make the interpreter that the record names."""
    if known is None:
        return "give --set python=FILE"
    packages = shlex.join(known.packages)
    return f"python{known.python} -m venv ENV && ENV/bin/pip install {packages}; then --set python=ENV/bin/python"
