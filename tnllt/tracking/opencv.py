"""OpenCV's own trackers, which run from `pip install tnllt` alone: MIL without weights, NanoTrack and ViT with.

They are started from a box and take BGR, as OpenCV reads images; OpenCV 4 and 5 both have them.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2

from tnllt.config import cache_folder
from tnllt.errors import DataError, UsageError
from tnllt.files import user_path
from tnllt.sequence import Image
from tnllt.tracking.identity import content_hash
from tnllt.tracking.tracker import Prediction, Tracker


class _OpenCVTracker(Tracker):
    """A `cv2.Tracker` behind our interface: one made anew for every sequence, so that nothing is carried over."""

    _scored: ClassVar[bool] = False

    def __init__(self) -> None:
        self._tracker: Any = None

    @abstractmethod
    def _make(self) -> Any: ...

    def initialize(self, image: Image, box: Sequence[float] | None = None, language: str | None = None) -> None:
        if box is None:
            raise UsageError(f"{type(self).__name__} starts from a box")
        x, y, w, h = (round(float(v)) for v in box)
        self._box: tuple[float, ...] = (x, y, max(1, w), max(1, h))
        self._tracker = self._make()
        self._tracker.init(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), self._box)

    def track(self, image: Image) -> Prediction:
        found, box = self._tracker.update(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        if found and box[2] > 0 and box[3] > 0:
            self._box = tuple(map(float, box))
        confidence = float(self._tracker.getTrackingScore()) if self._scored else None
        return Prediction(self._box, confidence, not found)

    def finish(self) -> None:
        self._tracker = None


class MIL(_OpenCVTracker):
    """Multiple-instance learning on Haar features (Babenko et al., CVPR 2009), without any weights.

    It draws its features at random: the runner seeds C's and OpenCV's random numbers before every sequence.
    """

    name: ClassVar[str] = "MIL"

    def _make(self) -> Any:
        return _factory("TrackerMIL")()


class _Weighted(_OpenCVTracker):
    """A tracker whose networks are ONNX files.

    Attributes:
        variable: the environment variable that names their place where no option does.
        patterns: of each file's name, in a folder.
        source: where they can be had.
    """

    name: ClassVar[str]
    variable: ClassVar[str]
    patterns: ClassVar[tuple[str, ...]]
    source: ClassVar[str]
    _scored = True

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        self._files = self._find(weights)
        self._make()

    @classmethod
    def missing(cls, weights: Path | None = None) -> str:
        """What keeps the tracker from running here, or ""."""
        try:
            cls._find(weights)
        except UsageError as error:
            return str(error)
        return ""

    @classmethod
    def identity(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"weights": [content_hash(file) for file in cls._find(options.get("weights"))]}

    def info(self) -> Mapping[str, Any]:
        return {"weights": {file.name: content_hash(file) for file in self._files}}

    @classmethod
    def _find(cls, weights: str | Path | None) -> list[Path]:
        given = weights or os.environ.get(cls.variable) or weights_folder(cls.name)
        if given is None:
            other = f"--set weights=PATH or {cls.variable}=PATH; see {cls.source}"
            raise UsageError(f"{cls.name} needs weights: `tnllt-run get {cls.name}` downloads them; or {other}")
        place = user_path(given)
        if not place.exists():
            raise UsageError(f"{place}: no weights of {cls.name} there; see {cls.source}")
        if place.is_file() and len(cls.patterns) == 1:
            return [place]
        return [_one_file(place, pattern) for pattern in cls.patterns]


class NanoTrack(_Weighted):
    """NanoTrack v2 (ONNX) by OpenCV's DNN module.

    Args:
        weights: folder with `nanotrack_backbone_sim.onnx` and `nanotrack_head_sim.onnx`.
            [env: TNLLT_NANOTRACK]
    """

    name = "NanoTrack"
    variable = "TNLLT_NANOTRACK"
    patterns = ("*backbone*.onnx", "*head*.onnx")
    source = "https://github.com/HonglinChu/SiamTrackers/tree/master/NanoTrack/models/nanotrackv2"

    def _make(self) -> Any:
        parameters = _factory("TrackerNano", "_Params")()
        parameters.backbone, parameters.neckhead = map(str, self._files)
        return _load(_factory("TrackerNano"), parameters, self._files[0].parent)


class ViT(_Weighted):
    """OpenCV zoo's VitTrack (ONNX) by OpenCV's DNN module.

    Args:
        weights: `object_tracking_vittrack_*.onnx`, or the folder it is in.  [env: TNLLT_VITTRACK]
        threshold: below this score the target is called absent.
    """

    name = "ViT"
    variable = "TNLLT_VITTRACK"
    patterns = ("*vit*.onnx",)
    source = "https://github.com/opencv/opencv_zoo/tree/main/models/object_tracking_vittrack"

    def __init__(self, weights: Path | None = None, threshold: float = 0.2) -> None:
        self._threshold = threshold
        super().__init__(weights)

    def _make(self) -> Any:
        parameters = _factory("TrackerVit", "_Params")()
        parameters.net, parameters.tracking_score_threshold = str(self._files[0]), self._threshold
        return _load(_factory("TrackerVit"), parameters, self._files[0])


def weights_folder(name: str, there: bool = True) -> Path | None:
    """Where `tnllt-run get` puts a tracker's weights; None where it has not, unless `there` is False."""
    folder = cache_folder() / "weights" / name
    return folder if folder.is_dir() or not there else None


def _factory(name: str, suffix: str = "_create") -> Any:
    """`cv2.TrackerNano_create`, or the class of the same name where a build binds it otherwise."""
    if not hasattr(cv2, name):
        raise UsageError(f"this OpenCV ({cv2.__version__}) has no {name}: pip install -U opencv-python-headless")
    flat = getattr(cv2, f"{name}{suffix}", None)
    return flat if flat is not None else getattr(getattr(cv2, name), suffix.lstrip("_"))


def _load(create: Any, parameters: Any, place: Path) -> Any:
    level = _log_level(2)  # OpenCV 5 warns at every load that its new engine takes no target
    try:
        return create(parameters)
    except cv2.error as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"OpenCV {cv2.__version__} cannot load these weights: {reason}", place) from error
    finally:
        _log_level(level)


def _log_level(level: int) -> int:
    logging = getattr(getattr(cv2, "utils", None), "logging", None)
    if logging is None:
        return level
    before: int = logging.getLogLevel()
    logging.setLogLevel(level)
    return before


def _one_file(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern)) if folder.is_dir() else []
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise UsageError(f"{folder}: one file {pattern} is needed, found {names}")
    return found[0]
