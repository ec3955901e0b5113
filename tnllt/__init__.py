"""tnllt: read tracking benchmarks, run trackers, score them exactly, and see why they win or lose.

Names load on first use, so that importing the package costs nothing::

    from tnllt import TNLLTDataset, evaluate
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tnllt._version import __version__

_HOMES = {
    "Sequence": "tnllt.sequence",
    "Trajectory": "tnllt.sequence",
    "Annotation": "tnllt.sequence",
    "Prediction": "tnllt.tracking",
    "Tracker": "tnllt.tracking",
    "TnlltError": "tnllt.errors",
    "TNLLTDataset": "tnllt.datasets",
    "open_dataset": "tnllt.datasets",
    "evaluate": "tnllt.eval",
    "Protocol": "tnllt.eval",
    "Scores": "tnllt.eval",
}

if TYPE_CHECKING:
    from tnllt.datasets import TNLLTDataset as TNLLTDataset
    from tnllt.datasets import open_dataset as open_dataset
    from tnllt.errors import TnlltError as TnlltError
    from tnllt.eval import Protocol as Protocol
    from tnllt.eval import Scores as Scores
    from tnllt.eval import evaluate as evaluate
    from tnllt.sequence import Annotation as Annotation
    from tnllt.sequence import Sequence as Sequence
    from tnllt.sequence import Trajectory as Trajectory
    from tnllt.tracking import Prediction as Prediction
    from tnllt.tracking import Tracker as Tracker

__all__ = [
    "Annotation",
    "Prediction",
    "Protocol",
    "Scores",
    "Sequence",
    "TNLLTDataset",
    "TnlltError",
    "Tracker",
    "Trajectory",
    "__version__",
    "evaluate",
    "open_dataset",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tnllt' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
