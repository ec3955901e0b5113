"""Whatever escapes ends in one line and exit code 2; standard output carries nothing that steers a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys, click
from tnllt.cli.common import run_command
from tnllt.text import register_secret
register_secret("sk-secret")

@click.command()
@click.argument("what")
@click.option("--verbose", is_flag=True)
def cli(what, verbose):
    {code}

run_command(cli, "prog")
"""


def run(code: str, *words: str, shell: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM.format(code=code), "x", *words]
    if shell:
        command = ["bash", "-c", f'"$@" {shell}', "bash", *command]
    environment = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, errors="replace")


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("{}['x']", "Error: unexpected KeyError: 'x'"),
        ("raise MemoryError", "Error: not enough memory"),
        ("open('/none/x')", "Error: /none/x: No such file or directory"),
        ("sys.exit(1)", "Error: code that was loaded ended the process (sys.exit(1))"),
        ("raise RecursionError('a\\n\\x1b[2J')", "Error: unexpected RecursionError: a \\x1b[2J"),
        ("raise click.UsageError('bad \\x1b[2J')", "Error: bad \\x1b[2J"),
        ("raise ValueError('key sk-secret')", "Error: unexpected ValueError: key [redacted]"),
    ],
)
def test_what_escapes_is_one_line_and_code_2(code: str, line: str) -> None:
    ended = run(code)
    assert ended.returncode == 2 and line in ended.stderr and "Traceback" not in ended.stderr
    assert ended.stdout == "" and "\x1b" not in ended.stderr


def test_the_traceback_on_request() -> None:
    assert "Traceback" in run("{}['x']", "--verbose").stderr and "Traceback" in run("{}['x']", TNLLT_DEBUG="1").stderr


def test_interrupted_and_the_exit_codes_of_commands() -> None:
    assert run("raise KeyboardInterrupt").returncode == 130
    assert run("raise RuntimeError('in an import') from KeyboardInterrupt()").returncode == 130
    assert [run(f"return {code}").returncode for code in (0, 1, 3)] == [0, 1, 3]
    gate = run("from tnllt.errors import GateError; raise GateError('low')")
    assert gate.returncode == 1 and gate.stderr == "Error: low\n"


@pytest.mark.parametrize("say", ["click.echo", "print"])
def test_output_is_escaped_on_pipes_and_terminals_alike(say: str) -> None:
    text = r"'\x1b[m=HYPERLINK(1) \x9b \u202e \ud800 sk-secret é'"
    code = f"{say}({text})"
    shown = "\\x1b[m=HYPERLINK(1) \\x9b \\u202e \\ud800 [redacted] é\n"
    assert run(code, PYTHONUTF8="1").stdout == shown
    master, slave = os.openpty()
    command = [sys.executable, "-c", PROGRAM.format(code=code), "x"]
    subprocess.run(command, stdout=slave, check=True, env={**os.environ, "PYTHONUTF8": "1"})
    os.close(slave)
    assert os.read(master, 4096).decode().replace("\r", "") == shown
    assert run(code, PYTHONIOENCODING="ascii", PYTHONUTF8="0").stdout == shown


@pytest.mark.parametrize("shell", [">/dev/full", ">&-", "| true"])
def test_an_output_that_takes_nothing(shell: str) -> None:
    ended = run("click.echo('x' * 100_000)", shell=shell)
    assert ended.returncode in (0, 2) and "Traceback" not in ended.stderr and "Exception ignored" not in ended.stderr
    if shell == ">/dev/full":
        assert ended.returncode == 2 and "No space left" in ended.stderr


@pytest.mark.parametrize("path", ["~nobody-at-all/x", "a" * 256, "/".join("a" * 200 for _ in range(25)), "\udc80" * 90])
@pytest.mark.parametrize("where", ["--results", "--root", "--annos", "--dataset", "--config"])
def test_paths_that_no_file_can_have(tmp_path: Path, path: str, where: str) -> None:
    """Each of them once ended in a traceback."""
    command = [sys.executable, "-m", "tnllt.cli.eval", "--dataset", "tnllt", "--annos", str(tmp_path), where, path]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ended.returncode == 2 and "unexpected" not in ended.stderr and ended.stderr.startswith("Error: "), ended


@pytest.mark.parametrize("path", ["a\0b", "a" * 256, "/".join("a" * 200 for _ in range(25))])
@pytest.mark.parametrize(
    ("command", "words"),
    [("data", ["info", "demo", "--sheet"]), ("data", ["check"]), ("run", ["still", "--baseline"]), ("eval", ["--out"])],
)
def test_such_paths_as_arguments_and_outputs(command: str, words: list[str], path: str) -> None:
    """A zero character cannot be in a process's arguments, but a caller of the command in Python may give one."""
    program = f"""
import sys
from tnllt.cli.{command} import cli
from tnllt.cli.common import run_command
sys.argv = ["x", *{[*words, path]!r}]
run_command(cli, "x")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1 and "path" in ended.stderr, ended.stderr


def test_a_user_without_home(tmp_path: Path) -> None:
    """No HOME and no entry in the password file, as in some containers."""
    program = """
import os, pathlib, sys, tempfile
def nobody(*_): raise RuntimeError("Could not determine home directory.")
pathlib.Path.home = classmethod(nobody)
from tnllt.config import cache_folder, config_file
print(config_file(), cache_folder(), oct(cache_folder().stat().st_mode & 0o777))
os.chmod(cache_folder(), 0o755)
try: cache_folder()
except Exception as error: print(type(error).__name__)
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XDG", "TNLLT", "HOME"))}
    environment["TMPDIR"] = str(tmp_path)
    command = [sys.executable, "-c", program]
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=tmp_path).stdout
    assert out.split() == ["None", str(tmp_path / f"tnllt-{os.getuid()}"), "0o700", "UsageError"]


@pytest.mark.parametrize("form", ["text", "csv", "json", "markdown", "latex"])
def test_names_of_trackers_in_tables(tmp_path: Path, form: str) -> None:
    """A tracker named ESC[m=HYPERLINK(...) became a live formula when the output was redirected."""
    (tmp_path / "data" / "s" / "imgs").mkdir(parents=True)
    (tmp_path / "data" / "s" / "groundtruth.txt").write_text("1,2,3,4\n" * 3)
    (tmp_path / "data" / "s" / "absent_label.txt").write_text("1\n" * 3)
    for name in ("\x1b[m=HYPERLINK(1)", "T\x9b2J\u202e"):
        (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "results" / name / "s.txt").write_text("1,2,3,4\n" * 3)
    command = [sys.executable, "-m", "tnllt.cli.eval", "--root", "data", "--results", "results", "--format", form]
    ended = subprocess.run(command, capture_output=True, check=True, cwd=tmp_path)
    out = ended.stdout.decode()
    assert "HYPERLINK" in out and out.replace("\n", "").isprintable()
    assert not any(cell.lstrip().startswith("=") for line in out.split("\n") for cell in line.split(","))
    if form == "json":
        assert {"\x1b[m=HYPERLINK(1)", "T\x9b2J\u202e"} <= set(json.loads(out)["trackers"])


def test_a_name_that_matches_no_sequence(tmp_path: Path) -> None:
    """A file of names that is empty, where one sequence is to be named."""
    from tnllt.config import Locations
    from tnllt.errors import UsageError
    from tnllt.eval.view.scene import open_scene

    (tmp_path / "data" / "s" / "imgs").mkdir(parents=True)
    (tmp_path / "data" / "s" / "groundtruth.txt").write_text("1,2,3,4\n" * 3)
    (tmp_path / "names.txt").touch()
    with pytest.raises(UsageError, match=r"names\.txt"):
        open_scene(Locations("tnllt", tmp_path / "data"), str(tmp_path / "names.txt"))
