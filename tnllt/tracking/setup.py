"""What a worker is told before it starts: plain data, so that it can go to another process or machine as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tnllt.tracking.registry import TrackerSpec

if TYPE_CHECKING:
    from tnllt.datasets import Dataset


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset in words; see `tnllt.datasets.open_dataset`."""

    name: str
    root: str | None = None
    annos: str | None = None
    split: str | None = "test"
    names: tuple[str, ...] | None = None

    def open(self) -> Dataset:
        """The dataset. Raises UsageError and DataError as `open_dataset`."""
        from tnllt.datasets import open_dataset

        return open_dataset(self.name, self.root, self.annos, self.split, self.names)


@dataclass(frozen=True)
class Setup:
    """How sequences are tracked.

    Attributes:
        tracker, dataset: which.
        results: the results folder.
        mode: "BB", "NL", "NL+BB", or None for the most that tracker and sequence have.
        seed: seeds every random number generator before each sequence.
        device: passed to trackers that have an option of this name; "" for their own choice.
        batch: sequences in one forward pass.
        read_ahead: frames decoded ahead.
        threads: of OpenCV, torch and other numerical libraries, per worker.
        workers: how many run at once, for the record.
        warm_up: frames of the first sequence that are tracked and thrown away before anything is measured.
        exclusive: nothing else of ours runs on this machine meanwhile (`--timing`).
        video: write an MP4 beside each result.
        again: track sequences whose result is there, too.
    """

    tracker: TrackerSpec
    dataset: DatasetSpec
    results: str
    mode: str | None = None
    seed: int = 0
    device: str = ""
    batch: int = 1
    read_ahead: int = 4
    threads: int = 1
    workers: int = 1
    warm_up: int = 0
    exclusive: bool = False
    video: bool = False
    again: bool = False

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(table: dict[str, Any]) -> Setup:
        tracker, dataset = dict(table["tracker"]), dict(table["dataset"])
        dataset["names"] = None if dataset["names"] is None else tuple(dataset["names"])
        return Setup(**{**table, "tracker": TrackerSpec(**tracker), "dataset": DatasetSpec(**dataset)})

    def concurrency(self) -> dict[str, Any]:
        """The record's field of this name."""
        return {
            "workers": self.workers,
            "threads": self.threads,
            "batch": self.batch,
            "read_ahead": self.read_ahead,
            "exclusive": self.exclusive,
        }
