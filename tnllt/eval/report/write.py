"""`write_report`: the page's template, style, scripts and data put into one file."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from tnllt import __version__
from tnllt.errors import DataError
from tnllt.eval.report.build import ReportContent, page_data
from tnllt.eval.report.overlaps import first_strides, pack
from tnllt.eval.scores import Scores
from tnllt.eval.tables import summary
from tnllt.files import plain, write_atomic

FILE_NAME = "report.html"
#: Largest file that mail servers and code hosts still show; overlaps are thinned until the report fits.
MAX_BYTES = 8_000_000
#: Room for overlaps in a report whose other numbers alone are larger.
_OVERLAP_BYTES = 2_000_000
#: Points of overlaps that are kept per byte of the report until they are packed: more would never fit.
_POINTS_PER_BYTE = 4
_SCRIPTS = ("core.js", "charts.js", "leaderboard.js", "curves.js", "sequences.js", "timeline.js", "main.js")


def write_report(scores: Scores, folder: str | Path, content: ReportContent, *, max_bytes: int | None = None) -> Path:
    """Writes `report.html` into `folder` and returns its path.

    The file holds the document of scores.json, word for word, in `<script id="scores">`. Results are read sequence by
    sequence, so that memory does not grow with their number.

    Args:
        max_bytes: the largest size; None: `MAX_BYTES`, or what the numbers need where that is more.

    Raises:
        DataError: the folder cannot be written, or the report does not fit into `max_bytes` even with thinned overlaps.
    """
    check_size(len(scores.trackers), scores.sequences, len(scores.metrics("all")), max_bytes)
    data = render(scores, content, max_bytes).encode("utf-8", "replace")
    if max_bytes is not None and len(data) > max_bytes:
        raise _too_large(len(data), max_bytes)
    path = Path(folder) / FILE_NAME
    write_atomic(path, data)
    return path


def check_size(trackers: int, sequences: Iterable[str], metrics: int, max_bytes: int | None) -> None:
    """Raises DataError where the scores per sequence alone take more than `max_bytes`, before anything is computed."""
    least = trackers * metrics * sum(len(name.encode()) + 20 for name in sequences)
    if max_bytes is not None and least > max_bytes:
        raise _too_large(least, max_bytes)


def _too_large(size: int, max_bytes: int) -> DataError:
    return DataError(
        f"the report takes at least {size / 1e6:.1f} MB, more than the {max_bytes / 1e6:.1f} asked for; "
        "give fewer --trackers or --sequences, or a larger --max-size"
    )


def render(scores: Scores, content: ReportContent, max_bytes: int | None = None) -> str:
    """The page as text."""
    most = MAX_BYTES if max_bytes is None else max_bytes
    numbers = embed(summary(scores, scores.metrics("all")))
    strides = first_strides(scores.lengths.tolist(), len(scores.trackers), most * _POINTS_PER_BYTE)
    data, series = page_data(scores, content, strides)
    rest = len(fill_template(data["title"], numbers, embed({**data, "overlaps": None})).encode("utf-8", "replace"))
    rest += 64 * len(series) + 1_000  # the index of the overlaps
    if max_bytes is None:
        most = max(most, rest + _OVERLAP_BYTES)
    data["overlaps"] = pack(series, max(0, most - rest), strides).to_json()
    return fill_template(data["title"], numbers, embed(data))


def fill_template(title: str, numbers: str, data: str) -> str:
    page = files("tnllt.eval.report") / "page"
    script = (
        "'use strict';\n(() => {\n" + "\n".join((page / name).read_text("utf-8") for name in _SCRIPTS) + "\n})();\n"
    )
    # The digest lets these scripts run and no others, whatever a name or a description may hold.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    parts = {
        "csp": f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        "generator": f"tnllt {__version__}",
        "title": html.escape(title[:200]),
        "style": (page / "style.css").read_text("utf-8"),
        "scores": numbers,
        "data": data,
        "script": script,
    }
    template = (page / "report.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def embed(value: Any) -> str:
    """JSON that no HTML parser can leave: `<`, `>`, `&` and the line separators as escapes, lone surrogates too."""
    text = json.dumps(plain(value), allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
