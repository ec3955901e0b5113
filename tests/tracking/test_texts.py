"""What a tracker is told: sources of texts, variants by text and by grid, texts over time."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

import tnllt
from tests.tracking.conftest import LENGTHS, TRACKERS, command, results, tnllt_run
from tnllt.errors import DataError, UsageError
from tnllt.results.records import read_record
from tnllt.results.store import ResultStore
from tnllt.sequence import Annotation, Sequence
from tnllt.tracking.config import RunConfig
from tnllt.tracking.runner import variants_in
from tnllt.tracking.texts import Texts, head_noun, split_sources, texts_of

TOLD = f"{TRACKERS}:Told"


def sequences(*texts: str | None, frames: int = 5) -> list[Sequence]:
    boxes = np.full((frames, 4), 7.0)
    return [Sequence(f"s{i}", Annotation(boxes, language=text)) for i, text in enumerate(texts)]


def told(texts: Texts) -> dict[str, str]:
    return {name: changes[0][1] for name, changes in texts.sequences.items()}


def test_words_and_texts_in_quotes() -> None:
    known = sequences("the red car on the road", "A man, in black", None)
    own, none, noun, literal = texts_of('own,none,class,"red, or blue"', known)
    assert own.sequences == {} and told(none) == {"s0": "", "s1": "", "s2": ""}
    assert told(noun) == {"s0": "car", "s1": "man", "s2": ""}
    assert told(literal) == dict.fromkeys(("s0", "s1", "s2"), "red, or blue")
    assert [t.value for t in (own, none, noun)] == ["own", "none", "class"] and literal.value.startswith("red-or-blue-")


def test_no_text_or_file_goes_by_the_name_of_a_word(tmp_path: Path) -> None:
    (tmp_path / "none.toml").write_text('s0 = "a"\n')
    found = texts_of(["none", '"none"', str(tmp_path / "none.toml")], sequences("x"))
    assert [t.value.partition("-")[0] for t in found] == ["none", "none", "none.toml"]
    assert len({t.value for t in found}) == 3 and told(found[1]) == {"s0": "none"}


@pytest.mark.parametrize("given", ["", "own,,none", 'own "x"', '"open', "own,"])
def test_a_list_of_sources_is_whole(given: str) -> None:
    if given == "own,":
        assert split_sources(given) == ["own"]
    else:
        with pytest.raises(UsageError, match="--text"):
            split_sources(given)


def test_a_word_that_is_no_source_is_answered_with_the_near_one() -> None:
    with pytest.raises(UsageError, match="did you mean 'shuffled'"):
        texts_of("shufled", sequences("a", "b"))


@pytest.mark.parametrize("seed", range(40))
def test_shuffled_never_gives_an_equal_description(seed: int) -> None:
    rng = random.Random(seed)
    words = [f"the {rng.choice(['red', 'Red ', 'blue', 'green'])} car" for _ in range(rng.randint(2, 40))]
    known = sequences(*words, *[f"thing {i}" for i in range(len(words))])
    rng.shuffle(known)
    (shuffled,) = texts_of("shuffled", known, seed)
    own = {s.name: " ".join(s.language.casefold().split()) for s in known if s.language}
    got = {name: " ".join(text.casefold().split()) for name, text in told(shuffled).items()}
    assert all(got[name] != own[name] for name in own)
    assert sorted(got.values()) == sorted(own.values()), "each description is given once"
    assert texts_of("shuffled", known, seed) == [shuffled] and texts_of("shuffled", known[::-1], seed) == [shuffled]


def test_shuffled_differs_by_seed_and_is_refused_where_most_are_equal() -> None:
    known = sequences(*[f"thing {i}" for i in range(50)])
    assert len({json.dumps(texts_of("shuffled", known, seed)[0].sequences) for seed in range(5)}) == 5
    with pytest.raises(DataError, match="3 of 5 sequences share one"):
        texts_of("shuffled", sequences("a car", "A  car", "a car", "b", "c"))
    assert told(texts_of("shuffled", sequences("a car", "a car", "b", "c"))[0])["s0"] in ("b", "c")


@pytest.mark.parametrize(
    ("text", "noun"),
    [
        ("the white car running on the road", "car"),
        ("A man in black", "man"),
        ("running dog, near the tree", "dog"),
        ("the second zebra from the left", "zebra"),
        ("the girl's hand", "hand"),
        ("The person who walks across the street", "person"),
        ("a remote-controlled airplane", "airplane"),
        ("We want to track the man wearing a white shirt is riding a bike", "man"),
        ("we want track a yellow plush toy", "toy"),
        ("We want to track the with short hair wearing black skirt", None),
        ("a pink girl second from right", "girl"),
        ("airplane colored in white and red flying above the grass", "airplane"),
        ("black striated cat standing on the ground", "cat"),
        ("white bicycle ride ridden by a girl", "bicycle"),
        ("car slowly running on the ground", "car"),
        ("the basketball player wears a white suit and hair band", "player"),
        ("the red moped", "moped"),
        ("red", None),
        ("", None),
        ("the one on the left", None),
        ("汽车", None),
        ("He is walking", None),
        ("very long noun phrase without any end at all here", None),
    ],
)
def test_head_noun(text: str, noun: str | None) -> None:
    assert head_noun(text) == noun


def test_files_of_prompts(tmp_path: Path) -> None:
    toml, folder = tmp_path / "words.toml", tmp_path / "folder"
    toml.write_text('[texts]\ns0 = ["a", "b"]\ns1 = ["c", {0 = "d", 3 = "e"}]\n')
    one, two = texts_of(str(toml), sequences("x", "y"))
    assert (one.value, two.value) == ("words-1", "words-2")
    assert one.sequences == {"s0": [[0, "a"]], "s1": [[0, "c"]]} and two.sequences["s1"] == [[0, "d"], [3, "e"]]
    assert two.over_time and not one.over_time
    assert texts_of(f"{toml}#2", []) == [two], "a record's source gives the same texts again"
    folder.mkdir()
    (folder / "s0.txt").write_text("0\tfirst\n2\tsecond\n2 or 3\n".replace("2 or 3\n", ""))
    (folder / "s1.txt").write_text("only\n")
    (by_folder,) = texts_of(str(folder), [])
    assert by_folder.sequences == {"s0": [[0, "first"], [2, "second"]], "s1": [[0, "only"]]}
    third = by_folder.of(sequences("x", frames=4)[0])
    assert third.language == "first" and third.descriptions == ("first", "first", "second", "second")
    with pytest.raises(DataError, match="no text for sequence 's2'"):
        by_folder.of(sequences("x", "y", "z")[2])


def test_the_levels_of_mgit(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    rows = [
        ("action", 1, 0, 1, "walks"), ("action", 2, 2, 3, "stands"), ("activity", 1, 1, 1, "a man walks"),
        ("activity", 2, 3, 3, "a man waits"), ("story", 1, 0, 3, "a man walks, then waits"),
    ]  # fmt: skip
    for name, kept in (("s0", rows), ("s1", rows[:4])):
        book = openpyxl.Workbook()
        for row in (("level", "number", "start_frame", "end_frame", "description"), *kept):
            book.active.append(row)
        book.save(tmp_path / f"{name}.xlsx")
    with pytest.raises(DataError, match=r"s1\.xlsx: has no row of level 'story'"):
        texts_of(str(tmp_path), [])
    (tmp_path / "s1.xlsx").unlink()
    found = texts_of(str(tmp_path), [])
    assert [own.sequences["s0"] for own in found] == [
        [[0, "walks"], [2, "stands"]], [[0, "a man walks"], [3, "a man waits"]], [[0, "a man walks, then waits"]]
    ]  # fmt: skip
    assert found[1].of(sequences("x", frames=4)[0]).descriptions == ("a man walks",) * 3 + ("a man waits",)


def test_a_cache_by_sequence_and_anchor_frame(tmp_path: Path) -> None:
    def entry(concept: str, refined: str) -> dict[str, object]:
        fields = {"target": "boat", "concepts": concept, "background": "sea", "visible": True, "raw_response": "{}"}
        return {**fields, "qwen_target": "boat", "qwen_concept": refined, "qwen_background": ""}

    entries = {"a:b:49": entry("white", "white small"), "a:b:99": entry("white", "grey"), "c:0": entry("", "red")}
    path = tmp_path / "tnllt_qwen_refine_test_full.json"
    path.write_text(json.dumps({"meta": {"cache_interval": 50, "anchor_offset": 49}, "entries": entries}))
    (cache,) = texts_of(str(path), [])
    expected = [[0, "boat white sea"], [49, "boat white small"], [99, "boat grey"]]
    assert cache.sequences == {"a:b": expected, "c": [[0, "boat red"]]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[texts]\n", "has no texts"),
        ("s0 = 3\n", "must give 's0' texts"),
        ("s0 = []\n", "empty list"),
        ("s0 = {}\n", "one text at frame 0"),
        ('s0 = {1 = "a"}\n', "one text at frame 0"),
        ('s0 = {0 = "a", -1 = "b"}\n', "frames from 0"),
        ('s0 = {0 = "a", 00 = "b"}\n', "one text at frame 0"),
        ('s0 = ["a", "b"]\ns1 = "c"\n', "give all as many"),
        ("texts = 3\n", "must be a table"),
        ('model = "m"\n[texts]\ns0 = "a"\n', "written by m: read the texts"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        texts_of(str(path), sequences("x"))


# --- runs -------------------------------------------------------------------------------------------------------------


def test_variants_lie_side_by_side_and_say_what_they_were_told(data: Path, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("".join(f'{n} = ["one {n}", "two"]\n' for n in LENGTHS))
    run = tnllt.run(
        TOLD, data, results=tmp_path / "r", text=["own,none,shuffled", '"a, thing"', str(tmp_path / "p.toml")]
    )
    names = [variant.tracker for variant in run.variants]
    assert names[:3] == ["Told@text=own", "Told@text=none", "Told@text=shuffled"]
    assert names[4:] == ["Told@text=p-1", "Told@text=p-2"] and not run.failed and run.exit_code == 0
    store = ResultStore(tmp_path / "r")
    assert store.trackers() == sorted(names)
    expected = {names[0]: "the thing called b", names[1]: "", names[3]: "a, thing", names[4]: "one b", names[5]: "two"}
    for name, text in expected.items():
        record = store.record(name, "b")
        assert record is not None and record.info["told"] == [text] and record.mode == "NL+BB"
        assert record.text.get("texts", [[0, text]]) == [[0, text]]
        assert store.read(name, "b").boxes[2, 0] == 10 + 2 * len(text)
    shuffled = store.record(names[2], "b")
    assert shuffled is not None and shuffled.text["note"].startswith("of ")
    assert shuffled.text["texts"][0][1] == f"the thing called {shuffled.text['note'].removeprefix('of ')}"
    facts = [store.identity(name).facts for name in names]  # type: ignore[union-attr]
    assert len({fact.pop("text") for fact in facts}) == 6 and all(fact == facts[0] for fact in facts)
    again = tnllt.run(TOLD, data, results=tmp_path / "r", text="own,none,shuffled")
    assert not again.done and len(again.before) == 15


def test_a_part_of_the_dataset_is_told_the_same(data: Path, tmp_path: Path) -> None:
    tnllt.run(TOLD, data, results=tmp_path / "whole", text="shuffled")
    for name in ("c", "a"):
        tnllt.run(TOLD, data, results=tmp_path / "parts", text="shuffled", sequences=name)
    whole, parts = (results(tmp_path / place, "Told@text=shuffled") for place in ("whole", "parts"))
    assert parts == {name: whole[name] for name in ("a", "c")}


def test_other_texts_are_another_run(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    for number in (1, 2):
        path.write_text("".join(f'{name} = "prompt {number}"\n' for name in LENGTHS))
        words = [TOLD, "-d", data, "--results", tmp_path / "r", "--text", path, "-s", "a"]
        ended = tnllt_run(*words)
        assert ended.returncode == (0 if number == 1 else 2)
    assert "another run made (text 'p " in ended.stderr


def test_retry_tells_the_same(data: Path, tmp_path: Path) -> None:
    words = [f"{TRACKERS}:Habit", "-d", data, "--results", tmp_path, "--text", "shuffled"]
    once = tmp_path / "once"
    assert tnllt_run(*words, "--set", "what=raise", "--set", f"once={once}").returncode == 3
    assert tnllt_run("retry", "-d", data, "--results", tmp_path, "--yes").returncode == 0
    assert sorted(results(tmp_path, "Habit@text=shuffled")) == sorted(LENGTHS)
    assert read_record(tmp_path / "Habit@text=shuffled_tracking_result" / "b.run.json").text["source"] == "shuffled"


def test_texts_over_time_reach_describe(data: Path, tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text("".join(f'{n} = {{0 = "ab", 3 = "abcd", 5 = ""}}\n' for n in LENGTHS))
    run = tnllt.run(TOLD, data, results=tmp_path, text=str(tmp_path / "t.toml"))
    store = ResultStore(tmp_path)
    record = store.record(run.tracker, "a")
    assert record is not None and record.info["told"] == ["ab", "abcd", ""] and record.oracle
    assert store.read(run.tracker, "a").boxes[:7, 0].tolist() == [10, 12, 14, 18, 22, 22, 22]
    assert record.description_changes == [{"frame": 3, "description": "abcd"}, {"frame": 5, "description": ""}]
    tnllt.run(TOLD, data, results=tmp_path, text=str(tmp_path / "t.toml"), mode="BB", name="blind")
    blind = store.record("blind@text=t", "a")
    assert blind is not None and blind.info["told"] == [None]
    for more in ({"tracker": "still"}, {"tracker": "MIL"}):
        with pytest.raises(UsageError, match="cannot be told another text during a sequence"):
            tnllt.run(dataset=data, results=tmp_path, text=str(tmp_path / "t.toml"), **more)


def test_the_annotation_over_time(tmp_path: Path) -> None:
    from tnllt.datasets import open_dataset

    demo = open_dataset("demo")
    run = tnllt.run(TOLD, "demo", results=tmp_path, text="annotation", sequences=["*0001*", "*0004*"])
    store, seen = ResultStore(tmp_path), 0
    for name in run.done:
        record, texts = store.record(run.tracker, name), demo[name].descriptions
        assert record is not None and texts is not None and record.oracle
        expected = [text for i, text in enumerate(texts) if i == 0 or text != texts[i - 1]]
        assert record.info["told"] == expected
        seen += len(expected) > 1
    assert seen, "some description changes"


# --- grids ------------------------------------------------------------------------------------------------------------


def test_a_grid_is_every_combination(data: Path, tmp_path: Path) -> None:
    words = ["--grid", "step=2.5", "--grid", "seed=1,2", "--text", "own,none", "-s", "a,b"]
    ended = tnllt_run(TOLD, "-d", data, "--results", tmp_path, *words)
    assert ended.returncode == 0
    assert "Tracker runs AUC AUC dev. P P dev. P_Norm P_Norm dev. ----" in " ".join(ended.stdout.split())
    store = ResultStore(tmp_path)
    names = [f"Told@seed={seed},step=2.5,text={text}" for seed in (1, 2) for text in ("none", "own")]
    assert store.trackers() == sorted(names)
    record = store.record("Told@seed=2,step=2.5,text=none", "a")
    assert record is not None and record.seed == 2 and record.options["step"] == 2.5
    assert store.read("Told@seed=2,step=2.5,text=none", "a").boxes[4, 0] == 20


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grid": ["stride=1,2"]}, "no option 'stride'"),
        ({"grid": ["step=1,,2"]}, "empty value"),
        ({"grid": ["step=1", "step=2"]}, "given twice"),
        ({"grid": ["seed=one"]}, "a seed is a whole number"),
        ({"grid": ["step=1,2"], "options": {"step": 3}}, "by --set and by --grid"),
        ({"grid": ["text=own"], "text": "none"}, "by --text and by --grid"),
        ({"grid": {"step": [1, 1]}}, "two variants are both called Told@step=1"),
        ({"grid": ["mode=NL"]}, "cannot start from NL"),
    ],
)
def test_grids_that_are_refused_before_anything_is_tracked(
    data: Path, tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        tnllt.run(TOLD, data, results=tmp_path / "r", **settings)
    assert not (tmp_path / "r").exists()


def test_a_plain_run_is_no_variant() -> None:
    config = RunConfig()
    ((values, settled, texts),) = variants_in(config, list)
    assert values == {} and texts is None and settled.options == {}


@pytest.mark.slow
def test_kill_and_resume_in_the_middle_of_a_grid(data: Path, tmp_path: Path) -> None:
    words = [f"{TRACKERS}:Drift", "-d", data, "--set", "pause=0.004", "--workers", 2]
    words += ["--grid", "step=1,2", "--grid", "seed=1,2", "--text", "own,none"]
    assert tnllt_run(*words, "--results", tmp_path / "whole").returncode == 0
    names = ResultStore(tmp_path / "whole").trackers()
    assert len(names) == 8
    random.seed(3)
    kills = 0
    for _ in range(12):
        run = subprocess.Popen(
            command(*words, "--results", tmp_path / "cut"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(random.uniform(0.9, 2.2))
        kills += run.poll() is None
        run.send_signal(random.choice((signal.SIGKILL, signal.SIGTERM)))
        run.wait(60)
        for name in ResultStore(tmp_path / "cut").trackers():
            assert results(tmp_path / "cut", name).items() <= results(tmp_path / "whole", name).items()
    assert kills >= 3, "some kills land in the run"
    assert tnllt_run(*words, "--results", tmp_path / "cut").returncode == 0
    assert ResultStore(tmp_path / "cut").trackers() == names
    assert len({json.dumps(sorted(r.items()), default=repr) for n in names if (r := results(tmp_path / "cut", n))}) == 4
    for name in names:
        assert results(tmp_path / "cut", name) == results(tmp_path / "whole", name)
