"""The benchmarks' layouts, from `benchmarks.toml`. `tnllt.datasets.reader` follows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tnllt.datasets.layout import Layout, layout_of
from tnllt.files import read_toml

_FILE = Path(__file__).with_name("benchmarks.toml")
_TABLE = read_toml(_FILE)

#: What the abbreviations stand for, over all benchmarks.
ATTRIBUTE_TITLES: Mapping[str, str] = _TABLE.pop("attributes")
LAYOUTS: dict[str, Layout] = {}
#: Of a benchmark, {"CODE" or "SEQUENCE: CODE" of `tnllt-data check`: the fault that the release is known for}.
KNOWN_FAULTS: dict[str, Mapping[str, str]] = {}
for _name, _record in _TABLE.items():
    KNOWN_FAULTS[_name] = _record.pop("known_faults", {})
    _own = layout_of(_record, _FILE, LAYOUTS, _name)
    LAYOUTS[_name] = replace(_own, presence_required=bool(_own.absent))

TNLLT_ATTRIBUTES, LASOT_ATTRIBUTES = (LAYOUTS[name].attribute_names for name in ("tnllt", "lasot"))
_SPELLINGS = {"otb": "otb100", "otb2015": "otb100", "otb99": "otb99_lang", "otblang": "otb99_lang", "nfs30": "nfs"}


def find_layout(name: str) -> Layout | None:
    """The record of a benchmark, however it is spelled (`LaSOT`, `got-10k`, `OTB99-Lang`); None for a path."""
    plain = "" if "/" in name else "".join(c for c in name.lower() if c.isalnum())
    plain = _SPELLINGS.get(plain, plain)
    return LAYOUTS.get(plain) or next((v for k, v in LAYOUTS.items() if k.replace("_", "") == plain), None)
