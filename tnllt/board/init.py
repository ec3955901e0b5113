"""`init_board`: the repository of a board, ready to be pushed."""

from __future__ import annotations

import shutil
from functools import partial
from os.path import realpath
from pathlib import Path

import numpy as np

from tnllt import __version__
from tnllt.board.site import PACKAGE
from tnllt.config import ScoreConfig
from tnllt.datasets.benchmarks import TNLLT_ATTRIBUTES
from tnllt.datasets.convert import annotation_files, format_boxes
from tnllt.datasets.dataset import open_configured
from tnllt.errors import DataError, UsageError
from tnllt.eval.packing import write_entries
from tnllt.eval.report.templating import asset
from tnllt.eval.selection import Selection
from tnllt.files import file_name, to_json, write_atomic
from tnllt.results.entry import Entry
from tnllt.results.layouts import ResultFile
from tnllt.text import toml_text

#: The first entry: the initial box, never moved.
FIRST = "StaticBox"
_FILES = {"README.md": "README.md", "board.yml": ".github/workflows/board.yml", "gitignore": ".gitignore"}


def init_board(folder: Path, config: ScoreConfig) -> list[Path]:
    """Writes the repository and returns its files, annotations left out.

    Raises:
        UsageError: the folder is not empty, or within the annotations that are copied into it.
        DataError: these cannot be copied; or a sequence's name would lead out of the folder: nothing is written then.
    """
    where = config.locate()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: is there already, and not empty; give a new folder")
    # Not Path.resolve, which raises RuntimeError for links that lead to themselves.
    if where.annos is not None and Path(realpath(folder)).is_relative_to(realpath(where.annos)):
        raise UsageError(f"{folder}: lies within --annos {where.annos}, which is copied into it; give another folder")
    dataset = open_configured(config)
    sequences = list(dataset)
    for sequence in sequences:
        file_name(sequence.name, "sequence", where.annos or where.root)
    if where.annos is not None:
        settings = f'dataset = {to_json(where.dataset)}\nannos = "annos"\n'
        try:
            shutil.copytree(where.annos, folder / "annos")
        except shutil.Error as error:  # its text is a list of all that failed
            place, _, why = error.args[0][0]
            raise DataError(f"cannot be copied ({why}); mend it, and remove {folder}", place) from error
    else:  # in TNLLT's layout, without frames, but by its own name
        settings = 'dataset = "annos"\n'
        write_atomic(folder / "annos" / "dataset.toml", f'base = "tnllt"\nname = {toml_text(dataset.name)}\n')
        for sequence in sequences:
            names = TNLLT_ATTRIBUTES if set(sequence.attributes or ()) == {*TNLLT_ATTRIBUTES} else None
            for file, text in annotation_files(sequence.annotation, names):
                write_atomic(folder / "annos" / sequence.name / file, text)
    write_atomic(folder / "tnllt.toml", settings)
    written = [folder / "tnllt.toml"]
    for source, place in _FILES.items():
        text = asset(f"init/{source}", PACKAGE).replace("@VERSION@", __version__).replace("@DATASET@", dataset.name)
        write_atomic(folder / place, text)
        written.append(folder / place)
    files = {}
    for sequence in sequences:
        still = format_boxes(np.repeat(sequence.groundtruth[:1], len(sequence), axis=0)).encode()
        files[sequence.name] = ResultFile(FIRST, sequence.name, f"{FIRST}/{sequence.name}.txt", partial(bytes, still))
    entry = Entry(name="Static box", training="none", command="the initial box, never moved")
    entries = write_entries(folder / "entries", Selection(sequences, {FIRST: files}, config), entry)
    return [*written, *entries[FIRST]]
