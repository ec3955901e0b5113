"""The re-trained baselines: a record each, one worker for all."""

from tnllt.tracking.baselines.bridge import tracker_class as tracker_class
from tnllt.tracking.baselines.find import from_repository as from_repository
from tnllt.tracking.baselines.find import get_baseline as get_baseline
from tnllt.tracking.baselines.find import load as load
from tnllt.tracking.baselines.find import names as names
from tnllt.tracking.baselines.find import records as records
from tnllt.tracking.baselines.process import BaselineError as BaselineError
from tnllt.tracking.baselines.record import BaselineRecord as BaselineRecord
