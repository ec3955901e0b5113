"""`tnllt-eval protocols`."""

from __future__ import annotations

import textwrap

import click

from tnllt.cli.eval_options import format_option
from tnllt.eval.protocols import PROTOCOLS, TNLLT, get_protocol
from tnllt.eval.rule_text import protocol_card
from tnllt.files import to_json


@click.command()
@click.argument("name", required=False)
@format_option("text", "json")
def protocols(name: str | None, format_: str) -> None:
    """Describe every scoring rule in one sentence; with NAME, all its rules beside the official ones."""
    if format_ == "json":
        chosen = [get_protocol(name)] if name else list(PROTOCOLS.values())
        click.echo(to_json([protocol.to_table() for protocol in chosen]))
    elif name:
        protocol = get_protocol(name)
        click.echo(textwrap.fill(f"{protocol.name}: {protocol.summary}", 100))
        click.echo()
        official = {rule: value for rule, _, value, _ in protocol_card(TNLLT)}
        for rule, label, value, why in protocol_card(protocol):
            note = "" if value == official[rule] else f" (official: {official[rule]})"
            click.echo(textwrap.fill(f"{label}: {value}{note}", 100, initial_indent="  ", subsequent_indent="      "))
            click.echo(textwrap.fill(why, 100, initial_indent="      ", subsequent_indent="      "))
    else:
        for protocol in PROTOCOLS.values():
            names = ", ".join((protocol.name, *protocol.aliases))
            click.echo(names)
            click.echo(textwrap.fill(protocol.summary, 100, initial_indent="    ", subsequent_indent="    "))
