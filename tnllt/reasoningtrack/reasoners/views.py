"""What a reasoner is shown of a question: two images, in one of four views.

| view | the two images |
|---|---|
| frames | the frame of the last refresh and the current one, whole, as published |
| boxes | the first frame and the current one, whole, with their boxes drawn |
| search | the search regions around both boxes: squares 4 times as wide as the box (the root of its area) |
| crops | the boxes with little around them: squares 2 times as wide |

The first frame's box is the initial one; the current frame's is the tracker's own, which may be wrong. Servers,
local models, the records of training and the exports all make their images here.
"""

from __future__ import annotations

import base64
import math
from typing import Literal

import cv2
import numpy as np

from tnllt.reasoningtrack.geometry import crop_square
from tnllt.reasoningtrack.reasoners.base import Look, Question, ReasonerError
from tnllt.sequence import Image

ImageFormat = Literal["jpeg", "png"]

#: The pixels that the published training allowed; more costs tokens and time.
MAX_PIXELS = 262_144


def bounded(image: Image, max_pixels: int = MAX_PIXELS) -> Image:
    """The image (H, W, 3), made smaller where H * W exceeds `max_pixels`; its shape is kept."""
    height, width = image.shape[:2]
    if height * width <= max_pixels:
        return image
    scale = math.sqrt(max_pixels / (height * width))
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def data_url(image: Image, image_format: ImageFormat = "jpeg", max_pixels: int = MAX_PIXELS) -> str:
    """RGB uint8 (H, W, 3) as `data:image/jpeg;base64,...` (quality 92) or PNG."""
    pixels = np.ascontiguousarray(bounded(image, max_pixels)[..., ::-1])
    options = [cv2.IMWRITE_JPEG_QUALITY, 92] if image_format == "jpeg" else [cv2.IMWRITE_PNG_COMPRESSION, 3]
    done, encoded = cv2.imencode(".jpg" if image_format == "jpeg" else ".png", pixels, options)
    if not done:
        raise ValueError(f"cannot encode an image of shape {image.shape} as {image_format}")
    return f"data:image/{image_format};base64,{base64.b64encode(encoded.tobytes()).decode()}"


View = Literal["frames", "boxes", "search", "crops"]

#: Sides of the squares: the box's times this.
FACTORS = {"search": 4.0, "crops": 2.0}
#: Pixels of a square's side; within the bounds on an image's pixels of the published training.
SIDE = 384
_COLOUR = (255, 0, 0)


def pictures(question: Question, view: View) -> tuple[Image, Image]:
    """The two images of a question, RGB uint8 (H, W, 3)."""
    if view == "frames":
        return question.previous.image, question.current.image
    first, current = (_picture(look, view) for look in (question.first, question.current))
    return first, current


def shown(first: Image, second: Image, question: Question | None, view: View) -> tuple[Image, Image]:
    """What a reasoner with a view shows its model, from the arguments of `describe`.

    Raises:
        ReasonerError: the view needs the whole question, and there are two frames only.
    """
    if question is not None:
        return pictures(question, view)
    if view != "frames":
        raise ReasonerError("no_boxes", f"the view {view!r} needs boxes: pass the whole question")
    return first, second


def _picture(look: Look, view: View) -> Image:
    if view != "boxes":
        return crop_square(look.image, look.box, FACTORS[view], SIDE)[0]
    drawn = np.ascontiguousarray(look.image).copy()
    x, y, w, h = look.box
    thickness = max(1, round(min(drawn.shape[:2]) / 160))
    corners = (round(x), round(y)), (round(x + w), round(y + h))
    cv2.rectangle(drawn, *corners, _COLOUR, thickness)
    return drawn
