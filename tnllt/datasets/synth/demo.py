"""The `demo` dataset: eight short synthetic sequences, the same on every machine, made on first use."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tnllt.config import cache_folder
from tnllt.datasets.progress import OnProgress
from tnllt.datasets.synth.config import SynthConfig, SynthSources
from tnllt.datasets.synth.record import GENERATOR
from tnllt.datasets.synth.write import write_dataset
from tnllt.errors import DataError

SEQUENCES, FRAMES, SEED = 8, 80, 2127  #: with this seed, every attribute is in it


def demo_config() -> SynthConfig:
    """Small frames, procedural sources alone: nothing depends on what is installed."""
    return SynthConfig(frames=FRAMES, width=480, height=270, sources=SynthSources(12), grey=0.0)


def demo_folder(report: OnProgress | None = None) -> Path:
    """The folder of the demo dataset, in the user's cache. Made whole or not at all; safe to call at once.

    Raises:
        DataError: the cache folder cannot be written.
    """
    folder = cache_folder() / f"demo-{GENERATOR}-{SEED}"
    if folder.is_dir():
        return folder
    try:
        return _make(folder, report)
    except OSError as error:
        what = (
            f"the demo dataset cannot be made here ({error.strerror}); set TNLLT_CACHE to a folder that can be written"
        )
        raise DataError(what, folder.parent) from error


def _make(folder: Path, report: OnProgress | None) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=".making-demo-", dir=folder.parent))
    try:
        write_dataset(making / "demo", demo_config(), SEQUENCES, SEED, report=report)
        try:
            (making / "demo").rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was quicker, with the same bytes
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder
