"""What a tracker is, running one, scheduling many."""

from tnllt.tracking.failures import TrackerFailure as TrackerFailure
from tnllt.tracking.loop import TrackingLoop as TrackingLoop
from tnllt.tracking.loop import run_sequence as run_sequence
from tnllt.tracking.tracker import Emit as Emit
from tnllt.tracking.tracker import Mode as Mode
from tnllt.tracking.tracker import Prediction as Prediction
from tnllt.tracking.tracker import SupportsBatch as SupportsBatch
from tnllt.tracking.tracker import Tracker as Tracker
