"""Random command lines: no traceback, no unexpected error, and an exit code of the table in the README.

    python fuzz/commands.py --count 100000 --seed 1          several processes: --workers 2
    python fuzz/commands.py --replay '["tnllt-eval", "lint", "--results", "x"]'

Commands and options are found by looking at the commands themselves. Every command line runs in a fork of this
process, in a folder of its own below a temporary one, for at most some seconds; root becomes the user `nobody` where
that user can read Python. A finding is another exit code than 0, 1, 2, 3 or 130, a traceback, the words "unexpected
...Error", control characters on standard output, or a process that neither ends nor can be interrupted.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

import click

MODULES = {f"tnllt-{name}": f"tnllt.cli.{name}" for name in ("eval", "run", "data", "train", "board")}
#: How often each command is tried: those that load torch or start processes take seconds.
WEIGHTS = {"tnllt-eval": 12, "tnllt-data": 6, "tnllt-run": 3, "tnllt-board": 3, "tnllt-train": 1}
CODES = (0, 1, 2, 3, 130)
ODD = ("", " ", "-", "--", "nan", "inf", "-1", "0", "1", "2", "1e999", "9" * 30, "x", "é", "a,b", "a=b", "=", "=1+1",
       "\x1b[2J", "\x1b[m=HYPERLINK(1)", "\udcff\udc9b", "\u202e", "*", "[", "{root}", "x" * 300, "y/" * 2100, "#2",
       "all", "none", "tnllt", "success", "precision", "still", "groundtruth", "MIL", "T", "U", "s1", "s2", "s1,s2",
       "tnllt,got10k", "json", "text", "success=0.5", "cpu", "demo", "lasot", "T#2")  # fmt: skip
PLACES = ("data", "results", "results.zip", "results/T_tracking_result/s1.txt", "pack.zip", "none", "none/x", "folder",
          "unreadable", "pipe", "empty", "garbage.json", "data/s1", ".", "..", "~", "~nobody-here", "/dev/null", "link",
          "tracker.py:Mine", "tracker.py", "config.toml", "bad.toml", "scores.json", "out", "out.json",
          "out.png", "entries", "entries/T", "entries/T/T.zip")  # fmt: skip
#: Places of options; `tnllt-board` needs more of them, and arguments: a folder of entries, or one entry in it.
REAL = {"--dataset": "tnllt", "--root": "data", "--results": "results"}
BOARD = {"entries": "entries", "folder": "out", "--out": "out"}
#: These ask to be answered, serve until they are ended, or load models.
PATIENCE = {"view": 3.0, "tracker": 10.0, "sft": 10.0, "grpo": 10.0}
TRACKER = """
from tnllt import Tracker

class Mine(Tracker):
    def __init__(self, speed: float = 1.0):
        self.box = None

    def initialize(self, image, box, description=None):
        self.box = box

    def track(self, image):
        return self.box
"""


def make_tree(folder: Path) -> None:
    """A small dataset, results, an archive, a board's entry and files that are nothing, to point command lines at."""
    from tnllt.config import ScoreConfig
    from tnllt.eval.packing import write_entries
    from tnllt.eval.selection import select
    from tnllt.results.entry import Entry

    for name in ("s1", "s2"):
        (folder / "data" / name / "imgs").mkdir(parents=True)
        (folder / "data" / name / "groundtruth.txt").write_text("1,2,3,4\n" * 3)
        (folder / "data" / name / "absent_label.txt").write_text("1\n" * 3)
        (folder / "data" / name / "language.txt").write_text("the red car\n")
        for tracker in ("T", "U"):
            place = folder / "results" / f"{tracker}_tracking_result"
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{name}.txt").write_text("1,2,3,4\n2,2,3,4\n1,2,3.5,4\n")
    shutil.make_archive(str(folder / "results"), "zip", folder / "results")
    shutil.copy(folder / "results.zip", folder / "pack.zip")
    for name in ("folder", "unreadable"):
        (folder / name).mkdir()
    (folder / "empty").touch()
    (folder / "garbage.json").write_bytes(b"\xff\0{[")
    (folder / "scores.json").write_text(
        '{"schema": "tnllt.scores/1", "scores": {"T": {"success": 2}}, "sequences": []}'
    )
    (folder / "config.toml").write_text('dataset = "tnllt"\nroot = "data"\nresults = "results"\n')
    (folder / "bad.toml").write_text("root = 3\n")
    (folder / "tracker.py").write_text(TRACKER)
    config = ScoreConfig("tnllt", root=folder / "data", results=folder / "results", trackers="T", cache=False)
    write_entries(folder / "entries", select(config), Entry(), blind=False)
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to("link")
    (folder / "unreadable").chmod(0)


def leaves(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from leaves(inner, (*words, name))
        if command.params:
            yield words, command
    else:
        yield words, command


def value(option: click.Parameter, chance: random.Random) -> str:
    kind, draw = option.type, chance.random()
    if draw < 0.25:
        return chance.choice(ODD)
    if isinstance(kind, click.Choice) and draw < 0.8:
        return str(chance.choice(list(kind.choices)))
    if isinstance(kind, click.types.IntRange | click.types.FloatRange | click.types.IntParamType) and draw < 0.8:
        return str(chance.choice((0, 1, 2, 3, 10)))
    if kind.name == "path" or draw < 0.6:
        return chance.choice(PLACES)
    return chance.choice(ODD)


def command_line(program: str, words: tuple[str, ...], command: click.Command, chance: random.Random) -> list[str]:
    line = [program, *(chance.choice(("still", "T", *PLACES)) if word == "NAME" else word for word in words)]
    if chance.random() < 0.75:  # in most lines the places are real, so that commands get beyond them
        for name, place in {**REAL, **(BOARD if program == "tnllt-board" else {})}.items():
            if any(name in p.opts for p in command.params) and chance.random() < 0.9:
                line += [name, place] if name.startswith("-") else [chance.choice((place, f"{place}/T"))]
    for _ in range(chance.choice((0, 1, 1, 2, 2, 3, 5))):
        if not command.params:
            break
        option = chance.choice(command.params)
        if isinstance(option, click.Option):
            line.append(chance.choice([*option.opts, *option.secondary_opts]))
            if not option.is_flag and chance.random() < 0.95:
                line.append(value(option, chance))
        else:
            line.append(value(option, chance))
    if chance.random() < 0.05:
        line.insert(
            chance.randrange(1, len(line) + 1), chance.choice((*ODD, *PLACES, "--help", "--version", "--nosuch"))
        )
    return [word for word in line if "\0" not in word]


def attempt(line: list[str], tree: Path) -> str:
    """Runs a command line in a fork; what was wrong with how it ended, or ""."""
    place = Path(tempfile.mkdtemp(prefix="line-", dir=tree.parent))
    work = place / "a" / "b" / "c"
    shutil.copytree(tree, work, symlinks=True, ignore=lambda *_: ["pipe", "unreadable"])
    os.mkfifo(work / "pipe")
    (work / "unreadable").mkdir(mode=0)
    limit = max((seconds for word, seconds in PATIENCE.items() if word in line[:3]), default=20.0)
    child = os.fork()
    if child == 0:
        _child(line, work, place)
    try:
        code = _wait(child, limit)
        out, error, stacks = ((place / name).read_text("utf-8", "surrogateescape") for name in ("out", "err", "stacks"))
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if code is None:
        return f"still running {limit + 15:g} s later, 15 s after it was interrupted: {error[-300:]}\n{stacks}"
    if code not in CODES:
        return f"exit code {code}: {error[-300:]}"
    if "Traceback (most recent call last)" in error or re.search(r"unexpected \w+(Error|Exception)", error):
        return f"an error in nobody's words: {error[-600:]}"
    odd = {c for c in out if not c.isprintable() and c not in "\n\t"}
    return f"standard output holds {odd!r}" if odd else ""


def _child(line: list[str], work: Path, place: Path) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background process ignores
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(place / name, os.O_WRONLY | os.O_CREAT, 0o666), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    faulthandler.register(signal.SIGUSR1, os.open(place / "stacks", os.O_WRONLY | os.O_CREAT, 0o666))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
    os.environ |= {"HOME": str(work), "TNLLT_CACHE": str(place / "cache"), "TMPDIR": str(place), "NO_PROXY": "*"}
    if os.geteuid() == 0 and all(p.stat().st_mode & 0o001 for p in Path(os.__file__).resolve().parents):
        for path in (place, *place.rglob("*")):
            os.chown(path, 65534, 65534, follow_symlinks=False)
        os.setgid(65534)
        os.setuid(65534)
    code = 99
    try:
        os.chdir(work)
        sys.argv = list(line)
        from tnllt.cli.common import run_command

        run_command(import_module(MODULES[line[0]]).cli, line[0])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 98
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _wait(child: int, limit: float) -> int | None:
    """The exit code; None where the process had to be killed although it was interrupted 15 seconds before."""
    end, interrupted = time.monotonic() + limit, False
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > end and not interrupted:
            os.kill(child, signal.SIGINT)
            end, interrupted = time.monotonic() + 15, True
        elif time.monotonic() > end:
            os.kill(child, signal.SIGUSR1)  # says where it hangs
            time.sleep(0.5)
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.002)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what it left behind
    return os.waitstatus_to_exitcode(status)


def fuzz(count: int, seed: int, seconds: float, only: str | None) -> int:
    """Tries so many command lines; how many things were found."""
    chance = random.Random(seed)
    commands = {p: list(leaves(import_module(m).cli)) for p, m in MODULES.items() if only in (None, p)}
    seen: set[str] = set()
    ends = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="tnllt-lines-") as folder:
        Path(folder).chmod(0o755)
        tree = Path(folder) / "tree"
        tree.mkdir()
        make_tree(tree)
        done = 0
        while done < count and time.monotonic() < ends:
            program = chance.choices(list(commands), [WEIGHTS[p] for p in commands])[0]
            line = command_line(program, *chance.choice(commands[program]), chance)
            wrong = attempt(line, tree)
            done += 1
            mark = re.sub(r"\d+|line-\w+", "", wrong)[:200]
            if wrong and mark not in seen:
                seen.add(mark)
                print(f"FINDING {json.dumps(line)}\n    {wrong}", flush=True)
            if done % 500 == 0:
                print(f"{done:,} command lines, {len(seen)} findings", flush=True)
        os.chmod(tree / "unreadable", 0o755)  # noqa: PTH101
    print(f"{done:,} command lines of seed {seed}, {len(seen)} findings", flush=True)
    return len(seen)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1e9, help="end after so long")
    parser.add_argument("--only", choices=list(MODULES), help="one of the commands")
    parser.add_argument("--workers", type=int, default=1, help="processes, each with seeds of its own")
    parser.add_argument("--replay", help="one command line, as a JSON list")
    given = parser.parse_args()
    for module in (*MODULES.values(), "numpy", "tnllt.eval", "tnllt.results", "tnllt.datasets", "tnllt.tracking"):
        import_module(module)  # once, before the forks
    if given.replay:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            make_tree(tree := Path(folder, "tree"))
            print(attempt(json.loads(given.replay), tree) or "nothing wrong")
        return 0
    share = -(-given.count // given.workers)
    with ProcessPoolExecutor(given.workers, get_context("fork")) as pool:
        seeds = [given.seed * 1000 + part for part in range(given.workers)]
        parts = [pool.submit(fuzz, share, seed, given.seconds, given.only) for seed in seeds]
        return 1 if sum(part.result() for part in parts) else 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    raise SystemExit(main())
