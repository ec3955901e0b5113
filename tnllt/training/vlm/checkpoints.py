"""Checkpoints of fine-tuning and GRPO without pickles, for one device or several with a whole model each.

The `Trainer` of transformers pickles optimizer, schedule and random numbers, and it saves weights under other names
than it resumes them from, so that they are lost (5.24, Qwen2.5-VL). Both are saved here. A checkpoint without its state
was not finished and is not resumed.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np

from tnllt.errors import DataError, UsageError
from tnllt.files import parse_json, read_bytes, to_json, write_atomic
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
        waiting = resume

        def on_save(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            write_atomic(folder / f"random-{args.process_index}.json", to_json(_random_state()))
            tensors = training_tensors(_network(trainer), [_plain(kw["optimizer"])])
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
            optimizer, scheduler = _plain(kw["optimizer"]), kw["lr_scheduler"]
            set_training_tensors(_network(trainer), [optimizer], tensors, path)
            rates = schedule.get("_last_lr")
            if schedule.keys() != set(_SCHEDULE) or not isinstance(rates, list):
                raise DataError("is not a state of fine-tuning; remove its folder", path)
            scheduler.load_state_dict({**scheduler.state_dict(), **schedule})
            for group, rate in zip(optimizer.param_groups, rates, strict=False):
                group["lr"] = float(rate)

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
            if self.waiting is not None and not state.epoch % 1:
                self._restore_random_state(args)

        def on_step_begin(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
            if self.waiting is not None:  # in the middle of an epoch: the batches before were skipped
                self._restore_random_state(args)

        def _restore_random_state(self, args: Any) -> None:
            assert self.waiting is not None
            path, self.waiting = self.waiting / f"random-{args.process_index}.json", None
            _set_random_state(parse_json(read_bytes(path), path), path)

    trainer.args.save_only_model = True
    trainer._load_from_checkpoint = lambda *_, **__: None  # its weights: they come from the state
    if not (trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled):
        trainer.add_callback(Checkpoints())


def _network(trainer: Any) -> Any:
    return trainer.accelerator.unwrap_model(trainer.model)


def _plain(optimizer: Any) -> Any:
    """The optimizer itself, without what accelerate puts around it."""
    return getattr(optimizer, "optimizer", optimizer)


def _random_state() -> dict[str, Any]:
    import torch

    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    numbers: Any = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [numbers[0], numbers[1].tolist(), *numbers[2:]],
        "torch": torch.get_rng_state().numpy().tobytes().hex(),
        "cuda": [state.numpy().tobytes().hex() for state in devices],
    }


def _set_random_state(saved: Any, path: Path) -> None:
    import torch

    def tensor(text: str) -> torch.Tensor:
        return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)

    try:
        version, words, gauss = saved["python"]
        random.setstate((version, tuple(words), gauss))
        np.random.set_state(tuple(saved["numpy"]))
        torch.set_rng_state(tensor(saved["torch"]))
        if torch.cuda.is_available() and len(saved["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([tensor(text) for text in saved["cuda"]])
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"is not a state of random numbers ({str(error)[:100]}); remove its folder", path) from error
