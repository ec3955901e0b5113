"""What a tracker is, running one, scheduling many."""

from tnllt.tracking.failures import TrackerFailure
from tnllt.tracking.loop import TrackingLoop, run_sequence
from tnllt.tracking.tracker import Emit, Mode, Prediction, SupportsBatch, Tracker

__all__ = [
    "Emit",
    "Mode",
    "Prediction",
    "SupportsBatch",
    "Tracker",
    "TrackerFailure",
    "TrackingLoop",
    "run_sequence",
]
