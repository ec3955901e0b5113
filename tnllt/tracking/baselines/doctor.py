"""What a baseline still lacks on this machine, and the command that brings it. Runs nothing of upstream's."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tnllt.errors import UsageError
from tnllt.files import user_path
from tnllt.tracking.baselines.bridge import (
    clone_command,
    commit_of,
    existing_repo,
    find_configuration,
    find_weights,
    interpreter,
    modes_text,
    worker_environment,
)
from tnllt.tracking.baselines.record import BaselineRecord, Environment

State = Literal["ok", "missing", "note"]

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
#: Modules whose pip name is another.
_PACKAGES = {"cv2": "opencv-python-headless", "yaml": "pyyaml", "clip": "git+https://github.com/openai/CLIP.git"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: in a word or two.
        state: "ok", "missing" (it will not run without), or "note".
        text: what was found.
        remedy: a command or an option that brings it, or "".
    """

    what: str
    state: State
    text: str
    remedy: str = ""


def examine(
    record: BaselineRecord,
    repo: Path | None = None,
    python: str | None = None,
    weights: Path | None = None,
    save_dir: Path | None = None,
    yaml: str | None = None,
    cfg: str = "",
    device: str | None = None,
) -> list[Finding]:
    """Look at clone, interpreter, packages, device and weights. Options as `BaselineTracker`'s.

    Returns:
        All findings, in the order in which a user would mend them.
    """
    if record.tracker is None:
        return [Finding("code", "missing", record.reason)]
    found = [
        Finding("record", "ok", f"{record.title}, {modes_text(record)}, licence {record.licence}, {record.source}")
    ]
    own = record.options_with(
        repo=repo, python=python, weights=weights, save_dir=save_dir, yaml=yaml, cfg=cfg, device=device
    )
    repo, weights, yaml, device = own["repo"], own["weights"], own["yaml"], own["device"] or "cuda"
    clone = None
    try:
        clone = existing_repo(record, repo)
        found.extend(_clone(record, clone, yaml))
    except UsageError as error:
        text = str(error).split(": ")[0] if repo is not None else "none given"
        found.append(Finding("clone", "missing", text, f"{clone_command(record)}; then --set repo=DIR"))
    found.extend(_interpreter(record, own["python"], device))
    found.extend(_weights(record, clone, own["save_dir"], weights, yaml))
    found.extend(_further(record, clone, own["cfg"] or ""))
    found.extend(Finding("mind", "note", trap) for trap in record.traps)
    return found


def _clone(record: BaselineRecord, clone: Path, yaml: str | None) -> Iterator[Finding]:
    commit = commit_of(clone)
    yield Finding("clone", "ok", f"{clone}, commit {commit[:12] if commit else 'unknown'}")
    if record.commit and commit and commit != record.commit:
        text = f"the record was made from commit {record.commit[:12]}"
        yield Finding("commit", "note", text, f"git -C {shlex.quote(str(clone))} checkout {record.commit}")
    try:
        find_configuration(record, clone, yaml)
    except UsageError as error:
        yield Finding("yaml", "missing", str(error).removeprefix(f"{record.name}: "), "--set yaml=NAME")


def _interpreter(record: BaselineRecord, given: str | None, device: str) -> Iterator[Finding]:
    known, python = record.environment, interpreter(given)
    path = shutil.which(python)
    if path is None:
        yield Finding("interpreter", "missing", f"{python} is not there or cannot be run", environment_command(known))
        return
    modules = known.modules if known else ("torch", "numpy", "cv2")
    answer = _probe(path, modules, record)
    if answer is None:
        yield Finding("interpreter", "missing", f"{path} is no Python that answers", environment_command(known))
        return
    yield Finding("interpreter", "ok", f"{path}, Python {answer['python']}")
    versions = answer["modules"]
    there = ", ".join(f"{name} {version}".strip() for name, version in versions.items() if version is not None)
    yield Finding("packages", "ok", there or "none of those wanted")
    lacking = [name for name, version in versions.items() if version is None]
    if lacking:
        wanted = " ".join(f"'{_requirement(name, known)}'" for name in lacking)
        remedy = f"{shlex.quote(path)} -m pip install {wanted}"
        if given is None:  # tnllt's own interpreter: upstream's old versions would spoil it
            remedy = environment_command(known)
        yield Finding("packages", "missing", f"cannot be imported: {', '.join(lacking)}", remedy)
    if known is not None:
        tried = f"known to work: Python {known.python} with {' '.join(known.packages)}"
        if known.upstream:
            yield Finding("packages", "note", f"{tried}; upstream's own: {known.upstream}")
    if device != "cpu" and "torch" in versions and versions["torch"] is not None and not answer["cuda"]:
        yield Finding(
            "device", "missing", "this interpreter's torch sees no CUDA device", "--device cpu, or another torch"
        )
    elif device == "cpu":
        yield Finding("device", "ok", "CPU; what upstream sends to CUDA stays there")
    elif answer["cuda"]:
        yield Finding("device", "ok", "CUDA")


def _weights(
    record: BaselineRecord, clone: Path | None, save_dir: Path | None, weights: Path | None, yaml: str | None
) -> Iterator[Finding]:
    assert record.checkpoint is not None
    place = user_path(save_dir) if save_dir else (clone or Path("CLONE")) / "output"
    try:
        file = find_weights(record, place, weights, yaml)
    except UsageError as error:
        text = str(error).removeprefix(f"{record.name}: ").split(";")[0]
        yield Finding("weights", "missing", text, f"{record.checkpoint.source}; then --set weights=FILE")
        return
    with file.open("rb") as stream:
        head = stream.read(4)
    size = f"{file}, {file.stat().st_size / 1e6:.0f} MB"
    if head[:2] in (b"PK", b"\x80\x02"):
        yield Finding("weights", "ok", size)
    else:
        yield Finding("weights", "missing", f"{size}: not a checkpoint of torch's", "download it again")
    yield Finding("weights", "note", "they are unpickled, which can run code: use only files that you trust")


def _further(record: BaselineRecord, clone: Path | None, cfg: str) -> Iterator[Finding]:
    for weight in record.weights:
        text = f"{weight.path} ({weight.what})"
        if weight.needed == "hub":
            yield Finding("weights", "note", f"upstream fetches {text} itself", weight.source)
            continue
        if (clone is not None and (clone / weight.path).exists()) or Path(weight.path).name in cfg:
            yield Finding("weights", "ok", text)
        elif weight.needed == "run":
            yield Finding("weights", "missing", f"the clone has no {text}", f"{weight.source}, to CLONE/{weight.path}")
        else:
            yield Finding("weights", "note", f"for training the clone lacks {text}", weight.source)


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
    """The commands that make an interpreter as the record knows it."""
    if known is None:
        return "give --set python=FILE"
    packages = " ".join(f"'{package}'" for package in known.packages)
    return f"python{known.python} -m venv ENV && ENV/bin/pip install {packages}; then --set python=ENV/bin/python"


def _requirement(module: str, known: Environment | None) -> str:
    name = _PACKAGES.get(module, module)
    plain = name.replace("_", "-").lower()
    for package in known.packages if known else ():
        if package.lower() == plain or package.lower().startswith((plain + "=", plain + "<", plain + ">")):
            return package
    return name
