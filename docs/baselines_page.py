"""The generated part of docs/baselines.md, from the records: `python docs/generate.py` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tnllt.tracking.baselines import records
from tnllt.tracking.baselines.bridge import modes_text
from tnllt.tracking.baselines.record import BaselineRecord

PAGE = Path(__file__).with_name("baselines.md")
#: By how much a search factor of 4.5 (MixFormer, SeqTrack: 3.5) moved boxes; tests/upstream prints it (-k override -s).
SETTINGS = "`aiatrack` 0.7, `aqatrack` 33.7, `odtrack` 90.0, `mixformer` 1.0, `seqtrack` 6.0, `sutrack` 17.7, "
SETTINGS += "`mcitrack` 44.3, `allinone` 17.7, `uvltrackNLBB` 18.8, `dutrack` 45.7, `lantrack` 45.7, `artrackV2` 1.1; "
SETTINGS += "`grm`, `romtrack`, `evptrack` and `artrack` 4 to 86"
MORE = "The same holds for `TEST.SEARCH_SIZE=320,DATA.SEARCH.SIZE=320` of `ostrack` (up to 17.1 pixels from the boxes "
MORE += (
    "of the yaml's 256) and `TEST.MEMORY_THRESHOLD=2` of `odtrack` (the boxes stay: only where templates lie changes)"
)
BEGIN, END = "<!-- generated: begin -->", "<!-- generated: end -->"


def text_place(record: BaselineRecord) -> str:
    """Where the language description goes, in a few words."""
    text = record.text
    if text.positional:
        return "positional, every call"
    if not text.key:
        return "-"
    return f"info `{text.key}`" + (", every call" if text.every_frame else "")


def markdown() -> str:
    """The generated part of the documentation's page."""
    return "\n".join([*_overview(), "", *_verified(), "", *_scores(), "", *_details()])


def _overview() -> Iterator[str]:
    yield "## The 20 baselines, and others beyond them\n"
    yield "| name | repository | tracker / yaml | constructor | description goes in | modes | licence |"
    yield "|---|---|---|---|---|---|---|"
    for record in records():
        slug = record.repository.removeprefix("https://github.com/")
        link = f"[{slug}]({record.repository})"
        if record.tracker is None:
            yield f"| {_named(record)} | {link} | {record.reason} | - | - | {modes_text(record)} | {record.licence} |"
            continue
        call = record.tracker
        built = call.cls or ", ".join(call.constructor)
        yield (
            f"| {_named(record)} | {link} | {call.name} / {call.yaml} | {built} "
            f"| {text_place(record)} | {modes_text(record)} | {record.licence} |"
        )


def _named(record: BaselineRecord) -> str:
    return f"`{record.name}`" + (" (beyond the paper's twenty)" if record.beyond else "")


def _verified() -> Iterator[str]:
    yield "## What was run\n"
    ran = [record for record in records() if _ran(record) and not record.beyond]
    trained = [record for record in records() if record.training and record.training.verified]
    bases, of = len({r.repository for r in ran}), len({r.repository for r in records() if not r.beyond})
    yield (
        f"{len(ran)} of the 20 names ran, from {bases} of {of} code bases, over OTB's Crossing and Football1 whole, "
        "194 frames: the boxes through `tnllt-run` equal those of a plain loop over upstream's own tracker class "
        "to the last digit, with random weights of a fixed seed in upstream's own checkpoint format. MixFormer, "
        "SUTrack and UVLTrack took a new template every seven frames, so that this is compared, too. Under those "
        "weights some boxes soon filled the image, so that few rows differed. The test now takes weights under "
        "which every row differs, and a loop that shares no code with the worker. With a difference of 0.0 ran so "
        "`aqatrack`, 20 frames of each clip; `ostrack`, `odtrack`, `allinone` and `uvltrackNLBB` eight; "
        f"`mixformer`, `seqtrack`, `mcitrack`, `artrackV2` and `lantrack` five; `grm` four. {len(trained)} names "
        "were trained for a step. The table says why the others were not run. Nothing was run on a GPU. "
        "`tests/upstream` repeats all of it:\n"
    )
    yield "```"
    yield "TNLLT_UPSTREAM=FOLDER_OF_CLONES TNLLT_UPSTREAM_PYTHON=ENV/bin/python python -m pytest tests/upstream"
    yield "```\n"
    yield (
        "A setting acts as the same value in upstream's yaml: `TEST.SEARCH_FACTOR` was set in `cfg` and, for "
        "upstream's own loop, in its yaml. Over five frames of Crossing the difference was 0.0. From the boxes of "
        f"the yaml's own value they differed by up to, in pixels: {SETTINGS}. {MORE}. A misspelled one "
        "(`TEST.SEARCH_FACTR`) is refused by each of 17 records. `ostrack`, started from language by a scripted "
        "starter and by tiny random OWLv2 and GroundingDino models, gives the boxes of upstream's own loop from "
        "the box that the starter chose.\n"
    )
    yield "| name | tracking | training |"
    yield "|---|---|---|"
    for record in records():
        run = record.environment.verified if record.environment else ""
        yield f"| `{record.name}` | {run or record.reason or 'not run'} | {_training(record)} |"


def _ran(record: BaselineRecord) -> bool:
    return record.environment is not None and not record.environment.verified.startswith("not run")


def _training(record: BaselineRecord) -> str:
    if record.training is None:
        return "-"
    return record.training.verified or ("not tried" if _ran(record) else "not run, as tracking")


def _scores() -> Iterator[str]:
    yield "## Scores that their authors published on other benchmarks\n"
    yield "Percent, from their READMEs. None is published for TNLLT.\n"
    yield "| baseline | variant | scores |"
    yield "|---|---|---|"
    seen = set()
    for record in records():
        for variant, scores in record.scores.items():
            if variant not in seen:
                seen.add(variant)
                listed = ", ".join(f"{name} {score:g}" for name, score in scores.items())
                yield f"| `{record.name}` | {variant} | {listed} |"


def _details() -> Iterator[str]:
    yield "## One by one\n"
    for record in records():
        yield f"### {record.name}\n"
        yield f"{record.citation}.\n"
        if record.checkpoint is not None:
            yield f"* Weights: `{record.checkpoint.path}` below the save folder; {record.checkpoint.source}."
        for weight in record.weights:
            when = {"run": "needed", "train": "for training", "hub": "fetched by upstream itself"}[weight.needed]
            if weight.needed == "hub" and weight.setting:
                when = f"needed, where `{weight.setting}` says"
            yield f"* {weight.what}: `{weight.path}` ({when}), from {weight.source}."
        if record.environment is not None:
            known = record.environment
            packages = " ".join(known.packages)
            yield f"* Interpreter: Python {known.python} with `{packages}`; upstream: {known.upstream}."
        for trap in record.traps:
            yield f"* {trap}"
        yield ""


def baselines_page() -> str:
    """The page, with the part between its marks made anew."""
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{head}{BEGIN}\n\n{markdown().rstrip()}\n\n{END}{rest.partition(END)[2]}"
