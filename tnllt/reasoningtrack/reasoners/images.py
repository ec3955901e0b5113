"""Images for a model: bounded in size, as data URLs."""

from __future__ import annotations

import base64
import math
from typing import Literal

import cv2
import numpy as np

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
