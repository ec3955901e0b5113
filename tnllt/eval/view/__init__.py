"""Look at one sequence: a local page, a video or GIF for slides."""

from tnllt.eval.view.scene import Scene

__all__ = ["Scene"]
