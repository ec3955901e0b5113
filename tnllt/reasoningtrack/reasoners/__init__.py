"""Reasoners: models that revise a target's description while it is tracked."""

from tnllt.reasoningtrack.reasoners.base import (
    Look,
    Question,
    Reasoner,
    ReasonerError,
    Reasoning,
    StaticReasoner,
)
from tnllt.reasoningtrack.reasoners.consult import Refresh, answer_to, ask, consult
from tnllt.reasoningtrack.reasoners.factory import KINDS, make_reasoner
from tnllt.reasoningtrack.reasoners.parsing import Parsed, parse_answer
from tnllt.reasoningtrack.reasoners.prompt import load_prompt
from tnllt.reasoningtrack.reasoners.replay import ReplayReasoner

__all__ = [
    "KINDS",
    "Look",
    "Parsed",
    "Question",
    "Reasoner",
    "ReasonerError",
    "Reasoning",
    "Refresh",
    "ReplayReasoner",
    "StaticReasoner",
    "answer_to",
    "ask",
    "consult",
    "load_prompt",
    "make_reasoner",
    "parse_answer",
]
