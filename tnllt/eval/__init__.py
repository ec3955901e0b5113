"""Scoring: protocol -> errors per frame -> curves -> scores; then tables, figures, gates."""

from tnllt.eval.evaluate import evaluate
from tnllt.eval.metrics import METRICS, Metric
from tnllt.eval.protocol import Protocol
from tnllt.eval.protocols import PROTOCOLS, get_protocol
from tnllt.eval.scores import Scores

__all__ = ["METRICS", "PROTOCOLS", "Metric", "Protocol", "Scores", "evaluate", "get_protocol"]
