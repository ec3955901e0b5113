"""From the bytes of a chat completion to the model's text, in the forms that servers give thoughts and choices."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tnllt.reasoningtrack.reasoners.base import ReasonerError
from tnllt.text import redact

#: Fields to which servers move the thought out of `content`.
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")


def read_reply(body: bytes, content_type: str) -> tuple[str, dict[str, Any]]:
    """The text of the reply's choice, and facts for the trace.

    Raises:
        ReasonerError: kind not_json, cut_off, server_error, no_choice or empty.
    """
    reply = _load(body, content_type)
    if reply.get("error") and not reply.get("choices"):
        raise ReasonerError("server_error", f"the server reports an error: {_short(reply['error'])}")
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices:
        raise ReasonerError("no_choice", "the reply has no choices")
    text, finish = _text(choices[0])
    if not text.strip():
        raise ReasonerError("empty", f"the model wrote nothing (finish reason {_short(finish)})")
    return redact(text), {"finish": finish and redact(finish)[:100]}


def _load(body: bytes, content_type: str) -> Mapping[str, Any]:
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError) as error:
        if body.lstrip()[:1] == b"{":
            raise ReasonerError(
                "cut_off", f"the reply's JSON breaks off or is broken after {len(body)} bytes"
            ) from error
        what = content_type.partition(";")[0] or "no content type"
        raise ReasonerError("not_json", f"the reply is not JSON ({what}); is this an OpenAI-compatible URL?") from error
    if not isinstance(reply, dict):
        raise ReasonerError("not_json", f"the reply is a JSON {type(reply).__name__}, not an object")
    return reply


def _text(choice: Any) -> tuple[str, str | None]:
    """A choice's text with its thought put back in front, and why it ended."""
    choice = choice if isinstance(choice, dict) else {}
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    content = _flat(message.get("content"))
    thought = next((text for name in _THOUGHTS if (text := _flat(message.get(name))).strip()), "")
    finish = choice.get("finish_reason")
    finish = finish if isinstance(finish, str) else None
    if not thought or "</think>" in content:
        return content, finish
    if "</think>" in thought or not content.strip():
        return thought + content, finish
    return f"<think>{thought.strip().removeprefix('<think>')}</think>{content}", finish


def _flat(content: Any) -> str:
    """Text of a string or of a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    return ""


def _short(value: Any) -> str:
    text = value.get("message") if isinstance(value, dict) else value
    return redact(" ".join(str(text).split()))[:300]
