"""Draws one frame of a planned scene, or only a region of it at the wanted scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tnllt.datasets.synth.sprites import SIDE

if TYPE_CHECKING:
    from tnllt.datasets.synth.scene import Layer, ScenePlan
    from tnllt.datasets.synth.sources import Library

Picture = NDArray[np.uint8]
Matrix = NDArray[np.float64]
Points = NDArray[np.float64]
Affine = tuple[float, float, float, float, float, float]
Region = tuple[float, float, float, float]
WAVES = 2 * np.pi / (0.9 * SIDE)  #: wave number of deformations, per raster pixel


class Rendered(NamedTuple):
    """A drawn frame or region.

    Attributes:
        image: RGB uint8 (H, W, 3).
        box: (4,) float64 x, y, w, h of the target in pixels of this image; zeros where it is absent.
        present: whether the target is in view in the frame.
        mask: bool (H, W), the target's visible pixels, where asked for.
    """

    image: Picture
    box: NDArray[np.float64]
    present: bool
    mask: NDArray[np.bool_] | None


def _u8(image: object) -> Picture:
    """OpenCV's stubs promise any number type; these are bytes."""
    return np.asarray(image, np.uint8)


@dataclass
class _Canvas:
    image: Picture
    mask: NDArray[np.bool_] | None
    view: Matrix  #: (2, 3), frame -> canvas
    scale: float


def render(
    plan: ScenePlan,
    index: int,
    region: Region | None = None,
    size: int | tuple[int, int] | None = None,
    mask: bool = False,
) -> Rendered:
    """Draws frame `index`.

    Args:
        region: x, y, w, h in frame pixels; None: the whole frame. What lies outside the frame is black.
        size: output side, or (width, height); None: the region's own size.
    """
    x, y, w, h = region if region is not None else (0, 0, plan.width, plan.height)
    width, height = (size, size) if isinstance(size, int) else size or (max(1, round(w)), max(1, round(h)))
    view = np.array([[width / w, 0, -x * width / w], [0, height / h, -y * height / h]])
    scale = float(np.sqrt(width * height / (w * h)))
    canvas = _Canvas(
        _background(plan, index, view, width, height), np.zeros((height, width), bool) if mask else None, view, scale
    )
    for layer in plan.layers:
        _draw(canvas, plan.library, layer, index)
    canvas.image = _lens(canvas.image, plan, index, scale)
    canvas.image = _sensor(canvas.image, plan, index, view, scale, crop=region is not None)
    if region is not None:
        _blacken_outside(canvas.image, view, plan.width, plan.height)
    box = plan.boxes[index] * (width / w, height / h, width / w, height / h)
    if plan.present[index]:
        box[:2] += view[:, 2]
    return Rendered(canvas.image, box, bool(plan.present[index]), canvas.mask)


def _joined(view: Matrix, inner: Matrix) -> Affine:
    """view after inner, both (2, 3); view only scales and shifts. Plain numbers: this runs for every sprite drawn."""
    (sx, _, tx), (_, sy, ty) = view.tolist()
    (a, b, c), (d, e, f) = inner.tolist()
    return sx * a, sx * b, sx * c + tx, sy * d, sy * e, sy * f + ty


def _level(count: int, matrix: Affine) -> int:
    """Which halving of a raster to draw, so that at most 1.5 of its pixels fall on one."""
    a, b, _, d, e, _ = matrix
    shrink = math.sqrt(max(abs(a * e - b * d), 1e-12))
    return min(max(math.floor(0.42 - math.log2(shrink)), 0), count - 1)


def _pixel(matrix: Affine, along: float, down: float, left: int = 0, top: int = 0) -> Matrix:
    """From continuous coordinates (pixel centres at one half) to OpenCV's (at whole numbers).

    Args:
        along, down: by how much the source was made smaller, in width and height.
        left, top: the corner of what is drawn.
    """
    a, b, c, d, e, f = matrix
    a, b, d, e = a * along, b * down, d * along, e * down
    return np.array([[a, b, c + (a + b) / 2 - 0.5 - left], [d, e, f + (d + e) / 2 - 0.5 - top]])


def _reach(matrix: Affine, pad: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a raster drawn under the matrix, with a border of pad pixels."""
    a, b, c, d, e, f = matrix
    a, b, d, e = a * SIDE, b * SIDE, d * SIDE, e * SIDE
    left, right = c + min(a, 0.0) + min(b, 0.0), c + max(a, 0.0) + max(b, 0.0)
    top, bottom = f + min(d, 0.0) + min(e, 0.0), f + max(d, 0.0) + max(e, 0.0)
    return math.floor(left) - pad, math.floor(top) - pad, math.ceil(right) + pad, math.ceil(bottom) + pad


def _background(plan: ScenePlan, index: int, view: Matrix, width: int, height: int) -> Picture:
    levels = plan.backdrop()
    matrix = _joined(view, plan.background[index])
    level = levels[_level(len(levels), matrix)]
    (h, w), (rows, columns) = levels[0].shape[:2], level.shape[:2]
    local = _pixel(matrix, w / columns, h / rows)
    return _u8(cv2.warpAffine(level, local, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))


def paint(image: Picture, layers: tuple[Layer, ...], library: Library) -> Picture:
    """Draws the first frame of still layers onto a picture, in place."""
    canvas = _Canvas(image, None, np.array([[1.0, 0, 0], [0, 1.0, 0]]), 1.0)
    for layer in layers:
        _draw(canvas, library, layer, 0)
    return canvas.image


def warped(x: Points, y: Points, wave: NDArray[np.float64] | None) -> tuple[Points, Points]:
    """Raster points deformed as `wave` (T, 4) says: x' = x + a sin(k y + p), then y' = y + b sin(k x' + q)."""
    if wave is None:
        return x, y
    x = x + wave[:, :1] * np.sin(WAVES * y + wave[:, 2:3])
    return x, y + wave[:, 1:2] * np.sin(WAVES * x + wave[:, 3:4])


def unwarped(x: Points, y: Points, wave: NDArray[np.float64] | None) -> tuple[Points, Points]:
    """The inverse of `warped`."""
    if wave is None:
        return x, y
    y = y - wave[:, 1:2] * np.sin(WAVES * x + wave[:, 3:4])
    return x - wave[:, :1] * np.sin(WAVES * y + wave[:, 2:3]), y


def placed(
    points: NDArray[np.float64], wave: NDArray[np.float64] | None, matrix: NDArray[np.float64]
) -> tuple[Points, Points]:
    """Raster points (P, 2) in the frame, x and y (T, P), under matrices (T, 2, 3)."""
    u, v = warped(points[None, :, 0], points[None, :, 1], wave)
    x = matrix[:, 0, :1] * u + matrix[:, 0, 1:2] * v + matrix[:, 0, 2:]
    return x, matrix[:, 1, :1] * u + matrix[:, 1, 1:2] * v + matrix[:, 1, 2:]


def _draw(canvas: _Canvas, library: Library, layer: Layer, index: int) -> None:
    opacity = float(layer.opacity[index]) if layer.opacity is not None else 1.0
    if opacity <= 0.004:
        return
    matrix = _joined(canvas.view, layer.matrix[index])
    height, width = canvas.image.shape[:2]
    streak = layer.blur[index] * canvas.scale if layer.blur is not None and layer.blur[index].any() else None
    pad = 2 + (int(np.abs(streak).max() / 2) + 1 if streak is not None else 0)
    left, top, right, bottom = _reach(matrix, pad)
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        return
    keep = pad if streak is not None else 0  # a streak at the border needs what lies beyond it
    left, top, right, bottom = max(left, -keep), max(top, -keep), min(right, width + keep), min(bottom, height + keep)
    levels = layer.rasters(library, index)
    raster = levels[_level(len(levels), matrix)]
    ratio = SIDE / raster.shape[0]
    if layer.wave is not None:
        raster = _bent(raster, layer.wave[index], ratio)
    local = _pixel(matrix, ratio, ratio, left, top)
    patch = _u8(cv2.warpAffine(raster, local, (right - left, bottom - top), flags=cv2.INTER_LINEAR))
    if streak is not None:
        patch = smear(patch, streak)
    x, y = max(left, 0), max(top, 0)
    patch = patch[y - top : min(bottom, height) - top, x - left : min(right, width) - left]
    if opacity < 1:
        patch = _u8(cv2.convertScaleAbs(patch, alpha=opacity))
    _blend(canvas, patch, x, y, layer.role)


def _blend(canvas: _Canvas, patch: Picture, x: int, y: int, role: str) -> None:
    """Lays a premultiplied RGBA patch over the canvas at x, y."""
    rows, columns = patch.shape[:2]
    if rows == 0 or columns == 0:
        return
    under = canvas.image[y : y + rows, x : x + columns]
    alpha = patch[..., 3]
    clear = cv2.bitwise_not(alpha)
    rest = cv2.merge([clear, clear, clear])
    canvas.image[y : y + rows, x : x + columns] = cv2.add(cv2.multiply(under, rest, scale=1 / 255.0), patch[..., :3])
    if canvas.mask is not None and role != "shade":
        where = canvas.mask[y : y + rows, x : x + columns]
        if role == "target":
            where |= alpha > 127
        else:
            where &= alpha <= 127


def _bent(raster: Picture, wave: NDArray[np.float64], ratio: float) -> Picture:
    """The raster deformed: x' = x + a sin(k y + p), then y' = y + b sin(k x' + q)."""
    side = raster.shape[0]
    us, vs = _grid(side)
    along_x, along_y, p, q = (float(v) for v in wave)
    column = (along_y * np.sin(WAVES * us[0] + q)).astype(np.float32)
    ys = vs - column[None]
    xs = us - np.float32(along_x) * np.sin(np.float32(WAVES) * ys + np.float32(p))
    shrink = np.float32(1 / ratio)
    return np.asarray(cv2.remap(raster, xs * shrink - 0.5, ys * shrink - 0.5, cv2.INTER_LINEAR), np.uint8)


@lru_cache(maxsize=16)
def _grid(side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    at = (np.arange(side, dtype=np.float32) + 0.5) * np.float32(SIDE / side)
    us, vs = np.meshgrid(at, at)
    return us, vs


def smear(image: Picture, streak: NDArray[np.float64]) -> Picture:
    """Motion blur along the vector `streak` (2,), in pixels."""
    length = float(np.hypot(*streak))
    if length < 1.2:
        return image
    reach = int(np.ceil(np.abs(streak).max() / 2)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    a, b = (reach - streak / 2) * 256, (reach + streak / 2) * 256
    cv2.line(kernel, tuple(int(v) for v in a), tuple(int(v) for v in b), 1.0, 1, cv2.LINE_AA, 8)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT), np.uint8)


def _lens(image: Picture, plan: ScenePlan, index: int, scale: float) -> Picture:
    if plan.camera_blur is not None:
        image = smear(image, plan.camera_blur[index] * scale)
    sigma = plan.softness * scale
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8) if sigma > 0.3 else image


def _sensor(image: Picture, plan: ScenePlan, index: int, view: Matrix, scale: float, crop: bool) -> Picture:
    """Light, colour, perturbation, noise; and compression where a crop is drawn that no file has gone through."""
    image = _u8(cv2.LUT(image, plan.tone(index)))
    if plan.attack is not None and plan.attack[index] > 0:
        from tnllt.datasets.synth.attack import perturb

        image = perturb(image, plan.seed, float(plan.attack[index]), view)
    if plan.noise > 0:
        height, width = image.shape[:2]
        grain_up, grain_down = _grain(round(plan.noise * 4), max(height, width) // 256 + 1)
        dy, dx = (plan.seed * 7919 + index * 104729) % 61, (plan.seed * 31 + index * 7877) % 61
        lit = cv2.add(image, grain_up[dy : dy + height, dx : dx + width])
        image = _u8(cv2.subtract(lit, grain_down[dy : dy + height, dx : dx + width]))
    if plan.grey:
        image = _u8(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))
    if crop and plan.jpeg:
        coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, plan.jpeg])[1]
        image = _u8(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    return image


@lru_cache(maxsize=24)
def _grain(quarters: int, tiles: int) -> tuple[Picture, Picture]:
    """Gaussian noise of sigma quarters/4, as what is added and what is taken away."""
    side = 256 * tiles + 64
    values = np.random.default_rng(quarters).normal(0, quarters / 4, (side, side, 3))
    return np.clip(values, 0, 255).astype(np.uint8), np.clip(-values, 0, 255).astype(np.uint8)


def _blacken_outside(image: Picture, view: Matrix, width: int, height: int) -> None:
    rows, columns = image.shape[:2]
    x0, y0 = round(view[0, 2]), round(view[1, 2])
    x1, y1 = round(view[0, 0] * width + view[0, 2]), round(view[1, 1] * height + view[1, 2])
    image[: max(min(y0, rows), 0)] = 0
    image[max(y1, 0) :] = 0
    image[:, : max(min(x0, columns), 0)] = 0
    image[:, max(x1, 0) :] = 0
