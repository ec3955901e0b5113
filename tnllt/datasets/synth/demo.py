"""The `demo` dataset: eight short synthetic sequences, the same on every machine, made on first use."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from tnllt.config import cache_folder
from tnllt.datasets.synth.config import SynthConfig, SynthSources
from tnllt.datasets.synth.write import GENERATOR, write_dataset
from tnllt.errors import DataError

SEQUENCES, FRAMES, SEED = 8, 80, 2127  #: with this seed, every attribute is in it


def demo_folder() -> Path:
    """The folder of the demo dataset, in the user's cache. Made whole or not at all; safe to call at once.

    Raises:
        DataError: the cache folder cannot be written.
    """
    folder = cache_folder() / f"demo-{GENERATOR}-{SEED}"
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        config = SynthConfig(frames=FRAMES, width=480, height=270, sources=SynthSources(12), grey=0.0)
        with TemporaryDirectory(prefix=".making-demo-", dir=folder.parent, ignore_cleanup_errors=True) as making:
            write_dataset(Path(making, "demo"), config, SEQUENCES, SEED)
            Path(making, "demo").rename(folder)
    except OSError as error:
        if not folder.is_dir():  # else another process was quicker, with the same bytes
            remedy = "set TNLLT_CACHE to a folder that can be written"
            raise DataError(
                f"the demo dataset cannot be made here ({error.strerror}); {remedy}", folder.parent
            ) from error
    return folder
