"""The state of fine-tuning: one that does not belong to the trainer is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tnllt.errors import DataError  # noqa: E402
from tnllt.training.state import training_tensors, write_state  # noqa: E402
from tnllt.training.vlm.finetune import save_without_pickles  # noqa: E402


def parts(groups: int = 2):
    """A network, its optimizer with a learning rate for each group of parameters, and the schedule."""
    network = torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(2)))
    rates = [{"params": layer.parameters(), "lr": 0.1 * n} for n, layer in enumerate(network, 1)][:groups]
    optimizer = torch.optim.AdamW(rates)
    return network, optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)


def begin(network, optimizer, schedule, resume: Path) -> None:
    """What happens when training begins with a checkpoint to resume from."""
    callbacks: list[object] = []
    accelerator = SimpleNamespace(unwrap_model=lambda model: model)
    trainer = SimpleNamespace(
        args=SimpleNamespace(), model=network, accelerator=accelerator, add_callback=callbacks.append,
        is_deepspeed_enabled=False, is_fsdp_enabled=False,
    )  # fmt: skip
    save_without_pickles(trainer, resume)
    callbacks[0].on_train_begin(None, None, None, optimizer=optimizer, lr_scheduler=schedule)  # type: ignore[attr-defined]


@pytest.mark.parametrize("rates", [[0.05, 0.1], [0.05], [0.05, 0.1, 0.2], 0.05, None])
def test_every_group_of_parameters_needs_its_learning_rate(tmp_path: Path, rates: object) -> None:
    network, optimizer, schedule = parts()
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    schedule.step()
    facts = {**{name: schedule.state_dict()[name] for name in ("last_epoch", "_step_count")}, "_last_lr": rates}
    write_state(tmp_path / "state.safetensors", training_tensors(network, [optimizer]), facts)
    fresh = parts()
    if rates != [0.05, 0.1]:
        with pytest.raises(DataError, match="not a state of fine-tuning"):
            begin(*fresh, tmp_path)
        return
    begin(*fresh, tmp_path)
    assert [group["lr"] for group in fresh[1].param_groups] == rates
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), fresh[0].parameters(), strict=True))
