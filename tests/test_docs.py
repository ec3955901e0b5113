"""The documentation is what the code says: generated pages are current, links lead somewhere, the site builds."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tnllt.datasets import BENCHMARKS
from tnllt.datasets.benchmarks import ATTRIBUTE_TITLES

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def generator():  # type: ignore[no-untyped-def]
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_current() -> None:
    for name, make in generator().PAGES.items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == make(), f"docs/{name}: run python docs/generate.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target) or target.startswith("#"):
            continue
        assert (page.parent / target.partition("#")[0]).exists(), f"{page.name} links to {target}"


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r":\s*([\w-]+\.md)\s*$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), flags=re.M))
    assert listed == {page.name for page in (ROOT / "docs").glob("*.md")}


def test_every_dataset_has_a_card() -> None:
    cards = (ROOT / "docs" / "dataset-cards.md").read_text(encoding="utf-8")
    for layout in BENCHMARKS.values():
        assert f"## {layout.title}\n" in cards
        for name in layout.attribute_names:
            assert f"{name} {ATTRIBUTE_TITLES[name]}" in cards


@pytest.mark.slow
def test_site_builds_without_warnings(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "evaluate" in (tmp_path / "api" / "index.html").read_text(encoding="utf-8")
