"""The named protocols: the rules of the toolkits whose numbers people quote (sources: those toolkits' public code)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tnllt.errors import UsageError, did_you_mean
from tnllt.eval.protocol import LINSPACE_NORMALIZED_THRESHOLDS, MATLAB_OVERLAP_THRESHOLDS, Protocol

TNLLT = Protocol(
    name="tnllt",
    aliases=("lasot", "tnl2k"),
    summary="The official rule of TNLLT, LaSOT and TNL2K: broken boxes repeat the one before, absent frames are never "
    "hits but stay in the denominator, sequences with an empty curve are dropped.",
)

TNLLT_MATLAB = replace(
    TNLLT,
    name="tnllt-matlab",
    aliases=(),
    summary="The official rule with MATLAB's own 0:0.05:1, five of whose thresholds are one unit in the last place "
    "lower than GNU Octave's and NumPy's; it moves the fifth decimal.",
    overlap_thresholds=MATLAB_OVERLAP_THRESHOLDS,
)

PYTRACKING = Protocol(
    name="pytracking",
    summary="pytracking's rule: absent and unannotated frames miss the overlap and the pixel error but hit the "
    "normalised error, short results are padded with zeros, NaN annotations are refused.",
    invalid_error=np.inf,
    invalid_normalized_error=-1.0,
    absent="invalid",
    invalid_result="zero_to_previous",
    short_result="zeros",
    refuse_nan_annotation=True,
    refuse_nan_overlap=True,
    ignore_nan_corner=False,
    count_epsilon=0.0,
    drop_zero_curves=False,
)

PYTRACKING_LASOT = replace(
    PYTRACKING,
    name="pytracking-lasot",
    summary="pytracking's rule for its LaSOT class: as pytracking, but absent frames miss both errors and short "
    "results are refused.",
    absent_error=np.inf,
    short_result="refused",
)

PYTRACKING_UAV = replace(
    PYTRACKING,
    name="pytracking-uav",
    summary="pytracking's rule for its UAV123 class: as pytracking, but frames without a box hit both errors and NaN "
    "annotations are accepted.",
    invalid_error=-1.0,
    refuse_nan_annotation=False,
)

STARK = replace(
    PYTRACKING,
    name="stark",
    aliases=("ostrack", "dutrack"),
    summary="The rule of STARK and its descendants (OSTrack, DUTrack and others): as pytracking, but a ground-truth "
    "box counts when its width and height are positive, wherever it lies.",
    overlap_valid="positive_size",
    error_valid="positive_size",
)

STARK_LASOT = replace(
    STARK,
    name="stark-lasot",
    aliases=(),
    summary="The rule of STARK's descendants for LaSOT: as stark, but absent frames miss both errors and short results "
    "are refused.",
    absent_error=np.inf,
    short_result="refused",
)

STARK_UAV = replace(
    STARK,
    name="stark-uav",
    aliases=(),
    summary="The rule of STARK's descendants for UAV123: as stark, but frames without a box hit both errors and NaN "
    "annotations are accepted.",
    invalid_error=-1.0,
    refuse_nan_annotation=False,
)

PYSOT_TOOLKIT = Protocol(
    name="pysot-toolkit",
    summary="pysot-toolkit's rule: results as they are, absent frames are never hits but stay in the denominator, "
    "centre errors count wherever the ground truth's centre is positive, no sequence is dropped.",
    error_valid="positive_center",
    first_frame="as_is",
    invalid_result="as_is",
    inclusive_corners=False,
    ignore_nan_corner=False,
    clip_overlap=True,
    size_epsilon=1e-16,
    count_epsilon=0.0,
    drop_zero_curves=False,
)

PYSOT = replace(
    PYSOT_TOOLKIT,
    name="pysot",
    summary="The rule of PySOT's own toolkit: as pysot-toolkit, but overlaps count wherever the ground truth's width "
    "and height are positive.",
    overlap_valid="positive_size",
)

GOT10K = Protocol(
    name="got10k",
    summary="The got10k toolkit's rule for LaSOT: presence flags ignored, unannotated frames left out altogether, "
    "normalised precision is the mean of its curve from 0 to 0.5.",
    overlap_valid="not_nan",
    error_valid="not_nan",
    invalid_error=None,
    invalid_normalized_error=None,
    absent="ignored",
    count_invalid=False,
    invalid_result="as_is",
    short_result="cut",
    inclusive_corners=False,
    ignore_nan_corner=False,
    overlap_epsilon=2.0**-52,
    clip_overlap=True,
    divide_centers=False,
    size_floor=1.0,
    count_epsilon=0.0,
    normalized_thresholds=LINSPACE_NORMALIZED_THRESHOLDS,
    normalized_precision="mean",
    drop_zero_curves=False,
)

LORAT = Protocol(
    name="lorat",
    summary="LoRAT's rule: absent and unannotated frames are left out altogether, a broken box is a miss, an overlap "
    "passes when it reaches the threshold, but none at all never does.",
    overlap_valid="positive_size",
    error_valid="positive_size",
    absent="excluded",
    count_invalid=False,
    first_frame="as_is",
    invalid_result="miss",
    overlap_strict=False,
    zero_overlap_misses=True,
    stores_corners=True,
    inclusive_corners=False,
    ignore_nan_corner=False,
    count_epsilon=0.0,
    normalized_thresholds=LINSPACE_NORMALIZED_THRESHOLDS,
    drop_zero_curves=False,
)

TRACKINGNET = Protocol(
    name="trackingnet",
    summary="TrackingNet's rule: boxes rounded to integers, every frame counts, missing rows are zeros, each score is "
    "the area under its curve of 21 thresholds.",
    overlap_valid="every_frame",
    error_valid="every_frame",
    invalid_error=None,
    invalid_normalized_error=None,
    absent="ignored",
    invalid_result="as_is",
    short_result="zeros",
    overlap_strict=False,
    ignore_nan_corner=True,
    round_boxes=True,
    divide_centers=False,
    count_epsilon=0.0,
    overlap_thresholds=tuple(float(t) for t in np.linspace(0, 1, 21)),
    error_thresholds=tuple(float(t) for t in np.linspace(0, 50, 21)),
    normalized_thresholds=tuple(float(t) for t in np.linspace(0, 0.5, 21)),
    success="area",
    precision="area",
    normalized_precision="area",
    drop_zero_curves=False,
)

STRICT = Protocol(
    name="strict",
    summary="For analysis: only present, annotated frames after the first count, a broken box is a miss, an overlap "
    "passes when it is positive and reaches the threshold; a perfect tracker scores exactly 1.",
    overlap_valid="positive_size",
    error_valid="positive_size",
    absent="excluded",
    count_invalid=False,
    first_frame="excluded",
    invalid_result="miss",
    overlap_strict=False,
    zero_overlap_misses=True,
    stores_corners=True,  # the same box twice overlaps by exactly 1
    inclusive_corners=False,
    ignore_nan_corner=False,
    clip_overlap=True,
    divide_centers=False,
    count_epsilon=0.0,
    drop_zero_curves=False,
)

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        TNLLT, TNLLT_MATLAB, PYTRACKING, PYTRACKING_LASOT, PYTRACKING_UAV, STARK, STARK_LASOT, STARK_UAV,
        PYSOT_TOOLKIT, PYSOT, GOT10K, LORAT, TRACKINGNET, STRICT,
    )
}  # fmt: skip
#: Toolkits whose code scores some datasets by another rule: {protocol: {dataset: the protocol there}}.
FAMILIES: dict[str, dict[str, str]] = {
    "pytracking": {"lasot": "pytracking-lasot", "uav123": "pytracking-uav"},
    "stark": {"lasot": "stark-lasot", "uav123": "stark-uav"},
}
ALIASES = {alias: protocol for protocol in PROTOCOLS.values() for alias in protocol.aliases}


def get_protocol(name: str | Protocol) -> Protocol:
    """The protocol of that name or alias. Raises UsageError, with the nearest name, where there is none."""
    if isinstance(name, Protocol):
        return name
    known = PROTOCOLS | ALIASES
    if name.lower() in known:
        return known[name.lower()]
    hint = did_you_mean(name, known, f"known: {', '.join(known)}")
    raise UsageError(f"no protocol {name!r}; {hint} (`tnllt-eval protocols` explains them)")


def resolve_protocol(name: str | Protocol, dataset: str) -> Protocol:
    """The protocol by which the toolkit of that name scores a dataset: `stark` on LaSOT is `stark-lasot`.

    A `Protocol` is taken as it is. Raises UsageError as `get_protocol` does.
    """
    found = get_protocol(name)
    own = {} if isinstance(name, Protocol) else FAMILIES.get(found.name, {})
    return PROTOCOLS[own.get(dataset, found.name)] if own else found
