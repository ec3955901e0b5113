"""`tnllt-eval protocols`."""

from __future__ import annotations

import json
import textwrap

import click

from tnllt.eval.protocols import PROTOCOLS, TNLLT, get_protocol


@click.command()
@click.argument("name", required=False)
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", help="Format of the output.")
def protocols(name: str | None, format_: str) -> None:
    """Explain every scoring rule in a sentence; with NAME, all its rules beside the official ones."""
    if format_ == "json":
        chosen = [get_protocol(name)] if name else list(PROTOCOLS.values())
        table = [{"name": p.name, "aliases": p.aliases, "summary": p.summary, "rules": p.rules()} for p in chosen]
        # Infinity is no JSON number.
        click.echo(json.dumps(table, indent=1, default=str).replace("Infinity", '"inf"'))
    elif name:
        protocol = get_protocol(name)
        click.echo(textwrap.fill(f"{protocol.name}: {protocol.summary}", 100))
        click.echo()
        for rule, value in protocol.rules().items():
            other = getattr(TNLLT, rule)
            note = "" if value == other else f"   (official: {_short(other)})"
            click.echo(f"  {rule:26} {_short(value)}{note}")
    else:
        for protocol in PROTOCOLS.values():
            names = ", ".join((protocol.name, *protocol.aliases))
            click.echo(names)
            click.echo(textwrap.fill(protocol.summary, 100, initial_indent="    ", subsequent_indent="    "))


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return f"{len(value)} values, {value[0]:g} to {value[-1]:g}"
    return "as computed" if value is None else f"{value:g}" if isinstance(value, float) else str(value).lower()
