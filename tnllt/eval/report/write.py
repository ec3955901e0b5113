"""`write_report`: the page's template, style, scripts and data put into one file."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tnllt.errors import DataError
from tnllt.eval.intervals import all_intervals
from tnllt.eval.report.build import page_data
from tnllt.eval.report.details import PageDetails
from tnllt.eval.report.overlaps import pack
from tnllt.eval.report.templating import embed, render_page
from tnllt.eval.scores import Scores
from tnllt.eval.selection import Selection
from tnllt.eval.style import Style
from tnllt.eval.tables import summary
from tnllt.files import write_atomic

FILE_NAME = "report.html"
#: Largest file that mail servers and code hosts still show; overlaps are thinned until the report fits.
MAX_BYTES = 8_000_000
#: Room for overlaps in a report whose other numbers alone are larger.
_OVERLAP_BYTES = 2_000_000
#: What a score of a sequence takes at least, deflated.
_BYTES_PER_SCORE = 4
#: Points of overlaps that are kept per byte of the report until they are packed: more would never fit.
_POINTS_PER_BYTE = 4
#: Of the report, the part that frames beside the overlaps may take; what one of them takes; most of one sequence.
_PICTURES, _PICTURE_BYTES, _MOST_PICTURES = 0.25, 9_000, 24
_SCRIPTS = ("core.js", "state.js", "charts.js", "leaderboard.js", "curves.js", "sequences.js", "timeline.js", "main.js")


def report_details(selection: Selection, max_bytes: int | None = None) -> PageDetails:
    """What a page of at most so many bytes shows of a selection's results beside their scores; see `write_report`."""
    return PageDetails(selection, (MAX_BYTES if max_bytes is None else max_bytes) * _POINTS_PER_BYTE)


def write_report(
    scores: Scores, folder: str | Path, results: Selection | PageDetails, *, title: str = "",
    style: Style | None = None, max_bytes: int | None = None,
) -> Path:  # fmt: skip
    """Writes `report.html` into `folder` and returns its path.

    The file holds the document of scores.json, word for word, in `<script id="scores">`; where the file would be larger
    than `MAX_BYTES` with it, deflated, as `{"deflate": base64}`. Results are read tracker by
    tracker, so that memory does not grow with their number.

    Args:
        results: what the scores are of, or what was seen of it while it was scored, which is not read again::

            details = report_details(selection)
            write_report(selection.score(details), folder, details)

        title: heading of the page; "": by the benchmark.
        style: names and colours of trackers.
        max_bytes: the largest size; None: `MAX_BYTES`, or what the numbers need where that is more.

    Raises:
        DataError: the folder cannot be written, or the report does not fit into `max_bytes` even with thinned overlaps.
    """
    check_size(len(scores.trackers), len(scores.sequences), len(scores.metrics("all")), max_bytes)
    data = _render(scores, results, title, style, max_bytes).encode("utf-8", "replace")
    if max_bytes is not None and len(data) > max_bytes:
        raise _too_large(len(data), max_bytes)
    path = Path(folder) / FILE_NAME
    write_atomic(path, data)
    return path


def write_tabs(
    reports: Mapping[str, tuple[Scores, Selection | PageDetails]], folder: str | Path, *, style: Style | None = None,
    max_bytes: int | None = None,
) -> Path:  # fmt: skip
    """As `write_report`, for several benchmarks {title: (scores, results)}: a tab each, in one file."""
    each = None if max_bytes is None else max_bytes // len(reports)
    pages = {title: _render(scores, results, title, style, each) for title, (scores, results) in reports.items()}
    text = render_page("tabs.html", ["tabs.js"], {"pages": embed(pages)}, {"title": ", ".join(pages)}, inside=_SCRIPTS)
    path = Path(folder) / FILE_NAME
    write_atomic(path, text.encode("utf-8", "replace"))
    return path


def check_size(trackers: int, sequences: int, metrics: int, max_bytes: int | None) -> None:
    """Raises DataError where the scores per sequence alone take more than `max_bytes`, before anything is computed."""
    least = trackers * metrics * sequences * _BYTES_PER_SCORE
    if max_bytes is not None and least > max_bytes:
        raise _too_large(least, max_bytes)


def _too_large(size: int, max_bytes: int) -> DataError:
    return DataError(
        f"the report takes at least {math.ceil(size / 1e5) / 10:g} MB, more than the {max_bytes / 1e6:g} asked for; "
        "give fewer --trackers or --sequences, or a larger --max-size"
    )


def _render(
    scores: Scores, results: Selection | PageDetails, title: str, style: Style | None, max_bytes: int | None
) -> str:
    most = MAX_BYTES if max_bytes is None else max_bytes
    details = report_details(results, max_bytes) if isinstance(results, Selection) else results
    pictures = min(_MOST_PICTURES, int(_PICTURES * most / _PICTURE_BYTES / max(1, len(scores.sequences))))
    intervals, room = all_intervals(scores, scores.metrics("all")), most - _OVERLAP_BYTES
    with ThreadPoolExecutor(1) as pool:
        # What alone leaves no room is deflated while the rest is computed.
        summed = pool.submit(lambda: _numbers(embed(summary(scores, scores.metrics("all"), intervals)), room))
        data = page_data(scores, details, intervals, pictures, title, style)
        numbers = summed.result()
    text = embed(data)
    rest = _size(data, text, numbers, details)
    if rest > room:
        numbers = _numbers(numbers, 0)
        rest = _size(data, text, numbers, details)
    if max_bytes is None:
        most = max(most, rest + _OVERLAP_BYTES)
    overlaps = embed(pack(details.series, max(0, most - rest), details.strides).to_json())
    return _page(data, f'{text[:-1]},"overlaps":{overlaps}}}', numbers)


def _numbers(text: str, room: int) -> str:
    """The document of scores.json, deflated where it takes more than `room` bytes."""
    if len(text) <= room or text.startswith('{"deflate"'):
        return text
    return embed({"deflate": base64.b64encode(zlib.compress(text.encode(), 9)).decode("ascii")})


def _size(data: Mapping[str, Any], text: str, numbers: str, details: PageDetails) -> int:
    """Of the page without overlaps, but with their index."""
    return len(_page(data, text, numbers).encode("utf-8", "replace")) + 64 * len(details.series) + 1_000


def _page(data: Mapping[str, Any], text: str, numbers: str) -> str:
    values = {name: data[name] for name in ("facts", "footnotes", "colophon")}
    return render_page(
        "report.html", _SCRIPTS, {"scores": numbers, "data": text}, {"title": data["title"][:200], **values}
    )
