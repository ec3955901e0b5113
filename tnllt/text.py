"""What text passes on its way out: terminals, tables of spreadsheets, Markdown, LaTeX, and secrets everywhere.

Names, descriptions and messages come from files, models and servers. On a terminal they may hold control characters and
marks that change the direction of writing, in a spreadsheet a formula, and an error of a server may repeat the API key.
"""

from __future__ import annotations

import re
from functools import cache

#: What stands in place of a secret.
REDACTED = "[redacted]"
_SHORTEST = 4
_secrets: dict[str, re.Pattern[str]] = {}

_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
#: What some reader may drop from the start of a cell: escape sequences of terminals, control characters, blanks.
_CONTROL = re.compile(
    r"(?:\x1b\[[0-?]*[ -/]*[@-~]|[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff])+"
)
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}",
}  # fmt: skip


# --- secrets ----------------------------------------------------------------------------------------------------------


def register_secret(value: str) -> None:
    """From here on `redact` replaces this value wherever text leaves.

    The value counts in every form in which it may appear: as it is and stripped, URL-encoded, escaped, and in Base64,
    also as a part of a longer text that was encoded ("user:key" of a header). Values shorter than 4 characters are not
    registered: replacing them would garble every text.
    """
    if len(value.strip()) >= _SHORTEST and value not in _secrets:
        forms = sorted(_forms(value) | _forms(value.strip()), key=len, reverse=True)
        _secrets[value] = re.compile("|".join(map(re.escape, forms)))


def redact(text: str) -> str:
    """The text with every registered secret replaced."""
    if not _secrets:
        return text
    for pattern in _secrets.values():
        text = pattern.sub(REDACTED, text)
    return text


def _forms(value: str) -> set[str]:
    import base64
    from urllib.parse import quote, quote_plus

    raw = value.encode("utf-8", "surrogatepass")
    found = {value, value.encode("unicode_escape").decode(), quote(raw), quote(raw, safe=""), quote_plus(raw)}
    for offset in range(3):
        # Base64 of the value inside a longer text: the characters that the neighbours do not change.
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            whole = encode(bytes(offset) + raw).decode().rstrip("=")
            middle = whole[(offset * 4 + 2) // 3 : len(whole) - ((offset + len(raw)) % 3 > 0)]
            if len(middle) > _SHORTEST:
                found.add(middle)
    return {form for form in found if len(form) >= _SHORTEST}


# --- where text is shown ----------------------------------------------------------------------------------------------


def printable(text: str) -> str:
    """The text for a terminal or a log: secrets replaced, control and bidirectional marks escaped, lines kept."""
    return _escaped(text, "\n\t")


def one_line(text: str) -> str:
    """As `printable`, on one line: line ends and tabs are escaped, too."""
    return _escaped(text, "")


def _escaped(text: str, kept: str) -> str:
    text = redact(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


def json_text(text: str) -> str:
    """JSON text whose characters are all printable: what is not, stands in a string, and is escaped there."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else _json_escape(c) for c in text)


@cache
def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(rf"\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def toml_text(text: str) -> str:
    """A string of TOML that is read back as it was; what is not printable is escaped, a lone surrogate becomes "?"."""
    known = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(['"', *(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in known), '"'])


def csv_cell(text: str) -> str:
    """A cell of a CSV file that no spreadsheet runs as a formula, on one line, without control characters.

    Control characters are escaped, not removed. A text that would be a formula without them is marked as text, too.
    """
    bare = _CONTROL.sub("", text)
    return "'" + one_line(text) if bare.startswith(_FORMULA) else one_line(text)


def markdown(text: str) -> str:
    """Text in a cell of a Markdown table."""
    text = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join("\\" + c if c in "\\`*_{}[]()#+!|~" else c for c in text)


def latex(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in one_line(text))
