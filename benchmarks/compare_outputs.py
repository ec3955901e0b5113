"""Two folders of results and scores: are they the same, and where do they differ?

    python -m tnllt.demo before        (in a checkout of the older commit)
    python -m tnllt.demo after
    python benchmarks/compare_outputs.py before after

Result files are compared byte for byte, records and traces as JSON without the fields that time and machine decide,
`scores.json` value by value, `curves.npz` array by array (bit for bit). Prints each difference; exits with 1 if there
is any that no --intended pattern names.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import click
import numpy as np

#: Fields of records and traces that differ between two runs of the same code.
VOLATILE = ("seconds", "started", "machine", "memory_mb", "versions", "output", "concurrency")


def differences(before: Any, after: Any, place: str, skip: tuple[str, ...] = ()) -> Iterator[str]:
    """One line per value that differs, with its place in the structure."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            if key in skip:
                continue
            if key not in before or key not in after:
                yield f"{place}/{key}: {'added' if key not in before else 'gone'}"
            else:
                yield from differences(before[key], after[key], f"{place}/{key}", skip)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (a, b) in enumerate(zip(before, after, strict=True)):
            yield from differences(a, b, f"{place}[{index}]", skip)
    elif before != after and not (before != before and after != after):
        yield f"{place}: {before!r:.60} -> {after!r:.60}"


def compare_file(before: Path, after: Path, name: str) -> Iterator[str]:
    if name.endswith(".npz"):
        with np.load(before) as a, np.load(after) as b:
            for key in sorted({*a.files, *b.files}):
                if key not in a.files or key not in b.files:
                    yield f"{name}/{key}: {'added' if key not in a.files else 'gone'}"
                elif a[key].tobytes() != b[key].tobytes():
                    yield f"{name}/{key}: values differ"
    elif name.endswith(".json"):
        yield from differences(json.loads(before.read_text()), json.loads(after.read_text()), name, VOLATILE)
    elif name.endswith(".jsonl"):
        events = [[json.loads(line) for line in path.read_text().splitlines()] for path in (before, after)]
        yield from differences(*events, name, VOLATILE)
    elif before.read_bytes() != after.read_bytes():
        yield f"{name}: bytes differ"


@click.command()
@click.argument("before", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("after", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--intended", multiple=True, metavar="PATTERN", help="A glob of differences that are intended.")
def main(before: Path, after: Path, intended: tuple[str, ...]) -> None:
    """Compares every .txt, .json, .jsonl, .csv and .npz file below two folders."""
    endings = (".txt", ".json", ".jsonl", ".csv", ".npz")
    files = {
        str(path.relative_to(folder)): None
        for folder in (before, after)
        for path in sorted(folder.rglob("*"))
        if path.name.endswith(endings) and path.is_file()
    }
    found: list[str] = []
    for name in files:
        there = [(folder / name).is_file() for folder in (before, after)]
        if all(there):
            found += compare_file(before / name, after / name, name)
        else:
            found.append(f"{name}: {'only before' if there[0] else 'only after'}")
    unexpected = [line for line in found if not any(fnmatchcase(line, pattern) for pattern in intended)]
    for line in found:
        click.echo(f"{'DIFFERS ' if line in unexpected else 'intended'} {line}")
    click.echo(f"{len(files)} files, {len(found)} differences, {len(found) - len(unexpected)} intended")
    sys.exit(1 if unexpected else 0)


if __name__ == "__main__":
    main()
