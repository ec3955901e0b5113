"""The split lists of the releases, a name a line: TNLLT (200 = 150 train + 50 test), LaSOT (280 test sequences)."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from tnllt.datasets.text import read_text


@cache
def packaged(benchmark: str, split: str) -> tuple[str, ...] | None:
    """Names of a split in the release's order, or None where the package holds no such list."""
    # Looked for among what there is: a dataset states its name itself, and it may be no part of a path.
    file = next((file for file in files(__name__).iterdir() if file.name == f"{benchmark}_{split}.txt"), None)
    return None if file is None else parse(file.read_text(encoding="utf-8"))


def parse(text: str) -> tuple[str, ...]:
    """Names, one a line; blank lines, a missing final newline and Windows line ends are of no matter."""
    return tuple(line.strip() for line in text.lstrip("\ufeff").splitlines() if line.strip())


def read(path: Path) -> tuple[str, ...]:
    """The names in a user's own list."""
    return parse(read_text(path))
