"""tnllt: read tracking benchmarks, run trackers, score them exactly, and explain their scores.

Names are loaded on first use, so that `import tnllt` is fast::

    import tnllt

    scores = tnllt.score("lasot", annos="annos", results="results")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tnllt._version import __version__

_MODULES = {
    "TnlltError": "tnllt.errors",
    "Sequence": "tnllt.sequence",
    "Trajectory": "tnllt.sequence",
    "Annotation": "tnllt.sequence",
    "Dataset": "tnllt.datasets",
    "TNLLTDataset": "tnllt.datasets",
    "open_dataset": "tnllt.datasets",
    "Mode": "tnllt.tracking",
    "Prediction": "tnllt.tracking",
    "Tracker": "tnllt.tracking",
    "run_sequence": "tnllt.tracking",
    "run": "tnllt.tracking.runner",
    "track": "tnllt.tracking.follow",
    "Protocol": "tnllt.eval",
    "Scores": "tnllt.eval",
    "evaluate": "tnllt.eval",
    "score": "tnllt.eval.selection",
}

if TYPE_CHECKING:
    from tnllt.datasets import Dataset as Dataset
    from tnllt.datasets import TNLLTDataset as TNLLTDataset
    from tnllt.datasets import open_dataset as open_dataset
    from tnllt.errors import TnlltError as TnlltError
    from tnllt.eval import Protocol as Protocol
    from tnllt.eval import Scores as Scores
    from tnllt.eval.evaluate import evaluate as evaluate
    from tnllt.eval.selection import score as score
    from tnllt.sequence import Annotation as Annotation
    from tnllt.sequence import Sequence as Sequence
    from tnllt.sequence import Trajectory as Trajectory
    from tnllt.tracking import Mode as Mode
    from tnllt.tracking import Prediction as Prediction
    from tnllt.tracking import Tracker as Tracker
    from tnllt.tracking import run_sequence as run_sequence
    from tnllt.tracking.follow import track as track
    from tnllt.tracking.runner import run as run

__all__ = ("__version__", *_MODULES)  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'tnllt' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
