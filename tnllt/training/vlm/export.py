"""Data and settings for the trainers that the published models were made with: LLaMA-Factory (SFT), EasyR1 (GRPO)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from tnllt.errors import DataError, UsageError
from tnllt.files import write_atomic
from tnllt.training.vlm.easyr1 import PackedAnswer
from tnllt.training.vlm.finetune import need_answers
from tnllt.training.vlm.options import MAX_PIXELS, MIN_PIXELS, ExportOptions
from tnllt.training.vlm.records import PairRecord

_NAME = "tnllt_pairs"


def export_llamafactory(records: Sequence[PairRecord], out: Path, model: str) -> list[Path]:
    """`data/` with the records under the published keys and `dataset_info.json`, and the recipe as `sft.yaml`.

    The `instruction` goes into the system prompt, where the tracker puts it, and the answer alone is trained.

    Raises:
        DataError: a record without an answer.
    """
    need_answers(records)
    info = {
        _NAME: {
            "file_name": f"{_NAME}.json",
            "formatting": "alpaca",
            "columns": {"prompt": "input", "response": "output", "system": "instruction", "images": "images"},
        }
    }
    settings = _template("llamafactory.yaml", MODEL=model, DATA=str((out / "data").resolve()), NAME=_NAME)
    return [
        _write(out / "data" / f"{_NAME}.json", _json([record.as_published() for record in records])),
        _write(out / "data" / "dataset_info.json", _json(info)),
        _write(out / "sft.yaml", settings),
    ]


def export_easyr1(records: Sequence[PairRecord], options: ExportOptions) -> list[Path]:
    """`train.jsonl` and `val.jsonl`, `reward.py`, a chat template with the system prompt, and `grpo.yaml`.

    EasyR1 gives a reward only the answer's text and the record's `answer`, so `answer` is JSON with all it needs: the
    images, both boxes, the old description. EasyR1 has no system message; the template adds it.

    One record in twenty, up to 64 and the last ones, is for validation.

    Raises:
        DataError: a record without boxes. UsageError: records with different system prompts.
    """
    out = options.out
    if options.weights.gain:
        raise UsageError("the reward gain is not exported; train with tnllt-train grpo --reward gain")
    if len({record.instruction for record in records}) != 1:
        raise UsageError("EasyR1 takes one system prompt for all records: give --prompt FILE")
    rows = [_easyr1_row(record) for record in records]
    held_out = min(64, max(1, len(rows) // 20))
    train, val = (rows[:-held_out], rows[-held_out:]) if len(rows) > held_out else (rows, rows)
    place = str(Path(options.tracker_weights).resolve()) if options.tracker_weights else None
    tracker = {"weights": place, "config": options.tracker_config}
    rewards = {
        "reward_weights": str(options.weights),
        "iou": options.iou,
        "tracker": {name: value for name, value in tracker.items() if value},
    }
    settings = _template("easyr1.yaml", MODEL=options.model, OUT=str(out.resolve()), OPTIONS=json.dumps(rewards))
    chat = _template("chat_template.jinja", SYSTEM=json.dumps(records[0].instruction, ensure_ascii=False))
    return [
        _write(out / "train.jsonl", _jsonl(train)),
        _write(out / "val.jsonl", _jsonl(val)),
        _write(out / "reward.py", _template("easyr1_reward.py.txt")),
        _write(out / "chat_template.jinja", chat),
        _write(out / "grpo.yaml", settings),
    ]


def _easyr1_row(record: PairRecord) -> dict[str, Any]:
    if record.boxes is None:
        raise DataError("the record has no boxes, which the rewards need; use --samples or --dataset", record.source)
    first, second = (str(path.resolve()) for path in record.images)
    answer = PackedAnswer(record.description, (first, second), *record.boxes)
    return {
        "problem": "<image><image>" + record.description,
        "answer": json.dumps(asdict(answer), ensure_ascii=False),
        "images": [str(Path(path).resolve()) for path in record.model_images],
    }


def _template(name: str, **values: str) -> str:
    """A bundled text with every `@NAME@` replaced."""
    text = (files("tnllt.training.vlm") / "templates" / name).read_text("utf-8")
    values = {"MIN_PIXELS": str(MIN_PIXELS), "MAX_PIXELS": str(MAX_PIXELS), **values}
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _jsonl(rows: Sequence[Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _write(path: Path, text: str) -> Path:
    write_atomic(path, text)
    return path
