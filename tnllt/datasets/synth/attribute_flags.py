"""From what happens in a scene to the attributes' flags: one threshold each, as the benchmarks define them.

Sources: LaSOT (CVPR 2019) table 2 and TNL2K (CVPR 2021) table 3 for SV, ARC, FM, LR, FOC, POC, OV; where they only say
it in words, the threshold is this file's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tnllt.datasets.synth.config import ATTRIBUTES

Curve = NDArray[np.float64]

CAMERA_STEP = 0.015  #: of the frame's diagonal, in one frame
ROTATION = 45.0  #: degrees against the first frame
DEFORMATION = 0.04  #: of the sprite's side
LIGHT = 1.6  #: brightest against darkest
HIDDEN, PARTLY = 0.97, 0.15  #: covered fraction of what is in the frame
VIEW = 40.0  #: degrees about the vertical against the first frame
STREAK = 0.12, 4.0  #: of the target's size, and pixels
SMALL = 1000.0  #: square pixels
IN_VIEW = 0.05  #: least fraction of the target that shows where it is called present


@dataclass(frozen=True, eq=False)
class FrameMeasures:
    """What is known of each of T frames before a pixel is drawn.

    Attributes:
        boxes: (T, 4) the target's whole extent, whether in the frame or not.
        inside: (T,) fraction of the target within the frame.
        visible: (T,) fraction of the target that shows.
        camera_step: (T,) pixels that the camera moved since the frame before.
        angle, turn: (T,) degrees of rotation in the image and about the vertical.
        bend: (T,) amplitude of deformation, as part of the sprite's side.
        light: (T,) gain of the illumination.
        streak: (T,) length of motion blur in pixels.
        attack: (T,) bound of the adversarial perturbation in grey levels.
        clutter: whether the background was strewn with sprites in the target's colours.
        diagonal: of the frame, in pixels.
    """

    boxes: NDArray[np.float64]
    inside: Curve
    visible: Curve
    camera_step: Curve
    angle: Curve
    turn: Curve
    bend: Curve
    light: Curve
    streak: Curve
    attack: Curve
    clutter: bool
    diagonal: float

    def occluded(self) -> Curve:
        """(T,) covered fraction of what lies within the frame; 0 where nothing does."""
        return np.where(self.inside > 0.02, 1 - self.visible / np.maximum(self.inside, 1e-9), 0.0)

    def per_frame(self) -> dict[str, NDArray[np.bool_]]:
        """For each attribute, the frames (T,) in which it is to be seen."""
        widths, heights = self.boxes[:, 2], self.boxes[:, 3]
        size = np.sqrt(widths * heights)
        area, aspect = size**2 / size[0] ** 2, (widths / heights) / (widths[0] / heights[0])
        seen = self.visible >= IN_VIEW
        centers = self.boxes[:, :2] + self.boxes[:, 2:] / 2
        step = np.linalg.norm(np.diff(centers, axis=0, prepend=centers[:1]), axis=1)
        covered = self.occluded()
        everywhere = np.ones(len(size), bool)
        return {
            "CM": self.camera_step > CAMERA_STEP * self.diagonal,
            "ROT": np.abs(self.angle - self.angle[0]) >= ROTATION,
            "DEF": self.bend >= DEFORMATION,
            "FOC": covered >= HIDDEN,
            "IV": np.maximum(self.light / self.light[0], self.light[0] / self.light) >= LIGHT,
            "OV": self.inside <= 0,
            "POC": (covered >= PARTLY) & (covered < HIDDEN),
            "VC": np.abs(self.turn - self.turn[0]) >= VIEW,
            "SV": ((area > 2) | (area < 0.5)) & seen,
            "BC": everywhere & self.clutter,
            "MB": (self.streak >= np.maximum(STREAK[0] * size, STREAK[1])) & seen,
            "ARC": ((aspect > 2) | (aspect < 0.5)) & seen,
            "LR": (widths * heights < SMALL) & seen,
            "FM": (step > np.concatenate([size[:1], size[:-1]])) & seen,
            "AS": (self.attack > 0) & seen,
        }

    def flags(self) -> dict[str, bool]:
        """Whether each attribute is to be seen in any frame, in TNLLT's order."""
        frames = self.per_frame()
        return {name: bool(frames[name].any()) for name in ATTRIBUTES}
