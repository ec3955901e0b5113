"""What can be downloaded, as data (`downloads.toml`), and the transfer: resumed after a cut, checked, whole or absent.

The transfer is that of `requests` (redirects, proxies, certificates) and, for the Hugging Face hub, of
`huggingface_hub`. pooch and torch.hub start anew after a cut, which the files of a benchmark are too large for; so the
range that is missing is asked for here. Nothing in this module runs unless a command was asked to download.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import urlsplit

from tnllt.errors import DataError, MissingExtraError, TnlltError, UsageError, did_you_mean
from tnllt.files import os_reason, read_bytes, read_toml, sha256_of, write_atomic
from tnllt.locks import sole_writer
from tnllt.records import from_table

#: What is there of a file that is not whole; what the server said of it.
PART, VALIDATOR = ".part", ".part.etag"
#: SHA-256 of a file whose sum nobody published, as recorded when it was downloaded first; `sha256sum -c` reads it.
RECORDED = ".sha256"
#: Cuts in a row without one new byte before a download is given up, and seconds without an answer.
_ATTEMPTS, _PATIENCE = 5, 30
#: Seconds to wait after the first such cut; after the next, twice as many, and so on.
_PAUSE = 1.0
#: Bytes that are written at a time; what had come of the next ones is lost with a cut.
_CHUNK = 1 << 16

#: Called with what begins; returns what is called with bytes done and in all.
Report = Callable[[str], Callable[[int, int], None] | None]


@dataclass(frozen=True)
class RemoteFile:
    """A file at a URL; size in bytes and SHA-256 where they are known."""

    url: str
    size: int | None = None
    sha256: str | None = None

    @property
    def name(self) -> str:
        return Path(urlsplit(self.url).path).name


@dataclass(frozen=True)
class Offer:
    """What there is of one tracker's weights, or of one dataset.

    Attributes:
        page: where its authors describe it.
        licence: as they state it.
        files: at URLs.
        url, names: a pattern with {name} and what stands for it, in place of `files`.
        hub: a dataset repository on the Hugging Face hub, in place of files.
        steps: what a person has to do, where no program can.
    """

    page: str
    licence: str
    files: tuple[RemoteFile, ...] = ()
    url: str = ""
    names: tuple[str, ...] = ()
    hub: str = ""
    steps: str = ""

    def remote_files(self) -> tuple[RemoteFile, ...]:
        return self.files or tuple(RemoteFile(self.url.format(name=name)) for name in self.names)


@cache
def offers(kind: Literal["weights", "datasets"]) -> dict[str, Offer]:
    """{name: what can be downloaded of it}."""
    path = Path(__file__).with_name("downloads.toml")
    return {name: from_table(table, Offer, path) for name, table in read_toml(path)[kind].items()}


def find_offer(kind: Literal["weights", "datasets"], name: str) -> Offer:
    """Raises UsageError where nothing is known of it, or where a person has to fetch it: then with the steps."""
    known = offers(kind)
    if name not in known:
        hint = did_you_mean(name, known, f"known are {', '.join(known)}")
        raise UsageError(f"no download is known for {name!r}; {hint}")
    offer = known[name]
    if offer.steps:
        raise UsageError(f"{name} cannot be fetched by a program ({offer.page}). The steps:\n{offer.steps.strip()}")
    return offer


def fetch(offer: Offer, folder: Path, patterns: tuple[str, ...] = (), report: Report = lambda label: None) -> list[str]:
    """Downloads an offer into a folder.

    Args:
        patterns: of a dataset's files, only those whose names match: globs such as "airplane*".
        report: for each file.

    Returns:
        what the user should know: files whose SHA-256 nobody published and that it was recorded of.

    Raises:
        UsageError: nothing matches, or another process writes the folder. DataError: as `download`.
    """
    with sole_writer(folder):
        if offer.hub:
            _fetch_hub(offer.hub, folder, patterns)
            return []
        files = [f for f in offer.remote_files() if not patterns or any(Path(f.name).match(p) for p in patterns)]
        if not files:
            raise UsageError(f"nothing matches {', '.join(patterns)}; there are {offer.remote_files()[0].name}, ...")
        notes = []
        for file in files:
            path = folder / file.name
            digest = download(file.url, path, file.size, file.sha256, report(file.name))
            if file.sha256 is None:
                notes.append(f"{file.name}: no SHA-256 is published; recorded {digest} in {file.name}{RECORDED}")
        return notes


def download(
    url: str,
    path: Path,
    size: int | None = None,
    sha256: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """A URL's file at `path`, whole; what a cut download left is continued.

    Args:
        url: http or https; redirects are followed.
        size, sha256: what is known of the file. Without `sha256`, that of the first download is recorded beside the
            file and compared from then on.
        progress: called with bytes done and in all.

    Returns:
        the file's SHA-256, in hexadecimal digits.

    Raises:
        DataError: the server, the network, the disk or the sum; the message says whether to run the command again.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise UsageError(f"{url}: only http and https are downloaded")
    recorded = path.with_name(path.name + RECORDED)
    expected = sha256 or (read_bytes(recorded, 4096).decode(errors="replace")[:64] if recorded.is_file() else None)
    if path.is_file():
        found = sha256_of(path)
        if expected is None or found == expected:
            return found
        raise DataError(f"is there with SHA-256 {found}, not {expected}; move it away and run the command again", path)
    part = path.with_name(path.name + PART)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _receive(url, part, size, expected is not None, progress)
        found = sha256_of(part)
        if expected is not None and found != expected:
            _discard(part)
            raise DataError(
                f"what {url} sent has SHA-256 {found}, not {expected}; it was removed. Run the command again; where it "
                "stays so, the file at the source has changed and must not be trusted", path
            )  # fmt: skip
        if expected is None:
            write_atomic(recorded, f"{found}  {path.name}\n")
        part.replace(path)
        _discard(part)
    except OSError as error:
        raise DataError(os_reason(error), path) from error
    return found


def _receive(url: str, part: Path, size: int | None, checked: bool, progress: Any) -> None:
    """Fills `part`; after a cut it goes on, so long as anything comes. `checked`: its sum is compared afterwards."""
    import requests

    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _request(url, part, size, checked, progress):
                return
            reason = "the connection was cut"
        except requests.RequestException as error:
            reason = " ".join(str(error).split())[:300]
        there = part.stat().st_size if part.exists() else 0
        failures = 0 if there > before else failures + 1
        if failures == _ATTEMPTS:
            kept = f"{there:,} bytes are kept; " if there and (checked or _validator(part)) else ""
            raise DataError(f"{url}: {reason}; {kept}run the command again{' to go on' if kept else ''}")
        time.sleep(failures * _PAUSE)


def _validator(part: Path) -> str:
    """What the server said of the file that `part` is of: a strong ETag, or when it was changed; "" for neither."""
    path = part.with_name(part.name.removesuffix(PART) + VALIDATOR)
    return read_bytes(path, 4096).decode(errors="replace") if path.is_file() else ""


def _request(url: str, part: Path, size: int | None, checked: bool, progress: Any) -> bool:
    """One request for what is missing; whether the file is complete then."""
    import requests

    done = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    known = _validator(part)
    # Without If-Range a file that changed at the source is joined to the start of the old one, which a sum alone shows.
    if done and (known or checked):
        headers |= {"Range": f"bytes={done}-"} | ({"If-Range": known} if known else {})
    with requests.get(url, headers=headers, stream=True, timeout=_PATIENCE) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            if answer.headers.get("Content-Range", "").endswith(f"/{done}"):
                return True  # all of it was there
            _discard(part)  # longer than the file, or the file is another one by now
            return False
        if answer.status_code >= 400:
            if answer.status_code >= 500 or answer.status_code == 429:
                answer.raise_for_status()
            said = f"{answer.status_code} {answer.reason}"
            raise DataError(f"{answer.url}: the server answers {said}; it may have moved: see the page of its authors")
        etag = answer.headers.get("ETag", "W/")
        # A weak ETag is not for ranges.
        said = answer.headers.get("Last-Modified", "") if etag.startswith("W/") else etag
        sent, _, whole = answer.headers.get("Content-Range", "").partition("/")
        resumed = answer.status_code == 206 and "Range" in headers
        if answer.status_code == 206:
            same = not known or said in ("", known)  # a server may take no notice of If-Range
            if not (resumed and same and sent.startswith(f"bytes {done}-")):
                _discard(part)
                return False
        done = done if resumed else 0
        length = whole if resumed else answer.headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else size
        if size is not None and total != size:
            _discard(part)
            raise DataError(f"{answer.url}: {total:,} bytes, where {size:,} are known; the file there has changed")
        if total is not None and total - done > shutil.disk_usage(part.parent).free:
            raise DataError(f"needs {(total - done) / 1e9:,.2f} GB, more than are free", part.parent)
        if not resumed:
            _discard(part)  # before the validator, which says nothing of it
            write_atomic(part.with_name(part.name.removesuffix(PART) + VALIDATOR), said, durable=False)
        with part.open("ab" if resumed else "wb") as file:
            done = _copy(answer, file, done, total, progress)
    return total is None or done == total


def _copy(answer: Any, file: IO[bytes], done: int, total: int | None, progress: Any) -> int:
    for chunk in answer.iter_content(_CHUNK):
        if total is not None and done + len(chunk) > total:
            raise DataError(f"{answer.url}: sends more than the {total:,} bytes that it announced")
        file.write(chunk)
        done += len(chunk)
        if progress is not None and total is not None:
            progress(done, total)
    return done


def _discard(part: Path) -> None:
    for suffix in (PART, VALIDATOR):
        part.with_name(part.name.removesuffix(PART) + suffix).unlink(missing_ok=True)


def _fetch_hub(repository: str, folder: Path, patterns: tuple[str, ...]) -> None:
    """A dataset repository of the hub, or a part; every file is compared with the SHA-256 that the hub publishes."""
    try:
        from huggingface_hub import HfApi, hf_hub_download
    except ImportError as error:
        raise MissingExtraError(f"downloading {repository} from the Hugging Face hub", "hub", error) from error
    try:
        about = HfApi().dataset_info(repository, files_metadata=True)
        found = about.siblings or []
        wanted = [f for f in found if not patterns or any(Path(f.rfilename).match(p) for p in patterns)]
        if not wanted:
            raise UsageError(f"nothing matches {', '.join(patterns)}; there are {found[0].rfilename}, ...")
        missing = sum(f.size or 0 for f in wanted if not (folder / f.rfilename).exists())
        if missing > shutil.disk_usage(folder).free:
            raise DataError(f"needs {missing / 1e9:,.1f} GB, more than are free; --only GLOB takes a part", folder)
        for file in wanted:
            # One by one: snapshot_download takes a folder that is there for whole where the hub is out of reach.
            path = Path(hf_hub_download(
                repository, file.rfilename, repo_type="dataset", revision=about.sha, local_dir=folder
            ))  # fmt: skip
            if file.lfs is not None and sha256_of(path) != file.lfs.sha256:
                path.unlink()
                raise DataError("differs from the hub's SHA-256; it was removed. Run the command again", path)
    except TnlltError:
        raise
    except Exception as error:  # of the network, of the disk, of the hub: its client has no common class
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"{repository}: {reason}; run the command again to go on") from error
