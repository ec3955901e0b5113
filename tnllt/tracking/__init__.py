"""What a tracker is, running one, scheduling many."""

from tnllt.tracking.failures import TrackerFailure
from tnllt.tracking.follow import Follower, run_sequence
from tnllt.tracking.tracker import Emit, Mode, Prediction, SupportsBatch, Tracker

__all__ = [
    "Emit",
    "Follower",
    "Mode",
    "Prediction",
    "SupportsBatch",
    "Tracker",
    "TrackerFailure",
    "run_sequence",
]
