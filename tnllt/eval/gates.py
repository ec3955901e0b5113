"""Gates for CI: floors under scores, and a largest drop against scores kept before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tnllt.errors import DataError, GateError, UsageError
from tnllt.eval.metrics import METRICS, get_metrics
from tnllt.eval.protocol import Protocol
from tnllt.eval.scores import Scores
from tnllt.eval.tables import SCORES, summary
from tnllt.files import check_schema, parse_json, read_bytes, to_json, write_atomic
from tnllt.options import key_values, split_pairs
from tnllt.records import from_table

#: What --save-baseline wrote before it kept the document of scores.json.
OLDER = "tnllt.baseline/1"


@dataclass(frozen=True)
class Baseline:
    """What is compared of the scores kept before: the sequences, per tracker a number per metric, and the rules.

    `rules` is the protocol's digest; scores.json has the rules themselves in `protocol`, the older files its name.
    """

    sequences: list[str]
    scores: Mapping[str, Mapping[str, float | None]]
    protocol: Mapping[str, Any] | str = ""
    rules: str = ""
    rounding: str = "none"
    realtime: float | None = None


@dataclass(frozen=True)
class Gates:
    """What scores must keep to.

    Attributes:
        floors: {metric: lowest score of every tracker}.
        baseline: of an earlier run, or None.
        max_drop: how far a score may fall below the baseline, from 0 to 1.
    """

    floors: Mapping[str, float]
    baseline: Baseline | None = None
    max_drop: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.max_drop <= 1:
            raise UsageError(f"--max-drop {self.max_drop:g}: write a drop from 0 to 1, such as 0.02")

    @classmethod
    def of(
        cls,
        fail_under: Mapping[str, float] | Iterable[str] = (),
        baseline: str | Path | None = None,
        max_drop: float | None = None,
    ) -> Gates:
        """Gates from what `--fail-under`, `--baseline` and `--max-drop` take; `fail_under` may be a mapping, too.

        Raises:
            UsageError: a floor that is not METRIC=SCORE, a file that is not a baseline, a drop without a baseline, or
                one that no score can take.
        """
        texts = [fail_under] if isinstance(fail_under, str) else fail_under
        if isinstance(texts, Mapping):
            texts = [f"{name}={floor}" for name, floor in texts.items()]
        floors = parse_floors(texts)
        if max_drop is not None and baseline is None:
            raise UsageError("--max-drop needs --baseline FILE")
        return cls(floors, None if baseline is None else read_baseline(Path(baseline)), max_drop or 0.0)

    def check(self, scores: Scores) -> None:
        """Raises GateError that names every fall per tracker and metric; UsageError for a baseline of other data."""
        faults = [
            f"{tracker}: {name} {value:.4f} is under {floor:g}"
            for name, floor in self.floors.items()
            for tracker, value in zip(scores.trackers, scores.score(name).tolist(), strict=True)
            if not value >= floor  # n/a fails too
        ]
        if self.baseline is not None:
            if self.baseline.rules != scores.protocol.digest():
                old, new = self.baseline.protocol, scores.protocol.name
                raise UsageError(f"the baseline was scored under protocol {old!r}, these under {new!r}")
            for option, was, now in (
                ("--round", self.baseline.rounding, scores.rounding),
                ("--realtime", self.baseline.realtime or "none", scores.realtime or "none"),
            ):
                if was != now:
                    raise UsageError(f"the baseline was scored with {option} {was}, these with {now}; score both alike")
            if set(self.baseline.sequences) != set(scores.sequences):
                raise UsageError(
                    "the baseline was scored on other sequences; scores of different sets cannot be compared"
                )
            faults += _drops(scores, self.baseline.scores, self.max_drop)
        if faults:
            raise GateError("gate failed\n" + "\n".join(faults))


def parse_floors(texts: Iterable[str]) -> dict[str, float]:
    """{metric: floor} from "success=0.6" (several with commas). Raises UsageError."""
    pairs = [pair for text in texts for pair in split_pairs(text)]
    floors: dict[str, float] = {}
    for name, text in key_values(pairs, "--fail-under", "METRIC=SCORE, as success=0.6").items():
        try:
            floor = float(text)
        except ValueError:
            floor = np.nan
        if not 0 <= floor <= 1:
            raise UsageError(f"--fail-under {name}={text}: write a score from 0 to 1, such as 0.6")
        floors.update({metric.name: floor for metric in get_metrics(name)})
    return floors


def write_baseline(scores: Scores, path: Path) -> None:
    """Keeps scores for later runs to be compared with: the document of `scores.json`."""
    write_atomic(path, to_json(summary(scores, scores.metrics("all"))) + "\n")


def read_baseline(path: Path) -> Baseline:
    """The baseline in a file of `write_baseline` or a `scores.json`. Raises UsageError where it is neither."""
    try:
        table = parse_json(read_bytes(path), path)
        older = isinstance(table, dict) and str(table.get("schema")).startswith("tnllt.baseline/")
        kept = from_table(check_schema(table, OLDER if older else SCORES, path), Baseline, path, unknown="ignore")
        if isinstance(kept.protocol, Mapping):
            rules = Protocol.from_table(kept.protocol, path)
            kept = replace(kept, protocol=rules.name, rules=rules.digest())
    except DataError as error:
        raise UsageError(f"--baseline {error}; --save-baseline makes one") from error
    if not all(abs(value or 0) < 1e300 for own in kept.scores.values() for value in own.values()):
        raise UsageError(f"--baseline {path}: a score that is not a number; --save-baseline makes one")
    return kept


def _drops(scores: Scores, before: Mapping[str, Mapping[str, float | None]], max_drop: float) -> list[str]:
    faults = [
        f"{tracker}: in the baseline, but not among these results"
        for tracker in before
        if tracker not in scores.trackers
    ]
    for k, tracker in enumerate(scores.trackers):
        for name, old in before.get(tracker, {}).items():
            if name not in METRICS or old is None:
                continue
            new = float(scores.score(name)[k])
            # The margin keeps a drop of exactly max_drop from failing by rounding.
            if not old - new <= max_drop + 1e-12:
                faults.append(
                    f"{tracker}: {name} fell by {old - new:.4f}, from {old:.4f} to {new:.4f} (at most {max_drop:g})"
                )
    return faults
