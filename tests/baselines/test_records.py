"""Records: the packaged ones, their checks, those of users; doctor, listing, and the page made from them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tnllt.cli.run import cli
from tnllt.errors import DataError, TnlltError, UsageError
from tnllt.tracking.baselines import from_repository, get_baseline, load, names, records, tracker_class
from tnllt.tracking.baselines.bridge import doctor_arguments
from tnllt.tracking.baselines.doctor import examine
from tnllt.tracking.baselines.installation import parse_cfg, repository_state
from tnllt.tracking.baselines.record import BaselineRecord
from tnllt.tracking.tracker import Mode

NAMES = (
    "ostrack grm aiatrack mixformer romtrack odtrack evptrack aqatrack lmtrack sutrack citetrack allinone mmtrack "
    "dutrack jointNL jointNLTrack uvltrackNL uvltrackBB uvltrackNLBB ctvlt"
)
BEYOND = "seqtrack artrack artrackV2 mcitrack lorat samurai dam4sam lantrack"
MINIMAL = """
name = "mine"
title = "Mine"
repository = "https://example.org/mine"
licence = "MIT"
citation = ""
modes = ["BB"]
[tracker]
name = "mine"
yaml = "base"
[checkpoint]
path = "x.pth"
source = "here"
"""
ROOT = Path(__file__).resolve().parents[2]


def test_all_twenty_are_there_and_sound() -> None:
    assert [r.name for r in records() if not r.beyond] == sorted(NAMES.split(), key=list(names()).index)
    assert len(NAMES.split()) == 20 and {r.name for r in records() if r.beyond} == set(BEYOND.split())
    for record in records():
        assert record.repository.startswith("https://github.com/") and len(record.commit) == 40
        if record.status == "results-only":
            assert len(record.reason) > 40
        elif record.beyond:
            assert record.environment and record.environment.verified and record.checkpoint
        else:
            assert record.environment and record.environment.packages and record.training and record.checkpoint
            assert record.checkpoint.path.endswith(".pth.tar") or record.checkpoint.path == "models"
            assert tracker_class(record).modes == record.modes


def test_facts_of_the_records() -> None:
    assert get_baseline("romtrack").call.constructor == ("params", "yaml", "dataset")
    assert get_baseline("dutrack").text.every_frame and get_baseline("allinone").text.positional
    assert get_baseline("mixformer").call.dataset == "lasot"
    assert get_baseline("sutrack").modes == (Mode.BB, Mode.NL_BB)
    assert get_baseline("sutrack").call.config == {"TEST.USE_NLP.TNLLT": True}
    assert get_baseline("uvltrackNL").call.arguments == {"extra_cfg": {"TEST": {"MODE": "NL"}}}
    assert get_baseline("ostrack").scores["OSTrack-384"]["LaSOT"] == 71.1


def test_results_only_is_refused_with_the_reason() -> None:
    record = get_baseline("lmtrack")
    with pytest.raises(UsageError, match="lmtrack cannot be run: its repository held a README alone"):
        tracker_class(record)


def test_names_that_are_none() -> None:
    with pytest.raises(UsageError, match=r"no baseline is called .ostrac.; did you mean 'ostrack'\?"):
        get_baseline("ostrac")
    with pytest.raises(UsageError, match=r"nowhere\.toml: no such baseline record"):
        get_baseline("nowhere.toml")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('title = "Mine"', 'titel = "Mine"', "unknown field `titel`; did you mean 'title'?"),
        ('title = "Mine"', "", "lacks the field `title`; add it"),
        ('title = "Mine"', "title = 3", "`title` must be text, not a whole number"),
        ('modes = ["BB"]', 'modes = ["XX"]', r"`modes\[0\]` cannot be 'XX'; use 'BB', 'NL', 'NL\+BB'"),
        ('modes = ["BB"]', "modes = []", "`modes` must name at least one of BB, NL"),
        ('name = "mine"\ntitle', 'name = "../x"\ntitle', "`name` = '../x': use letters, digits"),
        ('yaml = "base"', "", r"lacks the field `tracker\.yaml`; add it"),
        ('yaml = "base"', 'yaml = "base"\nconstructor = ["dataset"]', "`tracker`: `constructor` must name params"),
        ('yaml = "base"', 'yaml = "base"\nreuse = 1', r"`tracker\.reuse` must be true or false, not a whole number"),
        ("[checkpoint]", "[text]\nevery_frame = true\n[checkpoint]", "`text`: `every_frame` needs `key`"),
        ("[tracker]", 'status = "x"\n[tracker]', "`status` cannot be 'x'; use 'runs', 'results-only'"),
        ("[tracker]", 'status = "results-only"\n[tracker]', "needs a `reason`"),
        ("[checkpoint]", "[check]", "unknown field `check`; did you mean 'checkpoint'?"),
        ("[checkpoint]", "[[checkpoint]]", "`checkpoint` must be a table or null, not a list"),
    ],
)
def test_faulty_records_are_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in MINIMAL
    file = tmp_path / "mine.toml"
    file.write_text(MINIMAL.replace(old, new))
    with pytest.raises(DataError, match=said) as caught:
        load(file)
    assert str(file) in str(caught.value)


def test_a_file_that_is_not_toml(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("name = ")
    with pytest.raises(TnlltError, match="not valid TOML"):
        load(file)


def test_a_record_that_starts_from_another(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('extends = "ostrack"\nname = "wide"\n[tracker]\nconfig = { "TEST.SEARCH_FACTOR" = 5.0 }\n')
    record = get_baseline(str(file))
    assert (record.name, record.title) == ("wide", "OSTrack")
    assert record.call.config == {"TEST.SEARCH_FACTOR": 5.0} and record.call.constructor == ("params", "dataset")
    (tmp_path / "second.toml").write_text('extends = "mine"\nname = "wider"\n')
    assert load(tmp_path / "second.toml").call.config == {"TEST.SEARCH_FACTOR": 5.0}
    file.write_text('extends = "second"\n')
    with pytest.raises(DataError, match="round in a circle"):
        load(file)


def test_a_record_from_a_clone(mini: Path) -> None:
    (mini / "lib/test/parameter/with_yaml.py").touch()
    record = from_repository(mini, "with_yaml", "base", name="other")
    assert record.name == "other" and record.call.experiments == "mini"
    assert record.call.constructor == ("params", "yaml", "dataset")
    with pytest.raises(UsageError, match=r"no lib/test/parameter/nix\.py; there are: mini, with_dataset, with_yaml"):
        from_repository(mini, "nix", "base")
    with pytest.raises(UsageError, match=r"has no experiments/with_yaml/nix\.yaml"):
        from_repository(mini, "with_yaml", "nix")


def test_how_a_record_is_named_to_doctor(mini: Path, tmp_path: Path) -> None:
    assert doctor_arguments(get_baseline("ostrack")) == "ostrack"
    file = tmp_path / "my record.toml"
    file.write_text('extends = "ostrack"\nname = "wide"\n')
    assert doctor_arguments(load(file)) == f"--baseline '{file}'"
    (mini / "lib/test/parameter/with_yaml.py").touch()
    clone = from_repository(mini, "with_yaml", "base")
    assert doctor_arguments(clone) == f"--repo {mini} --tracker with_yaml --yaml base"
    with pytest.raises(UsageError, match="no clone in the shape of OSTrack: it has no folder lib/test"):
        from_repository(tmp_path, "ostrack", "base")


def test_commit_is_the_clones_own(tmp_path: Path) -> None:
    inner = tmp_path / "unpacked"
    inner.mkdir()
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *command], check=True)
    assert len(repository_state(tmp_path)[0] or "") == 40
    assert repository_state(inner) == (None, ())


def test_settings_in_one_line() -> None:
    assert parse_cfg("") == {}
    assert parse_cfg('A.B=1, C=[2,3],D="x,y",E=a b,F=true') == {
        "A.B": 1,
        "C": [2, 3],
        "D": "x,y",
        "E": "a b",
        "F": True,
    }
    with pytest.raises(UsageError, match="cfg nonsense: write cfg KEY=VALUE"):
        parse_cfg("nonsense")


def found(record: BaselineRecord, **options: Any) -> dict[str, str]:
    return {f.code: f"{f.text} -> {f.remedy}" for f in examine(record, **options).found if f.severity == "error"}


def test_doctor_says_what_is_missing(record_of: Callable[..., BaselineRecord], mini: Path, weights: Path) -> None:
    record = record_of()
    lacking = found(record)
    assert list(lacking) == ["clone", "weights"]
    assert "git clone https://example.org/mini" in lacking["clone"]
    assert "from these tests" in lacking["weights"]
    lacking = found(record, repo=mini, python="/no/python", weights=weights, device="cpu")
    assert list(lacking) == ["interpreter", "weights"]
    assert "there are: base" in found(record, repo=mini, weights=weights, device="cpu", yaml="nix")["yaml"]
    assert "python3 -m venv ENV" in lacking["interpreter"]
    assert "not a checkpoint of torch's" in lacking["weights"]


def test_doctor_names_packages(
    record_of: Callable[..., BaselineRecord], mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nowhere_to_be_found.py").touch()
    monkeypatch.chdir(tmp_path)  # what lies in the working folder is not installed
    checkpoint = tmp_path / "w.pth"
    checkpoint.write_bytes(b"PK\x03\x04")
    modules = {"modules": ["cv2", "nowhere_to_be_found"], "packages": ["nowhere-to-be-found==1.2"]}
    record = record_of(environment={"upstream": "", "python": "3.11", **modules})
    given: dict[str, Any] = {"repo": mini, "python": sys.executable, "weights": checkpoint, "device": "cpu"}
    lacking = found(record, **given)
    assert list(lacking) == ["packages"]
    assert "-m pip install nowhere-to-be-found==1.2" in lacking["packages"]
    assert not found(record_of(), **given)
    del given["python"]
    assert "python3.11 -m venv ENV" in found(record, **given)["packages"], "tnllt's own interpreter is left alone"


def test_commands() -> None:
    listed = CliRunner().invoke(cli, ["list", "--baselines"])
    assert listed.exit_code == 0
    assert [line.split()[0] for line in listed.output.splitlines()[1 : 1 + len(names())]] == list(names())
    doctor = CliRunner().invoke(cli, ["doctor", "lmtrack"], standalone_mode=False)
    assert doctor.return_value == 1 and "look again" in doctor.output
    doctor = CliRunner().invoke(cli, ["doctor", "ostrack", "--set", "python=/no/python"], standalone_mode=False)
    assert doctor.return_value == 1 and "ostrack: 3 errors" in doctor.output
    assert "git clone https://github.com/botaoye/OSTrack" in doctor.output


def test_doctor_of_a_clone(mini: Path) -> None:
    clone = ["--repo", str(mini), "--tracker", "with_dataset"]
    done = CliRunner().invoke(cli, ["doctor", *clone, "--yaml", "base", "--device", "cpu"], standalone_mode=False)
    assert done.return_value == 1 and "with_dataset: 1 error" in done.output and "error    weights" in done.output
    for wrong in (["ostrack", *clone], clone, ["ostrack", "--yaml", "base"]):
        done = CliRunner().invoke(cli, ["doctor", *wrong], standalone_mode=False)
        assert isinstance(done.exception, UsageError)
