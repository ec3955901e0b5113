"""`tnllt-run list`, `check` and `doctor`: which trackers there are, what one gets wrong, what a baseline lacks here."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

import click

from tnllt.cli.common import prints_findings, terminal_width, wrapped
from tnllt.cli.dataclass_options import PATH, config_options
from tnllt.eval.score_table import aligned
from tnllt.findings import Findings
from tnllt.text import printable
from tnllt.tracking.baselines import get_baseline, records
from tnllt.tracking.baselines.bridge import modes_text, tracker_class
from tnllt.tracking.baselines.find import BaselineChoice
from tnllt.tracking.config import Limits
from tnllt.tracking.options import check_options, describe, hints_of, parameters, parse_settings, type_of_default
from tnllt.tracking.registry import find_class, find_tracker, load_class, missing, registered


@click.command("list")
@click.argument("name", required=False)
@click.option("--baselines", is_flag=True, help="The packaged records of published baselines.")
def list_trackers(name: str | None, baselines: bool) -> None:
    """Trackers that run here, and what the others lack. With NAME: its inputs and options."""
    if baselines:
        _show_baselines()
    elif name:
        _show_one(name)
    else:
        _show_all()


@click.command()
@click.argument("name")
def get(name: str) -> None:
    """Download the weights of the tracker NAME (NanoTrack, ViT) into the cache folder, and check that they load.

    Interrupted, run it again: it goes on where it was. Nothing else of tnllt-run downloads anything.
    """
    from tnllt.cli.progress import Progress
    from tnllt.download import fetch, find_offer
    from tnllt.tracking.opencv import weights_folder

    offer, folder = find_offer("weights", name), weights_folder(name, there=False)
    assert folder is not None
    click.echo(printable(f"{name}: from {offer.page} ({offer.licence}) into {folder}"))
    for note in fetch(offer, folder, report=lambda label: Progress(label, "B")):
        click.echo(printable(note))
    find_tracker(name).create()
    click.echo(printable(f"{name} is there and loads: tnllt-run {name} --dataset demo"))


#: Where a tracker's class is -> the heading it stands below.
_GROUPS = {
    "tnllt.tracking.references": "References",
    "tnllt.tracking.opencv": "OpenCV's",
    "tnllt.reasoningtrack": "The reference tracker of TNLLT",
    "tnllt.foundation": "Foundation models",
}
_OTHER = "Installed by other packages"


def _show_all() -> None:
    """All trackers on one screen: those of this installation a line each, the baselines several on a line."""
    found = registered()
    grouped: dict[str, list[str]] = {heading: [] for heading in (*_GROUPS.values(), _OTHER)}
    for name, target in found.items():
        grouped[next((h for place, h in _GROUPS.items() if target.startswith(place)), _OTHER)].append(name)
    width = max(map(len, found)) + 2
    for heading, names in grouped.items():
        if names:
            click.echo(heading)
        for name in names:
            lacks = missing(name)
            text = f"lacks: {lacks}" if lacks else _summary(found[name])
            click.echo(wrapped(printable(text), f"  {name:{width}}", " " * (width + (4 if lacks else 16))))
    for heading, beyond in (("The paper's twenty re-trained baselines", False), ("Baselines beyond them", True)):
        rows = [record for record in records() if record.beyond is beyond]
        heading += " (each lacks its clone, interpreter and weights until --set names them)"
        click.echo(wrapped(heading, "", "  "))
        modes = {r.name: "|".join(m.value for m in r.modes) if r.tracker else "result files only" for r in rows}
        cells = [f"{name} {inputs}".replace(" ", "\0") for name, inputs in modes.items()]  # not to be cut within
        click.echo(wrapped(", ".join(cells), "  ").replace("\0", " "))
    one = "One: tnllt-run list NAME; a baseline: tnllt-run doctor NAME. Your own: module:Class, file.py:Class."
    language = "From language, any that takes a box (BB): --starter transformers:MODEL | openai:URL | module:Class."
    click.echo("\n".join(wrapped(text, "", "  ") for text in (one, language)))


def _show_one(name: str) -> None:
    target, cls = find_class(name)
    click.echo(printable(f"{name}  ({target})"))
    click.echo(printable(inspect.getdoc(cls) or ""))
    click.echo(f"\nInputs: {', '.join(mode.value for mode in cls.modes)}")
    options = parameters(cls)
    hints = hints_of(cls)
    click.echo("Options, each by --set NAME=VALUE:" if options else "It takes no options.")
    width = max(map(len, options), default=0)
    for key, parameter in options.items():
        default = "" if parameter.default is inspect.Parameter.empty else f"  [default: {parameter.default}]"
        click.echo(printable(f"  {key:{width}}  {describe(hints.get(key, type_of_default(parameter)))}{default}"))


def _summary(target: str) -> str:
    cls = load_class(target)
    text = (inspect.getdoc(cls) or "").partition("\n")[0]
    return f"{', '.join(mode.value for mode in cls.modes):14}{text}"


def _show_baselines() -> None:
    rows = [("NAME", "TITLE", "MODES", "LICENCE", "REPOSITORY")]
    for record in records():
        notes = ["result files only"] * (not record.tracker) + ["beyond the paper's twenty"] * record.beyond
        where = record.repository.removeprefix("https://github.com/") + (f" ({'; '.join(notes)})" if notes else "")
        rows.append((record.name, record.title, modes_text(record), record.licence, where))
    click.echo("\n".join(aligned(rows, left=range(len(rows[0])), indent="", width=terminal_width())))
    lacks = "What one lacks here: tnllt-run doctor NAME --set repo=DIR --set python=FILE --set weights=FILE"
    click.echo(f"\n{wrapped(lacks)}")


@click.command()
@click.argument("name", metavar="TRACKER")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="An option of the tracker.")
@click.option("--start-timeout", default=300.0, show_default=True, help="Seconds to load and to start.")
@click.option("--frame-timeout", default=60.0, show_default=True, help="Seconds for one frame.")
@click.option("--keep", type=PATH, help="Write the five sequences here, to look at them.")
@prints_findings("tnllt.tracking.check:CHECKER")
def check(
    name: str, settings: tuple[str, ...], start_timeout: float, frame_timeout: float, keep: Path | None
) -> Findings:
    """Track five synthetic sequences with TRACKER and report what it gets wrong.

    An absent target, a tiny box, a box at the border, a start from text alone, and a single frame. Exit code 1 where
    an error is found; warnings alone leave it 0.
    """
    from tnllt.tracking.check import check_tracker, write_sequences

    spec = find_tracker(name, parse_settings(settings))
    if keep is not None:
        write_sequences(keep)
    return check_tracker(spec, Limits(start_timeout=start_timeout, frame_timeout=frame_timeout))


@click.command()
@click.argument("name", metavar="[BASELINE]", required=False)
@config_options(BaselineChoice, "other")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="As for running: repo, python, weights, ..."
)
@click.option("--device", help="cuda, cuda:N or cpu.")
@click.option("--start", is_flag=True, help="Also start it: import upstream's code and load the weights.")
@prints_findings("tnllt.tracking.baselines.doctor:CHECKER")
def doctor(
    name: str | None, other: BaselineChoice, settings: tuple[str, ...], device: str | None, start: bool
) -> Findings:
    """Look at a baseline's clone, interpreter and weights; name what is missing and the command that brings it.

    Upstream's weights are pickles: loading them can run code, so give only files that you trust. Exit code 1 where
    something is missing.
    """
    from tnllt.tracking.baselines.doctor import CHECKER, examine

    record = get_baseline(other.named(name))
    given = {**parse_settings(settings), **({"device": device} if device else {})}
    options = check_options(tracker_class(record), given) if record.tracker is not None else {}
    findings = examine(record, **options)
    if start and not findings.count("error"):
        tracker_class(record)(**options).close()
        begun = CHECKER.finding("start", "upstream's code imports and the weights load")
        findings = replace(findings, found=[*findings.found, begun])
    return findings
