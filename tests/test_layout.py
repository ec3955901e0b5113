"""The house's plan holds: imports run one way, importing costs nothing, heavy packages load where they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tnllt

PACKAGE = Path(tnllt.__file__).parent
HEAVY = ("torch", "matplotlib", "pandas", "transformers", "cv2", "scipy")


def test_imports_run_one_way() -> None:
    """The contract of import-linter in pyproject.toml."""
    pytest.importorskip("importlinter")
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert ended.returncode == 0, ended.stdout + ended.stderr


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


def test_a_class_name_means_one_thing() -> None:
    places: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(str(path.relative_to(PACKAGE)))
    assert len(places) > 200
    assert not {name: files for name, files in places.items() if len(files) > 1}
