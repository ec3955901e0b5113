"""HTML pages from Jinja2 templates: text from files is escaped, and no script runs but the page's own.

The templates of the report lie in `templates/`: `frame.html` is every page's frame, `components.html` holds macros,
`core.js` and `charts.js` the functions that pages share. Other packages put templates of their own beside these.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from tnllt import __version__
from tnllt.files import plain
from tnllt.text import printable

if TYPE_CHECKING:
    from jinja2 import Environment

REPORT = "tnllt.eval.report"


@cache
def environment(*packages: str) -> Environment:
    """The templates of these packages and then the report's; escaping is on, an unknown variable is an error."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    loader = ChoiceLoader([PackageLoader(package) for package in (*packages, REPORT)])
    # A name must not read as another one: control and direction-changing characters are shown as what they are.
    return Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )  # fmt: skip


def asset(name: str, package: str = REPORT) -> str:
    """The text of a style sheet or script among a package's templates."""
    return (files(package) / "templates" / name).read_text("utf-8")


def script(names: Iterable[str], package: str = REPORT) -> str:
    """Scripts of a package, or else of the report, as one function that leaves no global name."""
    own = {entry.name for entry in (files(package) / "templates").iterdir()}
    texts = (asset(name, package if name in own else REPORT) for name in names)
    return "'use strict';\n(() => {\n" + "\n".join(texts) + "\n})();\n"


def render_page(
    template: str,
    scripts: Iterable[str],
    data: Mapping[str, str],
    values: Mapping[str, Any],
    inside: Iterable[str] = (),
) -> str:
    """A page of one file, which loads nothing.

    Args:
        scripts: names of its scripts, in order.
        data: {id: JSON made by `embed`}, for the scripts.
        values: what the template shows; `title` among them.
        inside: names of the scripts of pages that this one holds.
    """
    from markupsafe import Markup

    code = script(scripts)
    # The digest lets these scripts run and no others, whatever a name or a description may hold.
    digests = [hashlib.sha256(text.encode()).digest() for text in (code, *([script(inside)] if inside else []))]
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode('ascii')}'" for digest in digests)
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return environment().get_template(template).render(
        policy=policy, version=__version__, style=Markup(asset("style.css")), script=Markup(code),
        data={key: Markup(text) for key, text in data.items()}, **values,
    )  # fmt: skip


def embed(value: Any) -> str:
    """JSON that no HTML parser can leave: `<`, `>`, `&` and the line separators as escapes, lone surrogates too."""
    text = json.dumps(plain(value), allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
