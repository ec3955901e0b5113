"""The network of the bundled reasoner: reads the objects of two windows, and says which of them is the target now.

One convolutional reader sees both windows: around the initial box in the first frame, and around the tracker's box in
the current one. It marks the middles of objects and reads kind, colours and pattern in every cell. Small transformers
compare the objects then and now, beside what the description says, and choose one, or that it cannot tell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tnllt.files import temporary_beside
from tnllt.reasoningtrack.checkpoint import save_safetensors
from tnllt.reasoningtrack.reasoners.looks import ATTRIBUTES
from tnllt.sequence import Image

#: Pixels per sqrt(w h) of the box; sides of the windows in boxes, then in pixels.
SCALE, FACTORS = 28, (8, 6)
SIDES = (SCALE * FACTORS[0], SCALE * FACTORS[1])
STRIDE = 8
#: Objects that are compared in each window; networks that choose among them, whose probabilities are averaged.
MOST, CHOOSERS = 8, 3
_COUNTS = {name: len(values) for name, values in ATTRIBUTES.items()}
_STAGES, _BLOCKS = (64, 96, 160, 128), 3
#: Numbers by which an object is compared with others, and channels of the comparison; least logarithm in it.
_COMPARED, _WIDTH, _LEAST = 12 + 4 * len(_COUNTS), 64, math.log(1e-3)


def window(image: Image, box: Sequence[float], which: int) -> Image:
    """The square around a box x, y, w, h that window `which` (0: first, 1: current) shows, black outside the image.

    RGB uint8 (side, side, 3), side in `SIDES`.
    """
    x, y, w, h = (float(v) for v in box)
    side = FACTORS[which] * math.sqrt(max(w * h, 1.0))
    size = SIDES[which]
    scale = size / side
    left, top = x + w / 2 - side / 2, y + h / 2 - side / 2
    x0, y0 = max(0, math.floor(left)), max(0, math.floor(top))
    inside = image[y0 : max(0, math.ceil(top + side)), x0 : max(0, math.ceil(left + side))]
    out = np.zeros((size, size, 3), np.uint8)
    if inside.size:
        move = np.array([[scale, 0, (x0 - left) * scale], [0, scale, (y0 - top) * scale]])
        if scale < 0.5:  # more than bilinear interpolation can shrink without aliasing
            less = (max(1, round(inside.shape[1] * scale)), max(1, round(inside.shape[0] * scale)))
            move[0, 0], move[1, 1] = scale * inside.shape[1] / less[0], scale * inside.shape[0] / less[1]
            inside = np.asarray(cv2.resize(inside, less, interpolation=cv2.INTER_AREA), np.uint8)
        move[:, 2] += (move[[0, 1], [0, 1]] - 1) / 2
        out = np.asarray(cv2.warpAffine(inside, move, (size, size), flags=cv2.INTER_LINEAR), np.uint8)
    return out


class Convolution(nn.Module):
    """A convolution and batch normalisation; the weight is kept as a matrix, as Muon needs it."""

    def __init__(self, inner: int, outer: int, size: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.shape, self.stride = (outer, inner, size, size), stride
        self.weight = nn.Parameter(torch.randn(outer, inner * size * size) / math.sqrt(inner * size * size))
        self.norm = nn.BatchNorm2d(outer)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.view(self.shape)
        return self.norm(F.conv2d(x, weight, None, self.stride, self.shape[2] // 2))  # type: ignore[no-any-return]


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.two = Convolution(width, width), Convolution(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.two(F.relu(self.one(x))))


class Objects(NamedTuple):
    """The most prominent objects of B windows.

    Attributes:
        at: (B, K) cell numbers. heat: (B, K) logits of there being an object.
        place: (B, K, 2) x, y of the cell's middle, in boxes from the window's middle.
        looks: attribute -> (B, K, values) logits.
    """

    at: Tensor
    heat: Tensor
    place: Tensor
    looks: dict[str, Tensor]

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> Objects:
        """The inverse of `tensors`."""
        at, heat, place, *looks = tensors
        return cls(at, heat, place, dict(zip(ATTRIBUTES, looks, strict=True)))

    def tensors(self) -> list[Tensor]:
        """All of them in one order, (B, ...) each."""
        return [self.at, self.heat, self.place, *(self.looks[name] for name in ATTRIBUTES)]


class Chooser(nn.Module):
    """Chooses among the objects by what they were compared in."""

    def __init__(self) -> None:
        super().__init__()
        self.compared = nn.Linear(_COMPARED, _WIDTH)
        self.said = nn.Linear(len(_COUNTS), _WIDTH)
        self.marks = nn.Parameter(0.02 * torch.randn(4, _WIDTH))  # first, current, description, cannot tell
        layer = nn.TransformerEncoderLayer(_WIDTH, 4, 2 * _WIDTH, 0.0, "gelu", batch_first=True, norm_first=True)
        self.compare = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.choose = nn.Linear(_WIDTH, 2)

    def forward(self, first: Tensor, now: Tensor, named: Tensor) -> Tensor:
        """(B, K + 1, 2) logits, see `LookReader.choice`.

        Args:
            first, now: (B, K, numbers) of each object. named: (B, 4) which parts of a look the description names.
        """
        unsure = self.marks[3].expand(len(named), 1, -1)
        text = self.said(named)[:, None] + self.marks[2]
        objects = [self.compared(part) + self.marks[k] for k, part in enumerate((first, now))]
        seen = self.compare(torch.cat([objects[1], unsure, objects[0], text], 1))
        answers: Tensor = self.choose(seen[:, : MOST + 1]).float()
        return answers


class LookReader(nn.Module):
    """See the module's text."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d = _STAGES
        self.stem = Convolution(3, a, 7, 4)
        self.fine = Convolution(a, b, 3, 2)
        self.fine_blocks = nn.ModuleList([Residual(b) for _ in range(_BLOCKS)])
        self.coarse = Convolution(b, c, 3, 2)
        self.coarse_blocks = nn.ModuleList([Residual(c) for _ in range(_BLOCKS)])
        self.join_fine, self.join_coarse = Convolution(b, d, 1), Convolution(c, d, 1)
        self.last = Convolution(d, d)
        self.heads = nn.ModuleDict({name: nn.Linear(d, count) for name, count in {"heat": 1, **_COUNTS}.items()})
        nn.init.constant_(self.heads["heat"].bias, -3.0)  # type: ignore[arg-type]
        self.choosers = nn.ModuleList([Chooser() for _ in range(CHOOSERS)])

    def read(self, pixels: Tensor) -> Tensor:
        """Windows uint8 (B, H, W, 3) -> features (B, H / 8, W / 8, C)."""
        x = (pixels.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        fine = F.relu(self.fine(F.relu(self.stem(x))))
        for block in self.fine_blocks:
            fine = block(fine)
        coarse = F.relu(self.coarse(fine))
        for block in self.coarse_blocks:
            coarse = block(coarse)
        wide = F.interpolate(self.join_coarse(coarse), size=fine.shape[-2:], mode="nearest")
        out: Tensor = F.relu(self.last(F.relu(self.join_fine(fine) + wide)))
        return out.permute(0, 2, 3, 1)

    def read_twice(self, pixels: Tensor) -> Tensor:
        """`read`, averaged over the windows and their mirror images, which are misread otherwise."""
        return (self.read(pixels) + self.read(pixels.flip(2)).flip(2)) / 2

    def looks(self, feature: Tensor) -> dict[str, Tensor]:
        """Logits of each attribute, (..., values), of features (..., C)."""
        return {name: self.heads[name](feature) for name in _COUNTS}

    def heat(self, feature: Tensor) -> Tensor:
        """Logits (B, h, w) of an object's middle lying in each cell."""
        return self.heads["heat"](feature)[..., 0].float()  # type: ignore[no-any-return]

    def objects(self, feature: Tensor) -> Objects:
        """The `MOST` highest local maxima of the heat in features (B, h, w, C)."""
        heat = self.heat(feature)
        with torch.no_grad():
            peak = F.max_pool2d(heat[:, None], 3, 1, 1)[:, 0] <= heat
            at = heat.where(peak, heat - 30).flatten(1).topk(MOST).indices
        rows, columns = at // heat.shape[2], at % heat.shape[2]
        sides = heat.new_tensor([heat.shape[2], heat.shape[1]])
        place = (torch.stack([columns, rows], dim=2) + 0.5 - sides / 2) * (STRIDE / SCALE)
        picked = feature.flatten(1, 2).gather(1, at[..., None].expand(-1, -1, feature.shape[3]))
        return Objects(at, heat.flatten(1).gather(1, at), place, self.looks(picked))

    def choice(self, first: Objects, now: Objects, described: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, K + 1) of each current object being the target, the last: it cannot be told; and logits (B, K) of
        each having another look than the described one, if it is the target. Of probabilities that are the means of
        all choosers'.

        Args:
            described: (B, 4) numbers of the look in the description; -1 where it names none.
        """
        chosen, changed = self.choices(first, now, described)
        return chosen.log_softmax(2).logsumexp(0), changed.sigmoid().mean(0).logit(1e-6)

    def choices(self, first: Objects, now: Objects, described: Tensor) -> tuple[Tensor, Tensor]:
        """As `choice`, of each chooser: (N, B, K + 1) and (N, B, K)."""
        named = (described >= 0).float()
        said = [
            F.one_hot(described[:, k].clamp(min=0), count)[:, None].float() * named[:, k, None, None]
            for k, count in enumerate(_COUNTS.values())
        ]
        chances = [[value.float().softmax(2) for value in objects.looks.values()] for objects in (first, now)]
        target = first.place.norm(dim=2).argmin(1)  # of the first window: what is in the initial box
        held = [v.gather(1, target[:, None, None].expand(-1, 1, v.shape[2])) for v in chances[0]]
        compared = []
        for k, objects in enumerate((first, now)):
            own = chances[k]
            pairs = _alike(own, chances[1 - k])
            there = F.logsigmoid((first, now)[1 - k].heat)[:, None].clamp(min=_LEAST)
            whole, paint = pairs.sum(3), pairs[..., 1:].sum(3) + there  # without the kind
            other = pairs.gather(2, (whole + there).argmax(2)[..., None, None].expand(-1, -1, 1, len(_COUNTS)))[:, :, 0]
            to_said, to_held = _alike(own, said)[:, :, 0], _alike(own, held)[:, :, 0]
            single = [whole.amax(2), (whole + there).amax(2), (whole + there).logsumexp(2), paint.amax(2)]
            single += [to_said.sum(2), to_said[..., 1:].sum(2), to_held.sum(2)]
            alike = torch.cat([torch.stack(single, 2), other, to_said, to_held], 2) / 5
            mark = F.one_hot(target, MOST).float() * (1 - k)
            sure = [objects.heat.sigmoid(), objects.place.norm(dim=2) / 3, *(v.amax(2) for v in own), mark]
            compared.append(torch.cat([torch.stack(sure, 2), objects.place / 3, alike], 2))
        answers = torch.stack([chooser(*compared, named) for chooser in self.choosers])
        return answers[..., 0], answers[:, :, :MOST, 1]


def _alike(some: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """Logarithms (B, K, L, attributes) of how much likelier a value is the same in both than by chance.

    Args:
        some, others: of each attribute the chances of its values, (B, K, values) and (B, L, values).
    """
    same = [a.shape[2] * (a @ b.transpose(1, 2)) for a, b in zip(some, others, strict=True)]
    return torch.stack(same, 3).clamp(min=math.exp(_LEAST)).log()


def stacked(images: Sequence[Image]) -> Tensor:
    """Windows of one side as uint8 (B, side, side, 3)."""
    return torch.from_numpy(np.stack(list(images)))


def save_reader(model: LookReader, path: Path) -> None:
    """Writes the weights, whole or not at all."""
    with temporary_beside(path) as temporary:
        save_safetensors(model, temporary, reader_facts(), half=True)


def reader_facts() -> dict[str, Any]:
    """What the shapes of the network's tensors and windows depend on, as a file's metadata has it."""
    return {"scale": SCALE, "factors": list(FACTORS), "attributes": {n: list(v) for n, v in ATTRIBUTES.items()}}
