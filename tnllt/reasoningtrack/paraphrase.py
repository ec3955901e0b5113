"""Other prompts for the same target, written by a language model: a file for `tnllt-run --text`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from tnllt.errors import DataError
from tnllt.reasoningtrack.reasoners import ReasonerError
from tnllt.reasoningtrack.reasoners.server import ServerReasoner
from tnllt.text import one_line

#: What the model is told; the file quotes it.
INSTRUCTION = (
    "A tracker is told which object to track by a sentence. Write {count} other sentences in English that describe the "
    "same object with the same facts: other words or another order, nothing added, nothing left out, at most 15 words "
    "each. One a line, without numbers or quotation marks, and nothing else.\n\n{text}"
)
_LIST_MARK = re.compile(r"^\s*(?:\d+\s*[.):]|[-*\u2022])\s+")


def paraphrases(descriptions: Mapping[str, str], server: ServerReasoner, count: int) -> dict[str, list[str]]:
    """{sequence: `count` prompts} for {sequence: description}; answers are cached, so that asking again goes on.

    Raises:
        DataError: the server gave no answer, or too few prompts that differ from each other and from the description.
    """
    found = {}
    for name, text in descriptions.items():
        message = {"role": "user", "content": INSTRUCTION.format(count=count, text=text)}
        try:
            answer = server.chat([message])
        except ReasonerError as error:
            raise DataError(f"sequence {name!r}: the server gave no answer ({error}); what is there is kept") from error
        lines = [_LIST_MARK.sub("", line).strip().strip("\"'") for line in answer.splitlines()]
        others = {line.casefold(): line for line in lines if line and line.casefold() != text.casefold()}
        prompts = list(others.values())[:count]
        if len(prompts) < count:
            raise DataError(f"sequence {name!r}: the model wrote {len(prompts)} of {count} prompts: {answer!r:.200}")
        found[name] = prompts
    return found


def prompt_file(prompts: Mapping[str, list[str]], model: str, count: int) -> str:
    """The TOML that `--text` reads once somebody has set `reviewed` to true."""

    def quoted(text: str) -> str:
        return json.dumps(one_line(text), ensure_ascii=False)

    lines = [
        f"model = {quoted(model)}",
        f"instruction = {quoted(INSTRUCTION.format(count=count, text='...'))}",
        "# Read every prompt and mend what is not true of the target; then write: reviewed = true",
        "reviewed = false",
        "",
        "[texts]",
    ]
    lines += [f"{quoted(name)} = [{', '.join(map(quoted, own))}]" for name, own in prompts.items()]
    return "\n".join(lines) + "\n"
