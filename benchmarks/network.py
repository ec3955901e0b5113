"""The tracking network against a straightforward implementation of the same specification.

    python benchmarks/network.py [--config 256] [--batch 1 16] [--precision float32 bfloat16] [--frames 20]
    python benchmarks/network.py --device cuda --batch 1 16 --processes 2

The plain implementation does per frame what its description says and nothing cleverer: every template goes through
the convolutional stages again, the text is embedded again, attention is written out in float32, feature maps are
(B, C, H, W). Ours is what the tracker runs. Both get the same weights and crops, answer the same frames, and their
boxes are compared before anything is timed; on CUDA those of the plain one without the rounding to TF32 that torch
gives its convolutions. Rounds of the two alternate, so that a busy machine is busy for both. With `--processes`, so
many processes run ours at once, each on a batch of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from common import Table
from torch import Tensor

from tnllt.reasoningtrack.config import Config
from tnllt.reasoningtrack.inference import Engine, Query
from tnllt.reasoningtrack.memory import template_indices
from tnllt.reasoningtrack.network import Network
from tnllt.reasoningtrack.text import WordPiece

WARM_UP = 3
FIRST_FRAME = 60
#: Processes that run at once begin together.
_barrier: Any = None


class Plain:
    """The specification, line by line, on a state dict."""

    def __init__(self, state: dict[str, Tensor], config: Config, device: torch.device, dtype: torch.dtype) -> None:
        self.state = {k: v.to(device, dtype) if v.is_floating_point() else v for k, v in state.items()}
        self.config, self.device, self.dtype = config, device, dtype
        k = torch.arange(1, config.side + 1, device=device)
        row = 0.5 * (1 - torch.cos(2 * torch.pi * k / (config.side + 1)))
        self.window = row[:, None] * row[None]

    def __call__(self, templates: list[np.ndarray], search: np.ndarray, ids: Tensor, temporal: Tensor | None):
        """Crops uint8 and ids (1, 16) -> box (4,) cx, cy, w, h, and the next frame's temporal tokens."""
        w = self.state
        b = "backbone."
        text = F.embedding(ids, w[b + "descript_embedding.word_embeddings.weight"])
        if b + "descript_embedding.word_projection.weight" in w:
            text = F.linear(text, w[b + "descript_embedding.word_projection.weight"])
        text = text + w[b + "descript_embedding.position_embeddings.weight"][: ids.shape[1]]
        text = text + w[b + "descript_embedding.token_type_embeddings.weight"][0]
        text = self._norm(text, b + "descript_embedding.LayerNorm", 1e-12)
        text = text + w[b + "description_patch_pos_embed.embed.weight"][: ids.shape[1]]
        if temporal is None:
            temporal = w[b + "temporal_token"] + w[b + "temporal_pos_embed"]
        x = self._convolve(self._image(search)) + w[b + "pos_embed_x"]
        z = [self._convolve(self._image(t)) + w[b + "pos_embed_z"] for t in templates]
        tokens = torch.cat([temporal, text, *z, x], dim=1)
        first = self.config.depths[0] + self.config.depths[1] + 2
        for i in range(first, first + self.config.depths[2]):
            tokens = self._block(tokens, f"{b}blocks.{i}.")
        tokens = self._norm(tokens, b + "norm")
        return self._head(tokens), tokens[:, :3]

    def _image(self, crop: np.ndarray) -> Tensor:
        mean = torch.tensor([0.485, 0.456, 0.406], device=self.device)[:, None, None]
        std = torch.tensor([0.229, 0.224, 0.225], device=self.device)[:, None, None]
        pixels = torch.from_numpy(crop).to(self.device).permute(2, 0, 1).float() / 255
        return ((pixels - mean) / std)[None].to(self.dtype)

    def _norm(self, x: Tensor, name: str, eps: float = 1e-6) -> Tensor:
        weight = self.state[name + ".weight"]
        return F.layer_norm(x, weight.shape, weight, self.state[name + ".bias"], eps)

    def _norm_channels(self, x: Tensor, name: str) -> Tensor:
        return self._norm(x.permute(0, 2, 3, 1), name).permute(0, 3, 1, 2)

    def _convolution(self, x: Tensor, name: str, **options: int) -> Tensor:
        return F.conv2d(x, self.state[name + ".weight"], self.state[name + ".bias"], **options)

    def _convolve(self, x: Tensor) -> Tensor:
        x = self._convolution(x, "backbone.patch_embed.proj", stride=4)
        d1, d2, _ = self.config.depths
        for i in range(d1 + d2 + 2):
            name = f"backbone.blocks.{i}."
            if i in (d1, d1 + 1 + d2):
                x = self._convolution(self._norm_channels(x, name + "norm"), name + "reduction", stride=2)
            else:
                y = self._convolution(self._norm_channels(x, name + "norm2"), name + "mlp.fc1")
                x = x + self._convolution(self._norm_channels(F.gelu(y), name + "mlp.ffn_ln"), name + "mlp.fc2")
        return x.flatten(2).transpose(1, 2)

    def _block(self, x: Tensor, name: str) -> Tensor:
        w, heads = self.state, self.config.heads
        y = self._norm(x, name + "norm1")
        q = F.linear(y, w[name + "attn.q_proj.weight"]) + w[name + "attn.q_bias"]
        k = F.linear(y, w[name + "attn.k_proj.weight"])
        v = F.linear(y, w[name + "attn.v_proj.weight"]) + w[name + "attn.v_bias"]
        q, k, v = (t.view(*t.shape[:2], heads, -1).transpose(1, 2) for t in (q, k, v))
        weights = ((q.float() * q.shape[-1] ** -0.5) @ k.float().transpose(-2, -1)).softmax(dim=-1)
        y = (weights @ v.float()).to(x.dtype).transpose(1, 2).flatten(2)
        x = x + w[name + "gamma_1"] * F.linear(y, w[name + "attn.proj.weight"], w[name + "attn.proj.bias"])
        y = self._norm(x, name + "norm2")
        gate = F.linear(y, w[name + "mlp.w1.weight"], w[name + "mlp.w1.bias"])
        value = F.linear(y, w[name + "mlp.w2.weight"], w[name + "mlp.w2.bias"])
        y = self._norm(F.silu(gate) * value, name + "mlp.ffn_ln")
        return x + w[name + "gamma_2"] * F.linear(y, w[name + "mlp.w3.weight"], w[name + "mlp.w3.bias"])

    def _head(self, tokens: Tensor) -> np.ndarray:
        side = self.config.side
        features = tokens[:, -side * side :]
        features = features * (features @ tokens[:, 0][:, :, None])
        x = features.transpose(1, 2).reshape(1, -1, side, side)
        score, offset, size = (self._branch(x, name).float() for name in ("ctr", "offset", "size"))
        score, size = (m.sigmoid().clamp(1e-4, 1 - 1e-4) for m in (score, size))
        at = int((score[0, 0] * self.window).argmax())
        iy, ix = divmod(at, side)
        ox, oy = offset[0, :, iy, ix].tolist()
        return np.array([(ix + ox) / side, (iy + oy) / side, *size[0, :, iy, ix].tolist()])

    def _branch(self, x: Tensor, branch: str) -> Tensor:
        w = self.state
        for i in range(1, 5):
            name = f"box_head.conv{i}_{branch}."
            x = self._convolution(x, name + "0", padding=1)
            mean, var = w[name + "1.running_mean"], w[name + "1.running_var"]
            x = F.relu(F.batch_norm(x, mean, var, w[name + "1.weight"], w[name + "1.bias"], eps=1e-5))
        return self._convolution(x, f"box_head.conv5_{branch}")


class Clip:
    """Random crops of a few sequences, and which templates each frame uses."""

    def __init__(self, config: Config, sequences: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        z, x = config.template_size, config.search_size
        self.config = config
        self.templates = rng.integers(0, 256, (sequences, 16, z, z, 3), dtype=np.uint8)
        self.search = rng.integers(0, 256, (sequences, 8, x, x, 3), dtype=np.uint8)
        self.text = WordPiece(config.text_length).encode("the wooden ship on the river, left of the bridge")

    def template(self, sequence: int, frame: int) -> np.ndarray:
        return self.templates[sequence, frame % 16]

    def indices(self, frame: int) -> tuple[int, ...]:
        return template_indices(frame, self.config.templates)


def run_plain(plain: Plain, clip: Clip) -> Callable[[int], list[np.ndarray]]:
    """One frame of one sequence; the plain implementation tracks one at a time."""
    state: dict[str, Tensor | None] = {"temporal": None}
    ids = torch.from_numpy(clip.text.ids)[None].to(plain.device)

    @torch.inference_mode()
    def step(frame: int) -> list[np.ndarray]:
        templates = [clip.template(0, i) for i in clip.indices(frame)]
        box, state["temporal"] = plain(templates, clip.search[0, frame % 8], ids, state["temporal"])
        return [box]

    return step


def run_ours(engine: Engine, clip: Clip, batch: int) -> Callable[[int], list[np.ndarray]]:
    """One frame of `batch` sequences, as the tracker's loop does it."""
    text = engine.embed_text(clip.text)
    features: list[dict[int, Tensor]] = [{} for _ in range(batch)]
    temporal: list[Tensor | None] = [None] * batch

    def step(frame: int) -> list[np.ndarray]:
        wanted = clip.indices(frame)
        new = [(s, i) for s in range(batch) for i in wanted if i not in features[s]]
        if new:
            for (s, i), tokens in zip(new, engine.encode_templates([clip.template(s, i) for s, i in new]), strict=True):
                features[s][i] = tokens
        queries = []
        for s in range(batch):
            features[s] = {i: features[s][i] for i in wanted}
            templates = torch.cat([features[s][i] for i in wanted])
            queries.append(Query(templates, text, temporal[s], clip.search[s, frame % 8]))
        answers = engine.predict(queries)
        temporal[:] = [a.temporal for a in answers]
        return [a.box for a in answers]

    return step


def time_both(
    runs: dict[str, Callable[[int], list[np.ndarray]]], frames: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Median seconds a frame of one sequence, rounds alternating."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for frame in range(FIRST_FRAME, FIRST_FRAME + WARM_UP + frames):
        for name, run in runs.items():
            begin = clock()
            boxes = run(frame)
            if frame >= FIRST_FRAME + WARM_UP:
                seconds[name].append((clock() - begin) / len(boxes))
    # The mean over frames would count other programs' bursts; templates are new on every third frame, so groups of 3.
    return {
        n: statistics.median(np.mean(np.reshape(s[: len(s) // 3 * 3], (-1, 3)), axis=1)) for n, s in seconds.items()
    }


def together(config: Config, device: torch.device, precision: str, batch: int, frames: int, processes: int) -> float:
    """Frames a second of all sequences, where so many processes run at once."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    with context.Pool(processes, _share, (barrier,)) as pool:
        work = (config, device, precision, batch, frames)
        seconds = pool.map(_frames_for_seconds, [work] * processes, chunksize=1)
    return processes * batch * frames / max(seconds)


def _share(barrier: Any) -> None:
    global _barrier
    _barrier = barrier


def _frames_for_seconds(work: tuple[Config, torch.device, str, int, int]) -> float:
    config, device, precision, batch, frames = work
    torch.set_num_threads(1)
    network = Network(config)
    network.load_state_dict(random_state(config))
    step = run_ours(Engine(network, device, getattr(torch, precision)), Clip(config, batch), batch)
    for frame in range(FIRST_FRAME, FIRST_FRAME + 2 * WARM_UP):
        step(frame)
    _barrier.wait()
    started = time.perf_counter()
    for frame in range(FIRST_FRAME + 2 * WARM_UP, FIRST_FRAME + 2 * WARM_UP + frames):
        step(frame)
    return time.perf_counter() - started


def random_state(config: Config) -> dict[str, Tensor]:
    torch.manual_seed(0)
    network = Network(config)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.uniform_(0.8, 1.2)
            module.running_mean.normal_(0, 0.05)
    return network.state_dict()


def machine() -> str:
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        name = names[0] if names else name
    capability = torch.backends.cpu.get_cpu_capability()
    gpu = f"; {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else ""
    return f"{name} ({capability}), {torch.get_num_threads()} threads, torch {torch.__version__}{gpu}"


def compare(
    config: Config, device: torch.device, precisions: Iterable[str], batches: Iterable[int], frames: int,
    clock: Callable[[], float], graphs: bool = True,
) -> Iterator[list[str]]:  # fmt: skip
    """Cells of one row per precision and batch."""
    state = random_state(config)
    reference = None
    for precision in precisions:
        dtype = getattr(torch, precision)
        network = Network(config)
        network.load_state_dict(state)
        engine = Engine(network, device, dtype, graphs)
        for batch in batches:
            clip = Clip(config, batch)
            runs = {
                "plain": run_plain(Plain(state, config, device, dtype), clip),
                "ours": run_ours(engine, clip, batch),
            }
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                first = [run(1)[0] for run in runs.values()]
                second = [run(2)[0] for run in runs.values()]
            difference = config.search_size * max(float(np.abs(a - b).max()) for a, b in (first, second))
            found = time_both(runs, frames, clock)
            plain, ours = 1e3 * found["plain"], 1e3 * found["ours"]
            reference = plain if precision == "float32" and reference is None else reference
            overall = f"{reference / ours:.2f}" if reference else ""
            times = (f"{plain:.1f}", f"{ours:.1f}", f"{plain / ours:.2f}", overall)
            yield [precision, str(batch), *times, f"{difference:.0e}"]


HEADER = ["precision", "batch", "plain, ms", "ours, ms", "times faster", "than plain float32", "boxes differ by, px"]


def section(quick: bool = False) -> Table:
    """The table of the benchmark page: CPU, one thread."""
    torch.set_num_threads(1)
    table = Table(
        "Network",
        "ReasoningTrack at 256 against a plain implementation of the same specification (every template through the "
        "convolutions again, the text embedded again, attention written out), same weights and crops, CPU, one thread. "
        "Milliseconds of processor time per frame, medians, frames alternating. "
        f"{torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__.split('+')[0]}.",
        HEADER,
    )
    config = Config.make({"size": 256, "depths": [0, 0, 1]} if quick else "256")
    cpu = torch.device("cpu")
    table.rows += compare(config, cpu, ("float32", "bfloat16"), (1,), 3 if quick else 12, time.process_time)
    table.note = "Figures of a GPU are on [the tracker's page](reasoningtrack.md#speed)."
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="256")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--frames", type=int, default=12, help="timed frames per case; a multiple of 3")
    parser.add_argument("--no-graphs", action="store_true", help="on CUDA: without CUDA graphs")
    parser.add_argument("--clock", default="wall", choices=["wall", "cpu"], help="cpu: on a machine that is busy")
    parser.add_argument("--processes", type=int, help="also run one, and so many processes at once")
    args = parser.parse_args()
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    config, device = Config.make(args.config), torch.device(args.device)
    print(f"{machine()}\nconfig {args.config}, device {device}; {args.clock} milliseconds per frame and sequence\n")
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
    for row in compare(config, device, args.precision, args.batch, args.frames, clock, not args.no_graphs):
        print(f"| {' | '.join(row)} |", flush=True)
    for precision, batch in product(args.precision, args.batch) if args.processes else ():
        found = [together(config, device, precision, batch, 10 * args.frames, n) for n in (1, args.processes)]
        rates = f"{found[0]:.0f} frames a second, {args.processes} at once {found[1]:.0f}"
        print(f"{precision}, batch {batch}: one process {rates} ({found[1] / found[0]:.2f} times)", flush=True)


if __name__ == "__main__":
    main()
