"""Reinforcement of the bundled reasoner by tracking gain: which object to describe, or to keep what is in force.

The tracker is frozen, and so is what reads the looks; the part that chooses is trained. A question has at most as many
answers as there are objects, so the frozen tracker measures the gain of each, and the expected gain of the policy is
maximised itself instead of a sample of it; a divergence holds the policy near the supervised one.

`gains.safetensors` in the run's folder holds what was measured, so that a killed run goes on after the last scene.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tnllt.errors import UsageError
from tnllt.files import temporary_beside
from tnllt.locks import sole_writer
from tnllt.reasoningtrack.checkpoint import save_safetensors
from tnllt.reasoningtrack.reasoners.base import Look, Question
from tnllt.reasoningtrack.reasoners.bundled import BundledReasoner, best_look, load_reader
from tnllt.reasoningtrack.reasoners.looks import ATTRIBUTES, Described, described_numbers, looks_of, read_description
from tnllt.reasoningtrack.reasoners.reader import MOST, LookReader, Objects, reader_facts, stacked, window
from tnllt.training.gain import WINDOW, Window, gains
from tnllt.training.reasoner.options import GainRecipe, ReasonerOptions
from tnllt.training.reasoner.samples import scene_of
from tnllt.training.reasoner.trainer import CHOOSES
from tnllt.training.state import begin_run, read_state, write_state
from tnllt.training.tracker.validate import scene_sequence

if TYPE_CHECKING:
    from tnllt.reasoningtrack import ReasoningTrack

#: First seed of the scenes.
FIRST_SEED = 400_000_000
#: Frames before which the tracker asks.
ASKED = range(11, 60, 10)


class Row(NamedTuple):
    """What the choice of one question reads, and the gain of each: (K + 1,), the last is 0 for keeping; NaN: none."""

    first: Objects
    now: Objects
    described: Tensor
    gain: Tensor


def reinforce(recipe: GainRecipe, options: ReasonerOptions, weights: Path, report: Callable[[str], None]) -> Path:
    """Measures gains, then trains the choice on them. Returns the path of the weights.

    Raises:
        UsageError: the folder belongs to a run of another recipe, or another process is training in it.
    """
    from tnllt.reasoningtrack import ReasoningTrack

    options.out.mkdir(parents=True, exist_ok=True)
    with sole_writer(options.out):
        begin_run(options.out, {**asdict(recipe), "weights": sha256(weights.read_bytes()).hexdigest()})
        rows, scene = _kept(options.out)
        reasoner = BundledReasoner(weights)
        tracker = ReasoningTrack(reasoner="static")
        for number in range(scene, recipe.scenes):
            rows += list(measured(tracker, reasoner, number, recipe))
            if (number + 1) % 10 == 0 or number + 1 == recipe.scenes:
                _keep(options.out, rows, number + 1)
                report(f"{number + 1} of {recipe.scenes} scenes, {len(rows)} questions with several answers")
        if not rows:
            raise UsageError("no question has several answers; measure more scenes")
        model = load_reader(weights)
        improve(model, rows, recipe, report)
        path = options.out / "weights.safetensors"
        with temporary_beside(path) as temporary:
            save_safetensors(model, temporary, reader_facts())
    return path


def measured(tracker: ReasoningTrack, reasoner: BundledReasoner, number: int, recipe: GainRecipe) -> Iterator[Row]:
    """The questions of one scene, tracked with the reasoner's own answers, that have several answers."""
    kind = "lookalike" if np.random.default_rng((recipe.seed, number)).random() < recipe.lookalikes else "change"
    try:
        video = scene_sequence(scene_of(FIRST_SEED + number, kind), f"{kind}-{number}")
    except UsageError:  # the generator has no scene of this seed
        return
    described = read_description(video.language or "")
    if described is None:
        return
    images = [video.frames[i] for i in range(len(video))]
    initial = _four(video.groundtruth[0])
    first = Look(images[0], initial, 0)
    state = tracker.start(images[0], initial, video.language)
    try:
        for index in range(1, len(video)):
            if index in ASKED:
                current = Look(images[index], _four(state.box), index)
                question = Question(first, first, current, video.language or "", state.description)
                row, texts = _answers(reasoner.model, question, described)
                snapshot = tracker.snapshot(state, WINDOW)
                found = gains(tracker, snapshot, state.description, texts, Window.of(video, index))
                if len(set(texts)) > 1:
                    values = [float("nan") if value is None else value for value in found]
                    yield row._replace(gain=torch.tensor(values))
                after = reasoner.describe(question).after(question)
                if after != state.description:
                    tracker.end(state)
                    state = tracker.resume(snapshot, after)
            tracker.step([state], [images[index]])
    finally:
        tracker.end(state)


@torch.inference_mode()
def _answers(model: LookReader, question: Question, described: Described) -> tuple[Row, list[str]]:
    """What the choice reads, and the description that follows from each choice."""
    looks = (question.first, question.current)
    before, after = (
        model.objects(model.read(stacked([window(look.image, look.box, k)]))) for k, look in enumerate(looks)
    )
    kinds = looks_of(described.look.kind, described.coloured)
    texts = [described.revised(best_look(after, k, kinds, described.coloured).look) for k in range(MOST)]
    numbers = torch.tensor([described_numbers(described)])
    return Row(before, after, numbers, torch.zeros(MOST + 1)), [*texts, question.description]


def improve(model: LookReader, rows: list[Row], recipe: GainRecipe, report: Callable[[str], None]) -> None:
    """Trains the part of the network that chooses, in place, on four fifths of the rows; reports the rest."""
    torch.manual_seed(recipe.seed)
    chosen = [p for n, p in model.named_parameters() if n.startswith(CHOOSES)]
    for parameter in chosen:
        parameter.requires_grad_(True)
    first, now = _joined([r.first for r in rows]), _joined([r.now for r in rows])
    described = torch.cat([r.described for r in rows])
    gain = torch.stack([r.gain for r in rows]).nan_to_num(0.0)
    held = torch.arange(len(rows)) % 5 == 4
    before = deepcopy(model)

    def policy(which: LookReader) -> Tensor:
        return which.choice(first, now, described).log_softmax(1)

    with torch.no_grad():
        reference = policy(before)
    optimizer = torch.optim.AdamW(chosen, lr=recipe.learning_rate, weight_decay=0.0)
    for step in range(recipe.steps + 1):
        logs = policy(model)
        expected = (logs.exp() * gain).sum(1)
        apart = F.kl_div(logs, reference, log_target=True, reduction="none").sum(1)
        if step % 20 == 0 or step == recipe.steps:
            values = [
                float(part[side].mean()) for part in (expected.detach(), apart.detach()) for side in (~held, held)
            ]
            report("step {}  expected gain {:+.4f}, held out {:+.4f}; divergence {:.4f}, {:.4f}".format(step, *values))
        if step == recipe.steps:
            break
        loss = (recipe.divergence * apart - expected)[~held].mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    for parameter in chosen:
        parameter.requires_grad_(False)


def _joined(objects: list[Objects]) -> Objects:
    return Objects.of([torch.cat(parts) for parts in zip(*(each.tensors() for each in objects), strict=True)])


def _keep(out: Path, rows: list[Row], scenes: int) -> None:
    tensors: dict[str, Tensor] = {}
    if rows:
        tensors |= {"described": torch.cat([r.described for r in rows]), "gain": torch.stack([r.gain for r in rows])}
        for end, objects in (("first", [r.first for r in rows]), ("now", [r.now for r in rows])):
            tensors |= {f"{end}/{k}": value for k, value in enumerate(_joined(objects).tensors())}
    write_state(out / "gains.safetensors", tensors, {"scenes": scenes})


def _kept(out: Path) -> tuple[list[Row], int]:
    """What `_keep` wrote: the rows, and the number of the next scene."""
    path = out / "gains.safetensors"
    if not path.is_file():
        return [], 0
    tensors, facts = read_state(path)
    parts = range(4 + len(ATTRIBUTES))
    rows = []
    for i in range(len(tensors.get("gain", ()))):
        first, now = (Objects.of([tensors[f"{end}/{k}"][i : i + 1] for k in parts]) for end in ("first", "now"))
        rows.append(Row(first, now, tensors["described"][i : i + 1], tensors["gain"][i]))
    return rows, int(facts["scenes"])


def _four(box: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, float, float, float]:
    x, y, w, h = (float(value) for value in box)
    return x, y, w, h
