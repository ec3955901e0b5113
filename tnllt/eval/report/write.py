"""`write_report`: the page's template, style, scripts and data put into one file."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from tnllt import __version__
from tnllt.errors import DataError
from tnllt.eval.report.build import ReportContent, frame_overlaps, page_data
from tnllt.eval.report.overlaps import pack
from tnllt.eval.scores import Scores
from tnllt.eval.tables import summary
from tnllt.files import write_atomic

FILE_NAME = "report.html"
#: Largest file that mail servers and code hosts still show; overlaps are thinned until the report fits.
MAX_BYTES = 8_000_000
_SCRIPTS = ("core.js", "charts.js", "leaderboard.js", "curves.js", "sequences.js", "timeline.js", "main.js")


def write_report(scores: Scores, folder: str | Path, content: ReportContent, *, max_bytes: int = MAX_BYTES) -> Path:
    """Writes `report.html` into `folder` and returns its path.

    The file holds the document of scores.json, word for word, in `<script id="scores">`.

    Raises:
        DataError: the folder cannot be written, or the report does not fit into `max_bytes` even with thinned overlaps.
    """
    page = render(scores, content, max_bytes)
    data = page.encode("utf-8", "replace")
    if len(data) > max_bytes:
        raise DataError(
            f"the report takes {len(data) / 1e6:.1f} MB, more than the {max_bytes / 1e6:.1f} asked for; "
            "give fewer --trackers or --sequences, or a larger --max-size"
        )
    path = Path(folder) / FILE_NAME
    write_atomic(path, data)
    return path


def render(scores: Scores, content: ReportContent, max_bytes: int = MAX_BYTES) -> str:
    """The page as text."""
    numbers = embed(summary(scores, scores.metrics("all")))
    overlaps = [frame_overlaps(scores, name) for name in scores.sequences]
    data = page_data(scores, content, overlaps)
    rest = len(fill_template(data["title"], numbers, embed({**data, "overlaps": None})).encode("utf-8", "replace"))
    index = 64 * len(overlaps) + 1_000
    data["overlaps"] = pack(overlaps, max(0, max_bytes - rest - index)).to_json()
    return fill_template(data["title"], numbers, embed(data))


def fill_template(title: str, numbers: str, data: str) -> str:
    page = files("tnllt.eval.report") / "page"
    script = (
        "'use strict';\n(() => {\n" + "\n".join((page / name).read_text("utf-8") for name in _SCRIPTS) + "\n})();\n"
    )
    # The digest lets these scripts run and no others, whatever a name or a sentence might smuggle in.
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
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
