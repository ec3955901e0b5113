"""Files from outside, read within bounds: bytes, JSON, TOML, and the schemas that JSON files name."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from tnllt.errors import DataError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: No text that is read whole is larger (about three million rows of boxes): a guard against files that never end.
MOST_BYTES = 256 << 20
#: No configuration is larger.
MOST_TOML = 1 << 20


def read_bytes(path: str | Path, most: int = MOST_BYTES) -> bytes:
    """A file's bytes. Raises DataError where it cannot be read or is larger than `most`."""
    try:
        with open(path, "rb") as stream:  # noqa: PTH123  # called once per result file
            if os.fstat(stream.fileno()).st_size <= most and len(raw := stream.read(most + 1)) <= most:
                return raw
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", path) from error
    except ValueError as error:  # a name with a zero byte
        raise DataError(f"cannot be read ({error})", path) from error
    raise DataError(f"is larger than {most >> 20} MB; no such file is", path)


def parse_json(raw: bytes | str, path: str | Path | None = None, row: int | None = None) -> Any:
    """The value that JSON text says. Raises DataError where it is none, or is nested deeper than any real file."""
    try:
        return json.loads(raw, parse_int=_integer)
    except RecursionError:
        raise DataError("is not JSON that can be read: it is nested too deeply", path, row) from None
    except ValueError as error:
        raise DataError(f"is not JSON ({error})", path, row) from error


def _integer(digits: str) -> int | float:
    """Integers beyond 64 bits, which no field of ours has, as floats: arithmetic on them cannot overflow."""
    return int(digits) if len(digits) < 19 else float(digits)


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dictionary. Raises DataError that names file, line and fault."""
    try:
        table: dict[str, Any] = tomllib.loads(read_bytes(path, MOST_TOML).decode("utf-8"))
        return table
    except RecursionError:
        raise DataError("is not valid TOML: it is nested too deeply", path) from None
    except ValueError as error:  # its own, and a number or text that Python refuses
        raise DataError(f"is not valid TOML ({error})", path) from error


def check_schema(table: Any, schema: str, path: str | Path, row: int | None = None) -> dict[str, Any]:
    """The table of a file that says which schema it follows, as "tnllt.run/1".

    Numbers up to that of `schema` are accepted: what changed since then is the reader's to know.

    Raises:
        DataError: no object, no schema or another one, or a number that this version does not know yet.
    """
    name, _, newest = schema.partition("/")
    said = table.get("schema") if isinstance(table, dict) else None
    kind, _, number = said.partition("/") if isinstance(said, str) else ("", "", "")
    if kind != name or not (number.isdecimal() and number.isascii() and len(number) < 10):
        raise DataError(f'is none of tnllt\'s files: it has no "schema": "{schema}"', path, row)
    if not 1 <= int(number) <= int(newest):
        raise DataError(f"follows {said}, and this version of tnllt reads up to {schema}; update tnllt", path, row)
    return dict(table)
