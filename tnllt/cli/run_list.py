"""`tnllt-run list`: the trackers that run here, what the others lack, and what options one takes."""

from __future__ import annotations

import inspect

import click

from tnllt.text import printable


@click.command("list")
@click.argument("name", required=False)
@click.option("--baselines", is_flag=True, help="The packaged records of published baselines.")
def list_trackers(name: str | None, baselines: bool) -> None:
    """Trackers that run here, and what the others lack. With NAME: its inputs and options."""
    if baselines:
        from tnllt.cli.run_baselines import list_baselines

        list_baselines()
    elif name:
        _show_one(name)
    else:
        _show_all()


def _show_all() -> None:
    from tnllt.tracking.registry import BUILT_IN, baseline_names, missing, registered

    found = registered()
    lacking = {name: missing(name) for name in found}
    width = max(map(len, found)) + 2
    click.echo("Run here:")
    for name in sorted((n for n in found if not lacking[n]), key=lambda n: (n not in BUILT_IN, n.lower())):
        click.echo(printable(f"  {name:{width}}{_summary(found[name])}"))
    if any(lacking.values()):
        click.echo("\nLack something:")
        for name in sorted((n for n in found if lacking[n]), key=str.lower):
            click.echo(printable(f"  {name:{width}}{lacking[name]}"))
    click.echo(f"\n{len(baseline_names())} published baselines, each in its own repository: tnllt-run list --baselines")
    click.echo("Your own: module:Class, or file.py:Class. Options of one: tnllt-run list NAME")


def _show_one(name: str) -> None:
    from tnllt.tracking.options import describe, hints_of, parameters, type_of_default
    from tnllt.tracking.registry import find_class

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
    from tnllt.tracking.registry import load_class

    cls = load_class(target)
    text = (inspect.getdoc(cls) or "").partition("\n")[0]
    return f"{', '.join(mode.value for mode in cls.modes):14}{text}"
