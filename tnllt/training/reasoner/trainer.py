"""Trains the part of the bundled reasoner that reads looks; resumable to the step.

Everything a step computes follows from the recipe and the step's number. So a run that was killed resumes from its last
saved state and ends with the same weights. A run's folder holds `run.json` (the recipe), `curves.csv`,
`state-NNNNNNNN.safetensors` (the two newest, each whole) and `weights.safetensors` (averaged).
"""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tnllt.errors import DataError, UsageError
from tnllt.files import write_atomic
from tnllt.locks import sole_writer
from tnllt.training.reasoner.options import ReaderRecipe, ReasonerOptions
from tnllt.training.state import (
    begin_run,
    newest_state,
    read_state,
    saved_states,
    set_training_tensors,
    training_tensors,
    write_state,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from tnllt.reasoningtrack.reasoners.reader import LookReader

_AVERAGE = "average/"
#: Beginnings of the names of the parameters that choose among objects; the others read.
CHOOSES = "choosers."


def make_optimizers(model: nn.Module, recipe: ReaderRecipe) -> list[torch.optim.Optimizer]:
    """Muon for matrices, AdamW for vectors and classifiers; what chooses is frozen."""
    import torch

    named = list(model.named_parameters())
    for name, parameter in named:
        parameter.requires_grad_(not name.startswith(CHOOSES))
    matrices = [p for n, p in named if p.requires_grad and p.ndim == 2 and not n.startswith("heads")]
    taken = {id(p) for p in matrices}
    rest = [p for _, p in named if p.requires_grad and id(p) not in taken]
    muon = torch.optim.Muon(matrices, lr=recipe.muon, weight_decay=recipe.weight_decay)
    return [muon, torch.optim.AdamW(rest, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)]


def train(
    recipe: ReaderRecipe,
    options: ReasonerOptions,
    report: Callable[[str], None] = print,
    weights: Path | None = None,
) -> Path:
    """Trains, or resumes what `options.out` holds. Returns the path of the weights.

    Args:
        weights: those to begin with, of an earlier run.

    Raises:
        UsageError: the folder belongs to a run of another recipe, another process is training in it, or the number of
            workers does not divide that of the streams.
    """
    import torch
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    from tnllt.reasoningtrack.reasoners.bundled import load_reader
    from tnllt.reasoningtrack.reasoners.models import torch_device
    from tnllt.reasoningtrack.reasoners.reader import LookReader
    from tnllt.training.reasoner.losses import reader_losses
    from tnllt.training.reasoner.samples import WindowBatches, drawn

    if options.workers and recipe.streams % options.workers:
        raise UsageError(
            f"{options.workers} workers, streams={recipe.streams}: a stream of scenes belongs to one worker; "
            f"give --workers a divisor of {recipe.streams}, or --set streams={options.workers}"
        )
    device = torch_device(options.device)
    options.out.mkdir(parents=True, exist_ok=True)
    with sole_writer(options.out):
        begun_with = None if weights is None else sha256(weights.read_bytes()).hexdigest()
        begin_run(options.out, {**asdict(recipe), "weights": begun_with})
        torch.manual_seed(recipe.seed)
        model = (LookReader() if weights is None else load_reader(weights).requires_grad_(True)).to(device)
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True)  # type: ignore[no-untyped-call]
        optimizers = make_optimizers(model, recipe)
        rates = recipe.muon, recipe.learning_rate
        torch.backends.cudnn.benchmark = True  # every step has the same shapes
        first = _resume(options.out, model, average, optimizers, recipe, report)
        batches = WindowBatches(recipe.seed, recipe.batch, recipe.streams, recipe.reuse)
        steps, log = range(first, recipe.steps), _Curves(options, first, report)
        started = time.monotonic()
        for step, cpu_batch in zip(steps, drawn(batches, steps, options.workers), strict=True):
            torch.manual_seed(recipe.seed * 1_000_003 + step)
            batch = {name: value.to(device, non_blocking=True) for name, value in cpu_batch.items()}
            for optimizer, rate in zip(optimizers, rates, strict=True):  # a resumed optimizer has other groups
                optimizer.param_groups[0]["lr"] = rate * recipe.rate(step)
            model.train()
            with torch.autocast(device.type, torch.bfloat16):
                parts = reader_losses(model, batch)
            parts["loss"].backward()  # type: ignore[no-untyped-call]
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            average.update_parameters(model)
            log.step(step, parts)
            over = options.minutes is not None and time.monotonic() - started > 60 * options.minutes
            if (step + 1) % options.save_every == 0 or step + 1 == recipe.steps or over:
                _save(options.out, step + 1, model, average, optimizers)
            if over and step + 1 < recipe.steps:
                report(f"stopped after {step + 1} of {recipe.steps} steps; the same command resumes here")
                break
    return options.out / "weights.safetensors"


def _resume(
    out: Path,
    model: LookReader,
    average: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    recipe: ReaderRecipe,
    report: Callable[[str], None],
) -> int:
    state = newest_state(out)
    if state is None:
        return 0
    tensors, facts = read_state(state)
    step = facts.get("step")
    if not isinstance(step, int) or not 0 < step <= recipe.steps:
        raise DataError("is not a state of this run; remove it, and the run resumes from the state before", state)
    set_training_tensors(model, optimizers, tensors, state)
    try:
        average.load_state_dict({n.removeprefix(_AVERAGE): v for n, v in tensors.items() if n.startswith(_AVERAGE)})
    except (RuntimeError, KeyError) as error:
        raise DataError(f"does not fit this run ({str(error).splitlines()[0][:200]}); remove it", state) from error
    report(f"resuming from step {step} ({state})")
    return step


def _save(out: Path, done: int, model: LookReader, average: Any, optimizers: list[torch.optim.Optimizer]) -> None:
    from tnllt.reasoningtrack.reasoners.reader import save_reader

    tensors = training_tensors(model, optimizers)
    tensors |= {f"{_AVERAGE}{name}": value for name, value in average.state_dict().items()}
    write_state(out / f"state-{done:08d}.safetensors", tensors, {"step": done})
    for old in saved_states(out)[:-2]:
        old.unlink(missing_ok=True)
    save_reader(average.module, out / "weights.safetensors")


class _Curves:
    """`curves.csv`: the means of the parts of the loss over `log_every` steps. A resumed run drops what it repeats."""

    def __init__(self, options: ReasonerOptions, first: int, report: Callable[[str], None]) -> None:
        self._path, self._every, self._report = options.out / "curves.csv", options.log_every, report
        old = self._path.read_text(encoding="utf-8").splitlines() if self._path.is_file() else []
        self._lines = [line for line in old if not line[:1].isdigit() or int(line.split(",")[0]) <= first]
        self._parts: list[Mapping[str, Tensor]] = []
        self._since = time.monotonic()

    def step(self, step: int, parts: Mapping[str, Tensor]) -> None:
        self._parts.append({name: value.detach() for name, value in parts.items()})
        if (step + 1) % self._every:
            return
        mean = {name: math.fsum(float(p[name]) for p in self._parts) / len(self._parts) for name in self._parts[0]}
        mean["seconds"] = (time.monotonic() - self._since) / len(self._parts)
        if not self._lines:
            self._lines.append(_row(["step", *mean]))
        self._lines.append(_row([step + 1, *(f"{value:.4f}" for value in mean.values())]))
        write_atomic(self._path, "\n".join(self._lines) + "\n", durable=False)
        self._report(f"step {step + 1}  " + "  ".join(f"{name} {value:.3f}" for name, value in mean.items()))
        self._parts, self._since = [], time.monotonic()


def _row(values: list[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()
