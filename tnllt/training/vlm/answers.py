"""The right answer about a pair of annotated frames, as far as the annotation determines it."""

from __future__ import annotations

import re

from tnllt.training.vlm.records import Box

#: A word for each third of the image's width.
_SIDES = ("left", "middle", "right")
_SIDE_WORD = re.compile(r"\b(?:on|in|at|to) the (left|right|middle|center|centre)(?: side)?\b", re.IGNORECASE)


def side(box: Box, width: int) -> str:
    """The third of the image that the box's centre lies in."""
    return _SIDES[min(2, max(0, int(3 * (box[0] + box[2] / 2) / width)))]


def true_description(description: str, box: Box, width: int) -> str:
    """The description with a wrong side of the image corrected ("on the left" -> "on the right").

    A description that names sides more than once is unchanged: which of them concerns the target is unknown.
    """
    found = _SIDE_WORD.findall(description)
    if len(found) != 1:
        return description
    named = "middle" if found[0].lower() in ("center", "centre") else found[0].lower()
    now = side(box, width)
    # A target near the middle is called left or right by many: only the opposite side is wrong for certain.
    if {named, now} != {"left", "right"}:
        return description
    return re.sub(rf"\b{found[0]}\b", now, description, count=1, flags=re.IGNORECASE)


def write_answer(description: str, now: str, boxes: tuple[Box, Box], widths: tuple[int, int]) -> str:
    """The tagged answer: a thought from what the boxes show, the decision, and the description that is true now."""
    update = now != description
    before, after = (side(box, width) for box, width in zip(boxes, widths, strict=True))
    moved = f"from the {before} to the {after}" if before != after else f"within the {after} of the picture"
    ratio = (boxes[1][2] * boxes[1][3]) / (boxes[0][2] * boxes[0][3])
    size = "looks larger" if ratio > 1.5 else "looks smaller" if ratio < 1 / 1.5 else "keeps its size"
    verdict = "The description is not true any more." if update else "The description is still true."
    thought = f"The target moved {moved} and {size}. {verdict}"
    return f"<think>{thought}</think><d>{'yes' if update else 'no'}</d><answer>{now}</answer>"
