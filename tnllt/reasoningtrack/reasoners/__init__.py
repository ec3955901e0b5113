"""Reasoners: models that revise a target's description while it is tracked."""

from tnllt.reasoningtrack.reasoners.base import Look as Look
from tnllt.reasoningtrack.reasoners.base import Question as Question
from tnllt.reasoningtrack.reasoners.base import Reasoner as Reasoner
from tnllt.reasoningtrack.reasoners.base import ReasonerError as ReasonerError
from tnllt.reasoningtrack.reasoners.base import Reasoning as Reasoning
from tnllt.reasoningtrack.reasoners.base import StaticReasoner as StaticReasoner
from tnllt.reasoningtrack.reasoners.consult import answer_to as answer_to
from tnllt.reasoningtrack.reasoners.consult import ask as ask
from tnllt.reasoningtrack.reasoners.consult import consult as consult
from tnllt.reasoningtrack.reasoners.factory import make_reasoner as make_reasoner
from tnllt.reasoningtrack.reasoners.parsing import load_prompt as load_prompt
from tnllt.reasoningtrack.reasoners.parsing import parse_answer as parse_answer
from tnllt.reasoningtrack.reasoners.trace import ReplayReasoner as ReplayReasoner
