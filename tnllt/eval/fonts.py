"""A copy of a font with only the letters that figures need: matplotlib shapes text and embeds it several times faster.

It shapes every text by all of the font's tables, and cuts a font of 750 kB down for each PDF anew.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path

#: Letters that every copy has: hinting takes heights from some of them, so that texts look as in the whole font.
_COMMON = frozenset(map(chr, [*range(0x20, 0x7F), *range(0xA0, 0x180)])) | frozenset("–—…−")


def small_copy(file: str, texts: str) -> tuple[str, bool] | None:
    """The family of a copy of a font file with the letters of `texts`, and whether the font has them all.

    None: the font cannot be copied. Which copy it is depends on `texts` alone, so that equal figures are equal files.
    """
    return _copy(file, "".join(sorted(set(texts) - _COMMON)))


@cache
def _copy(file: str, more: str) -> tuple[str, bool] | None:
    from fontTools import subset, ttLib  # type: ignore[import-untyped]  # a dependency of matplotlib
    from matplotlib.font_manager import fontManager

    options = subset.Options(notdef_outline=True, legacy_kern=True, font_number=getattr(file, "face_index", 0))
    options.drop_tables += ["FFTM", "PfEd", "MATH"]  # of font editors, and of formulas
    family = f"tnllt {len(fontManager.ttflist)}"
    to = Path(_folder(os.getpid())) / f"{family}.ttf"
    try:
        font = subset.load_font(file, options)
        if "kern" in font and not more:  # kerning, which is all that GPOS does for these letters, stands there, too
            options.drop_tables.append("GPOS")
        subsetter = subset.Subsetter(options)
        subsetter.populate(text="".join(_COMMON) + more)
        subsetter.subset(font)
        font.save(to)
        fontManager.addfont(to)
    except (OSError, ttLib.TTLibError, subset.Subsetter.SubsettingError, RuntimeError):
        return None
    fontManager.ttflist[-1] = replace(fontManager.ttflist[-1], name=family)
    return family, {*map(chr, range(0x20, 0x7F)), *more} <= set(map(chr, font.getBestCmap()))


@cache
def _folder(process: int) -> str:
    """A folder of this process alone: a fork, which has its parent's answers here, would write over its files."""
    folder = tempfile.mkdtemp(prefix="tnllt-fonts-")
    Finalize(None, shutil.rmtree, (folder, True), exitpriority=0)  # workers end without what atexit would do
    return folder
