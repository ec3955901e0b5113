"""Annotated video: one painter of boxes, legend and description, and one writer, for every command that makes one."""

from tnllt.video.paint import TRUTH, Mark, paint
from tnllt.video.write import SUFFIXES, check_suffix, frame_rate, write_video

__all__ = ["SUFFIXES", "TRUTH", "Mark", "check_suffix", "frame_rate", "paint", "write_video"]
