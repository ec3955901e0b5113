"""Parsing, the yes/no rule, traces and replay: what the tracking loop builds on."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tnllt.errors import DataError, UsageError
from tnllt.reasoningtrack.reasoners import (
    Look,
    Question,
    Reasoning,
    ask,
    consult,
    load_prompt,
    make_reasoner,
    parse_answer,
)
from tnllt.reasoningtrack.reasoners.trace import image_hash

YES = "<think> it turned </think><d>yes</d>\n<answer> the red car seen from behind </answer>"


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def look(n: int) -> Look:
    return Look(picture(n), (2.0 + n, 3, 10, 8), 10 * n)


def question(n: int = 0, current: str = "running text") -> Question:
    return Question.of_pair(look(n), look(n + 1), "the red car", current)


class Scripted:
    def __init__(self, *answers: Reasoning | Exception) -> None:
        self.answers, self.asked = list(answers), []

    def describe(self, first, second, description):
        self.asked.append(description)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_parse_plain_answer():
    for compat in ("ours", "released"):
        parsed = parse_answer(YES, compat)
        assert (parsed.think, parsed.decision, parsed.answer) == ("it turned", "yes", "the red car seen from behind")
        assert parsed.update and parsed.missing == ()


@pytest.mark.parametrize(
    ("raw", "update", "missing"),
    [
        ("<think>a</think><answer>b</answer>", False, ("d",)),
        ("<think>a</think><d>yes</d>", False, ("answer",)),
        ("<d>yes</d><answer>b</answer>", True, ("think",)),
        ("<think>a</think><d>Yes</d><answer>b</answer>", False, ()),
        ("<think>a</think><d>yes</d><answer>  </answer>", False, ()),
        ("<think>a</think><d>yes</d><answer>cut of", False, ("answer",)),
        ("nothing of it", False, ("think", "d", "answer")),
        ("", False, ("think", "d", "answer")),
    ],
)
def test_parse_faulty_answers(raw, update, missing):
    for compat in ("ours", "released"):
        parsed = parse_answer(raw, compat)
        assert parsed.update is update
        assert parsed.missing == missing


def test_tags_quoted_in_the_thought_do_not_count_for_us():
    raw = "<think>So <d>no</d> and <answer>x</answer>? Rather not.</think><d>yes</d><answer>y</answer>"
    ours, released = parse_answer(raw), parse_answer(raw, "released")
    assert (ours.decision, ours.answer) == ("yes", "y")
    assert (released.decision, released.answer) == ("no", "x")


def test_thought_may_quote_its_own_tags_or_lack_the_opening_one():
    parsed = parse_answer("<think>I must use <think></think> first.</think><d>no</d><answer>z</answer>")
    assert parsed.think == "I must use <think></think> first." and parsed.decision == "no"
    parsed = parse_answer("a thought</think><d>yes</d><answer>z</answer>")
    assert parsed.think == "a thought" and parsed.update


def test_all_published_answers_parse(shared: Path):
    missing: Counter[str] = Counter()
    total = decisions = texts = 0
    for file in sorted((shared / "data/tnllt/sft").glob("*.json")):
        for record in json.loads(file.read_text()):
            ours, released = parse_answer(record["output"]), parse_answer(record["output"], "released")
            total += 1
            missing.update(ours.missing)
            assert ours.decision in ("yes", "no")
            assert "<answer>" not in (ours.answer or "")
            decisions += ours.decision != released.decision
            texts += ours.answer != released.answer
    assert total == 997
    assert dict(missing) == {"answer": 1}
    # Four thoughts quote tags so that the first match is garbage: three in the decision, one in the text.
    assert (decisions, texts) == (3, 1)


def test_yes_takes_the_answer_no_the_own_sentence_failure_keeps():
    said_yes = Reasoning("t", True, "new text", YES, 0.5)
    said_no = Reasoning("t", False, "whatever", "raw", 0.5)
    reasoner = Scripted(said_yes, said_no, ValueError("boom\nsecond line"))
    outcomes = consult(reasoner, [question(0), question(1), question(2)])
    assert [o.description for o in outcomes] == ["new text", "the red car", "running text"]
    assert outcomes[2].error == "ValueError: boom second line"
    assert outcomes[2].event["error"] == {"kind": "ValueError", "message": "boom second line"}
    assert reasoner.asked == ["the red car"] * 3  # never the running one


def test_foreign_answers_that_are_no_reasoning():
    outcome = ask(Scripted(None), question())  # type: ignore[arg-type]
    assert outcome.error is not None and outcome.description == "running text"


class Whole:
    """Takes the whole question, beside the three or alone."""

    def __init__(self) -> None:
        self.asked: list[Question] = []

    def describe(self, first, second, description, question=None):
        assert first is question.previous.image and second is question.current.image and description == question.own
        self.asked.append(question)
        return Reasoning("cannot tell", False, None, keep=True)


class Alone(Whole):
    def describe(self, question):
        self.asked.append(question)
        return Reasoning("cannot tell", False, None, keep=True)


@pytest.mark.parametrize("kind", [Whole, Alone])
def test_a_reasoner_may_take_the_whole_question_and_keep_what_is_in_force(kind, tmp_path: Path):
    asked, reasoner = question(2), kind()
    outcome = ask(reasoner, asked)
    assert reasoner.asked == [asked]
    assert (outcome.error, outcome.description, outcome.event["decision"]) == (None, "running text", "keep")
    again = ask(make_reasoner(f"replay:{write_trace(tmp_path / 'a.trace.jsonl', [outcome])}"), asked)
    assert again.description == "running text" and again.event["decision"] == "keep"


def test_keep_in_an_answer():
    parsed = parse_answer("<think>It is hidden.</think><d>keep</d><answer></answer>")
    assert parsed.keep and not parsed.update and parsed.missing == ()
    assert not parse_answer(YES).keep


def test_event_is_json_and_names_what_was_seen():
    event = ask(Scripted(Reasoning("t", True, "new", "raw", 0.25, {"model": "m"})), question(3)).event
    assert json.loads(json.dumps(event)) == event
    assert event["schema"] == "tnllt.trace/2" and event["frame"] == 40
    assert event["first"] == {"frame": 30, "sha256": image_hash(picture(3)), "box": [5, 3, 10, 8]}
    assert (event["own"], event["before"], event["after"]) == ("the red car", "running text", "new")


def test_image_hash_knows_shape_and_pixels():
    image = picture(0)
    assert image_hash(image) == image_hash(np.asfortranarray(image))
    assert image_hash(image) != image_hash(image.reshape(32, 24, 3))


def test_questions_run_together_within_the_bound():
    running, most, lock = 0, 0, threading.Lock()

    class Slow:
        concurrency = 3

        def describe(self, first, second, description):
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.03)
            with lock:
                running -= 1
            return Reasoning(None, True, str(int(first[0, 0, 0])), "", 0.0)

    outcomes = consult(Slow(), [question(n) for n in range(8)])
    assert most == 3
    assert [o.description for o in outcomes] == [str(int(picture(n)[0, 0, 0])) for n in range(8)]


def write_trace(path: Path, outcomes) -> Path:
    path.write_text("".join(json.dumps(o.event) + "\n" for o in outcomes))
    return path


def test_replay_gives_the_recorded_run_again(tmp_path: Path):
    script = (Reasoning("t", True, "new", "raw", 0.5), Reasoning("u", False, "x", "raw2", 0.1), TimeoutError("slow"))
    questions = [question(0), question(1), question(2)]
    first = consult(Scripted(*script), questions)
    replay = make_reasoner(f"replay:{write_trace(tmp_path / 'a.trace.jsonl', first)}")
    again = consult(replay, questions)
    for was, now in zip(first, again, strict=True):
        assert {**now.event, "detail": {}} == {**was.event, "detail": {}}
    unknown = ask(replay, question(7))
    assert unknown.event["error"]["kind"] == "not_recorded" and unknown.description == "running text"


def test_replay_of_a_folder_and_of_repeated_questions(tmp_path: Path):
    asked = [question(0), question(0)]
    recorded = consult(Scripted(Reasoning("", True, "one", "1", 0), Reasoning("", True, "two", "2", 0)), asked)
    write_trace(tmp_path / "x.trace.jsonl", recorded)
    replay = make_reasoner(f"replay:{tmp_path}")
    assert [o.description for o in consult(replay, asked * 2)] == ["one", "two", "one", "two"]


@pytest.mark.parametrize(
    ("text", "says"),
    [("{cut", "row 1"), ('{"schema": "other/9", "event": "refresh"}', "tnllt.trace/2"), ("[]", "row 1")],
)
def test_replay_refuses_what_is_no_trace(tmp_path: Path, text, says):
    file = tmp_path / "bad.trace.jsonl"
    file.write_text(text + "\n")
    with pytest.raises(DataError, match=says):
        make_reasoner(f"replay:{file}")


def test_replay_needs_a_file(tmp_path: Path):
    with pytest.raises(UsageError, match="no trace"):
        make_reasoner(f"replay:{tmp_path / 'none.jsonl'}")
    with pytest.raises(UsageError, match="no trace"):
        make_reasoner(f"replay:{tmp_path}")


@pytest.mark.parametrize("spec", ["", "openai:", "ollama:x", "static:1", "replay"])
def test_unknown_reasoners_are_refused_with_the_known_ones(spec):
    with pytest.raises(UsageError, match="openai:URL"):
        make_reasoner(spec)


def test_static_never_changes():
    assert ask(make_reasoner("static"), question()).description == "the red car"


def test_prompt_ours_and_from_a_file(tmp_path: Path):
    assert "<think>" in load_prompt() and "150 characters" in load_prompt()
    file = tmp_path / "p.txt"
    file.write_text("  my prompt\n")
    assert load_prompt(file) == "my prompt"
    file.write_text(" \n")
    with pytest.raises(UsageError, match="empty"):
        load_prompt(file)
    with pytest.raises(UsageError, match="cannot be read"):
        load_prompt(tmp_path / "nope.txt")
