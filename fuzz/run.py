"""Coverage-guided fuzzing of the readers in `targets.py`, by Atheris (libFuzzer).

    python fuzz/run.py --minutes 60                 all targets, the same time for each
    python fuzz/run.py --minutes 5 record trace     some
    python fuzz/run.py --replay fuzz/work/findings/record-1a2b3c4d.bin

A finding is an exception that no user is meant to see, a hang, memory beyond the limit, or anything started, connected
or written outside the target's own folder. Findings and the grown corpus are kept in fuzz/work, with summary.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORK = HERE / "work"
SECONDS_PER_INPUT, MEGABYTES = 25, 3072
_STARTED = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "ctypes.dlopen")
_CHANGED = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Escape(BaseException):
    """A reader started something, or wrote outside its folder. No `except Exception` may hide it."""


class Guard:
    """Watches what Python does while a target runs: an audit hook, which cannot be removed, only switched off."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.awake = False
        sys.addaudithook(self._audit)

    def _audit(self, event: str, given: tuple[object, ...]) -> None:
        if not self.awake:
            return
        if event in _STARTED:
            raise Escape(f"{event} {given!r:.300}")
        written = event == "open" and isinstance(given[2], int) and given[2] & _WRITES
        if written or event in _CHANGED:
            self._inside(event, given[0])

    def _inside(self, event: str, path: object) -> None:
        if isinstance(path, str | bytes | os.PathLike):
            real = os.path.realpath(os.fsdecode(path))
            if real != "/dev/null" and not real.startswith(self.folder):
                raise Escape(f"{event} {real}")


def fuzz(name: str, seconds: int) -> None:
    """Fuzzes one target in this process, which libFuzzer ends."""
    import atheris

    folder = Path(os.environ.get("TNLLT_FUZZ_FOLDER") or tempfile.mkdtemp(prefix="tnllt-fuzz-")) / "in"
    os.environ["TNLLT_CACHE"] = str(folder / "cache")
    with atheris.instrument_imports(include=["tnllt", "tomllib", "zipfile", "tarfile", "gzip", "email"]):
        from targets import TARGETS

        target = TARGETS[name]
        corpus = WORK / name
        corpus.mkdir(parents=True, exist_ok=True)
        for seed in target.seeds():  # imports happen here, where they are instrumented
            (corpus / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
            empty(folder)
            target.read(folder, seed)
    guard = Guard(folder)
    seen: set[str] = set()

    def one(data: bytes) -> None:
        empty(folder)
        try:
            guard.awake = True
            target.read(folder, data)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            guard.awake = False
            keep(name, data, error, seen)
        finally:
            guard.awake = False

    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + (MEGABYTES << 20),) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30,) * 2)
    findings = WORK / "findings"
    options = [f"-max_total_time={seconds}", f"-timeout={SECONDS_PER_INPUT}", f"-rss_limit_mb={MEGABYTES}"]
    options += [f"-artifact_prefix={findings}/{name}-", "-print_final_stats=1", "-max_len=16384", "-verbosity=1"]
    options += [f"-dict={HERE / 'tokens.dict'}", "-close_fd_mask=0"]
    how = {"custom_mutator": mutate} if target.json else {}
    atheris.Setup([sys.argv[0], *options, str(corpus)], one, **how)
    atheris.Fuzz()


def mutate(data: bytes, size: int, seed: int) -> bytes:
    """Every second time bytes are changed, else values of the JSON that the input, or a line of it, is."""
    import atheris
    from targets import changed

    chance = random.Random(seed)
    if chance.random() < 0.5:
        return bytes(atheris.Mutate(data, size))
    whole = [data]
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        whole = data.split(b"\n")
    at = chance.randrange(len(whole))
    try:
        value = changed(json.loads(whole[at]), chance)
        whole[at] = json.dumps(value).encode()
    except (ValueError, RecursionError):
        return bytes(atheris.Mutate(data, size))
    return b"\n".join(whole)[:size]


def empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def keep(name: str, data: bytes, error: BaseException, seen: set[str]) -> None:
    """Writes a finding down, one for each place in the code; the fuzzing goes on."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "/tnllt/" in f.filename] or frames[-1:]
    place = f"{Path(ours[-1].filename).name}:{ours[-1].name}:{type(error).__name__}"
    mark = hashlib.sha1(place.encode(), usedforsecurity=False).hexdigest()[:8]
    if mark in seen:
        return
    seen.add(mark)
    text = "".join(traceback.format_exception(error))
    (WORK / "findings" / f"{name}-{mark}.bin").write_bytes(data)
    (WORK / "findings" / f"{name}-{mark}.txt").write_text(text, "utf-8", "backslashreplace")
    print(f"FINDING {name} {place}: {str(error)[:200]}", file=sys.stderr, flush=True)


def drive(names: list[str], minutes: float, workers: int) -> int:
    """Runs each target in processes of its own, `workers` of them at a time; prints and keeps the counts.

    With more workers than targets a target has several processes, which share its corpus and its time.
    """
    (WORK / "findings").mkdir(parents=True, exist_ok=True)
    parts = max(1, workers // len(names))
    seconds = max(5.0, minutes * 60 / len(names) / parts)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    table: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory(prefix="tnllt-fuzz-", dir=memory) as folder, ThreadPoolExecutor(workers) as pool:
        running = {
            name: [pool.submit(_drive, name, seconds, Path(folder) / f"{name}-{part}") for part in range(parts)]
            for name in names
        }
        for name in names:
            done = [one.result() for one in running[name]]
            runs, found = sum(count for count, _ in done), sorted(set().union(*(faults for _, faults in done)))
            corpus = len(list((WORK / name).iterdir())) if (WORK / name).is_dir() else 0
            spent = round(seconds * parts)
            table[name] = {"executions": runs, "seconds": spent, "corpus": corpus, "findings": found}
            print(f"{name:<16} {runs:>10,} executions  {corpus:>5} inputs kept  {len(found)} findings", flush=True)
            for finding in found:
                print(f"    {finding}", flush=True)
            (WORK / "summary.json").write_text(json.dumps(table, indent=1), "utf-8")
    return 1 if any(row["findings"] for row in table.values()) else 0


def _drive(name: str, seconds: float, folder: Path) -> tuple[int, set[str]]:
    """One process after the other until so many seconds of processor time are spent, for on a busy machine a minute is
    still to be a minute's work: (executions, findings)."""
    folder.mkdir()
    runs, lost, found = 0, 0, set()
    while round(seconds) > 2 and lost < 5:
        command = [sys.executable, __file__, "--one", name, "--seconds", str(round(seconds))]
        with tempfile.TemporaryFile() as printed:
            child = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=printed, env=os.environ | {"TNLLT_FUZZ_FOLDER": str(folder)}
            )
            _, status, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            printed.seek(0)
            text = printed.read().decode(errors="replace")
        seconds -= used.ru_utime + used.ru_stime
        counts = re.findall(r"stat::number_of_executed_units:\s+(\d+)", text)
        runs += int(counts[-1]) if counts else max(map(int, re.findall(r"^#(\d+)", text, re.M)), default=0)
        found |= set(re.findall(r"^FINDING (.*)$", text, re.M))
        if child.returncode:
            lost += 1
            what = re.findall(r"(?:ERROR: libFuzzer: .*|\w*Error: .*)", text)
            found.add(f"{name} process ended: {what[-1] if what else text[-300:]}")
    return runs, found


def replay(path: Path) -> None:
    """Reads one kept input again, and lets whatever happens happen."""
    from targets import TARGETS

    with tempfile.TemporaryDirectory() as folder:
        TARGETS[path.stem.rpartition("-")[0]].read(Path(folder), path.read_bytes())


def main() -> int:
    sys.path.insert(0, str(HERE))
    sys.path.insert(1, str(HERE.parent))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help="names of the table in targets.py; all where none is given")
    parser.add_argument("--minutes", type=float, default=5.0, help="of processor time, for all targets together")
    parser.add_argument("--workers", type=int, default=1, help="processes at a time")
    parser.add_argument("--replay", type=Path, help="read one kept input again")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=int, default=60, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.replay:
        replay(given.replay)
        return 0
    if given.one:
        (WORK / "findings").mkdir(parents=True, exist_ok=True)
        fuzz(given.one, given.seconds)
        return 0
    from targets import TARGETS

    unknown = set(given.targets) - set(TARGETS)
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    return drive(given.targets or list(TARGETS), given.minutes, given.workers)


if __name__ == "__main__":
    raise SystemExit(main())
