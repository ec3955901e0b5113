"""What every scoring command shares: from flags to sequences, result files and scores."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tnllt.cli.common import location_options
from tnllt.config import Locations
from tnllt.errors import DataError, UsageError, did_you_mean

if TYPE_CHECKING:
    from tnllt.eval import Scores
    from tnllt.results.layouts import ResultFile
    from tnllt.results.reading import Results
    from tnllt.sequence import Sequence

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Options:
    """Which data, and how it is scored: one argument `options` of every command under `scoring_options`.

    Attributes:
        where: locations.
        trackers: names and globs, comma-separated; "all".
        split: the sequences' split; all: every annotated one. Where nothing says which are in it, all there are.
        sequences: of those, only these: names, globs, or a file of names, comma-separated.
        protocol: its name.
        allow_missing, allow_short: score what is there, pad what is short, and say so.
        round: none, nearest or trunc.
        cache: whether scores are looked up and kept.
    """

    where: Locations
    trackers: str = "all"
    split: str = "test"
    sequences: str | None = None
    protocol: str = "tnllt"
    allow_missing: bool = False
    allow_short: bool = False
    round: str = "none"
    cache: bool = True


_SCORING = (
    click.option("--trackers", default="all", metavar="NAMES",
                 help="all, or names and globs: a,b,'ost*'.  [default: all]"),
    click.option("--split", default="test", metavar="NAME",
                 help="Which sequences: test, val, ..., all.  [default: test, where there is such a split]"),
    click.option("--sequences", metavar="NAMES", help="Of those, only these: names, globs, or a file of names."),
    click.option("--protocol", "-p", default="tnllt", metavar="NAME",
                 help="Scoring rule; see `protocols`.  [default: tnllt]"),
    click.option("--allow-missing", is_flag=True, help="Score what is there where sequences are missing, and say so."),
    click.option("--allow-short", is_flag=True, help="Pad short results with their last box, and say so."),
    click.option("--round", "round_", type=click.Choice(["none", "nearest", "trunc"]), default="none",
                 help="Score as if boxes had been saved as integers."),
    click.option("--no-cache", is_flag=True, help="Neither look scores up in the cache nor keep them."),
)  # fmt: skip


def scoring_options(function: F) -> F:
    """Adds the location flags and --trackers, --split, --sequences, --protocol, --allow-missing, --allow-short, --round
    and --no-cache; the command gets one argument `options: Options`.
    """

    @functools.wraps(function)
    def wrapper(
        *args: Any,
        where: Locations,
        trackers: str,
        split: str,
        sequences: str | None,
        protocol: str,
        allow_missing: bool,
        allow_short: bool,
        round_: str,
        no_cache: bool,
        **kwargs: Any,
    ) -> Any:
        options = Options(where, trackers, split, sequences, protocol, allow_missing, allow_short, round_, not no_cache)
        return function(*args, options=options, **kwargs)

    decorated: Any = wrapper
    for option in reversed(_SCORING):
        decorated = option(decorated)
    return location_options(decorated)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Loaded:
    """Annotated sequences, and the chosen trackers' result files {tracker: {sequence: file}}; no result is read yet.

    Attributes:
        unknown: text files among the results that no sequence is named after.
    """

    sequences: list[Sequence]
    files: dict[str, dict[str, ResultFile]]
    options: Options
    unknown: tuple[str, ...] = ()

    def results(self) -> dict[str, Results]:
        """{tracker: {sequence: Trajectory}}, each read when asked for."""
        from tnllt.results.reading import Results

        return {tracker: Results(files) for tracker, files in self.files.items()}

    def score(self, protocol: str | None = None) -> Scores:
        """The scores, from the cache where they are there. Raises as `evaluate` does."""
        from tnllt.eval.cache import ScoreCache
        from tnllt.eval.folders import evaluate_files

        options = self.options
        return evaluate_files(
            self.sequences,
            self.files,
            protocol or options.protocol,
            allow_missing=options.allow_missing,
            allow_short=options.allow_short,
            rounding=options.round,
            cache=ScoreCache() if options.cache else None,
        )


def load(options: Options) -> Loaded:
    """Finds annotations and results.

    Raises:
        UsageError: no place is known, or a tracker's name matches nothing.
        DataError: a place that is not there, no sequence or tracker in it, an annotation without its presence file.
    """
    from tnllt.eval.protocols import get_protocol
    from tnllt.results.layouts import find_results

    rules = get_protocol(options.protocol)
    results = options.where.need_results()
    sequences = open_sequences(options, rules.absent != "ignored")
    # A name given in --sequences must not hide the results of others, which are known sequences too.
    found = find_results(results, [s.name for s in sequences] if options.sequences is None else _all_names(options))
    chosen = choose_trackers(options.trackers, list(found.trackers))
    names = {s.name for s in sequences}
    files = {t: {n: f for n, f in found.trackers[t].items() if n in names} for t in chosen}
    unknown = found.unknown
    if unknown and options.sequences is None:
        # Results of sequences outside the split are not scored, but they are no strangers either.
        others = set(_all_names(options))
        unknown = tuple(place for place in unknown if Path(place).stem not in others)
    return Loaded(sequences, files, options, unknown)


def open_sequences(options: Options, need_presence: bool = True) -> list[Sequence]:
    """The annotated sequences to score. Raises DataError for an annotation without its presence file if needed."""
    from tnllt.datasets import BENCHMARKS, open_dataset

    where, names = options.where, options.sequences
    wanted = [n.strip() for n in names.split(",") if n.strip()] if names is not None else None
    split = None if options.split == "all" else options.split
    dataset = open_dataset(where.dataset, where.root, where.annos, split=split, names=wanted)
    if need_presence:
        bare = [place for place in dataset.places if place.layout.absent and not place.flag_files]
        if bare and (len(bare) < len(dataset.places) or dataset.name in BENCHMARKS):
            looked = [p for group in bare[0].layout.absent for flag in group for p in bare[0].files((flag.path,))]
            raise DataError(
                f"sequence {bare[0].name!r} has no file that says where the target is absent"
                + (f" (nor have {len(bare) - 1} more)" if len(bare) > 1 else "")
                + "; put it there, or score by a protocol that ignores presence (got10k, trackingnet)",
                looked[-1] if looked else None,
            )
    return list(dataset)


def _all_names(options: Options) -> list[str]:
    from tnllt.datasets import open_dataset

    return open_dataset(options.where.dataset, options.where.root, options.where.annos, split=None).names


def choose_trackers(wanted: str, among: list[str]) -> list[str]:
    """Trackers by names and globs, in the order given. Raises UsageError where one matches nothing."""
    chosen: dict[str, None] = {}
    for word in (w.strip() for w in wanted.split(",")):
        if not word:
            continue
        if word == "all" and "all" not in among:
            hits = among
        else:
            hits = [name for name in among if name == word] or [n for n in among if fnmatchcase(n, word)]
            hits = hits or [name for name in among if name.casefold() == word.casefold()]
        if not hits:
            hint = did_you_mean(word, among, f"found {', '.join(among)}")
            raise UsageError(f"no tracker {word!r} among the results; {hint}")
        chosen.update(dict.fromkeys(hits))
    if not chosen:
        raise UsageError("--trackers names no tracker")
    return list(chosen)


def output_folder(out: Path | None) -> Path | None:
    """The folder, made if it is not there. Raises UsageError where it cannot be made."""
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--out {out}: cannot be made ({error.strerror})") from error
    return out
