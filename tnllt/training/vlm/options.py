"""Options of training a reasoner, declared once for functions and commands."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tnllt.options import option
from tnllt.training.state import need_utf8

if TYPE_CHECKING:
    from tnllt.training.rewards import RewardWeights

#: Bounds on an image's pixels in the published training.
MIN_PIXELS, MAX_PIXELS = 59_536, 262_144

Rollouts = Literal["auto", "transformers", "vllm", "vllm-server"]


@dataclass(frozen=True)
class RecordSources:
    """Where records come from: published files, folders of samples, any dataset; they may be combined."""

    records: tuple[Path, ...] = option((), "Published JSON file, or a folder of them.", kind=Path, multiple=True)
    images: Path | None = option(None, "Folder of their images (takes the place of /your_root_path).")
    samples: tuple[Path, ...] = option((), "Folder of sample*/ (two images, data.json).", kind=Path, multiple=True)
    dataset: str | None = option(
        None, "Benchmark's name, or a folder of sequences, to make pairs of frames from.", "-d"
    )
    root: Path | None = option(None, "Folder of the benchmark.")
    annos: Path | None = option(None, "Folder of annotations alone.")
    split: str = option("train", "Split of the dataset; `all` for all of it.")
    pairs: int = option(4, "Pairs of frames per sequence.", minimum=1)
    gap: tuple[int, int] = option((10, 400), "Frames between the two of a pair, least and most.", kind=(int, int))
    teacher: str | None = option(None, "Reasoner that writes the answers of those pairs, such as openai:URL.")
    teacher_options: str | None = option(
        None, "Its options, such as view=search,temperature=1.", metavar="NAME=VALUE,..."
    )
    view: Literal["frames", "boxes", "search", "crops"] = option(
        "frames", "What the model is shown of each pair.", choices=("frames", "boxes", "search", "crops")
    )
    prompt: Path | None = option(None, "File of a system prompt, instead of the records' own.")
    skip_missing: bool = option(False, "Leave out records whose images are missing.")
    limit: int | None = option(None, "Use at most so many records, the first ones.", minimum=1)


@dataclass(frozen=True)
class ModelOptions:
    """How a model is loaded and trained."""

    model: str = option(MISSING, "Vision-language model: a folder, or a name on the hub.")
    min_pixels: int = option(MIN_PIXELS, "Least pixels of an image; 0 keeps the model's bound.", minimum=0)
    max_pixels: int = option(MAX_PIXELS, "Most pixels of an image; 0 keeps the model's bound.", minimum=0)
    lora: int = option(0, "Rank of adapters on the language model; 0 trains all parameters.", minimum=0)
    freeze_vision: bool = option(False, "Do not train the vision tower.")
    bf16: bool | None = option(None, "bfloat16 arithmetic.  [default: on a GPU that supports it]", "--bf16/--no-bf16")
    gradient_checkpointing: bool | None = option(
        None,
        "Less memory, more time.  [default: on a GPU]",
        "--gradient-checkpointing/--no-gradient-checkpointing",
    )
    download: bool = option(False, "Fetch a name that is not on disk from the hub.")


@dataclass(frozen=True)
class FrozenOptions:
    """The frozen tracker that measures what a description is worth."""

    tracker_weights: str | None = option(
        None, "Checkpoint of the frozen network.  [default: the bundled weights]", metavar="FILE"
    )
    tracker_config: str | None = option(None, "Its config: 256, 384, tiny.  [default: the weights' own]")
    tracker_batch: int = option(32, "Pairs in one forward pass.", minimum=1)
    tracker_device: str = option("auto", "Device of the frozen network.")
    window: int = option(20, "Frames over which tracking gain is measured.", minimum=1)


@dataclass(frozen=True)
class RewardOptions(FrozenOptions):
    """Rewards, and the frozen tracker that some of them need."""

    reward_weights: str = option(
        "with-iou",
        "released (.1,.1,0,.15), with-iou (.1,.1,.5,.3), gain (.1,.1,0,0,1), or numbers "
        "format,strict,iou,decision[,gain].",
        "--reward",
        "--reward-weights",
    )
    iou: Literal["halved", "threshold"] = option(
        "halved", "How the overlap is rewarded.", choices=("halved", "threshold")
    )

    @property
    def weights(self) -> RewardWeights:
        """Raises UsageError where the text is neither a name nor four or five numbers."""
        from tnllt.training.rewards import RewardWeights

        return RewardWeights.parse(self.reward_weights)


@dataclass(frozen=True)
class FineTuneOptions:
    """What fine-tuning and GRPO share; the defaults are those of fine-tuning."""

    out: Path = option(MISSING, "Folder of the trained model.", "-o")
    epochs: float = option(3.0, "Passes over the records.")
    steps: int = option(-1, "Number of updates; overrides --epochs.")
    learning_rate: float = option(5e-5, "Learning rate.")
    scheduler: str = option("cosine", "cosine, constant, linear, ...")
    batch: int = option(1, "Records (GRPO: answers) that a device takes at once.", minimum=1)
    max_norm: float = option(1.0, "Bound on the gradient's norm.")
    log_every: int = option(10, "Steps between log lines.", minimum=1)
    save_every: int = option(200, "Steps between checkpoints.", minimum=1)
    resume: bool = option(False, "Resume from the last checkpoint in --out.")
    seed: int = option(0, "Random seed.", minimum=0)

    def __post_init__(self) -> None:
        need_utf8(self.out)


@dataclass(frozen=True)
class SftOptions(FineTuneOptions):
    """The published recipe is the default: 3 epochs, 5e-5 cosine without warm-up, 1 x 8, norm 1, 4096 tokens."""

    warmup_steps: int = option(0, "Steps of linear warm-up.", minimum=0)
    accumulation: int = option(8, "Batches per step.", minimum=1)
    max_length: int = option(4096, "Tokens; longer records are left out, and their number is logged.", minimum=1)


@dataclass(frozen=True)
class GrpoOptions(RewardOptions, FineTuneOptions):
    """The published recipe is the default: groups of 5, 256 prompts a rollout, 128 an update, KL 0.01, 2 epochs.

    `batch` concerns memory only; the recipe's sizes are kept by accumulation.
    """

    epochs: float = option(2.0, "Passes over the records.")
    learning_rate: float = option(1e-6, "Learning rate.")
    scheduler: str = option("constant", "cosine, constant, linear, ...")
    log_every: int = option(1, "Steps between log lines.", minimum=1)
    save_every: int = option(50, "Steps between checkpoints.", minimum=1)
    weight_decay: float = option(1e-2, "Weight decay.")
    beta: float = option(1e-2, "Weight of the KL divergence.")
    group: int = option(5, "Answers per question.", minimum=2)
    temperature: float = option(1.0, "Temperature of sampling.")
    top_p: float = option(0.99, "Nucleus of sampling.")
    prompts_per_rollout: int = option(256, "Questions per rollout.", minimum=1)
    prompts_per_update: int = option(128, "Questions per update.", minimum=1)
    max_prompt: int = option(4096, "Tokens; longer questions are left out, and their number is logged.", minimum=1)
    max_tokens: int = option(2048, "Most tokens of an answer.", minimum=1)
    rollouts: Rollouts = option(
        "auto",
        "What writes the answers; auto: vLLM where it is installed and there is a GPU.",
        choices=("auto", "transformers", "vllm", "vllm-server"),
    )


@dataclass(frozen=True, kw_only=True)
class ExportOptions(RewardOptions):
    """What is exported, and where to."""

    to: Literal["llamafactory", "easyr1"] = option(
        MISSING, "The trainer that reads the export.", choices=("llamafactory", "easyr1")
    )
    out: Path = option(MISSING, "Folder to write to.", "-o")
    model: str = option("Qwen/Qwen2.5-VL-3B-Instruct", "Model that the settings name.")
    seed: int = option(0, "Seed of the pairs made from --dataset.", minimum=0)


@dataclass(frozen=True, kw_only=True)
class RecordOptions(FrozenOptions):
    """Which records are written, and where to."""

    out: Path = option(MISSING, "Folder of the samples.", "-o")
    select: Literal["all", "gain"] = option(
        "all",
        "all: the teacher's first answer, or the annotation's. gain: the best of its answers by tracking gain.",
        choices=("all", "gain"),
    )
    candidates: int = option(4, "Answers of the teacher among which gain selects.", minimum=1)
    least_gain: float = option(0.02, "Gain from which an answer is better than keeping the description.")
    seed: int = option(0, "Random seed.", minimum=0)
