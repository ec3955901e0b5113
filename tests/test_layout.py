"""The house's plan holds: imports run one way, importing costs nothing, heavy packages load where they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tnllt

PACKAGE = Path(tnllt.__file__).parent
#: The rooms, from the ground up: one may look into those of the rows before its own, not into its own row's others.
ROWS = (
    {"errors", "_version", "text"},
    {"files"},
    {"findings", "locks", "option_fields", "options", "records"},
    {"sequence", "config"},
    {"boxes", "numbers"},
    {"datasets", "results"},
    {"eval", "tracking"},
    {"reasoningtrack"},
    {"training"},
    {"cli"},
    {"demo"},
)
LEVEL = {room: level for level, row in enumerate(ROWS) for room in row}
HEAVY = ("torch", "matplotlib", "pandas", "transformers", "cv2", "scipy")


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports_of(path: Path) -> set[str]:
    """tnllt modules that a file imports anywhere, also inside functions; imports for types alone do not count."""
    found: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    types_only = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    ignored = {inner for block in types_only for inner in ast.walk(block)}
    for node in (n for n in ast.walk(tree) if n not in ignored):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"tnllt.{a.name}" for a in node.names} if node.module == "tnllt" else {node.module}
    return {name for name in found if name.startswith("tnllt.") and room_of(name) in LEVEL}


def test_every_module_has_a_room() -> None:
    rooms = {
        p.stem if p.suffix == ".py" else p.name
        for p in PACKAGE.iterdir()
        if p.suffix == ".py" or (p / "__init__.py").is_file()
    }
    assert rooms - {"__init__"} <= set(LEVEL), rooms - set(LEVEL)


def test_imports_run_one_way() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        room = parts[0]
        if room == "__init__":
            continue
        for name in imports_of(path):
            other = room_of(name)
            if other != room and LEVEL[other] >= LEVEL[room]:
                wrong.append(f"{'/'.join(parts)} imports {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module", ["tnllt", "tnllt.cli.eval", "tnllt.cli.run", "tnllt.cli.data", "tnllt.cli.train"])
def test_heavy_packages_load_where_they_are_used(module: str) -> None:
    program = f"import sys, {module}; print(*[n for n in {HEAVY!r} if n in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []


def test_scoring_never_needs_torch() -> None:
    program = "import sys, tnllt.eval, tnllt.results, tnllt.datasets; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_modules_stay_readable() -> None:
    """No module over 400 lines without a reason in its docstring ("Long because ...")."""
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if len(text.splitlines()) > 400:
            assert "ong because" in (ast.get_docstring(ast.parse(text)) or ""), f"{path}: over 400 lines"
