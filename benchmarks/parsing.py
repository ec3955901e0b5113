"""Text files of boxes to float64 arrays: one reader against the readers that people use.

    python benchmarks/parsing.py

The same files, one call per file (a folder of results is many files of moderate size), everything in this process.
Every reader's numbers are compared with Python's own `float()`; the last column counts the values that differ.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import Table, present, race, ratio, version

from tnllt.numbers import parse_tables

Array = np.ndarray[Any, np.dtype[np.float64]]
Reader = Callable[[list[Path]], list[Array]]


def write_files(folder: Path, count: int, rows: int) -> list[Path]:
    """Files of boxes as four trackers would write them: whole numbers, two, four and six decimals."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        boxes = np.abs(rng.normal(300, 150, (rows, 4)))
        places = ("%d", "%.2f", "%.4f", "%.6f")[number % 4]
        path = folder / f"{number:04d}.txt"
        path.write_text("\n".join(",".join(places % v for v in row) for row in boxes.tolist()) + "\n")
        paths.append(path)
    return paths


def tnllt_way(paths: list[Path]) -> list[Array]:
    return parse_tables([p.read_bytes() for p in paths], 4, list(paths))


def polars_way(polars: Any) -> Reader:
    schema = dict.fromkeys("xywh", polars.Float64)
    return lambda paths: [polars.read_csv(p, has_header=False, schema=schema).to_numpy() for p in paths]


def pyarrow_way(csv: Any) -> Reader:
    names = csv.ReadOptions(column_names=list("xywh"), use_threads=False)
    types = csv.ConvertOptions(column_types=dict.fromkeys("xywh", "float64"))

    def read(path: Path) -> Array:
        return np.column_stack([column.to_numpy() for column in csv.read_csv(path, names, None, types).columns])

    return lambda paths: [read(p) for p in paths]


def pandas_way(pandas: Any) -> Reader:
    return lambda paths: [pandas.read_csv(p, header=None, dtype=float).to_numpy() for p in paths]


def readers() -> tuple[dict[str, Reader], list[str]]:
    """The readers by name, ours first, and sentences about those that are not here."""
    ways: dict[str, Reader] = {"tnllt": tnllt_way}
    missing = []
    for package, module, make in (
        ("polars", "polars", polars_way),
        ("pyarrow", "pyarrow.csv", pyarrow_way),
        ("pandas", "pandas", pandas_way),
    ):
        found, why = present(module)
        missing += [why] * bool(why)
        for one in found:
            ways[version(package)] = make(one)
    ways[f"numpy.loadtxt {np.__version__}"] = lambda paths: [np.loadtxt(p, delimiter=",", ndmin=2) for p in paths]
    return ways, missing


def section(quick: bool = False) -> Table:
    ways, missing = readers()
    count, rows = (12, 300) if quick else (240, 2000)
    with tempfile.TemporaryDirectory() as name:
        paths = write_files(Path(name), count, rows)
        exact = [np.array([[float(c) for c in ln.split(",")] for ln in p.read_text().splitlines()]) for p in paths]
        wrong = {
            way: sum(int((a != b).sum()) for a, b in zip(read(paths), exact, strict=True)) for way, read in ways.items()
        }
        spent = race({way: partial(read, paths) for way, read in ways.items()}, 2 if quick else 9)
    ours = spent["tnllt"].best
    table = Table(
        "Reading result files",
        f"{count} files of {rows:,} boxes, in turn with no, two, four and six decimals, to float64 arrays. "
        "Processor time, best of rounds that alternate.",
        ["reader", "ms", "million boxes a second", "times ours", "values not equal to `float()`"],
    )
    for way, s in spent.items():
        speed = f"{count * rows / s.best / 1e6:.1f}"
        table.rows.append([way, f"{1e3 * s.best:.0f}", speed, ratio(s.best, ours), f"{wrong[way]:,}"])
    table.note = " ".join(missing)
    if wrong["tnllt"]:
        raise AssertionError(f"tnllt.numbers differs from float() in {wrong['tnllt']} values")
    return table


if __name__ == "__main__":
    print(section().markdown())
