"""What a tracker is told in place of a sequence's own description: sources of texts, per sequence and per frame.

A source is a word of `TEXTS`, a text in quotes, or the path of a file or folder::

    # prompts.toml; JSON alike. Further keys (`model`, say) are kept for readers.
    reviewed = true                       # a file with `model` is refused until somebody has read it
    [texts]
    car-1 = "the red car"                 # one prompt
    car-2 = ["the red car", "a vehicle"]  # several: each becomes a variant of its own, for every sequence
    car-3 = { 0 = "the red car", 100 = "the car that now is blue" }    # over time, by frame from 0

A folder holds `<sequence>.txt`: a prompt a line, or `FRAME<tab>TEXT` lines. MGIT's folder of tables gives its levels as
prompts over time: 1 the actions, 2 the activities, 3 the story. A JSON file with `entries` by
"sequence:frame" is a cache of structured texts as Open_VLTrack's `generate_qwen_refine_cache.py` writes it: target,
concept and background of an entry make its text, from its frame on.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tnllt.datasets.text import read_spans, read_text
from tnllt.errors import DataError, UsageError, did_you_mean
from tnllt.files import parse_json, read_bytes, read_toml, user_path
from tnllt.results.variants import TEXTS, value_text
from tnllt.sequence import Sequence as VideoSequence

#: A text and those that replace it: [[frame, text], ...], the first at frame 0.
Changes = list[list[Any]]
_SOURCE = re.compile(r"""\s*("[^"]*"|'[^']*'|[^,"']+)\s*(?:,|$)""")
_NUMBERED = re.compile(r"(?P<path>.+)#(?P<index>[1-9]\d{0,3})")
_MOST_TEXT = 10_000  # characters; no benchmark has a description of a tenth of it


@dataclass(frozen=True)
class Texts:
    """One source's texts for every sequence of a dataset. Travels as JSON.

    Attributes:
        source: as `texts_of` takes it; gives these texts again.
        sequences: {sequence: changes}; of "own", empty: nothing is replaced.
        notes: {sequence: where its text is from}, where that does not follow from the source.
    """

    source: str = "own"
    sequences: dict[str, Changes] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def value(self) -> str:
        """The source as a variant's name spells it: never as one of `TEXTS` where it is a text or file."""
        if self.source in TEXTS:
            return self.source
        if self.source[0] in "\"'":
            spelled, whole = value_text(self.source[1:-1]), self.source
        else:
            numbered = _NUMBERED.fullmatch(self.source)
            path = Path(numbered["path"] if numbered else self.source)
            spelled, whole = value_text(path.stem) + (f"-{numbered['index']}" if numbered else ""), f"{path.name} file"
        return value_text(whole) if spelled in TEXTS else spelled

    @property
    def over_time(self) -> bool:
        """Whether some sequence's text changes while it is tracked."""
        return any(len(changes) > 1 for changes in self.sequences.values())

    def fact(self) -> str:
        """What a run's identity holds: the source without folders, and a digest of all texts."""
        source = self.value if self.source[0] not in "\"'" else self.source
        listed = json.dumps(sorted(self.sequences.items()))
        return f"{source} {hashlib.sha256(listed.encode()).hexdigest()[:16]}"

    def of(self, sequence: VideoSequence) -> VideoSequence:
        """The sequence with its text replaced, as first description and per frame.

        Raises:
            DataError: the source has no text for it.
        """
        if self.source == "own":
            return sequence
        changes = self.sequences.get(sequence.name)
        if changes is None:
            raise DataError(
                f"{self.source} has no text for sequence {sequence.name!r}; add one, or leave it out with -s"
            )
        per_frame = [""] * len(sequence)
        for frame, text in changes:
            per_frame[frame:] = [text] * (len(per_frame) - frame)
        return sequence.with_language(changes[0][1], tuple(per_frame))

    def record(self, name: str) -> dict[str, Any]:
        """What the run record of a sequence holds."""
        found: dict[str, Any] = {"source": self.source}
        if name in self.sequences:
            found["texts"] = self.sequences[name]
        return {**found, "note": self.notes[name]} if name in self.notes else found


def texts_of(given: str | Iterable[str], sequences: Sequence[VideoSequence], seed: int = 0) -> list[Texts]:
    """The texts of each source.

    Args:
        given: sources, several by comma or in a list.
        sequences: the whole split, so that a part of it is told the same.
        seed: of the order in which "shuffled" passes descriptions on.

    Raises:
        UsageError: no such source. DataError: a file that cannot be used, or descriptions that cannot be shuffled.
    """
    found: list[Texts] = []
    for source in split_sources(given):
        if source in TEXTS or source[0] in "\"'":
            found.append(_worded(source, sequences, seed))
        else:
            found += _from_file(source)
    return found


def split_sources(given: str | Iterable[str]) -> list[str]:
    """The sources in a text, or in several; those in quotes may hold commas. Raises UsageError where one is empty."""
    sources = []
    for text in [given] if isinstance(given, str) else given:
        end = 0
        while end < len(text) and (match := _SOURCE.match(text, end)):
            sources.append(match[1].strip())
            end = match.end()
        if end < len(text) or not text.strip():
            raise UsageError(f"--text {text}: give {', '.join(TEXTS)}, a file, or a text in quotes")
    return list(dict.fromkeys(sources))


def _worded(source: str, sequences: Sequence[VideoSequence], seed: int) -> Texts:
    if source == "own":
        return Texts()
    if source == "shuffled":
        return _shuffled(sequences, seed)
    if source == "annotation":
        return Texts(source, {s.name: _annotated(s) for s in sequences})
    if source != "class":
        return Texts(source, {s.name: [[0, "" if source == "none" else source[1:-1]]] for s in sequences})
    nouns = {s.name: head_noun(s.language or "") for s in sequences}
    told = {s.name: [[0, nouns[s.name] or s.language or ""]] for s in sequences}
    return Texts(source, told, {name: "its own: no head noun found" for name, noun in nouns.items() if noun is None})


def _annotated(sequence: VideoSequence) -> Changes:
    if sequence.descriptions is None:
        raise DataError(f"sequence {sequence.name!r} has no descriptions over time; --text FILE can give some")
    texts = sequence.descriptions
    return [[i, text] for i, text in enumerate(texts) if i == 0 or text != texts[i - 1]]


def _shuffled(sequences: Sequence[VideoSequence], seed: int) -> Texts:
    """A derangement of the descriptions, in which no sequence gets one that is equal to its own."""
    groups: dict[str, list[VideoSequence]] = {}
    for sequence in sorted(sequences, key=lambda s: s.name):
        if (sequence.language or "").strip():
            groups.setdefault(" ".join((sequence.language or "").casefold().split()), []).append(sequence)
    count, largest = sum(map(len, groups.values())), max(map(len, groups.values()), default=0)
    if not count or 2 * largest > count:
        shared = f"{largest} of {count} sequences share one" if count else "no sequence has one"
        raise DataError(f"the descriptions cannot be shuffled: {shared}")
    listed = list(groups.values())
    rng = random.Random(seed)
    rng.shuffle(listed)
    for group in listed:
        rng.shuffle(group)
    # Equal ones stand side by side, so that a step as long as the largest group leaves every group.
    order = [sequence for group in listed for sequence in group]
    giver = {s.name: order[(i + largest) % count] for i, s in enumerate(order)}
    told = {s.name: [[0, giver[s.name].language if s.name in giver else ""]] for s in sequences}
    return Texts("shuffled", told, {name: f"of {other.name}" for name, other in giver.items()})


# --- the head noun ----------------------------------------------------------------------------------------------------

_DETERMINER = re.compile("an?|the|this|these|those|his|her|its|their|my|our|one|two|three|first|second")
_END = re.compile(
    "of|in|on|at|with|from|to|by|for|over|under|near|behind|beside|between|into|onto|along|across|around|above|below|"
    "through|towards?|inside|outside|against|among|and|or|but|who|which|that|whose|where|is|are|was|were|be|has|have|"
    "had|wears?|carry|carries|holds?|rides?|controls"
)
#: What may stand between a noun and the end of its phrase: "airplane colored in", "car slowly running".
_AFTER_NOUN = re.compile("(?!moped)[a-z]{2,}[^e]ed|fed|held|driven|ridden|shaken|thrown|worn|hung|slowly|quickly")
_LEAD_IN = re.compile(r"\s*we want (?:to )?track\b")
_NO_NOUN = re.compile(
    "ones?|left|right|front|back|middle|top|bottom|it|he|she|they|them|something|object|thing|target|red|green|blue|"
    "yellow|white|black|gr[ae]y|brown|orange|pink|purple|small|big|large|little|tall"
)


def head_noun(description: str) -> str | None:
    """The last word of the first noun phrase in lower case: "a man in black" gives "man"; None where it is unclear.

    A small rule for English. The phrase ends at punctuation, a preposition, a conjunction, a relative pronoun, a form
    of "be", "have" and some other verbs, or a word in -ing that is not its first one; participles at its end do not
    count. It does not know most verbs ("dog chases ball" gives "ball") and not that an adjective stands last.
    """
    phrase: list[str] = []
    told = _LEAD_IN.sub("", description.casefold(), count=1)
    for word in re.findall(r"[a-z]+(?:[-'’][a-z]+)*|[^\sa-z]", told):
        if not word[0].isalpha() or _END.fullmatch(word) or (phrase and len(word) > 4 and word.endswith("ing")):
            break
        if not _DETERMINER.fullmatch(word):
            phrase.append(word)
    while len(phrase) > 1 and _AFTER_NOUN.fullmatch(phrase[-1]):
        phrase.pop()
    noun = phrase[-1] if phrase else ""
    unclear = len(noun) < 2 or len(phrase) > 5 or _NO_NOUN.fullmatch(noun)
    return None if unclear else noun


# --- files ------------------------------------------------------------------------------------------------------------


def _from_file(source: str) -> list[Texts]:
    """One `Texts` per prompt of the file, or the one that `#N` names."""
    numbered = _NUMBERED.fullmatch(source)
    given = user_path(source)
    if given.exists():
        path, wanted = given.absolute(), None
    elif numbered is not None and user_path(numbered["path"]).exists():
        path, wanted = user_path(numbered["path"]).absolute(), int(numbered["index"])
    else:
        hint = did_you_mean(source, TEXTS, f"give {', '.join(TEXTS)}, a file, or a text in quotes")
        raise UsageError(f"--text {source}: there is no such file; {hint}")
    prompts = read_prompts(path)
    counts = Counter(map(len, prompts.values()))
    usual = counts.most_common(1)[0][0]
    odd = [name for name, own in prompts.items() if len(own) != usual]
    if odd:
        raise DataError(
            f"has {len(prompts[odd[0]])} prompts for {odd[0]!r} and {usual} for others; give all as many", path
        )
    if wanted is not None and wanted > usual:
        raise UsageError(f"--text {source}: the file has {usual} prompts for each sequence")
    numbers = [wanted] if wanted else range(1, usual + 1)
    return [
        Texts(f"{path}#{n}" if usual > 1 or wanted else str(path), {name: own[n - 1] for name, own in prompts.items()})
        for n in numbers
    ]


def read_prompts(path: Path) -> dict[str, list[Changes]]:
    """{sequence: its prompts} of a file or folder; see the module. Raises DataError that names what is wrong."""
    if path.is_dir():
        found = {file.stem: _of_lines(file) for file in sorted(path.glob("*.txt"))}
        found |= {file.stem: _of_levels(file) for file in sorted(path.glob("*.xlsx"))}
    else:
        table = read_toml(path) if path.suffix == ".toml" else parse_json(read_bytes(path), path)
        if not isinstance(table, dict):
            raise DataError("must hold a table of texts by sequence", path)
        if table.get("model") and table.get("reviewed") is not True and "entries" not in table:
            raise DataError(f"was written by {table['model']}: read the texts, then set `reviewed` to true in it", path)
        texts = table.get("texts", table)
        if isinstance(table.get("entries"), dict):
            found = _of_cache(table["entries"], path)
        elif isinstance(texts, dict):
            found = {name: _of_value(value, name, path) for name, value in texts.items()}
        else:
            raise DataError("`texts` must be a table of texts by sequence", path)
    if not found:
        raise DataError("has no texts; see the documentation of --text for what it may hold", path)
    return found


def _of_value(value: Any, name: str, path: Path) -> list[Changes]:
    prompts = value if isinstance(value, list) else [value]
    pairs = [prompt.items() if isinstance(prompt, Mapping) else [(0, prompt)] for prompt in prompts]
    if not prompts:
        raise DataError(f"has an empty list for {name!r}", path)
    return [_checked([[frame, text] for frame, text in own], name, path) for own in pairs]


def _of_lines(path: Path) -> list[Changes]:
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    timed = [line.partition("\t") for line in lines]
    if lines and all(frame.isdecimal() and tab for frame, tab, _ in timed):
        return [_checked([[frame, text] for frame, _, text in timed], path.stem, path)]
    return [_checked([[0, line]], path.stem, path) for line in lines]


def _of_levels(path: Path) -> list[Changes]:
    """A text holds until the next one of its level begins, the first one from frame 0 on."""
    spans, found = read_spans(path), []
    for level in ("action", "activity", "story"):
        own = sorted((max(span.start, 0), span.description) for span in spans if span.level == level)
        if not own:
            raise DataError(f"has no row of level {level!r}, as MGIT's tables do", path)
        found.append(_checked([[0, own[0][1]], *map(list, own[1:])], path.stem, path))
    return found


def _of_cache(entries: Mapping[str, Any], path: Path) -> dict[str, list[Changes]]:
    """Before the first anchor frame, the fields that the cache was made from hold."""
    frames: dict[str, dict[int, Mapping[str, Any]]] = {}
    for key, entry in entries.items():
        name, _, frame = key.rpartition(":")
        if not name or not frame.isdecimal() or not isinstance(entry, Mapping):
            raise DataError(f"has an entry {key!r}; a cache's entries are tables named sequence:frame", path)
        frames.setdefault(name, {})[int(frame)] = entry
    found = {}
    for name, own in frames.items():
        texts = {frame: _joined(own[frame], "qwen_target", "qwen_concept", "qwen_background") for frame in sorted(own)}
        texts.setdefault(0, _joined(own[min(own)], "target", "concepts", "background"))
        found[name] = [_checked([[frame, text] for frame, text in texts.items()], name, path)]
    return found


def _joined(entry: Mapping[str, Any], *fields: str) -> str:
    return " ".join(text for name in fields if isinstance(text := entry.get(name, ""), str) and text)


def _checked(changes: Changes, name: str, path: Path) -> Changes:
    """The changes in order, from frame 0 on, unrepeated. Raises DataError where they are not frame and text."""
    made: Changes = []
    for frame, text in changes:
        if not str(frame).isdecimal() or len(str(frame)) > 9 or not isinstance(text, str) or len(text) > _MOST_TEXT:
            raise DataError(
                f"must give {name!r} texts, or frames from 0 with a text each; not {frame!r}: {text!r:.60}", path
            )
        made.append([int(frame), " ".join(text.split())])
    made.sort(key=lambda change: int(change[0]))
    if not made or made[0][0] != 0 or len({frame for frame, _ in made}) < len(made):
        raise DataError(f"must give {name!r} one text at frame 0 and at most one at each later frame", path)
    return [change for i, change in enumerate(made) if i == 0 or change[1] != made[i - 1][1]]
