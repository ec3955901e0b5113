"""Rewards against cases worked out by hand, and on the published answers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tnllt.errors import UsageError
from tnllt.training.rewards import (
    NAMED,
    RELEASED,
    WITH_IOU,
    RewardWeights,
    decision_reward,
    format_reward,
    iou_reward,
    new_description,
    score,
    strict_reward,
)

YES = "<think>turned</think><d>yes</d><answer>the car from behind</answer>"
NO = "<think>same</think><d>no</d><answer>the car</answer>"


@pytest.mark.parametrize(
    ("text", "loose", "strict"),
    [
        (YES, 1, 1),
        (NO, 1, 1),
        ("<think>a\nb</think>\n<d> YES </d>  \n<answer>c</answer>", 1, 1),
        ("< think >a< / think ><d >no</ d><answer>c</answer >", 1, 1),
        ("<d>yes</d><think>a</think><answer>c</answer>", 1, 0),  # order
        ("<think>a</think><answer>c</answer><d>yes</d>", 1, 0),
        ("<think>a</think><d>maybe</d><answer>c</answer>", 1, 0),
        ("<think>a</think><d></d><answer>c</answer>", 1, 0),
        ("<think>a</think><d>yes</d><answer>c", 0, 0),  # not closed
        ("<think>a<d>yes</d><answer>c</answer>", 0, 0),
        ("<think>a</think><answer>c</answer>", 0, 0),
        ("<think>a</think><d>yes no</d><answer>c</answer>", 1, 0),
        # Quoted in the thought: the real ones are missing or in the wrong order.
        ("<think>use <d>yes</d> and <answer>x</answer></think><answer>c</answer><d>no</d>", 1, 0),
        ("<think>use <d>yes</d> and <answer>x</answer></think>", 1, 0),
        ("<think>use <d>q</d> and <answer></think><d>no</d><answer>c</answer>", 1, 1),
        ("", 0, 0),
        ("yes", 0, 0),
    ],
)
def test_format_and_strict(text, loose, strict):
    assert (format_reward(text), strict_reward(text)) == (loose, strict)


@pytest.mark.parametrize(
    ("overlap", "halved", "threshold"),
    [(0.0, 0.0, 0.0), (0.6, 0.3, 0.0), (0.61, 0.305, 0.0), (0.62, 0.62, 1.0), (1.0, 1.0, 1.0)],
)
def test_iou_variants(overlap, halved, threshold):
    assert iou_reward(overlap) == pytest.approx(halved)
    assert iou_reward(overlap, "threshold") == threshold


@pytest.mark.parametrize(
    ("text", "before", "after", "reward"),
    [
        (YES, 0.5, 0.7, 1),
        (YES, 0.7, 0.5, 0),
        (YES, 0.6, 0.6, 0),  # a tie is no reason to change
        (NO, 0.6, 0.6, 1),
        (NO, 0.7, 0.5, 1),
        (NO, 0.5, 0.7, 0),
        (NO, 0.0, 0.0, 1),  # both measured, both lost
        (YES.replace("yes", "Yes"), 0.5, 0.7, 0),  # as written: "Yes" is not "yes", so it counts as "no"
        (YES.replace("yes", "Yes"), 0.7, 0.5, 1),
        ("no tags at all", 0.7, 0.5, 1),
        ("<think>say <d>yes</d>?</think><d>no</d><answer>x</answer>", 0.5, 0.7, 0),
    ],
)
def test_decision(text, before, after, reward):
    assert decision_reward(text, before, after) == reward


@pytest.mark.parametrize(("before", "after"), [(None, None), (None, 0.5), (0.5, None), (math.nan, 0.5)])
def test_a_failed_tracker_rewards_nothing(before, after):
    for text in (YES, NO):
        assert decision_reward(text, before, after) is None
        assert score(text, before, after)[0] is None
        assert score(text, before, after, RELEASED)[0] is None
    assert iou_reward(None) is None and iou_reward(math.nan) is None and iou_reward(None, "threshold") is None
    # Where nothing that failed counts, there is a reward.
    assert score(YES, None, None, RewardWeights(1, 1, 0, 0))[0] == 2.0


def test_new_description_counts_also_after_no_and_has_a_stand_in():
    assert new_description(NO) == "the car"
    assert new_description("<think>a</think><d>yes</d>") == "tracking the object"
    assert new_description("<think>a</think><d>yes</d><answer> </answer>") == "tracking the object"
    assert new_description("<think>a <answer>x</answer></think><d>no</d><answer>y</answer>") == "y"


def test_weighted_sums_by_hand():
    assert score(YES, 0.5, 0.8)[0] == pytest.approx(0.1 + 0.1 + 0.5 * 0.8 + 0.3)
    assert score(YES, 0.5, 0.6)[0] == pytest.approx(0.1 + 0.1 + 0.5 * 0.3 + 0.3)
    assert score(NO, 0.5, 0.6, RELEASED)[0] == pytest.approx(0.1 + 0.1)
    assert score(NO, 0.6, 0.5, RELEASED)[0] == pytest.approx(0.1 + 0.1 + 0.15)
    total, parts = score("nothing", 0.9, 0.9, WITH_IOU, "threshold")
    assert total == pytest.approx(0.5 + 0.3)
    assert parts == {"format": 0.0, "strict": 0.0, "iou": 1.0, "decision": 1.0, "gain": None}
    assert score(YES, reward_weights=NAMED["gain"], gain=-0.3)[0] == pytest.approx(0.1 + 0.1 - 0.3)
    assert score(YES, reward_weights=NAMED["gain"])[0] is None


def test_weights_by_name_and_number():
    assert RewardWeights.parse("released") == RewardWeights(0.1, 0.1, 0.0, 0.15)
    assert RewardWeights.parse("with-iou") == RewardWeights(0.1, 0.1, 0.5, 0.3)
    assert RewardWeights.parse("1,0,0.5,0") == RewardWeights(1, 0, 0.5, 0)
    assert not RewardWeights.parse("1,1,0,0").needs_tracker and RELEASED.needs_tracker
    for text in ("", "1,2,3", "a,b,c,d", "1,1,1,-1", "nan,1,1,1", "inf,0,0,0"):
        with pytest.raises(UsageError, match="released"):
            RewardWeights.parse(text)


@given(st.text(alphabet="<>/ \ndthinkasweryeo", max_size=80))
def test_strict_implies_format(text):
    assert strict_reward(text) <= format_reward(text)


def test_published_answers(shared: Path):
    texts = [r["output"] for f in (shared / "data/tnllt/sft").glob("*.json") for r in json.loads(f.read_text())]
    assert len(texts) == 997
    assert sum(map(format_reward, texts)) == 996
    assert sum(map(strict_reward, texts)) == 996
