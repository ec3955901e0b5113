"""Drawing operations on one image: background, sprites, lens blur, noise, attack. None knows what a scene is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from tnllt.datasets.synth.motion import WAVES
from tnllt.datasets.synth.sprites import SIDE
from tnllt.datasets.synth.textures import octaves
from tnllt.sequence import Image

Matrix = NDArray[np.float64]
Affine = tuple[float, float, float, float, float, float]


def _u8(image: object) -> Image:
    """OpenCV's stubs promise any number type; these are bytes."""
    return np.asarray(image, np.uint8)


@dataclass
class Canvas:
    """An image in the making.

    Attributes:
        image: RGB uint8 (H, W, 3).
        mask: (H, W) bool, the target's visible pixels, or None.
        view: (2, 3), frame pixels -> canvas pixels; only scales and shifts.
        scale: canvas pixels per frame pixel.
    """

    image: Image
    mask: NDArray[np.bool_] | None
    view: Matrix
    scale: float


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


def lay_background(levels: tuple[Image, ...], inner: Matrix, view: Matrix, width: int, height: int) -> Image:
    """The background's part that the frame shows, (height, width, 3).

    Args:
        levels: the background and its halvings.
        inner: (2, 3), background pixels -> frame pixels.
        view: (2, 3), frame pixels -> canvas pixels.
    """
    matrix = _joined(view, inner)
    level = levels[_level(len(levels), matrix)]
    (h, w), (rows, columns) = levels[0].shape[:2], level.shape[:2]
    local = _pixel(matrix, w / columns, h / rows)
    return _u8(cv2.warpAffine(level, local, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))


def draw_sprite(
    canvas: Canvas,
    rasters: tuple[Image, ...],
    matrix: Matrix,
    role: str,
    wave: NDArray[np.float64] | None = None,
    blur: NDArray[np.float64] | None = None,
    opacity: float = 1.0,
) -> None:
    """Lays a sprite over the canvas.

    Args:
        rasters: premultiplied RGBA, and their halvings.
        matrix: (2, 3), raster pixels -> frame pixels.
        role: see `scene.Layer`; the target's pixels enter the mask, others leave it, those of "shade" do neither.
        wave: (4,) deformation, or None.
        blur: (2,) vector of motion blur in frame pixels, or None.
    """
    if opacity <= 0.004:
        return
    local = _joined(canvas.view, matrix)
    height, width = canvas.image.shape[:2]
    streak = blur * canvas.scale if blur is not None and blur.any() else None
    pad = 2 + (int(np.abs(streak).max() / 2) + 1 if streak is not None else 0)
    left, top, right, bottom = _reach(local, pad)
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        return
    keep = pad if streak is not None else 0  # a streak at the border needs what lies beyond it
    left, top, right, bottom = max(left, -keep), max(top, -keep), min(right, width + keep), min(bottom, height + keep)
    raster = rasters[_level(len(rasters), local)]
    ratio = SIDE / raster.shape[0]
    if wave is not None:
        raster = _bent(raster, wave, ratio)
    place = _pixel(local, ratio, ratio, left, top)
    patch = _u8(cv2.warpAffine(raster, place, (right - left, bottom - top), flags=cv2.INTER_LINEAR))
    if streak is not None:
        patch = smear(patch, streak)
    x, y = max(left, 0), max(top, 0)
    patch = patch[y - top : min(bottom, height) - top, x - left : min(right, width) - left]
    if opacity < 1:
        patch = _u8(cv2.convertScaleAbs(patch, alpha=opacity))
    _blend(canvas, patch, x, y, role)


def _blend(canvas: Canvas, patch: Image, x: int, y: int, role: str) -> None:
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


def _bent(raster: Image, wave: NDArray[np.float64], ratio: float) -> Image:
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


def smear(image: Image, streak: NDArray[np.float64]) -> Image:
    """Motion blur along the vector `streak` (2,), in pixels."""
    length = float(np.hypot(*streak))
    if length < 1.2:
        return image
    reach = int(np.ceil(np.abs(streak).max() / 2)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    a, b = (reach - streak / 2) * 256, (reach + streak / 2) * 256
    cv2.line(kernel, tuple(int(v) for v in a), tuple(int(v) for v in b), 1.0, 1, cv2.LINE_AA, 8)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT), np.uint8)


def add_noise(image: Image, sigma: float, number: int, index: int) -> Image:
    """Adds sensor noise of `sigma` grey levels: one of 61 x 61 cuts of a fixed field, by two numbers."""
    height, width = image.shape[:2]
    grain_up, grain_down = _grain(round(sigma * 4), max(height, width) // 256 + 1)
    dy, dx = (number * 7919 + index * 104729) % 61, (number * 31 + index * 7877) % 61
    lit = cv2.add(image, grain_up[dy : dy + height, dx : dx + width])
    return _u8(cv2.subtract(lit, grain_down[dy : dy + height, dx : dx + width]))


def compress(image: Image, quality: int) -> Image:
    """The image after JPEG compression."""
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return _u8(cv2.imdecode(coded, cv2.IMREAD_COLOR))


@lru_cache(maxsize=24)
def _grain(quarters: int, tiles: int) -> tuple[Image, Image]:
    """Gaussian noise of sigma quarters/4, as what is added and what is taken away."""
    side = 256 * tiles + 64
    values = np.random.default_rng(quarters).normal(0, quarters / 4, (side, side, 3))
    return np.clip(values, 0, 255).astype(np.uint8), np.clip(-values, 0, 255).astype(np.uint8)


def blacken_outside(image: Image, view: Matrix, width: int, height: int) -> None:
    """Makes black what lies outside a frame of this size, in place."""
    rows, columns = image.shape[:2]
    x0, y0 = round(view[0, 2]), round(view[1, 2])
    x1, y1 = round(view[0, 0] * width + view[0, 2]), round(view[1, 1] * height + view[1, 2])
    image[: max(min(y0, rows), 0)] = 0
    image[max(y1, 0) :] = 0
    image[:, : max(min(x0, columns), 0)] = 0
    image[:, max(x1, 0) :] = 0


_SIDE = 512


@lru_cache(maxsize=8)
def pattern(seed: int) -> NDArray[np.uint8]:
    """Where to add and where to take away: 255 and 0, (512, 512).

    An adversarial sample without a victim: procedural noise of bounded size fools networks it has never seen.
    Source: Co, Munoz-Gonzalez, de Maupeou, Lupu, "Procedural Noise Adversarial Examples for Black-Box Attacks on Deep
    Convolutional Networks", CCS 2019: a sine of smooth noise, its sign times the bound.
    """
    rng = np.random.default_rng([seed, 15])
    field = octaves(rng, _SIDE, _SIDE, int(rng.integers(6, 12)), 3, 0.5)
    return np.where(np.sin(2 * np.pi * field * rng.uniform(10, 18)) > 0, 255, 0).astype(np.uint8)


def perturb(image: NDArray[np.uint8], seed: int, bound: float, view: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Adds the pattern, `bound` grey levels at most per pixel and channel.

    Args:
        view: (2, 3), from frame to image pixels: the pattern is fixed in the frame.
    """
    height, width = image.shape[:2]
    signs = cv2.warpAffine(pattern(seed), view, (width, height), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_WRAP)
    step = round(bound)
    more, less = np.where(signs > 127, step, 0).astype(np.uint8), np.where(signs > 127, 0, step).astype(np.uint8)
    return np.asarray(cv2.subtract(cv2.add(image, cv2.merge([more] * 3)), cv2.merge([less] * 3)), np.uint8)
