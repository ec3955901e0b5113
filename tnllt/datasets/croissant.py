"""Croissant: a dataset described as JSON-LD, with the fields of responsible AI that conferences ask for.

Formats: http://mlcommons.org/croissant/1.0 and http://mlcommons.org/croissant/RAI/1.0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tnllt import __version__
from tnllt.datasets.card import format_card, make_card
from tnllt.datasets.dataset import Dataset
from tnllt.errors import DataError
from tnllt.files import read_toml
from tnllt.records import from_table

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
