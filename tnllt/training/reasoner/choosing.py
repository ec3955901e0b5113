"""The part of the bundled reasoner that chooses: which of the objects that were read is the target now, or none.

It is small, and what it reads of a question is a few hundred numbers. So both stages first gather these, with an answer
or a gain for each choice, and then train on all of them. `rows.safetensors` in a run's folder holds what was gathered;
a killed run goes on after it.

`choose`, supervised: the target is known, the tracker's box is drawn. `tracked`: the same at the boxes of the frozen
tracker, which are on the target more often where nothing has changed. `gain`, reinforcement by tracking gain: the
frozen tracker measures the gain of the description that follows from each choice, so the policy's expected gain is
maximised itself instead of a sample of it; a divergence holds the policy near the one that it starts from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tnllt.datasets.synth import ScenePlan
from tnllt.errors import UsageError
from tnllt.locks import sole_writer
from tnllt.reasoningtrack import ReasoningTrack
from tnllt.reasoningtrack.reasoners.base import Look, Question
from tnllt.reasoningtrack.reasoners.bundled import BundledReasoner, load_reader
from tnllt.reasoningtrack.reasoners.looks import Described, described_numbers, read_description
from tnllt.reasoningtrack.reasoners.models import torch_device
from tnllt.reasoningtrack.reasoners.reader import MOST, SIDES, STRIDE, LookReader, Objects, save_reader
from tnllt.sequence import Image
from tnllt.sequence import Sequence as Video
from tnllt.training.gain import Window, gains
from tnllt.training.reasoner.losses import target_among
from tnllt.training.reasoner.options import ChoiceRecipe, GainRecipe, ReasonerOptions, TrackedRecipe
from tnllt.training.reasoner.samples import WindowSample, WindowSampler, collate, drawn, facts, labels, scene_of
from tnllt.training.reasoner.trainer import CHOOSES
from tnllt.training.state import begin_run, read_state, write_state
from tnllt.training.tracker.validate import scene_sequence

#: First seeds of the scenes of the stages, and the frames before which a tracker asks.
CHOICE_SEED, GAIN_SEED, TRACKED_SEED = 350_000_000, 400_000_000, 450_000_000
ASKED, TRACKED_ASKED = range(11, 60, 10), range(6, 57, 5)


class ChoiceRows(NamedTuple):
    """N questions, as the choice reads them.

    Attributes:
        values: (N, K + 1), the right choice (1), or each one's gain.
        changed: (N,) whether the target has another look than the described one; NaN where it is not known.
    """

    first: Objects
    now: Objects
    described: Tensor
    values: Tensor
    changed: Tensor

    @classmethod
    def of(cls, tensors: list[Tensor]) -> ChoiceRows:
        """The inverse of `tensors`."""
        half = (len(tensors) - 3) // 2
        return cls(Objects.of(tensors[:half]), Objects.of(tensors[half:-3]), *tensors[-3:])

    def tensors(self) -> list[Tensor]:
        return [*self.first.tensors(), *self.now.tensors(), self.described, self.values, self.changed]


def train_choice(
    recipe: ChoiceRecipe | GainRecipe, options: ReasonerOptions, weights: Path, report: Callable[[str], None]
) -> Path:
    """Gathers questions, then trains the choice of the network in `weights`. Returns the path of the new weights.

    Raises:
        UsageError: the folder belongs to a run of another recipe, another process is training in it, or no question has
            several answers.
    """
    options.out.mkdir(parents=True, exist_ok=True)
    with sole_writer(options.out):
        begin_run(options.out, {**asdict(recipe), "weights": sha256(weights.read_bytes()).hexdigest()})
        rows, done = _kept(options.out)
        for number, some in gathered(recipe, weights, range(done, recipe.scenes), options):
            rows += some
            if (number + 1) % options.save_every == 0 or number + 1 == recipe.scenes:
                _keep(options.out, rows, number + 1)
                report(f"{number + 1} of {recipe.scenes} scenes")
        if not rows:
            raise UsageError("no question has several answers; gather more scenes")
        model, device = load_reader(weights), torch_device(options.device)
        fit(model.to(device), ChoiceRows.of([part.to(device) for part in _joined(rows).tensors()]), recipe, report)
        path = options.out / "weights.safetensors"
        save_reader(model, path)
    return path


def gathered(
    recipe: ChoiceRecipe | GainRecipe, weights: Path, numbers: range, options: ReasonerOptions
) -> Iterator[tuple[int, list[ChoiceRows]]]:
    """The number of each scene, and its questions."""
    if isinstance(recipe, TrackedRecipe):
        scenes = drawn(TrackedScenes(recipe, weights), numbers, options.workers)
        for number, arrays in zip(numbers, scenes, strict=True):
            yield number, [ChoiceRows.of([torch.from_numpy(part) for part in row]) for row in arrays]
        return
    device = torch_device(options.device)
    reader, sampler = load_reader(weights).to(device), WindowSampler(recipe.seed, CHOICE_SEED, 1, 1, 6, 0, 4, 0)
    for number, sample in zip(numbers, drawn(sampler, numbers, options.workers), strict=True):
        yield number, [true_choices(reader, sample, device)]


@dataclass
class TrackedScenes:
    """The questions of tracked scenes, by the scenes' numbers, as arrays: those of `ChoiceRows.tensors`.

    The networks are read in the process that uses them. A tensor from another process is a file that stays open.
    """

    recipe: TrackedRecipe
    weights: Path
    _networks: tuple[ReasoningTrack, BundledReasoner] | None = None

    def __getitem__(self, number: int) -> list[list[np.ndarray[Any, Any]]]:
        if self._networks is None:
            self._networks = ReasoningTrack(reasoner="static"), BundledReasoner(self.weights)
        tracked = tracked_scene(number, self.recipe)
        if tracked is None:
            return []
        ask = measured_gains if isinstance(self.recipe, GainRecipe) else tracked_choices
        return [[part.numpy() for part in row.tensors()] for row in ask(*self._networks, tracked)]


@torch.inference_mode()
def true_choices(model: LookReader, sample: WindowSample, device: torch.device) -> ChoiceRows:
    """The questions of one scene, and which object is the target."""
    batch = {name: value.to(device) for name, value in collate([sample]).items()}
    with torch.autocast(device.type, torch.bfloat16):  # as the network was trained
        wide, feature = (model.read_twice(pixels).float() for pixels in (batch["first"], batch["now"][0]))
    first, now = model.objects(wide), model.objects(feature)
    count = len(now.at)
    first = Objects.of([part.expand(count, *part.shape[1:]) for part in first.tensors()])
    rows = _true_rows(first, now, batch["described"].expand(count, -1), batch["now_labels"][0])
    return ChoiceRows.of([part.cpu() for part in rows.tensors()])


def _true_rows(first: Objects, now: Objects, described: Tensor, table: Tensor) -> ChoiceRows:
    """Rows of B questions; table: labels (B, M, 9) of the current windows."""
    target = target_among(now, table, SIDES[1] // STRIDE)
    looks = table[:, 0, 5:].long()
    changed = ((looks != described) & (described >= 0)).any(1).float()
    values = F.one_hot(target, MOST + 1).float()
    return ChoiceRows(first, now, described, values, changed.where(target < MOST, torch.nan))


class TrackedScene(NamedTuple):
    """A scene to be tracked: its plan, its video, its images, the first look, its description and what that names."""

    scene: ScenePlan
    video: Video
    images: list[Image]
    first: Look
    own: str
    described: Described


def tracked_scene(number: int, recipe: TrackedRecipe) -> TrackedScene | None:
    """Scene `number` of a run; None where the generator has none, or its description names nothing that is read."""
    kind = "lookalike" if np.random.default_rng((recipe.seed, number)).random() < recipe.lookalikes else "change"
    try:
        scene = scene_of((GAIN_SEED if isinstance(recipe, GainRecipe) else TRACKED_SEED) + number, kind)
    except UsageError:
        return None
    video = scene_sequence(scene, f"{kind}-{number}")
    described = read_description(scene.language)
    if described is None:
        return None
    images = [video.frames[i] for i in range(len(video))]
    return TrackedScene(
        scene, video, images, Look(images[0], _four(video.groundtruth[0]), 0), scene.language, described
    )


def tracked_choices(tracker: ReasoningTrack, reasoner: BundledReasoner, tracked: TrackedScene) -> Iterator[ChoiceRows]:
    """The questions of one scene, tracked with its own description, and which object is the target."""
    numbers = torch.tensor([described_numbers(tracked.described)])
    state = tracker.start(tracked.images[0], tracked.first.box, tracked.own)
    try:
        for index in range(1, TRACKED_ASKED[-1] + 1):
            image = tracked.images[index]
            if index in TRACKED_ASKED:
                look = Look(image, _four(state.box), index)
                seen = reasoner.look(Question.of_pair(tracked.first, look, tracked.own), tracked.described)
                table = torch.from_numpy(labels(facts(tracked.scene, index), look.box, 1))[None]
                yield _true_rows(seen.first, seen.now, numbers, table)
            tracker.step([state], [image])
    finally:
        tracker.end(state)


def measured_gains(tracker: ReasoningTrack, reasoner: BundledReasoner, tracked: TrackedScene) -> Iterator[ChoiceRows]:
    """The questions of one scene that have several answers, tracked with the reasoner's own, and each one's gain."""
    _, video, images, first, own, described = tracked
    state = tracker.start(images[0], first.box, own)
    try:
        for index in range(1, len(video)):
            if index in ASKED:
                current = Look(images[index], _four(state.box), index)
                question = Question(first, first, current, own, state.description)
                seen = reasoner.look(question, described)
                texts = [
                    described.revised(new.look) if changed else own
                    for new, changed in zip(seen.news, seen.others_changed.tolist(), strict=True)
                ]
                texts.append(state.description)
                snapshot = tracker.snapshot(state, len(video) - index)  # a state may go on from it to the end
                if len(set(texts)) > 1:
                    found = gains(tracker, snapshot, state.description, texts, Window.of(video, index))
                    values = torch.tensor([[0.0 if value is None else value for value in found]])
                    numbers = torch.tensor([described_numbers(described)])
                    yield ChoiceRows(seen.first, seen.now, numbers, values, torch.tensor([torch.nan]))
                after = reasoner.describe(question).after(question)
                if after != state.description:
                    tracker.end(state)
                    state = tracker.resume(snapshot, after)
            tracker.step([state], [images[index]])
    finally:
        tracker.end(state)


def fit(model: LookReader, rows: ChoiceRows, recipe: ChoiceRecipe | GainRecipe, report: Callable[[str], None]) -> None:
    """Trains the part of the network that chooses, in place, on nine tenths of the rows; reports on the rest, too."""
    torch.manual_seed(recipe.seed)
    chosen = [p for n, p in model.named_parameters() if n.startswith(CHOOSES)]
    for parameter in chosen:
        parameter.requires_grad_(True)
    count, device = len(rows.values), rows.values.device
    held = torch.arange(count, device=device) >= count - max(1, count // 10)
    known = torch.nonzero(~held)[:, 0]
    with torch.no_grad():
        reference = policy(model, rows)
    optimizer = torch.optim.AdamW(chosen, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    steps = recipe.epochs * max(1, len(known) // recipe.batch)
    for step in range(steps + 1):
        if step % max(1, steps // 10) == 0 or step == steps:
            with torch.no_grad():
                score = measure(policy(model, rows), rows.values, recipe)
            report(f"step {step} of {steps}: {score[~held].mean():.4f}, held out {score[held].mean():.4f}")
        if step == steps:
            break
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * min(1.0, (step + 1) / 20, (steps - step) / (0.6 * steps))
        part = known[torch.randint(len(known), (recipe.batch,)).to(device)]
        some = ChoiceRows.of([tensor[part] for tensor in rows.tensors()])
        values, known_change = rows.values[part], rows.changed[part]
        if isinstance(recipe, GainRecipe):
            logs = policy(model, some)
            apart = F.kl_div(logs, reference[part], log_target=True, reduction="none").sum(1)
            loss = (recipe.divergence * apart - (logs.exp() * values).sum(1)).mean()
        else:
            there = ~known_change.isnan()
            loss = torch.zeros((), device=device)
            for logits, changed in zip(*model.choices(some.first, some.now, some.described), strict=True):
                of_target = changed.gather(1, values[:, :MOST].argmax(1)[:, None])[:, 0]
                loss = loss + F.cross_entropy(logits, values)
                loss = loss + F.binary_cross_entropy_with_logits(of_target[there], known_change[there])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    for parameter in chosen:
        parameter.requires_grad_(False)


def policy(model: LookReader, rows: ChoiceRows) -> Tensor:
    """Logarithms of the probabilities (N, K + 1) of each choice."""
    return model.choice(rows.first, rows.now, rows.described)[0].log_softmax(1)


def measure(logs: Tensor, values: Tensor, recipe: ChoiceRecipe | GainRecipe) -> Tensor:
    """What is reported of each row: whether the likeliest choice is right, or the expected gain."""
    if isinstance(recipe, GainRecipe):
        return (logs.exp() * values).sum(1)
    return (logs.argmax(1) == values.argmax(1)).float()


def _joined(rows: list[ChoiceRows]) -> ChoiceRows:
    return ChoiceRows.of([torch.cat(parts).clone() for parts in zip(*(row.tensors() for row in rows), strict=True)])


def _keep(out: Path, rows: list[ChoiceRows], done: int) -> None:
    tensors = {str(k): tensor for k, tensor in enumerate(_joined(rows).tensors())} if rows else {}
    write_state(out / "rows.safetensors", tensors, {"scenes": done})


def _kept(out: Path) -> tuple[list[ChoiceRows], int]:
    """What `_keep` wrote: the rows, and the number of the next scene."""
    path = out / "rows.safetensors"
    if not path.is_file():
        return [], 0
    tensors, facts = read_state(path)
    rows = [ChoiceRows.of([tensors[str(k)] for k in range(len(tensors))])] if tensors else []
    return rows, int(facts["scenes"])


def _four(box: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, float, float, float]:
    x, y, w, h = (float(value) for value in box)
    return x, y, w, h
