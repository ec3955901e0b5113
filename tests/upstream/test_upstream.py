"""Against the real upstream code: boxes through `tnllt-run` equal those of upstream's own tracker class.

TNLLT_UPSTREAM          folder of clones, each under its repository's name (OSTrack, GRM, ...)
TNLLT_UPSTREAM_PYTHON   interpreter with the versions of the records; by default FOLDER/env/bin/python
TNLLT_UPSTREAM_FRAMES   frames of each clip, 5 by default; "all" for whole clips (194 frames in all, hours of one core)

Nothing of the clones or of the clips is committed; weights are random, of a fixed seed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tnllt.errors import TnlltError
from tnllt.results.store import ResultStore
from tnllt.tracking.baselines import get_baseline, tracker_class
from tnllt.tracking.baselines.installation import parse_cfg

pytestmark = [pytest.mark.upstream, pytest.mark.slow]

HERE = Path(__file__).parent
GIVEN = os.environ.get("TNLLT_UPSTREAM_FRAMES", "5")
FRAMES = None if GIVEN == "all" else int(GIVEN)
DESCRIPTION = "the person who walks across the street"
AS_THEY_ARE = ["ostrack", "grm", "romtrack", "odtrack", "evptrack", "aqatrack", "mixformer"]
AS_THEY_ARE += ["seqtrack"]
UVL = (
    "MODEL.BACKBONE.PRETRAINED_PATH={files}/mae_pretrain_vit_base.pth,MODEL.BACKBONE.LANGUAGE.TYPE={files}/bert,"
    "MODEL.BACKBONE.LANGUAGE.VOCAB_PATH={files}/bert/vocab.txt"
)
#: With stand-ins: changes of upstream's configuration that lead it to them.
STOOD_IN = {
    "aiatrack": "",
    "sutrack": "MODEL.ENCODER.PRETRAIN_TYPE={files}/fast_itpn_base.pt",
    # Upstream puts its working folder before the path.
    "mcitrack": "MODEL.ENCODER.PRETRAIN_TYPE=" + "/.." * 20 + "{files}/fast_itpn_base.pt",
    "artrack": "MODEL.PRETRAIN_PTH={files}/first_stage.pth.tar",
    "artrackV2": "MODEL.PRETRAIN_PTH={files}/first_stage.pth.tar",
    "uvltrackBB": UVL,
    "uvltrackNL": UVL,
    "uvltrackNLBB": UVL,
    "allinone": "",
    "dutrack": "MODEL.BACKBONE.BERT_DIR={files}/bert,MODEL.BACKBONE.BLIP_DIR={files}/blip",
    "lantrack": 'MODEL.BACKBONE.BERT_DIR={files}/bert,MODEL.BACKBONE.BLIP_DIR={files}/blip,MODEL.CAC.DP_PARSER_CKPT=""',
}
#: Templates renewed every seven frames, whatever the score: upstream's 25 to 200 would not be reached in few frames.
RENEWED = {
    "seqtrack": "MODEL.ENCODER.PRETRAIN_TYPE=scratch,TEST.UPDATE_INTERVALS.DEFAULT=3,TEST.UPDATE_THRESHOLD.DEFAULT=0.0",
    "mcitrack": "TEST.INTER.DEFAULT=3,TEST.UPT.DEFAULT=0.0",
    "mixformer": "TEST.UPDATE_INTERVALS.LASOT=[7]",
    "sutrack": "TEST.UPDATE_INTERVALS.DEFAULT=7,TEST.UPDATE_THRESHOLD.DEFAULT=0.0",
    "uvltrackBB": "TEST.UPDATE_INTERVAL=7,TEST.THRESHOLD=0.0",
    "uvltrackNL": "TEST.UPDATE_INTERVAL=7,TEST.THRESHOLD=0.0",
    "uvltrackNLBB": "TEST.UPDATE_INTERVAL=7,TEST.THRESHOLD=0.0",
}
SCRATCH = "MODEL.ENCODER.PRETRAIN_TYPE=scratch"
#: A setting for each code base that is not its yaml's own value.
OVERRIDES = [("ostrack", "TEST.SEARCH_FACTOR=4.5"), ("ostrack", "TEST.TEMPLATE_FACTOR=2.4")]
OVERRIDES += [("mixformer", "TEST.SEARCH_FACTOR=3.5"), ("seqtrack", "TEST.SEARCH_FACTOR=3.5")]
OVERRIDES += [("ostrack", "TEST.SEARCH_SIZE=320,DATA.SEARCH.SIZE=320"), ("odtrack", "TEST.MEMORY_THRESHOLD=2")]
OVERRIDES += [
    (name, "TEST.SEARCH_FACTOR=4.5")
    for name in [*AS_THEY_ARE, *STOOD_IN]
    if name not in ("ostrack", "mixformer", "seqtrack", "uvltrackBB", "uvltrackNL")  # as uvltrackNLBB
]
#: Where templates lie, not which they are: the boxes stay.
STAYING = {"TEST.MEMORY_THRESHOLD=2"}
#: In training only: no encoder weights to start from, one small step.
TRAINED = {
    "ostrack": 'MODEL.PRETRAIN_FILE=""',
    "odtrack": 'MODEL.PRETRAIN_FILE=""',
    "mixformer": "MODEL.BACKBONE.PRETRAINED=false",
    "allinone": 'MODEL.PRETRAIN_FILE=""',
    "dutrack": 'MODEL.PRETRAIN_FILE="",' + STOOD_IN["dutrack"],
    "grm": "",
    "romtrack": "",
    "aqatrack": 'MODEL.PRETRAIN_FILE=""',
    "evptrack": 'MODEL.PRETRAIN_FILE=""',
    "aiatrack": STOOD_IN["aiatrack"],
    "sutrack": STOOD_IN["sutrack"],
    "uvltrackBB": STOOD_IN["uvltrackBB"],
    "uvltrackNL": STOOD_IN["uvltrackNL"],
    "uvltrackNLBB": STOOD_IN["uvltrackNLBB"],
}
#: Encoder weights that upstream reads from its own folder, under this name alone: stood in for in a copy of the clone.
PLACED = {"grm": "pretrained_models/mae_pretrain_vit_base.pth"}
#: Clones with several projects: the folder of the tracker's.
FOLDERS = {"seqtrack": "SeqTrack", "lantrack": "DPU_VLT"}
#: Upstream's loader stacks a batch in a reading process only.
READERS = {"sutrack": 1}

SYNTH = ["--count", "3", "--frames", "30", "--size", "320x240", "--seed", "5"]
ONE_STEP = ["--epochs", "1", "--batch-size", "2", "--samples", "2", "--split", "all"]


@dataclass
class Upstream:
    """Clones, interpreter, clips, and what stands in."""

    clones: Path
    python: str
    clips: Path
    files: Path
    vocabulary: Path
    made: dict[str, Path] = field(default_factory=dict)

    def clone(self, name: str) -> Path:
        repo = self.clones / get_baseline(name).repository.rsplit("/", 1)[-1] / FOLDERS.get(name, "")
        if not repo.is_dir():
            pytest.skip(f"no clone at {repo}")
        return repo

    def clone_to_train(self, name: str, tmp_path: Path) -> Path:
        repo = self.clone(name)
        if name not in PLACED:
            return repo
        self.stand_ins()
        copy = shutil.copytree(repo, tmp_path / repo.name, ignore=shutil.ignore_patterns(".git"))
        place = copy / PLACED[name]
        place.parent.mkdir(exist_ok=True)
        shutil.copy(self.files / place.name, place)
        return copy

    def stand_ins(self) -> None:
        if not (self.files / "torch").is_dir():
            make = [self.python, HERE / "standins" / "make.py", self.files, self.vocabulary]
            subprocess.run(make, check=True, capture_output=True)

    def environment(self) -> dict[str, str]:
        hub = {"TORCH_HOME": f"{self.files}/torch", "HF_HUB_CACHE": f"{self.files}/hub", "HF_HUB_OFFLINE": "1"}
        return {"PYTHONPATH": str(HERE / "standins"), **hub}

    def record(self, name: str, tmp_path: Path) -> str:
        """The packaged record, or for stood-in parts a user's own TOML file that extends it."""
        if name not in STOOD_IN:
            return name
        self.stand_ins()
        file = tmp_path / f"{name}.toml"
        variables = "\n".join(f'{key} = "{value}"' for key, value in self.environment().items())
        file.write_text(f'extends = "{name}"\n[environment.variables]\n{variables}\n')
        return str(file)

    def direct(self, what: str, case: dict[str, Any], scratch: Path) -> Any:
        scratch.mkdir()
        file = scratch.with_suffix(".json")
        file.write_text(json.dumps({**case, "scratch": str(scratch)}))
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if case["name"] in STOOD_IN:
            environment.update(self.environment())
        command = [self.python, HERE / "direct.py", what, file]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="session")
def upstream(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Upstream:
    if not os.environ.get("TNLLT_UPSTREAM"):
        pytest.skip("TNLLT_UPSTREAM is not set to a folder of clones")
    clones = Path(os.environ["TNLLT_UPSTREAM"])
    python = os.environ.get("TNLLT_UPSTREAM_PYTHON", str(clones / "env" / "bin" / "python"))
    clips = tmp_path_factory.mktemp("clips")
    for name in ("Crossing", "Football1"):
        source, clip = shared / "data" / "otb" / name, clips / name
        (clip / "img").mkdir(parents=True)
        rows = (source / "groundtruth_rect.txt").read_text().splitlines()[:FRAMES]
        # Football1 has more images than annotated frames.
        for image in sorted((source / "img").glob("*.jpg"))[: len(rows)]:
            (clip / "img" / image.name).symlink_to(image)
        (clip / "groundtruth.txt").write_text("\n".join(rows) + "\n")
        (clip / "language.txt").write_text(DESCRIPTION + "\n")
    files = tmp_path_factory.mktemp("files")
    return Upstream(clones, python, clips, files, shared / "data" / "bert" / "vocab.txt")


def case_of(upstream: Upstream, name: str, tmp_path: Path, cfg: str) -> dict[str, Any]:
    clips = []
    for clip in sorted(upstream.clips.iterdir()):
        row = (clip / "groundtruth.txt").read_text().splitlines()[0]
        box = [float(part) for part in row.replace(",", " ").split()]
        frames = [str(path) for path in sorted((clip / "img").iterdir())]
        text = DESCRIPTION if get_baseline(name).text.key or get_baseline(name).text.positional else None
        clips.append({"name": clip.name, "frames": frames, "box": box, "text": text})
    paths = {"repo": str(upstream.clone(name)), "save_dir": str(tmp_path / "output")}
    weights = str(tmp_path / "weights.pth.tar")
    return {"name": name, "cfg": parse_cfg(cfg), "clips": clips, "checkpoint": weights, **paths}


def listing(repo: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in repo.rglob("*") if ".git" not in p.parts}


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done


@pytest.mark.parametrize("name", AS_THEY_ARE + list(STOOD_IN))
def test_boxes_are_upstreams_own(
    upstream: Upstream, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # another number of threads adds in another order
    repo = upstream.clone(name)
    cfg = ",".join(filter(None, [STOOD_IN.get(name, "").format(files=upstream.files), RENEWED.get(name)]))
    record = upstream.record(name, tmp_path)
    before = listing(repo)
    case = case_of(upstream, name, tmp_path, cfg)
    parameters = upstream.direct("checkpoint", case, tmp_path / "a")
    expected = upstream.direct("track", case, tmp_path / "b")
    assert parameters > 10_000_000

    settings = [f"repo={repo}", f"python={upstream.python}", f"weights={case['checkpoint']}", f"cfg={cfg}"]
    given = [part for setting in settings for part in ("--set", setting)]
    results = tmp_path / "results"
    which = ["--baseline", record] if record.endswith(".toml") else [record]
    run("tnllt.cli.run", *which, "-d", upstream.clips, "--results", results, *given, "--device", "cpu", "--threads", 1)
    for clip, rows in expected.items():
        assert len(set(map(tuple, rows))) == len(rows), "a box that stays would prove nothing"
        written = (results / f"{name}_tracking_result" / f"{clip}.txt").read_text().splitlines()
        assert written == [",".join(f"{value:.4f}" for value in row) for row in rows]
    assert listing(repo) == before, "upstream's files were touched"

    # To the last digit, before the results' four decimals: the bridge itself.
    tracker = tracker_class(get_baseline(record))(
        **{"repo": repo, "python": upstream.python, "weights": Path(case["checkpoint"]), "cfg": cfg, "device": "cpu"}
    )
    clip = case["clips"][-1]
    images = [cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB) for path in clip["frames"]]
    from_text = name == "uvltrackNL"
    first = tracker.initialize(images[0], None if from_text else clip["box"], clip["text"])
    rows = [first.box if first is not None else clip["box"], *(tracker.track(image).box for image in images[1:])]
    tracker.close()
    assert rows == expected[clip["name"]]


@pytest.mark.parametrize(("name", "setting"), OVERRIDES)
def test_an_override_acts_as_the_same_value_in_upstreams_yaml(
    upstream: Upstream, name: str, setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    record = upstream.record(name, tmp_path)
    needed = STOOD_IN.get(name, SCRATCH if name == "seqtrack" else "").format(files=upstream.files)
    cfg = ",".join(filter(None, [needed, setting]))
    case = case_of(upstream, name, tmp_path, cfg)
    case["clips"] = case["clips"][:1]
    upstream.direct("checkpoint", case, tmp_path / "a")
    (changed,) = upstream.direct("track", case, tmp_path / "b").values()
    plain = {**case, "cfg": parse_cfg(needed), "checkpoint": str(tmp_path / "plain.pth.tar")}
    upstream.direct("checkpoint", plain, tmp_path / "c")  # equal weights, but where a setting changes their shapes
    (unchanged,) = upstream.direct("track", plain, tmp_path / "d").values()
    given = {"repo": upstream.clone(name), "python": upstream.python, "weights": Path(case["checkpoint"])}
    tracker = tracker_class(get_baseline(record))(**given, cfg=cfg, device="cpu")
    clip = case["clips"][0]
    images = [cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB) for path in clip["frames"]]
    tracker.initialize(images[0], clip["box"], clip["text"])
    rows = [clip["box"], *(tracker.track(image).box for image in images[1:])]
    tracker.close()
    print(f"\n{name} {setting}: up to {np.abs(np.array(changed) - unchanged).max():.1f} pixels from the yaml's value")
    assert rows == changed and (rows == unchanged) == (setting in STAYING)


@pytest.mark.parametrize("name", dict.fromkeys(name for name, _ in OVERRIDES))
def test_a_misspelled_setting_is_refused(upstream: Upstream, name: str, tmp_path: Path) -> None:
    (tmp_path / "weights.pth.tar").touch()  # the settings are read first
    record = upstream.record(name, tmp_path)
    given = {"repo": upstream.clone(name), "python": upstream.python, "weights": tmp_path / "weights.pth.tar"}
    with pytest.raises(TnlltError, match=r"has no TEST.SEARCH_FACTR; did you mean TEST.SEARCH_FACTOR\?"):
        tracker_class(get_baseline(record))(**given, cfg="TEST.SEARCH_FACTR=4.5", device="cpu")


DAM4SAM_TINY = """
extends = "dam4sam"
[tracker]
yaml = "sam21pp_hiera_t"
keywords = { tracker_name = "sam21pp-T" }
weights_name = "sam2.1_hiera_tiny.pt"
"""


def test_the_boxes_of_dam4sams_smallest_model_are_upstreams_own(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every thirtieth frame, four in all: an image of 1024 x 1024 takes ten seconds of one core."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    case = case_of(upstream, "dam4sam", tmp_path, "")
    case["clips"] = case["clips"][:1]
    case |= {"yaml": "sam21pp_hiera_t", "size": "sam21pp-T", "place": "sam2.1_hiera_tiny.pt"}
    (clip,) = case["clips"]
    whole = Path(clip["frames"][0]).resolve().parent
    clip["frames"] = [str(path) for path in sorted(whole.glob("*.jpg"))[::30][:4]]
    upstream.direct("checkpoint", case, tmp_path / "a")
    ((_, rows),) = upstream.direct("track", case, tmp_path / "b").items()
    print(f"\ndam4sam: {rows}")
    assert None not in rows and len(set(map(tuple, rows))) == len(rows)
    (tmp_path / "tiny.toml").write_text(DAM4SAM_TINY)
    given = {"repo": upstream.clone("dam4sam"), "python": upstream.python, "weights": Path(case["checkpoint"])}
    tracker = tracker_class(get_baseline(str(tmp_path / "tiny.toml")))(**given, device="cpu")
    images = [cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB) for path in clip["frames"]]
    tracker.initialize(images[0], clip["box"])
    assert [clip["box"], *(tracker.track(image).box for image in images[1:])] == rows
    tracker.close()


SCRIPTED = """
class Scripted:
    def locate(self, image, text):
        return [([30.0, 40.0, 25.5, 60.25], 0.9), ([1.0, 1.0, 9.0, 9.0], 0.1)] if "person" in text else []
"""


def test_a_clone_started_from_language_gives_upstreams_boxes_from_the_chosen_box(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_models = pytest.importorskip("tests.foundation.tiny_models", reason="needs transformers")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    case = case_of(upstream, "ostrack", tmp_path, "")
    upstream.direct("checkpoint", case, tmp_path / "a")
    (tmp_path / "starter.py").write_text(SCRIPTED)
    starters = {"scripted": f"{tmp_path / 'starter.py'}:Scripted"}
    for kind in ("owlv2", "grounding_dino"):
        starters[kind] = f"transformers:{getattr(tiny_models, kind)(tmp_path / kind)}"
    settings = [f"repo={upstream.clone('ostrack')}", f"python={upstream.python}", f"weights={case['checkpoint']}"]
    given = [part for setting in settings for part in ("--set", setting)]
    for kind, starter in starters.items():
        results = tmp_path / f"{kind} results"
        how = ["--mode", "NL", "--starter", starter, "--starter-set", "threshold=0", "--device", "cpu", "--threads", 1]
        run("tnllt.cli.run", "ostrack", "-d", upstream.clips, "--results", results, *given, *how)
        store = ResultStore(results)
        for clip in case["clips"]:
            record = store.record("ostrack", clip["name"])
            assert record is not None and record.mode == "NL" and record.info["start_frame"] == 0
            assert record.info["started_by"] == starter
            clip["box"] = record.info["start_box"]
            print(f"\n{kind}, {clip['name']}: {clip['box']} of score {record.info['start_score']:.3f}")
        for name, rows in upstream.direct("track", case, tmp_path / f"{kind} b").items():
            assert len(set(map(tuple, rows))) == len(rows)
            written = (results / "ostrack_tracking_result" / f"{name}.txt").read_text().splitlines()
            assert written == [",".join(f"{value:.4f}" for value in row) for row in rows]


@pytest.mark.parametrize("name", TRAINED)
def test_one_training_step(upstream: Upstream, name: str, tmp_path: Path) -> None:
    repo = upstream.clone_to_train(name, tmp_path)
    cfg = TRAINED[name].format(files=upstream.files)
    record = upstream.record(name, tmp_path)
    data = tmp_path / "data"
    run("tnllt.cli.data", "synth", data, *SYNTH)
    which = ["--baseline", record] if record.endswith(".toml") else [record]
    given = ["--set", f"repo={repo}", "--set", f"python={upstream.python}", "--device", "cpu"]
    output = tmp_path / "out"
    before = listing(repo)
    more = ["--set", f"cfg={cfg}", "--loader-workers", READERS.get(name, 0)]
    run("tnllt.cli.train", "baseline", *which, "-d", data, "-o", output, *given, *ONE_STEP, *more)
    assert listing(repo) == before, "upstream's files were touched"
    steps = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    losses = [value for step in steps for key, value in step.items() if key.endswith("/total")]
    assert losses and np.isfinite(losses).all() and min(losses) > 0
    (weights,) = output.glob("checkpoints/train/*/*/*_ep0001.pth.tar")
    results = tmp_path / "results"
    more = ["--set", f"weights={weights}", "--device", "cpu", "--threads", 1]
    settings = [*given[:4], "--set", f"cfg={STOOD_IN.get(name, '').format(files=upstream.files)}"]
    run("tnllt.cli.run", *which, "-d", upstream.clips, "--results", results, *settings, *more)
    for clip in upstream.clips.iterdir():
        boxes = np.loadtxt(results / f"{name}_tracking_result" / f"{clip.name}.txt", delimiter=",")
        assert boxes.shape == (len(list((clip / "img").iterdir())), 4) and np.isfinite(boxes).all()


# All-in-One's network takes the embedding of the text's first token, before any attention: [CLS], whatever the text.
@pytest.mark.parametrize(("name", "reads"), [("uvltrackNLBB", True), ("allinone", False), ("ostrack", False)])
def test_other_texts_change_boxes_where_the_code_reads(
    upstream: Upstream, name: str, reads: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    cfg = STOOD_IN.get(name, "").format(files=upstream.files)
    record = upstream.record(name, tmp_path)
    case = case_of(upstream, name, tmp_path, cfg)
    upstream.direct("checkpoint", case, tmp_path / "a")
    settings = [f"repo={upstream.clone(name)}", f"python={upstream.python}", f"weights={case['checkpoint']}"]
    given = [part for setting in [*settings, f"cfg={cfg}"] for part in ("--set", setting)]
    results = tmp_path / "results"
    which = ["--baseline", record] if record.endswith(".toml") else [record]
    more = ["--device", "cpu", "--threads", 1, "--text", 'own,none,"a red kite"']
    run("tnllt.cli.run", *which, "-d", upstream.clips, "--results", results, *given, *more)
    folders = sorted(results.glob(f"{name}@text=*_tracking_result"))
    assert len(folders) == 3
    for clip in case["clips"]:
        boxes = {(folder / f"{clip['name']}.txt").read_text() for folder in folders}
        assert len(boxes) == (3 if reads else 1)
