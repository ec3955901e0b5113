"""Exports, against the documented schemas of LLaMA-Factory and EasyR1 (and LLaMA-Factory's own loader where it is)."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tnllt.cli.train import cli
from tnllt.errors import DataError, IncompleteError, UsageError
from tnllt.training.vlm import easyr1
from tnllt.training.vlm.export import export_easyr1, export_llamafactory
from tnllt.training.vlm.options import ExportOptions
from tnllt.training.vlm.records import PairRecord, read_published, read_samples

GOOD = "<think>t</think><d>yes</d><answer>x</answer>"


def run(*arguments: object) -> str:
    result = CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_llamafactory_has_the_published_keys_and_reads_back(tmp_path: Path, box_pairs: Path):
    out = run("export", "--to", "llamafactory", "--samples", box_pairs, "--out", tmp_path, "--model", "Qwen/M")
    assert out.startswith("48 records")
    rows = json.loads((tmp_path / "data/tnllt_pairs.json").read_text())
    assert all(set(row) == {"instruction", "input", "output", "images"} for row in rows)
    assert all(row["input"].count("<image>") == len(row["images"]) == 2 for row in rows)
    assert all(Path(image).is_absolute() and Path(image).is_file() for row in rows for image in row["images"])
    info = json.loads((tmp_path / "data/dataset_info.json").read_text())["tnllt_pairs"]
    assert info["formatting"] == "alpaca" and (tmp_path / "data" / info["file_name"]).is_file()
    assert set(info["columns"]) == {"prompt", "response", "system", "images"}
    assert set(info["columns"].values()) <= set(rows[0])
    again = read_published(tmp_path / "data/tnllt_pairs.json", None)
    before = read_samples(box_pairs)
    assert [(r.description, r.output, r.instruction) for r in again] == [
        (r.description, r.output, r.instruction) for r in before
    ]


def test_llamafactory_settings_are_the_published_recipe(tmp_path: Path, box_pairs: Path):
    export_llamafactory(read_samples(box_pairs)[:1], tmp_path, "Qwen/M")
    settings = yaml.safe_load((tmp_path / "sft.yaml").read_text())
    wanted = {
        "model_name_or_path": "Qwen/M",
        "stage": "sft",
        "finetuning_type": "full",
        "num_train_epochs": 3.0,
        "learning_rate": 5e-5,
        "lr_scheduler_type": "cosine",
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 8,
        "cutoff_len": 4096,
        "max_grad_norm": 1.0,
        "bf16": True,
        "dataset": "tnllt_pairs",
    }
    assert {name: settings[name] for name in wanted} == wanted
    assert Path(settings["dataset_dir"]) == (tmp_path / "data").resolve()


@pytest.mark.slow
def test_llamafactory_reads_it_itself(tmp_path: Path, box_pairs: Path):
    loader = pytest.importorskip("llamafactory.data.loader", reason="LLaMA-Factory is not installed here")
    from llamafactory.data.parser import get_dataset_list
    from llamafactory.hparams import get_train_args

    export_llamafactory(read_samples(box_pairs)[:4], tmp_path, "Qwen/M")
    settings = yaml.safe_load((tmp_path / "sft.yaml").read_text())
    model, data, training, _, _ = get_train_args({**settings, "bf16": False, "output_dir": str(tmp_path / "o")})
    (attributes,) = get_dataset_list([settings["dataset"]], settings["dataset_dir"])
    assert len(loader._load_single_dataset(attributes, model, data, training)) == 4


def test_exports_need_what_they_teach(tmp_path: Path, box_pairs: Path):
    record = read_samples(box_pairs)[0]
    options = ExportOptions(to="easyr1", out=tmp_path)
    with pytest.raises(DataError, match="no answer"):
        export_llamafactory([PairRecord(record.images, "x", "p")], tmp_path, "m")
    with pytest.raises(DataError, match="no boxes"):
        export_easyr1([PairRecord(record.images, "x", "p")], options)
    other = PairRecord(record.images, "x", "another", None, record.boxes)
    with pytest.raises(UsageError, match="--prompt"):
        export_easyr1([record, other], options)


@pytest.fixture
def exported(tmp_path: Path, box_pairs: Path) -> Path:
    run("export", "--to", "easyr1", "--samples", box_pairs, "--out", tmp_path, "--reward-weights", "0.5,0.5,0,0")
    return tmp_path


def test_easyr1_rows_pack_all_that_the_reward_needs(exported: Path, box_pairs: Path):
    rows = [json.loads(line) for name in ("train", "val") for line in (exported / f"{name}.jsonl").open()]
    assert len(rows) == 48 and all(set(row) == {"problem", "answer", "images"} for row in rows)
    records = read_samples(box_pairs)
    for row, record in zip(rows, records, strict=True):
        assert row["problem"] == "<image><image>" + record.description
        answer = json.loads(row["answer"])
        assert answer["description"] == record.description and answer["images"] == row["images"]
        assert (tuple(answer["box1"]), tuple(answer["box2"])) == record.boxes


def test_easyr1_settings_name_what_is_there(exported: Path):
    settings = yaml.safe_load((exported / "grpo.yaml").read_text())
    assert set(settings) == {"data", "algorithm", "worker", "trainer"}
    for name in ("train_files", "val_files", "override_chat_template"):
        assert Path(settings["data"][name]).is_file()
    file, _, function = settings["worker"]["reward"]["reward_function"].rpartition(":")
    assert Path(file).is_file() and function == "compute_score"
    rollout, data = settings["worker"]["rollout"], settings["data"]
    assert (rollout["n"], rollout["temperature"], rollout["top_p"], rollout["limit_images"]) == (5, 1.0, 0.99, 2)
    assert (data["rollout_batch_size"], settings["worker"]["actor"]["global_batch_size"]) == (256, 128)
    assert (data["min_pixels"], data["max_pixels"]) == (59_536, 262_144)
    assert settings["algorithm"]["kl_penalty"] == "low_var_kl"
    options = settings["worker"]["reward"]["reward_function_kwargs"]
    assert options == {"reward_weights": "0.5,0.5,0,0,0", "iou": "halved", "tracker": {}}


def test_easyr1_reward_module_runs_as_easyr1_runs_it(exported: Path):
    settings = yaml.safe_load((exported / "grpo.yaml").read_text())["worker"]["reward"]
    file, _, function = settings["reward_function"].rpartition(":")
    spec = importlib.util.spec_from_file_location("custom_reward_fn", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.REWARD_TYPE == "batch"
    truth = json.loads((exported / "train.jsonl").open().readline())["answer"]
    inputs = [{"response": text, "response_length": 9, "ground_truth": truth} for text in (GOOD, "nothing")]
    scores = getattr(module, function)(inputs, **settings["reward_function_kwargs"])
    assert [s["overall"] for s in scores] == [1.0, 0.0]
    assert all(isinstance(v, float) for s in scores for v in s.values())
    with pytest.raises(DataError, match="easyr1"):
        module.compute_score([{"response": GOOD, "ground_truth": "{}"}])


def test_easyr1_chat_template_is_what_the_tracker_sends(exported: Path, box_pairs: Path):
    from jinja2 import Environment

    template = Environment().from_string((exported / "chat_template.jinja").read_text())
    user = {"role": "user", "content": [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "the car"}]}
    prompt = read_samples(box_pairs)[0].instruction
    vision = "<|vision_start|><|image_pad|><|vision_end|>"
    wanted = (
        f"<|im_start|>system\n{prompt}<|im_end|>\n<|im_start|>user\n{vision}{vision}the car<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert template.render(messages=[user], add_generation_prompt=True) == wanted
    told = [{"role": "system", "content": prompt}, user]
    assert template.render(messages=told, add_generation_prompt=True) == wanted


def test_a_failed_tracker_moves_nothing(monkeypatch, box_pairs: Path):
    found = iter([[0.5, 0.5, 0.5, None], [0.9, None, 0.4, 0.5]])

    class Frozen:
        def overlaps(self, records, descriptions):
            return next(found)

    monkeypatch.setattr(easyr1, "_frozen", lambda options: Frozen())
    record = read_samples(box_pairs)[0]
    pack = {"description": "d", "images": [str(p) for p in record.images], "box1": [1, 1, 2, 2], "box2": [1, 1, 2, 2]}
    same, alone = json.dumps(pack), json.dumps({**pack, "description": "e"})
    inputs = [{"response": GOOD, "ground_truth": truth} for truth in (same, same, same, alone)]
    scores = easyr1.compute_score(inputs, "0,0,1,0")
    # 0.9, failed, 0.4 halved: the failed one gets the mean of the two; a group without any gets 0 for all.
    assert [s["overall"] for s in scores] == pytest.approx([0.9, 0.55, 0.2, 0.5 / 2])
    assert "iou" not in scores[1] and "decision" not in scores[3]
    assert not any(math.isnan(v) for s in scores for v in s.values())


def test_a_tracker_that_fails_on_most_is_an_error():
    with pytest.raises(IncompleteError, match="3 of 4"):
        easyr1._without_gaps([1.0, None, None, None], ["a"] * 4)
