"""Training the tracking network: resumable to the step, on one process or many.

Everything a step computes follows from the recipe and the step's number: its samples (`samples.Sampler`), its learning
rate, its random numbers. So a run that was killed resumes from its last saved state and ends with the same weights.

A run's folder holds `run.json` (recipe, data), `log.jsonl`, TensorBoard events, `state-NNNNNNNN.safetensors` (the two
newest, each whole) and `weights.safetensors` (averaged where the recipe says so).
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tnllt.errors import DataError, MissingExtraError, UsageError
from tnllt.files import temporary_beside
from tnllt.locks import sole_writer
from tnllt.training.state import (
    begin_run,
    newest_state,
    read_state,
    saved_states,
    set_training_tensors,
    training_tensors,
    write_state,
)
from tnllt.training.tracker.options import TrainOptions
from tnllt.training.tracker.recipe import Recipe
from tnllt.training.tracker.samples import Batches, ClipSource, Sampler, collate

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

    from tnllt.reasoningtrack.network import Network

_AVERAGE = "average/"

#: Called with the network to measure; returns named scores, e.g. {"success": 0.61}.
Validate = Callable[["Network"], Mapping[str, float]]


def train(
    recipe: Recipe,
    sources: Sequence[tuple[ClipSource, float]],
    options: TrainOptions,
    validate: Validate | None = None,
    report: Callable[[str], None] = print,
) -> Path:
    """Trains, or resumes what `options.out` holds. Returns the path of the weights.

    Raises:
        UsageError: the folder belongs to a run of another recipe, or another process is training in it.
        MissingExtraError: accelerate or tensorboard are not installed.
    """
    run = _Run(recipe, sources, options, validate, report)
    with sole_writer(options.out) if run.main else contextlib.nullcontext():
        return run.run()


class _Run:
    def __init__(
        self,
        recipe: Recipe,
        sources: Sequence[tuple[ClipSource, float]],
        options: TrainOptions,
        validate: Validate | None,
        report: Callable[[str], None],
    ) -> None:
        self.recipe, self.options, self.validate, self.report = recipe, options, validate, report
        self.accelerator = _accelerator(options)
        self.main = self.accelerator.is_main_process
        self.world = self.accelerator.num_processes
        self.steps_per_epoch = max(1, recipe.samples_per_epoch // (recipe.batch * self.world))
        self.last = recipe.epochs * self.steps_per_epoch
        self._build(sources)
        if self.main:
            begin_run(
                options.out, {**asdict(recipe), "data": [(source.name, fraction) for source, fraction in sources]}
            )
        self.accelerator.wait_for_everyone()

    def _build(self, sources: Sequence[tuple[ClipSource, float]]) -> None:
        import torch
        from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

        from tnllt.reasoningtrack.config import Config
        from tnllt.reasoningtrack.network import Network
        from tnllt.training.tracker.step import TrainStep, initialise_from, make_optimizers

        torch.manual_seed(self.recipe.seed)
        self.config = Config.make(self.recipe.config)
        network = Network(self.config, drop_path=self.recipe.drop_path)
        if self.options.init is not None:
            self.report(initialise_from(network, self.options.init))
        step = TrainStep(network, self.recipe, self.options.checkpoint_gradients)
        optimizers = make_optimizers(step, self.recipe)
        self.rates = [[float(group["lr"]) for group in optimizer.param_groups] for optimizer in optimizers]
        launcher = self.accelerator.distributed_type.name
        if launcher == "DEEPSPEED":
            raise UsageError("DeepSpeed keeps its state in pickles, which can run code; use DDP or FSDP instead")
        if launcher == "FSDP" and (self.recipe.ema or self.recipe.muon):
            raise UsageError("averaged weights and Muon need whole matrices; with FSDP, set ema=0 and muon=0")
        self.average: AveragedModel | None = None
        if self.recipe.ema > 0:
            average = get_ema_multi_avg_fn(self.recipe.ema)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(network, multi_avg_fn=average, use_buffers=True)
            self.average.to(self.accelerator.device)
        module = torch.compile(step) if self.options.compile else step
        self.step, *self.optimizers = self.accelerator.prepare(module, *optimizers)
        self.sampler = Sampler(sources, self.config, self.recipe)

    def run(self) -> Path:
        from tnllt.training.tracker.step import rate_factor

        first = self._resume()
        started = time.monotonic()
        log = _Log(self.options.out, self.options.log_every, self.report, first) if self.main else None
        stopped = first >= self.last
        for number, batch in enumerate(self._loader(first), start=first):
            rate = rate_factor(number, self.steps_per_epoch, self.recipe)
            report = self._step(number, batch, rate)
            if log is not None:
                log.step(number, report, self.recipe.batch * self.world, rate)
            done = number + 1
            minutes = (time.monotonic() - started) / 60
            stopped = self.options.minutes is not None and minutes > self.options.minutes and done < self.last
            if done % self.options.save_every == 0 or done == self.last or stopped:
                self._save(done)
            every = self.options.validate_every * self.steps_per_epoch
            if log is not None and self.validate is not None and every and (done % every == 0 or done == self.last):
                log.scores(done, self.validate(self._measured().eval()))
            if stopped:
                self.report(f"stopped after {done} of {self.last} steps; the same command resumes here")
                break
        if log is not None:
            log.close()
        path = self._export()
        self.accelerator.wait_for_everyone()
        return path

    def _loader(self, first: int) -> Iterator[Mapping[str, torch.Tensor]]:
        from torch.utils.data import DataLoader

        batches = Batches(first, self.last, self.recipe.batch, self.accelerator.process_index, self.world)
        device = self.accelerator.device
        loader: Any = DataLoader(
            self.sampler,  # type: ignore[arg-type]  # a dataset is anything with __getitem__
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=self.options.workers,
            prefetch_factor=4 if self.options.workers else None,
            pin_memory=device.type == "cuda",
        )
        for batch in loader:
            yield {name: value.to(device, non_blocking=True) for name, value in batch.items()}

    def _step(self, number: int, batch: Mapping[str, torch.Tensor], rate: float) -> dict[str, torch.Tensor]:
        import torch

        # Seeded by the step, so that stochastic depth does not depend on where a run was interrupted.
        torch.manual_seed((self.recipe.seed * 1_000_003 + number) * 4099 + self.accelerator.process_index)
        self.step.train()
        for optimizer, rates in zip(self.optimizers, self.rates, strict=True):
            for group, full in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = full * rate
        with self.accelerator.autocast():
            report: dict[str, torch.Tensor] = self.step(**batch)
        self.accelerator.backward(report["loss"])
        report["norm"] = torch.as_tensor(self.accelerator.clip_grad_norm_(self.step.parameters(), self.recipe.clip))
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if self.average is not None:
            self.average.update_parameters(self._network())
        return {name: value.detach() for name, value in report.items()}

    def _network(self) -> Network:
        step: Any = self.accelerator.unwrap_model(self.step, keep_torch_compile=False)
        return step.network  # type: ignore[no-any-return]

    def _resume(self) -> int:
        state = newest_state(self.options.out)
        if state is None:
            return 0
        tensors, facts = read_state(state)
        step, scaler = facts.get("step"), facts.get("scaler")
        if not isinstance(step, int) or not 0 < step <= self.last:
            raise DataError("is not a state of this run; remove it, and the run resumes from the state before", state)
        average = {name.removeprefix(_AVERAGE): value for name, value in tensors.items() if name.startswith(_AVERAGE)}
        set_training_tensors(self.step, self.optimizers, tensors, state)
        try:
            if self.average is not None:
                self.average.load_state_dict(average)
            if self.accelerator.scaler is not None:
                self.accelerator.scaler.load_state_dict(scaler or {})
        except (RuntimeError, KeyError) as error:
            raise DataError(f"does not fit this run ({str(error).splitlines()[0][:200]}); remove it", state) from error
        if self.main:
            self.report(f"resuming from step {step} ({state})")
        return step

    def _save(self, done: int) -> None:
        tensors = training_tensors(self.step, self.optimizers)
        if not self.main:
            return
        if self.average is not None:
            tensors.update({f"{_AVERAGE}{name}": value for name, value in self.average.state_dict().items()})
        scaler = self.accelerator.scaler
        facts = {"step": done, "scaler": None if scaler is None else scaler.state_dict()}
        write_state(self.options.out / f"state-{done:08d}.safetensors", tensors, facts)
        for old in saved_states(self.options.out)[:-2]:
            old.unlink(missing_ok=True)
        self._export()

    def _measured(self) -> Network:
        """The network that is exported and validated: the averaged one where there is one."""
        network: Any = self.average.module if self.average is not None else self._network()
        return network  # type: ignore[no-any-return]

    def _export(self) -> Path:
        """Writes the weights, whole or not at all."""
        from tnllt.reasoningtrack.checkpoint import save_safetensors

        path = self.options.out / "weights.safetensors"
        if self.main:
            with temporary_beside(path) as temporary:
                save_safetensors(self._measured(), temporary, self.config.to_dict())
        return path


class _Log:
    """Losses and speed: a line now and then, JSON lines, TensorBoard."""

    def __init__(self, out: Path, every: int, report: Callable[[str], None], first: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("tnllt-train tracker", "train", error) from error
        # purge_step: a killed run logged steps after its last saved state; they are logged again.
        self._board = SummaryWriter(str(out / "tensorboard"), purge_step=first)
        self._file = (out / "log.jsonl").open("a", encoding="utf-8")
        self._every, self._print = every, report
        self._reports: list[Mapping[str, torch.Tensor]] = []
        self._since = time.monotonic()

    def step(self, number: int, report: Mapping[str, torch.Tensor], samples: int, rate: float) -> None:
        self._reports.append(report)
        if (number + 1) % self._every:
            return
        mean = {name: sum(float(r[name]) for r in self._reports) / len(self._reports) for name in report}
        now = time.monotonic()
        mean["samples_per_second"] = samples * len(self._reports) / max(1e-9, now - self._since)
        mean["rate"] = rate
        self._since, self._reports = now, []
        self._write(number + 1, mean)
        self._print(
            f"step {number + 1}  loss {mean['loss']:.3f}  IoU {mean['iou']:.3f}  focal {mean['focal']:.3f}  "
            f"{mean['samples_per_second']:.1f} samples/s"
        )

    def scores(self, number: int, scores: Mapping[str, float]) -> None:
        self._write(number, {f"val/{name}": value for name, value in scores.items()})
        self._print(f"step {number}  " + "  ".join(f"{name} {value:.3f}" for name, value in scores.items()))
        self._since = time.monotonic()

    def _write(self, number: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            tag = name if "/" in name else f"train/{name}"
            self._board.add_scalar(tag, value, number)
        self._file.write(json.dumps({"step": number, **values}) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._board.close()
        self._file.close()


def _accelerator(options: TrainOptions) -> Accelerator:
    try:
        from accelerate import Accelerator
    except ImportError as error:
        raise MissingExtraError("tnllt-train tracker", "train", error) from error
    return Accelerator(mixed_precision=options.precision, cpu=options.cpu)
