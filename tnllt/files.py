"""Files: read within bounds, written whole or not at all; JSON, TOML, and the schemas that JSON files name.

JSON on disk and on standard output is strict JSON, so that every reader takes it: NaN is `null`, and the infinities are
the strings "Infinity" and "-Infinity" (`to_json`). `float_array` reads a list of numbers back, these three included.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
import struct
import sys
from collections.abc import Iterator, Mapping
from collections.abc import Sequence as Seq
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tnllt.errors import DataError, UsageError
from tnllt.text import json_text, redact

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: No text that is read whole is larger (about three million rows of boxes): a guard against files that never end.
MOST_BYTES = 256 << 20
#: No configuration is larger.
MOST_TOML = 1 << 20
#: Temporary files begin so; a killed process may leave some, and `sweep` removes them.
TEMPORARY = ".tnllt-"

_STEP = 1 << 20
_LONG_JSON = 10_000  # bytes, from which importing a faster parser pays
_SHORT = {float, str, bool, type(None)}
#: With digits as zeros, and what may stand before a number as commas, a long integer of JSON is found at once.
_ZEROS, _LONG_INTEGER = bytes.maketrans(b"123456789[:- \t\r\n", b"0" * 9 + b"," * 7), b"," + b"0" * 18


# --- reading ----------------------------------------------------------------------------------------------------------


def read_bytes(path: str | Path, most: int = MOST_BYTES) -> bytes:
    """A regular file's bytes. Memory grows with what is there, and never waits for a pipe or a device.

    Raises:
        DataError: the file cannot be read, is not a regular file, or is larger than `most` bytes.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            return _read(handle, path, most)
        finally:
            os.close(handle)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", path) from error
    except ValueError as error:  # a name with a zero byte, or one that the file system cannot spell
        raise DataError(f"cannot be read ({error})", path) from error


def _read(handle: int, path: str | Path, most: int) -> bytes:
    about = os.fstat(handle)
    if not stat.S_ISREG(about.st_mode):
        kind = "a folder" if stat.S_ISDIR(about.st_mode) else "a pipe, socket or device"
        raise DataError(f"is {kind}, not a file", path)
    parts, size = [], 0
    if about.st_size <= most:
        while part := os.read(handle, min(max(about.st_size - size, 0) or _STEP, most - size) + 1):
            parts.append(part)
            size += len(part)
            if size > most:
                break
            if size == about.st_size and len(part) == size:  # the usual case: all of it at once
                return part
        else:
            return b"".join(parts)
    raise DataError(f"is larger than {most >> 20} MB; no such file is", path)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file of any size, in hexadecimal digits. Raises OSError where it cannot be read."""
    import hashlib

    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_STEP):
            digest.update(block)
    return digest.hexdigest()


def is_url(place: object) -> bool:
    return str(place).startswith(("http://", "https://"))


def user_path(given: str | Path) -> Path:
    """A path as a user wrote it, with `~` expanded. Raises UsageError where no file can have it."""
    text = str(given)
    if is_url(text):
        raise UsageError(f"{text} is a URL, and a file or folder is needed; a published dataset's goes with --dataset")
    try:
        path = Path(text).expanduser()
        longest = max(map(len, os.fsencode(path).split(b"/")))
        whole = len(os.fsencode(path))
    except (RuntimeError, ValueError) as error:  # an unknown user, no home folder, a lone surrogate
        raise UsageError(f"{text}: not a path here ({error}); write it out in full") from error
    if "\0" in text:
        raise UsageError(f"{text}: not a path (it holds a zero character)")
    if whole >= 4096 or longest > 255:
        raise UsageError(f"{text[:60]}...: the path ({whole} bytes) or a name in it ({longest} bytes) is too long")
    return path


def file_name(name: str, what: str, path: str | Path | None = None) -> str:
    """The name of a tracker or sequence, if a file can have it. Raises DataError: it could lead out of its folder."""
    if not name or name.startswith(".") or not {*"/\\\0"}.isdisjoint(name):
        raise DataError(f"{name!r} cannot be the name of a {what}: it is not a plain file name; choose another", path)
    return name


def parse_json(raw: bytes | str, path: str | Path | None = None, row: int | None = None) -> Any:
    """The value of a JSON text. Raises DataError where it is not JSON, or is nested deeper than any real file."""
    if len(raw) > _LONG_JSON and isinstance(raw, bytes):
        import msgspec

        # What it refuses may still be what Python's own parser takes, which also says where a fault is.
        with suppress(msgspec.MsgspecError, RecursionError, ValueError):
            value = msgspec.json.decode(raw)
            spelled = raw.translate(_ZEROS)
            if not (_LONG_INTEGER in spelled or spelled[0] == 48) or not has_long_integer(value):
                return value
    try:
        # Integers beyond 64 bits, which no field of ours has, become floats: arithmetic on them cannot overflow.
        return json.loads(raw, parse_int=lambda digits: int(digits) if len(digits) < 19 else float(digits))
    except RecursionError:
        raise DataError("is not JSON that can be read: it is nested too deeply", path, row) from None
    except ValueError as error:
        raise DataError(f"is not JSON ({error})", path, row) from error


def has_long_integer(value: Any) -> bool:
    """Whether a value of JSON holds an integer that `parse_json` may make a float."""
    if isinstance(value, dict | list):
        values = value.values() if isinstance(value, dict) else value
        return not _SHORT.issuperset(map(type, values)) and any(
            has_long_integer(v) for v in values if type(v) not in _SHORT
        )
    return isinstance(value, int) and abs(value) >= 10**17  # with a sign, 19 characters


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dictionary. Raises DataError that names file, line and fault."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        table: dict[str, Any] = tomllib.loads(read_bytes(path, MOST_TOML).decode("utf-8"))
        return table
    except RecursionError:
        raise DataError("is not valid TOML: it is nested too deeply", path) from None
    except ValueError as error:  # its own, and a number or text that Python refuses
        raise DataError(f"is not valid TOML ({error})", path) from error


def check_schema(table: Any, schema: str, path: str | Path, row: int | None = None) -> dict[str, Any]:
    """The table of a file that names the schema it follows, as "tnllt.run/1".

    Numbers up to that of `schema` are accepted; the caller handles what changed between them.

    Raises:
        DataError: not an object, no schema or another one, or a number that this version cannot read yet.
    """
    name, _, newest = schema.partition("/")
    said = table.get("schema") if isinstance(table, dict) else None
    kind, _, number = said.partition("/") if isinstance(said, str) else ("", "", "")
    if kind != name or not (number.isdecimal() and number.isascii() and len(number) < 10):
        raise DataError(f'is none of tnllt\'s files: it has no "schema": "{schema}"', path, row)
    if not 1 <= int(number) <= int(newest):
        raise DataError(f"follows {said}, and this version of tnllt reads up to {schema}; update tnllt", path, row)
    return dict(table)


# --- JSON -------------------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """The value as strict JSON has it: NumPy numbers and arrays, paths, tuples and sets made plain; NaN is None, an
    infinity the string "Infinity" or "-Infinity"; secrets are replaced in every text.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {redact(str(k)): v if type(v) is float and math.isfinite(v) else plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [v if type(v) is float and math.isfinite(v) else plain(v) for v in value]
    if hasattr(value, "tolist"):  # a NumPy number or array, a tensor
        return plain(value.tolist())
    return redact(str(value))


def to_json(value: Any, indent: int | None = 1, *, sort_keys: bool = False) -> str:
    """The value as strict JSON text, every character of which is printable; see the module for NaN and infinities."""
    return json_text(json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False, sort_keys=sort_keys))


def float_array(values: Seq[float | str | None]) -> NDArray[np.float64]:
    """Numbers from strict JSON as float64; null is NaN. Raises ValueError where one is neither number nor infinity."""
    import numpy as np

    if type(values) is list:
        with suppress(struct.error):  # nothing but numbers, the usual case, is packed three times as fast
            return np.frombuffer(bytearray(struct.pack(f"{len(values)}d", *values)))
    return np.array(values, np.float64)


# --- writing ----------------------------------------------------------------------------------------------------------


def write_atomic(path: Path, data: bytes | str, durable: bool = True) -> None:
    """Writes `data` to `path`: afterwards the file is there whole, or as it was before.

    Args:
        path: the file; its folder is made where it is missing.
        data: bytes, or text that is written as UTF-8 (a lone surrogate as its escape).
        durable: whether the file must survive a loss of power; a cache need not.

    Raises:
        DataError: the disk is full or the place cannot be written.
    """
    with temporary_beside(path, durable) as temporary, temporary.open("xb") as stream:
        stream.write(data if isinstance(data, bytes) else data.encode("utf-8", "backslashreplace"))


@contextmanager
def temporary_beside(path: Path, durable: bool = True) -> Iterator[Path]:
    """A free temporary name beside `path`, with its suffix, for a file or a folder.

    When the block ends without an error, what is there becomes `path`; otherwise it is removed.

    Raises:
        DataError: the disk is full or the place cannot be written.
    """
    temporary = path.parent / (f"{TEMPORARY}{os.getpid()}-{os.urandom(4).hex()}{path.suffix[-16:]}")
    done = False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            _flush(temporary)
        temporary.replace(path)
        done = True
        if durable:
            # The rename itself must reach the disk, too; some file systems do not support fsync of a folder.
            with suppress(OSError):
                _flush(path.parent)
    except OSError as error:
        raise DataError(os_reason(error), path) from error
    finally:
        if not done:
            _remove(temporary)


def sweep(folder: Path, older_than: float = 3600.0) -> None:
    """Removes temporary files that killed processes left in `folder`, once they are `older_than` seconds old.

    A younger one may belong to a run on another machine.
    """
    import time

    for path in folder.glob(f"{TEMPORARY}*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > older_than:
                path.unlink()


def _remove(path: Path) -> None:
    import shutil

    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def os_reason(error: OSError) -> str:
    """Why something could not be written, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; nothing was written. Free some space and run again: what is there is kept"
    return f"cannot be written: {error.strerror or error}"
