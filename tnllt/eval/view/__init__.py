"""DrawnStyle at one sequence: a local page, a recording for Rerun, a video or GIF for slides."""

from tnllt.eval.view.scene import Scene

__all__ = ["Scene"]
