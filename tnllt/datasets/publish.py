"""A dataset laid out for a hub, as `tnllt.datasets.published` reads it, and described as Croissant.

Croissant is JSON-LD, with the fields of responsible AI that conferences ask for. Formats:
http://mlcommons.org/croissant/1.0 and http://mlcommons.org/croissant/RAI/1.0.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tnllt import __version__
from tnllt.datasets.card import format_card, make_card
from tnllt.datasets.dataset import Dataset
from tnllt.datasets.frames import OnProgress
from tnllt.datasets.published import COLUMNS, FILE, SUMS, image_files
from tnllt.errors import DataError, MissingExtraError, UsageError
from tnllt.files import file_name, read_toml, sha256_of, temporary_beside, to_json, write_atomic
from tnllt.records import from_table
from tnllt.sequence import Sequence

_VOCABULARY = (
    "citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject", "fileSet", "format",
    "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex",
    "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform",
)  # fmt: skip
#: What to write where an author states nothing: a reader must see that it is not known.
NOT_STATED = "Not stated."


@dataclass(frozen=True)
class ResponsibleAI:
    """Statements of the authors; each becomes `rai:` and its name in Croissant."""

    data_collection: str = NOT_STATED
    data_annotation_protocol: str = NOT_STATED
    data_biases: str = NOT_STATED
    data_limitations: str = NOT_STATED
    data_use_cases: str = NOT_STATED
    data_social_impact: str = NOT_STATED
    personal_sensitive_information: str = NOT_STATED
    data_release_maintenance_plan: str = NOT_STATED


@dataclass(frozen=True)
class About:
    """What only a dataset's authors know: `--about FILE.toml`.

    Attributes:
        license: its name on hubs, as cc-by-4.0, or a link.
        date: of publication, YYYY-MM-DD.
    """

    name: str = ""
    description: str = ""
    license: str = ""
    url: str = ""
    creator: str = ""
    citation: str = ""
    date: str = ""
    version: str = "1.0.0"
    rai: ResponsibleAI = field(default_factory=ResponsibleAI)

    @property
    def missing(self) -> list[str]:
        """What conferences require and is not stated."""
        own = [name for name in ("license", "url", "creator", "citation", "date") if not getattr(self, name)]
        return own + [f"rai.{f.name}" for f in fields(self.rai) if getattr(self.rai, f.name) == NOT_STATED]


def read_about(path: Path | None) -> About:
    """The statements in a TOML file; none where there is no file. Raises DataError where a field is not known."""
    about = About() if path is None else from_table(read_toml(path), About, path)
    if about.url and not re.match(r"https?://", about.url):
        raise DataError(f"`url` must begin with http:// or https://, not {about.url[:60]!r}", path)
    return about


def croissant(dataset: Dataset, about: About, files: Mapping[str, tuple[str, int]] | None = None) -> dict[str, Any]:
    """The document.

    Args:
        files: {path: (SHA-256, bytes)} of a published dataset; its records are the rows of the Parquet file. None: the
            records stand in the document itself, without boxes.
    """
    name = about.name or dataset.layout.title or dataset.name
    context = {term: f"cr:{term}" for term in _VOCABULARY} | {
        "@language": "en", "@vocab": "https://schema.org/", "sc": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/", "rai": "http://mlcommons.org/croissant/RAI/",
        "dct": "http://purl.org/dc/terms/", "conformsTo": "dct:conformsTo",
        "data": {"@id": "cr:data", "@type": "@json"}, "examples": {"@id": "cr:examples", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    }  # fmt: skip
    table: dict[str, Any] = {
        "@context": context, "@type": "sc:Dataset", "name": re.sub(r"[^A-Za-z0-9_. -]", "-", name),
        "description": about.description or format_card(make_card(dataset)),
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "license": about.license or NOT_STATED, "url": about.url or "https://example.invalid/not-stated",
        "version": about.version, "creator": {"@type": "sc:Organization", "name": about.creator or NOT_STATED},
        "citeAs": about.citation or NOT_STATED, "datePublished": about.date or "1970-01-01",
        "keywords": ["visual object tracking", "vision-language tracking"], "sdVersion": f"tnllt {__version__}",
        "distribution": [_file(path, *facts) for path, facts in (files or {}).items()],
        "recordSet": [_from_parquet() if files else _inline(dataset)],
    }  # fmt: skip
    for name in (f.name for f in fields(about.rai)):
        first, *rest = name.split("_")
        table[f"rai:{first}{''.join(word.capitalize() for word in rest)}"] = getattr(about.rai, name)
    return table


def _file(path: str, sha256: str, size: int) -> dict[str, Any]:
    kind = "application/x-tar" if path.endswith(".tar") else "application/x-parquet"
    return {
        "@type": "cr:FileObject", "@id": path, "name": path, "contentUrl": path, "contentSize": f"{size} B",
        "encodingFormat": kind, "sha256": sha256,
    }  # fmt: skip


#: Columns that are records: what a reader needs of a sequence. Lists of numbers are one value per row.
_FIELDS = {
    "sequence": ("sc:Text", "Name of the sequence.", False), "frames": ("sc:Integer", "Annotated frames.", False),
    "prompt": ("sc:Text", "Language description of the target.", False),
    "attributes": ("sc:Text", "Attributes that hold.", True),
    "groundtruth": ("sc:Float", "x, y, w, h of every frame, row by row.", True),
    "present": ("sc:Boolean", "Whether the target is in view, per frame.", True),
}  # fmt: skip


def _field(name: str, kind: str, text: str, repeated: bool) -> dict[str, Any]:
    found = {"@type": "cr:Field", "@id": f"sequences/{name}", "name": name, "description": text, "dataType": kind}
    return found | ({"repeated": True} if repeated else {})


def _from_parquet() -> dict[str, Any]:
    source = {"fileObject": {"@id": "annotations.parquet"}}
    columns = [
        {**_field(name, *facts), "source": {**source, "extract": {"column": name}}} for name, facts in _FIELDS.items()
    ]
    return {"@type": "cr:RecordSet", "@id": "sequences", "name": "sequences", "field": columns}


def _inline(dataset: Dataset) -> dict[str, Any]:
    names = list(_FIELDS)[:4]
    data = [
        {
            "sequences/sequence": s.name, "sequences/frames": len(s), "sequences/prompt": s.language or "",
            "sequences/attributes": [name for name, holds in (s.attributes or {}).items() if holds],
        }
        for s in dataset
    ]  # fmt: skip
    columns = [_field(name, *_FIELDS[name]) for name in names]
    return {"@type": "cr:RecordSet", "@id": "sequences", "name": "sequences", "field": columns, "data": data}


def publish(
    dataset: Dataset, out: Path, about: About, split: str = "test", progress: OnProgress | None = None
) -> list[Path]:
    """Writes annotations, frames, card, Croissant and checksums; returns the files, each relative to `out`.

    Raises:
        UsageError: the folder is not empty.
        DataError: a frame or annotation that cannot be read, a folder that cannot be written.
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow.parquet import write_table
    except ImportError as error:
        raise MissingExtraError("publishing a dataset", "hub", error) from error
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: is there already, and not empty; give a new folder")
    total, done, rows = sum(len(sequence) for sequence in dataset), 0, []
    for sequence in dataset:
        rows.append(_row(sequence, out))
        done += len(sequence)
        if progress is not None:
            progress(done, total)
    number, text = pyarrow.float64(), pyarrow.string()
    kinds = {
        "frames": pyarrow.int64(), "groundtruth": pyarrow.list_(number), "present": pyarrow.list_(pyarrow.bool_()),
        "descriptions": pyarrow.list_(text), "attributes": pyarrow.list_(text),
        "attribute_names": pyarrow.list_(text), "size": pyarrow.list_(pyarrow.int64()),
        "lacks_presence": pyarrow.bool_(), "frame_offsets": pyarrow.list_(pyarrow.int64()),
        "frame_bytes": pyarrow.list_(pyarrow.int64()),
    }  # fmt: skip
    schema = pyarrow.schema([(name, kinds.get(name, text)) for name in COLUMNS])
    with temporary_beside(out / FILE) as temporary:
        write_table(pyarrow.Table.from_pylist(rows, schema), temporary, compression="zstd")
    write_atomic(out / "splits" / f"{split}.txt", "".join(f"{name}\n" for name in dataset.names))
    files = [Path(FILE), *(Path(row["frames_file"]) for row in rows if row["frames_file"])]
    sums = {path.as_posix(): (sha256_of(out / path), (out / path).stat().st_size) for path in files}
    write_atomic(out / "croissant.json", to_json(croissant(dataset, about, sums), 2) + "\n")
    write_atomic(out / "README.md", _card(dataset, about, split))
    listed = [*files, Path("splits") / f"{split}.txt", Path("croissant.json"), Path("README.md")]
    write_atomic(out / SUMS, "".join(f"{sha256_of(out / path)}  {path.as_posix()}\n" for path in listed))
    return [*listed, Path(SUMS)]


def _row(sequence: Sequence, out: Path) -> dict[str, Any]:
    annotation, names = sequence.annotation, list(sequence.attributes or ()) or None
    spans: list[tuple[int, int]] = []
    file = None
    if sequence.has_frames:
        file = f"frames/{file_name(sequence.name, 'sequence')}.tar"
        spans = _write_tar(out / file, sequence)
    return {
        "sequence": sequence.name, "dataset": sequence.dataset, "frames": len(sequence),
        "groundtruth": annotation.groundtruth.ravel(), "present": annotation.present, "prompt": annotation.language,
        "descriptions": annotation.descriptions, "attribute_names": names,
        "attributes": None if names is None else [name for name, holds in (sequence.attributes or {}).items() if holds],
        "size": annotation.size, "lacks_presence": annotation.missing_presence is not None, "frames_file": file,
        "frame_offsets": [start for start, _ in spans], "frame_bytes": [size for _, size in spans],
    }  # fmt: skip


def _write_tar(path: Path, sequence: Sequence) -> list[tuple[int, int]]:
    """Writes a sequence's tar file; equal frames give equal files. Returns start and size of each frame in it."""
    spans = []
    try:
        with temporary_beside(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
            for name, data in image_files(sequence.frames, min(len(sequence), len(sequence.frames))):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                spans.append((tar.offset + tarfile.BLOCKSIZE, len(data)))  # behind the header of one block
                tar.addfile(member, io.BytesIO(data))
    except (tarfile.TarError, ValueError) as error:
        raise DataError(f"cannot be written ({error})", path) from error
    return spans


def _card(dataset: Dataset, about: About, split: str) -> str:
    """The hub's card: YAML in front, which names the data's files, then text."""
    front: Mapping[str, object] = {
        "license": about.license or "other", "pretty_name": about.name or dataset.layout.title or dataset.name,
        "tags": ["visual object tracking", "vision-language tracking", "croissant"],
        "configs": [{"config_name": "default", "data_files": [{"split": split, "path": FILE}]}],
    }  # fmt: skip
    lines = ["---", *(f"{key}: {to_json(value, None)}" for key, value in front.items()), "---", ""]
    lines += [f"# {front['pretty_name']}", "", about.description, "", "```", format_card(make_card(dataset)), "```", ""]
    lines += ["| column | what a row holds |", "|---|---|", *(f"| {n} | {what} |" for n, what in COLUMNS.items()), ""]
    lines += [
        "Each file `frames/NAME.tar` holds the image files of one sequence, stored one behind the other.", "",
        "    tnllt-data info --dataset .              # pip install \".[hub]\" in tnllt's source",
        "    sha256sum -c SHA256SUMS", "",
    ]  # fmt: skip
    lines += ["## Citation", "", about.citation, ""] if about.citation else []
    return "\n".join(lines)
