"""What a tracker is, running one, scheduling many."""

from tnllt.tracking.tracker import Emit, Mode, Prediction, SupportsBatch, Tracker

__all__ = ["Emit", "Mode", "Prediction", "SupportsBatch", "Tracker"]
