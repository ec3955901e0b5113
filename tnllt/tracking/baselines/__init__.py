"""The re-trained baselines: a record each, one worker for all."""

from tnllt.tracking.baselines.bridge import tracker_class
from tnllt.tracking.baselines.find import from_repository, get_baseline, load, names, records
from tnllt.tracking.baselines.process import BaselineError
from tnllt.tracking.baselines.record import BaselineRecord

__all__ = [
    "BaselineError",
    "BaselineRecord",
    "from_repository",
    "get_baseline",
    "load",
    "names",
    "records",
    "tracker_class",
]
