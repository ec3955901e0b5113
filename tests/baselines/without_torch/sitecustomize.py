"""Makes an interpreter look as if it had no torch: a worker then starts in a tenth of the time."""

import sys

sys.modules["torch"] = None
