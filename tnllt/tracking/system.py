"""The machine under a run: random numbers, threads, accelerator clocks, memory, versions."""

from __future__ import annotations

import ctypes
import os
import platform
import random
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from tnllt.processes import processors

#: Environment variables that hold numerical libraries to a number of threads, read when they are first imported.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def seed_everything(seed: int) -> None:
    """Seeds Python's, NumPy's, C's, OpenCV's and (where it is loaded) torch's random numbers.

    C's `rand` matters: OpenCV's MIL draws its features from it. OpenCV's generator is one per thread, so this must
    run in the thread that tracks.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None).srand(seed % 2**32)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setRNGSeed(seed % 2**31)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


def limit_threads(threads: int) -> None:
    """Holds OpenCV and (where it is loaded) torch to `threads` threads; others obey `THREAD_VARIABLES`."""
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(threads)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


def synchronize() -> None:
    """Waits until the accelerator has done what was asked of it; nothing where none is in use."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    elif hasattr(torch, "mps") and getattr(torch.backends.mps, "is_available", bool)():
        torch.mps.synchronize()


def resident_mb(pid: int | None = None) -> float | None:
    """Resident memory of a process in MB (this one by default), or None where the system does not tell."""
    try:
        pages = int(Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak_mb() -> float | None:
    """The most resident memory that this process has had, in MB, or None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def versions(package: str = "") -> dict[str, str]:
    """Versions of tnllt, Python, NumPy, OpenCV, torch where it is loaded, and the distribution of `package`."""
    from tnllt import __version__

    found = {"tnllt": __version__, "python": platform.python_version(), "numpy": np.__version__}
    if "cv2" in sys.modules:
        found["opencv"] = sys.modules["cv2"].__version__
    if "torch" in sys.modules:
        found["torch"] = str(sys.modules["torch"].__version__)
        if sys.modules["torch"].version.cuda:
            found["cuda"] = str(sys.modules["torch"].version.cuda)
    top = package.partition(".")[0]
    if top and top not in ("tnllt", "__main__"):
        for name in metadata.packages_distributions().get(top, ()):
            found[name] = metadata.version(name)
    return found


def decoder(frames: object) -> str:
    """What decodes these frames: their own attribute `decoder`, else their class and OpenCV's version."""
    own = getattr(frames, "decoder", None)
    cv2 = sys.modules.get("cv2")
    return str(own) if own else type(frames).__name__ + (f", OpenCV {cv2.__version__}" if cv2 is not None else "")


def describe_system(device: str = "cpu") -> Mapping[str, Any]:
    """Host, system, processor, number of cores this process may use, and the accelerator's name."""
    found: dict[str, Any] = {
        "host": platform.node(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": processors(),
    }
    torch = sys.modules.get("torch")
    if torch is not None and device.startswith("cuda") and torch.cuda.is_available():
        found["accelerator"] = torch.cuda.get_device_name(device)
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
