"""Checkpoints of fine-tuning and GRPO without pickles, for one device or several with a whole model each.

The `Trainer` of transformers pickles optimizer, schedule and random numbers, and it saves weights under other names
than it resumes them from, so that they are lost (5.24, Qwen2.5-VL). Weights, optimizer and schedule are saved here;
random numbers are seeded by the step, so that a resumed run has those of an undisturbed one. A checkpoint without its
state was not finished and is not resumed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tnllt.errors import DataError, UsageError
from tnllt.training.state import read_state, set_training_tensors, training_tensors, write_state

_STATE = "state.safetensors"
_SCHEDULE = ("last_epoch", "_step_count", "_last_lr")
#: Files of text and safetensors; whatever else is in a checkpoint may be a pickle.
_SAFE = (".json", ".safetensors", ".jinja", ".txt", ".md", ".model")


def checkpoint_to_resume(out: Path) -> Path:
    """The newest complete checkpoint below `out`/checkpoints, which holds nothing that runs code when it is read.

    Raises:
        UsageError: there is none. DataError: it holds something else than text and safetensors, or is damaged.
    """
    from transformers import TrainerState

    found = [(int(n), p) for p in out.glob("checkpoints/checkpoint-*") if (n := p.name.rpartition("-")[2]).isdecimal()]
    complete = [path for _, path in sorted(found) if (path / _STATE).is_file()]
    if not complete:
        remedy = f"; to start from its weights, give --model {sorted(found)[-1][1]}" if found else ""
        raise UsageError(f"{out} has no complete checkpoint to resume from{remedy}")
    newest = complete[-1]
    for path in newest.rglob("*"):
        if path.is_symlink() or not (path.is_dir() or (path.is_file() and path.suffix in _SAFE)):
            raise DataError("may run code when it is read, and is not part of a checkpoint; remove it", path)
    try:
        TrainerState.load_from_json(str(newest / "trainer_state.json"))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        reason = str(error)[:200]
        raise DataError(f"is damaged ({reason}); remove its folder, and the one before is used", newest) from error
    return newest


def save_without_pickles(trainer: Any, resume: Path | None) -> None:
    """Lets the trainer's checkpoints be complete without pickles, and continues from the one in `resume`.

    Under FSDP and DeepSpeed a checkpoint holds the weights alone, and cannot be resumed.
    """
    from transformers import TrainerCallback

    class Checkpoints(TrainerCallback):  # type: ignore[misc]
        def on_save(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            tensors = training_tensors(_network(trainer), [kw["optimizer"]])
            trainer.accelerator.wait_for_everyone()
            if state.is_world_process_zero:
                (folder / "training_args.bin").unlink(missing_ok=True)
                schedule = kw["lr_scheduler"].state_dict()
                write_state(folder / _STATE, tensors, {name: schedule[name] for name in _SCHEDULE})

        def on_train_begin(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
            if resume is None:
                return
            path = resume / _STATE
            tensors, schedule = read_state(path)
            optimizer, scheduler = kw["optimizer"], kw["lr_scheduler"]
            set_training_tensors(_network(trainer), [optimizer], tensors, path)
            rates = schedule.get("_last_lr")
            groups = optimizer.param_groups
            if schedule.keys() != set(_SCHEDULE) or not isinstance(rates, list) or len(rates) != len(groups):
                raise DataError("is not a state of fine-tuning; remove its folder", path)
            scheduler.load_state_dict({**scheduler.state_dict(), **schedule})
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = float(rate)

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
            _seed(args.seed, int(state.epoch), 0)  # the order of the records, the same in all processes

        def on_step_begin(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
            _seed(args.seed, state.global_step, 1 + args.process_index)

    trainer.args.save_only_model = True
    trainer._load_from_checkpoint = lambda *_, **__: None  # its weights: they come from the state
    if not (trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled):
        trainer.add_callback(Checkpoints())


def _network(trainer: Any) -> Any:
    return trainer.accelerator.unwrap_model(trainer.model)


def _seed(*numbers: int) -> None:
    from transformers import set_seed

    set_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))
