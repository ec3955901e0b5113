"""The training loop: it learns, and a killed run ends with the weights of an undisturbed one."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("tensorboard")

from tnllt.errors import DataError, UsageError  # noqa: E402
from tnllt.locks import sole_writer  # noqa: E402
from tnllt.reasoningtrack.checkpoint import read_checkpoint  # noqa: E402
from tnllt.reasoningtrack.config import Config  # noqa: E402
from tnllt.reasoningtrack.network import Network  # noqa: E402
from tnllt.training.state import read_state, write_state  # noqa: E402
from tnllt.training.tracker.options import TrainOptions  # noqa: E402
from tnllt.training.tracker.recipe import recipe  # noqa: E402
from tnllt.training.tracker.samples import SynthSource  # noqa: E402
from tnllt.training.tracker.step import (  # noqa: E402
    TrainStep,
    initialise_from,
    make_optimizers,
    parameter_groups,
    rate_factor,
)
from tnllt.training.tracker.trainer import newest_state, train  # noqa: E402

NETWORK = {
    "size": "tiny",
    "template_size": 32,
    "search_size": 64,
    "dims": [16, 16, 32],
    "heads": 2,
    "depths": [1, 1, 2],
    "head_channels": [16, 16, 16, 16],
    "word_rank": 4,
}
SMALL = {"config": json.dumps(NETWORK), "batch": 4, "samples_per_epoch": 20, "epochs": 2, "warmup": 2, "drop_path": 0.1}


def synth():  # type: ignore[no-untyped-def]
    from tnllt.datasets.synth import SynthConfig, SynthSources

    config = SynthConfig(frames=30, width=160, height=120, sources=SynthSources(4))
    return SynthSource(config, pool=4, reuse=10)


def run(out: Path, epochs: int = 2, **options: object) -> dict[str, torch.Tensor]:
    quiet = {"workers": 0, "save_every": 4, "log_every": 5, "validate_every": 0, "cpu": True}
    how = TrainOptions(out=out, **{**quiet, **options})  # type: ignore[arg-type]
    path = train(recipe("tiny", **{**SMALL, "epochs": epochs}), [(synth(), 1.0)], how, report=lambda _: None)
    return read_checkpoint(path)[0]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.allclose(a[name].float(), b[name].float(), atol=1e-5), name


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor]]:
    out = tmp_path_factory.mktemp("run")
    return out, run(out)


def test_run_leaves_what_it_promises(undisturbed: tuple[Path, dict[str, torch.Tensor]]) -> None:
    out, weights = undisturbed
    state = newest_state(out)
    assert state is not None
    assert state.name == "state-00000010.safetensors"
    assert not list(out.glob("*.tmp"))
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [5, 10]
    assert all(line["loss"] > 0 and 0 <= line["iou"] <= 1 for line in lines)
    assert list((out / "tensorboard").iterdir())
    first = Network(Config.make(NETWORK)).state_dict()
    assert weights.keys() == first.keys()


def test_stopped_run_goes_on_to_the_same_weights(
    undisturbed: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    run(tmp_path, minutes=1e-9)  # stops after its first step
    state = newest_state(tmp_path)
    assert state is not None
    assert state.name == "state-00000001.safetensors"
    same(run(tmp_path), undisturbed[1])


def test_loader_processes_change_nothing(undisturbed: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path) -> None:
    same(run(tmp_path, workers=2), undisturbed[1])


def test_recomputed_activations_change_nothing(
    undisturbed: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    weights = run(tmp_path, checkpoint_gradients=True)
    for name, value in undisturbed[1].items():
        assert torch.allclose(weights[name].float(), value.float(), atol=1e-4), name


def test_folder_of_another_recipe_is_refused(undisturbed: tuple[Path, dict[str, torch.Tensor]]) -> None:
    options = TrainOptions(out=undisturbed[0], cpu=True)
    with pytest.raises(UsageError, match="batch 4 -> 8"):
        train(recipe("tiny", **{**SMALL, "batch": 8}), [(synth(), 1.0)], options)


def test_half_written_state_is_not_taken(undisturbed: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path) -> None:
    run(tmp_path, minutes=1e-9)
    (tmp_path / "state-00000009.safetensors.tmp").touch()
    state = newest_state(tmp_path)
    assert state is not None
    assert state.name == "state-00000001.safetensors"


@pytest.mark.parametrize("damage", [b"", b"not a saved state"])
def test_a_damaged_state_is_named_and_the_one_before_still_goes_on(
    undisturbed: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path, damage: bytes
) -> None:
    out = tmp_path / "run"
    shutil.copytree(undisturbed[0], out)
    state = newest_state(out)
    assert state is not None
    state.write_bytes(damage)
    with pytest.raises(DataError) as raised:
        run(out)
    assert state.name in str(raised.value)
    state.unlink()
    same(run(out), undisturbed[1])


class Evil:
    """A pickle of it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


def test_a_strangers_pickles_do_not_run(undisturbed: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path) -> None:
    """Neither as a state, nor in the folder that accelerate would read."""
    mark = tmp_path / "mark"
    torch.save(Evil(mark), tmp_path / "evil.pth")
    with pytest.raises((DataError, UsageError)):
        initialise_from(Network(Config.make(NETWORK)), tmp_path / "evil.pth")
    out = tmp_path / "run"
    shutil.copytree(undisturbed[0], out)
    folder = out / "state-00000099"
    folder.mkdir()
    for name in ("custom_checkpoint_0.pkl", "optimizer.bin", "random_states_0.pkl", ".metadata", "pytorch_model.bin"):
        shutil.copy(tmp_path / "evil.pth", folder / name)
    same(run(out), undisturbed[1])
    shutil.copy(tmp_path / "evil.pth", out / "state-00000010.safetensors")
    with pytest.raises(DataError, match="state-00000010"):
        run(out)
    assert not mark.exists()


def test_a_state_of_other_shapes_is_refused(undisturbed: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(undisturbed[0], out)
    state = newest_state(out)
    assert state is not None
    tensors, facts = read_state(state)
    first = next(name for name in tensors if name.startswith("optimizer/momentum_buffer/"))
    for wrong in ({**tensors, first: tensors[first][:1]}, {n: t for n, t in tensors.items() if n != first}):
        write_state(state, wrong, facts)
        with pytest.raises(DataError, match="not a state of this network"):
            run(out)
    for step in (-1, 11, "4", None):
        write_state(state, tensors, {"step": step})
        with pytest.raises(DataError, match="not a state of this run"):
            run(out)


def test_two_trainings_do_not_share_a_folder(undisturbed: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(undisturbed[0], out)
    with sole_writer(out), pytest.raises(UsageError, match=f"another run .*{os.getpid()}"):
        run(out)
    same(run(out), undisturbed[1])
    assert not (out / ".writer").exists()


@pytest.mark.slow
def test_killed_runs_end_with_the_same_weights(tmp_path: Path) -> None:
    """Killed again and again, at any moment of a step or of a save; TNLLT_KILLS=100 asks for so many kills."""
    kills, draw = int(os.environ.get("TNLLT_KILLS", "3")), random.Random(0)
    steps = {"save_every": 2, "log_every": 1, "epochs": 8}
    weights = run(tmp_path / "undisturbed", **steps)
    out = tmp_path / "killed"
    program = (
        "import sys, json; from pathlib import Path; sys.path.insert(0, sys.argv[2]); "
        "from test_tracker_training import run; run(Path(sys.argv[1]), **json.loads(sys.argv[3]))"
    )
    command = [sys.executable, "-c", program, str(out), str(Path(__file__).parent), json.dumps(steps)]
    threads = str(torch.get_num_threads())  # the order of sums depends on it
    landed = 0
    for number in range(kills):
        log = out / "log.jsonl"
        before = len(log.read_bytes()) if log.is_file() else 0
        process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": threads})
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and process.poll() is None:
            if log.is_file() and len(log.read_bytes()) > before:
                break
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        landed += process.wait() == -signal.SIGKILL
        if newest_state(out) is not None and number % 4 == 3:  # begin again, now and then
            shutil.rmtree(out)
    assert landed >= kills / 2, f"{landed} of {kills} kills landed in a run"
    killed = run(out, **steps)
    assert all(torch.equal(weights[name], killed[name]) for name in weights)
    assert len(list(out.glob("state-*"))) == 2


@pytest.mark.slow
def test_two_processes_resume_to_the_same_weights(tmp_path: Path) -> None:
    program = tmp_path / "two.py"
    program.write_text(
        "import sys, pathlib; sys.path.insert(0, sys.argv[1]); "
        "from test_tracker_training import run; run(pathlib.Path(sys.argv[2]), save_every=2)"
    )
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(program)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    whole, part = tmp_path / "whole", tmp_path / "part"
    for out in (whole, part):
        command = [*launch, str(Path(__file__).parent), str(out)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-3000:]
        if out == whole:
            part.mkdir()
            shutil.copy(whole / "run.json", part)
            shutil.copy(whole / "state-00000002.safetensors", part)
    weights = [read_checkpoint(out / "weights.safetensors")[0] for out in (whole, part)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.slow
def test_a_minute_of_training_beats_none(tmp_path: Path) -> None:
    from tnllt.datasets.synth import SynthConfig, SynthSources, only
    from tnllt.training.tracker.validate import held_out, validator

    easy = SynthConfig(
        frames=30,
        width=160,
        height=120,
        rates=only(),
        distractors=(0, 0),
        change=0.0,
        artefacts=False,
        size=(0.25, 0.35),
        families={"shape": 1.0},
        sources=SynthSources(4),
    )
    measure = validator(held_out(easy, 6))
    sizes = {**NETWORK, "dims": [32, 48, 96], "heads": 3, "head_channels": [48, 32, 32, 32]}
    changes = {"config": json.dumps(sizes), "batch": 16, "samples_per_epoch": 5600, "epochs": 1, "warmup": 30}
    toy = recipe("tiny", **changes, learning_rate=2e-3, center_jitter=2.0, color_shift=0, gray=0, ema=0.98)
    network = Network(Config.make(toy.config))
    torch.manual_seed(0)
    network.initialise()
    before = measure(network.eval())["AO"]
    options = TrainOptions(out=tmp_path, workers=1, save_every=10_000, validate_every=0, cpu=True)
    path = train(toy, [(SynthSource(easy, pool=64, reuse=10), 1.0)], options, report=lambda _: None)
    network.load_state_dict(read_checkpoint(path)[0])
    after = measure(network.eval())["AO"]
    assert after > before + 0.2, f"{before:.3f} untrained, {after:.3f} trained"


def test_learning_rate_follows_the_recipe() -> None:
    published = recipe("256")
    assert rate_factor(0, 100, published) == 1.0
    assert rate_factor(3999, 100, published) == 1.0
    assert rate_factor(4000, 100, published) == pytest.approx(0.1)
    ours = recipe("tiny", epochs=10, warmup=10)
    assert rate_factor(0, 100, ours) == pytest.approx(0.1)
    assert rate_factor(10, 100, ours) == pytest.approx(1.0)
    assert rate_factor(1000, 100, ours) == pytest.approx(0.01)


def test_backbone_learns_slower_where_the_recipe_says_so() -> None:
    step = TrainStep(Network(Config.make(NETWORK)), recipe("tiny"))
    rest, backbone = parameter_groups(step, recipe("256"))
    assert backbone["lr"] == pytest.approx(1e-5)
    assert rest["lr"] == pytest.approx(1e-4)
    count = sum(p.numel() for p in step.network.backbone.parameters() if p.requires_grad)
    assert sum(p.numel() for p in backbone["params"]) == count  # type: ignore[attr-defined]


def test_starting_weights(tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = Network(Config.make(NETWORK))
    whole = tmp_path / "whole.pth"
    torch.save({"net": source.state_dict()}, whole)
    target = Network(Config.make(NETWORK))
    assert "tracker's weights" in initialise_from(target, whole)
    same(target.state_dict(), source.state_dict())

    parts = ("patch_embed.", "blocks.", "norm.")
    itpn = {
        name.removeprefix("backbone."): value
        for name, value in source.state_dict().items()
        if name.removeprefix("backbone.").startswith(parts)
    }
    file = tmp_path / "itpn.pth"
    torch.save(itpn, file)
    target = Network(Config.make(NETWORK))
    head = target.box_head.state_dict()
    assert f"{len(itpn)} tensors" in initialise_from(target, file)
    taken = {name: value for name, value in target.backbone.state_dict().items() if name in itpn}
    same(taken, itpn)
    same(target.box_head.state_dict(), head)

    itpn.pop("norm.weight")
    torch.save(itpn, file)
    with pytest.raises(DataError, match=r"1 missing: backbone\.norm\.weight"):
        initialise_from(target, file)


def test_folder_of_other_data_is_refused(undisturbed: tuple[Path, dict[str, torch.Tensor]]) -> None:
    source = SynthSource(None, name="synth:grey=1")
    with pytest.raises(UsageError, match="data"):
        train(recipe("tiny", **SMALL), [(source, 1.0)], TrainOptions(out=undisturbed[0], cpu=True))


def test_muon_takes_the_matrices_and_leaves_the_tables() -> None:
    step = TrainStep(Network(Config.make("tiny")), recipe("tiny"))
    muon, adam = make_optimizers(step, recipe("tiny", muon=0.02))
    names = {id(p): name for name, p in step.named_parameters()}
    taken = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    left = {names[id(p)] for group in adam.param_groups for p in group["params"]}
    assert taken & left == set()
    assert taken | left == {name for name, p in step.named_parameters() if p.requires_grad}
    assert all(".weight" in name and "embed" not in name and "norm" not in name for name in taken)
    assert any("attn.q_proj" in name for name in taken)
    assert [type(o).__name__ for o in make_optimizers(step, recipe("256"))] == ["AdamW"]


def test_a_torch_without_muon_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    step = TrainStep(Network(Config.make(NETWORK)), recipe("tiny"))
    with pytest.raises(UsageError, match=r"torch 2\.9 or newer, .* --set muon=0"):
        make_optimizers(step, recipe("tiny", muon=0.02))
    assert [type(o).__name__ for o in make_optimizers(step, recipe("tiny", muon=0))] == ["AdamW"]
