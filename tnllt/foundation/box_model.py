"""A multimodal language model that answers with boxes: behind a server, in this process, or replayed from a trace."""

from __future__ import annotations

import math
import re
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from tnllt.boxes import from_corners, to_corners
from tnllt.errors import DataError, UsageError, did_you_mean
from tnllt.files import parse_json, read_bytes, read_toml, user_path
from tnllt.reasoningtrack.reasoners.base import ReasonerError
from tnllt.reasoningtrack.reasoners.trace import SCHEMA, image_hash, text_hash
from tnllt.reasoningtrack.reasoners.views import data_url
from tnllt.records import from_table
from tnllt.sequence import Image
from tnllt.text import redact
from tnllt.tracking.options import check_options

_PACKAGED = Path(__file__).with_name("conventions.toml")
#: Of an answer, beyond this many boxes nothing is read.
_MOST_BOXES = 100


@dataclass(frozen=True)
class Convention:
    """One model family's way to write a box.

    Attributes:
        title: which models.
        frame: "sent": pixels of the image that the model is sent; "relative": `scale` times the fraction of its side.
        order: of the four numbers: corners, corners with y first, or corner and size.
        ground, track: what the model is asked, in our words: where `{text}` is in one image; where the target of the
            first image, with `{text}` and its `{box}` there, is in the second one.
        answer: a regular expression with four groups, one a number.
        absent: a regular expression that says that the target is not in the image.
        written: how the model writes a box, with {a} to {d}; the template's box is written so, too.
        scale: of relative coordinates.
        digits: behind the decimal point.
        multiple: the sides of an image that is sent are multiples of this, so that the model's own processor does not
            resize it: pixels of another size would be another frame.
        max_pixels: of an image that is sent.
    """

    title: str
    frame: Literal["sent", "relative"]
    order: Literal["xyxy", "yxyx", "xywh"]
    ground: str
    track: str
    answer: str
    absent: str
    written: str
    scale: float = 1.0
    digits: int = 0
    multiple: int = 1
    max_pixels: int = 1_003_520

    def __post_init__(self) -> None:
        for name in ("answer", "absent"):
            try:
                groups = re.compile(getattr(self, name)).groups
            except re.error as error:
                raise ValueError(f"`{name}` is not a regular expression: {error}") from error
            if name == "answer" and groups != 4:
                raise ValueError(f"`answer` has {groups} groups; give it four, one for each number")
        if self.scale <= 0 or self.multiple < 1 or self.max_pixels < self.multiple**2 or self.digits < 0:
            raise ValueError("`scale`, `multiple` and `max_pixels` must be positive, `digits` not negative")
        for text, fields in ((self.ground, ("text",)), (self.track, ("text", "box")), (self.written, "abcd")):
            try:
                text.format(**dict.fromkeys(fields, "0"))
            except (KeyError, IndexError, ValueError) as error:
                raise ValueError(f"{text!r} may hold {', '.join('{' + f + '}' for f in fields)} alone") from error

    def sent_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width in which an image is sent."""
        scale = min(1.0, math.sqrt(self.max_pixels / (height * width)))
        step = self.multiple
        sides = [max(step, round(side * scale / step) * step) for side in (height, width)]
        while sides[0] * sides[1] > self.max_pixels and max(sides) > step:
            longest = sides.index(max(sides))
            sides[longest] -= step
        return sides[0], sides[1]

    def write(self, box: Sequence[float], size: tuple[int, int]) -> str:
        """A box (x, y, w, h in pixels) of an image of this size (height, width) as the model writes it."""
        x1, y1, x2, y2 = to_corners(box) * self._factors(size)
        found = {"xyxy": (x1, y1, x2, y2), "yxyx": (y1, x1, y2, x2), "xywh": (x1, y1, x2 - x1, y2 - y1)}
        numbers = (f"{value:.{self.digits}f}" for value in found[self.order])
        return self.written.format(**dict(zip("abcd", numbers, strict=True)))

    def read(self, text: str, size: tuple[int, int]) -> list[list[float]]:
        """The boxes (x, y, w, h in pixels) of an answer about an image of this size (height, width).

        What lies outside of the image is cut off; a box without area, or with corners in the wrong order, is none.
        """
        found = []
        for match in list(re.finditer(self.answer, text))[:_MOST_BOXES]:
            try:
                a, b, c, d = (float(number) for number in match.groups())
            except (TypeError, ValueError):
                continue
            corners = {"xyxy": (a, b, c, d), "yxyx": (b, a, d, c), "xywh": (a, b, a + c, b + d)}[self.order]
            scaled = np.array(corners) / self._factors(size)
            inside = np.clip(scaled, 0, [size[1], size[0], size[1], size[0]])
            box = from_corners(inside)
            if np.isfinite(scaled).all() and (box[2:] > 0).all():
                found.append([float(v) for v in box])
        return found

    def says_absent(self, text: str) -> bool:
        return re.search(self.absent, text) is not None

    def _factors(self, size: tuple[int, int]) -> Any:
        """What pixels x1, y1, x2, y2 of the image are multiplied by to become the model's numbers."""
        height, width = size
        sent = self.sent_size(height, width)
        x, y = (
            (sent[1] / width, sent[0] / height) if self.frame == "sent" else (self.scale / width, self.scale / height)
        )
        return np.array([x, y, x, y])


def load_convention(name: str | Path) -> Convention:
    """A packaged convention by its name, or one of your own by its TOML file.

    Raises:
        UsageError: no such name or file. DataError: the file does not state a convention.
    """
    packaged = read_toml(_PACKAGED)
    if str(name) in packaged:
        return from_table(packaged[str(name)], Convention, _PACKAGED)
    place = user_path(name)
    if not place.is_file():
        known = ", ".join(packaged)
        raise UsageError(f"no convention {name}; {did_you_mean(str(name), packaged, f'known are {known}')}")
    try:
        return from_table(read_toml(place), Convention, place)
    except (TypeError, ValueError) as error:
        raise DataError(str(error), place) from error


KINDS = ("openai:URL", "transformers:PATH", "replay:FILE")
_EVENT = "box"


@dataclass(frozen=True)
class BoxAnswer:
    """What a model answered to one question.

    Attributes:
        boxes: x, y, w, h in pixels of the image asked about.
        absent: the model says that the target is not in the image.
        error: why there is no usable answer, or None.
        event: for the trace; a replay answers from it.
    """

    boxes: list[list[float]]
    absent: bool
    error: str | None
    event: Mapping[str, Any] = field(default_factory=dict)


class BoxModel:
    """Asks a model where a target is, in the model's own convention.

    Args:
        model: "openai:URL", "transformers:PATH" or "replay:FILE", as for reasoners.
        convention: how the model writes boxes: a packaged one's name, or your own TOML file.
        options: of the server or the local model, as for reasoners (model, timeout, retries, device, ...).

    Raises:
        UsageError: an unknown kind, option or convention. DataError: a file that cannot be used.
    """

    def __init__(self, model: str, convention: str | Path, options: Mapping[str, Any] | None = None) -> None:
        self.convention: Convention = load_convention(convention)
        self.name, self.convention_name = model, str(convention)
        kind, _, place = model.partition(":")
        makers: dict[str, tuple[Any, str]] = {
            "openai": (_Server, "url"),
            "transformers": (_Local, "path"),
            "replay": (_Replay, "path"),
        }
        if kind not in makers or not place:
            raise UsageError(f"model {model!r}: must be one of {', '.join(KINDS)}")
        make, where = makers[kind]
        self._model: Any = make(**{where: place}, options=dict(options or {}))

    def locate(self, image: Image, text: str) -> BoxAnswer:
        """Where `text` is in one image."""
        return self._ask([image], self.convention.ground.format(text=text))

    def follow(self, first: Image, box: Sequence[float], image: Image, text: str) -> BoxAnswer:
        """Where the target with this box (x, y, w, h in pixels) in the first image is in the second."""
        written = self.convention.write(box, first.shape[:2])
        return self._ask([first, image], self.convention.track.format(text=text or "the target", box=written))

    def reach(self) -> None:
        """Raises UsageError where a server is needed and none answers."""
        try:
            if hasattr(self._model, "reach"):
                self._model.reach()
        except ReasonerError as error:
            raise UsageError(f"the server of {self.name} does not answer: {error}; start it") from error

    def close(self) -> None:
        if hasattr(self._model, "close"):
            self._model.close()

    def info(self) -> Mapping[str, Any]:
        return {**self._model.info(), "convention": self.convention_name}

    def _ask(self, images: Sequence[Image], question: str) -> BoxAnswer:
        """One question; no failure is raised."""
        started, size = time.perf_counter(), images[-1].shape[:2]
        detail: dict[str, Any] = {"convention": self.convention_name}
        hashes = [image_hash(image) for image in images]
        raw = ""
        failure: dict[str, str] | None = None
        try:
            raw = redact(self._model.write([self._sent(image) for image in images], question, hashes, detail))
        except Exception as error:  # a model of any kind may fail in any way; the tracker goes on
            kind = error.kind if isinstance(error, ReasonerError) else type(error).__name__
            detail |= dict(error.detail) if isinstance(error, ReasonerError) else {}
            failure = {"kind": kind, "message": redact(" ".join(str(error).split()))[:500]}
        boxes = self.convention.read(raw, size)
        absent = not boxes and failure is None and self.convention.says_absent(raw)
        if failure is None and not boxes and not absent:
            failure = {"kind": "no_box", "message": "the answer holds no box in the convention"}
        event = {
            "schema": SCHEMA,
            "event": _EVENT,
            "sha256": hashes,
            "question": text_hash(question),
            "raw": raw,
            "boxes": [[round(v, 3) for v in box] for box in boxes],
            "absent": absent,
            "seconds": round(time.perf_counter() - started, 6),
            "error": failure,
            "detail": detail,
        }
        said = None if failure is None else f"{failure['kind']}: {failure['message']}"
        return BoxAnswer(boxes, absent, said, event)

    def _sent(self, image: Image) -> Image:
        """The image in the size in which the convention sends it."""
        height, width = self.convention.sent_size(*image.shape[:2])
        if (height, width) == image.shape[:2]:
            return image
        return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


class _Server:
    def __init__(self, url: str, options: dict[str, Any]) -> None:
        from tnllt.reasoningtrack.reasoners.server import ServerReasoner

        given = check_options(ServerReasoner, {"url": url, "max_tokens": 512, **options, "cache": "off"})
        self._server = ServerReasoner(**given)
        self.reach, self.close = self._server.reach, self._server.close

    def write(self, images: Sequence[Image], question: str, hashes: object, detail: dict[str, Any]) -> str:
        urls = [data_url(image, self._server.image_format, image.shape[0] * image.shape[1]) for image in images]
        parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        parts.append({"type": "text", "text": question})
        return self._server.ask([{"role": "user", "content": parts}], detail)

    def info(self) -> Mapping[str, Any]:
        facts = self._server.info()
        return {"model": "openai", **{name: facts[name] for name in ("url", "sampling")}, "name": facts["model"]}


class _Local:
    def __init__(self, path: str, options: dict[str, Any]) -> None:
        from tnllt.reasoningtrack.reasoners.models import LocalReasoner

        limits = {"max_tokens": 512, "max_pixels": 1 << 24}
        given = check_options(LocalReasoner, {"path": path, **limits, **options, "cache": "off"})
        self._local = LocalReasoner(**given)

    def write(self, images: Sequence[Image], question: str, hashes: object, detail: dict[str, Any]) -> str:
        detail["model"] = self._local.path
        return self._local.generate(images, "", question)

    def info(self) -> Mapping[str, Any]:
        facts = dict(self._local.info())
        return {"model": "transformers", "name": facts["model"], "sampling": facts["sampling"]}


class _Replay:
    """Answers as recorded; found by the pixels of the images and the question."""

    def __init__(self, path: str, options: dict[str, Any]) -> None:
        if options:
            raise UsageError("a replay takes no options of a model")
        self.path = Path(path)
        files = sorted(self.path.rglob("*.trace.jsonl")) if self.path.is_dir() else [self.path]
        self._answers: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
        for file in files:
            for row, line in enumerate(read_bytes(file).splitlines(), 1):
                event = parse_json(line, file, row)
                if isinstance(event, dict) and event.get("event") == _EVENT:
                    try:
                        key = (*map(str, event["sha256"]), str(event["question"]))
                    except (KeyError, TypeError) as error:
                        raise DataError(f"is not a box event: {error}", file, row) from error
                    self._answers[key].append(event)
        if not self._answers:
            raise UsageError(f"{path}: no answers with boxes to replay; give a *.trace.jsonl file or a folder of them")

    def write(self, images: object, question: str, hashes: Sequence[str], detail: dict[str, Any]) -> str:
        events = self._answers.get((*hashes, text_hash(question)))
        if not events:
            raise ReasonerError("not_recorded", f"{self.path} has no answer for these images and this question")
        event = events.pop(0) if len(events) > 1 else events[0]
        error = event.get("error")
        if isinstance(error, dict) and error.get("kind") != "no_box":
            raise ReasonerError(str(error.get("kind")), str(error.get("message")))
        return str(event.get("raw", ""))

    def info(self) -> Mapping[str, Any]:
        return {"model": "replay", "trace": str(self.path)}
