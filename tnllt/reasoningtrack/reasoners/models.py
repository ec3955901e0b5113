"""Vision-language models in this process, loaded by transformers (Qwen2.5-VL, Qwen3-VL, ...), and the reasoner of one.

Processors of Qwen's are loaded also where torchvision is missing: `AutoProcessor` needs it because of its video half,
which two images do not need.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from tnllt.errors import DataError, MissingExtraError, UsageError
from tnllt.files import user_path
from tnllt.reasoningtrack.reasoners.base import Question, ReasonerError, Reasoning
from tnllt.reasoningtrack.reasoners.cache import AnswerCache
from tnllt.reasoningtrack.reasoners.parsing import Compat, load_prompt
from tnllt.reasoningtrack.reasoners.trace import image_hash, text_hash
from tnllt.reasoningtrack.reasoners.views import MAX_PIXELS, View, bounded, shown
from tnllt.sequence import Image

#: model_type in config.json -> (module of its processor, class).
_PROCESSORS = {
    "qwen2_vl": ("transformers.models.qwen2_vl.processing_qwen2_vl", "Qwen2VLProcessor"),
    "qwen2_5_vl": ("transformers.models.qwen2_5_vl.processing_qwen2_5_vl", "Qwen2_5_VLProcessor"),
    "qwen3_vl": ("transformers.models.qwen3_vl.processing_qwen3_vl", "Qwen3VLProcessor"),
    "qwen3_vl_moe": ("transformers.models.qwen3_vl.processing_qwen3_vl", "Qwen3VLProcessor"),
}
_TOKENS = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "vision_start_token": "<|vision_start|>",
    "vision_end_token": "<|vision_end|>",
}
#: Of everything that transformers loads: the hub is not asked, and no code of a model's repository is run, nor is the
#: user asked on the terminal whether it may be.
LOCAL: Mapping[str, Any] = {"local_files_only": True, "trust_remote_code": False}
#: What of a model's repository is used: weights without pickles, settings, vocabularies.
PATTERNS = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")


def model_folder(name: str | Path, download: bool = False) -> Path:
    """The folder of a model.

    Args:
        name: a folder, or a name on the hub such as facebook/sam2.1-hiera-tiny.
        download: whether a name that is not on disk may be fetched.

    Raises:
        DataError: no such folder, and no such name on disk. MissingExtraError: without transformers.
    """
    place = user_path(name)
    if place.is_dir():
        return place
    if find_spec("transformers") is None:
        raise MissingExtraError(f"the model {name}", "vlm", ImportError("no module transformers"))
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(name), local_files_only=not download, allow_patterns=list(PATTERNS)))
    except (OSError, ValueError) as error:
        if download:
            raise DataError(f"{name} cannot be downloaded: {' '.join(str(error).split())[:300]}") from error
        raise DataError(
            f"{name} is neither a folder nor a model that is on this disk already; the option download=yes fetches it "
            "from the hub (of a training, --download)"
        ) from error


def load_processor(path: str | Path, **image_options: int) -> Any:
    """The processor of the model in the folder `path`.

    `image_options` (min_pixels, max_pixels) go to its image half.

    Raises:
        MissingExtraError: without transformers. DataError: no such model, or one that needs torchvision after all.
    """
    with usable(path):
        from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, AutoTokenizer

        whole = find_spec("torchvision") is not None
        model_type = "" if whole else AutoConfig.from_pretrained(path, **LOCAL).model_type
        if model_type not in _PROCESSORS:
            return AutoProcessor.from_pretrained(path, **LOCAL, **image_options)
        module, name = _PROCESSORS[model_type]
        tokenizer = AutoTokenizer.from_pretrained(path, **LOCAL)
        make = image_only(getattr(import_module(module), name))
        images = AutoImageProcessor.from_pretrained(path, **LOCAL, **image_options)
        return make(images, tokenizer, chat_template=_template(path, tokenizer))


def load_model(path: str | Path, dtype: str) -> Any:
    """The model in the folder `path` from its safetensors; none of its code is run.

    Args:
        dtype: "auto" (as saved), "float32", "bfloat16" or "float16".

    Raises:
        MissingExtraError: without transformers. DataError: no such model. UsageError: another dtype.
    """
    if dtype not in ("auto", "float32", "bfloat16", "float16"):
        raise UsageError(f"dtype {dtype!r}: must be auto, float32, bfloat16 or float16")
    with usable(path):
        import torch
        from transformers import AutoModelForImageTextToText

        wanted = dtype if dtype == "auto" else getattr(torch, dtype)
        return AutoModelForImageTextToText.from_pretrained(path, **LOCAL, dtype=wanted, use_safetensors=True)


def write_answers(
    model: Any, processor: Any, questions: Sequence[tuple[str, Sequence[Any], str]], **sampling: Any
) -> list[str]:
    """What the model writes about each question, all in one batch.

    Args:
        questions: system prompt ("" for none), images of PIL, and the text after them (the description, say).
        sampling: arguments of the model's `generate`.
    """
    import torch

    texts = []
    for prompt, pictures, description in questions:
        content: list[dict[str, str]] = [{"type": "image"} for _ in pictures]
        content.append({"type": "text", "text": description})
        system = [{"role": "system", "content": [{"type": "text", "text": prompt}]}] if prompt else []
        messages = [*system, {"role": "user", "content": content}]
        texts.append(processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
    images = [list(pair) for _, pair, _ in questions]
    inputs = processor(text=texts, images=images, padding=True, padding_side="left", return_tensors="pt")
    inputs = inputs.to(model.device)
    with torch.inference_mode():
        written = model.generate(**inputs, **sampling)
    answers = written[:, inputs["input_ids"].shape[1] :]
    decoded: list[str] = processor.tokenizer.batch_decode(answers, skip_special_tokens=True)
    return decoded


@contextmanager
def usable(place: str | Path, what: str = "a vision-language model") -> Iterator[None]:
    """Turns what transformers raises about a model into an error that names it.

    Args:
        place: the model's folder or name. what: it should be usable as this.
    """
    if find_spec("transformers") is None:
        raise MissingExtraError(what, "vlm", ImportError("no module transformers"))
    try:
        yield
    except (ImportError, OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        if "trust_remote_code" in str(error):
            reason = "it needs code of its own, which is not run; choose a model that transformers itself knows"
        raise DataError(f"not usable as {what}: {reason}", place) from error


def torch_device(name: str) -> Any:
    """ "auto" is CUDA where there is one. Raises UsageError for a device that is not here."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
    return device


def image_only(base: Any) -> Any:
    """The processor class without its video half; it keeps the name, so that what it saves can be loaded anywhere."""
    from transformers.processing_utils import ProcessorMixin

    class ImageOnly(base):  # type: ignore[misc]
        def __init__(
            self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None, **_: Any
        ) -> None:
            for name, default in _TOKENS.items():
                token = getattr(tokenizer, name, None) or default
                setattr(self, name, token)
                setattr(self, f"{name}_id", tokenizer.convert_tokens_to_ids(token))
            ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    ImageOnly.__name__ = ImageOnly.__qualname__ = base.__name__
    return ImageOnly


def _template(path: str | Path, tokenizer: Any) -> Any:
    """The chat template: the tokenizer's, else that of the processor, where older checkpoints have it."""
    if getattr(tokenizer, "chat_template", None):
        return tokenizer.chat_template
    from transformers.processing_utils import ProcessorMixin

    settings, _ = ProcessorMixin.get_processor_dict(path, **LOCAL)
    return settings.get("chat_template")


class LocalReasoner:
    """Runs the model itself; one question at a time.

    Args:
        path: a model's folder, or its name on the hub, of which what is on disk already is loaded. No code from it is
            ever run.
        view: what the model is shown: frames, boxes, search or crops (see `views`).
        prompt: file of the system prompt; None for the bundled one.
        compat: "released" reads answers as the released tracker does.
        device: "auto", "cpu", "cuda:0", ...; dtype: "auto" (as saved), "float32", "bfloat16", "float16".
        cache: "on", "off" or a folder: answers kept by content.
        max_pixels: bound on the size of each image.
        max_tokens: tokens of an answer.
        temperature: 0 takes the likeliest token; top_p, top_k as usual.
        total_timeout: seconds for one question; looked at after every token, so that reading the images is not cut.
        download: fetch a name that is not on disk from the hub.

    Raises:
        MissingExtraError: without the extra `vlm`. DataError: no such model.
    """

    name: ClassVar[str] = "reasoner transformers"
    concurrency = 1

    def __init__(
        self,
        path: str | Path,
        *,
        view: View = "frames",
        prompt: str | Path | None = None,
        compat: Compat = "ours",
        device: str = "auto",
        dtype: str = "auto",
        cache: str | Path = "on",
        max_pixels: int = MAX_PIXELS,
        max_tokens: int = 2048,
        temperature: float = 0.0,
        top_p: float | None = None,
        top_k: int | None = None,
        total_timeout: float = 600.0,
        download: bool = False,
    ) -> None:
        folder = model_folder(path, download)
        self.path, self.prompt, self.compat = str(path), load_prompt(prompt), compat
        self.max_pixels, self.total_timeout, self.view = max_pixels, total_timeout, view
        self._sampling: dict[str, Any] = {"max_new_tokens": max_tokens, "do_sample": temperature > 0}
        if temperature > 0:
            chosen = {"temperature": temperature, "top_p": top_p, "top_k": top_k}
            self._sampling.update({name: value for name, value in chosen.items() if value is not None})
        self._cache = AnswerCache(cache)
        # What changes with the weights and takes no reading of gigabytes: the files' names, sizes and times.
        files = [file for file in sorted(folder.glob("*")) if file.is_file()]
        facts = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
        self._weights: list[Any] = [str(Path(path)), *facts]
        self._lock = threading.Lock()
        self._processor = load_processor(folder)
        self._model = load_model(folder, dtype).to(torch_device(device)).eval()

    def describe(self, first: Image, second: Image, description: str, question: Question | None = None) -> Reasoning:
        """Asks the model (see `Reasoner.describe`). Raises ReasonerError when it writes nothing or fails."""
        first, second = shown(first, second, question, self.view)
        detail: dict[str, Any] = {"model": self.path, "prompt_sha256": text_hash(self.prompt), "view": self.view}
        asked = {
            "weights": self._weights,
            "prompt": text_hash(self.prompt),
            "images": [image_hash(first), image_hash(second), self.max_pixels],
            "text": description,
            "sampling": self._sampling,
        }

        def ask() -> str:
            try:
                raw = self.generate((first, second), self.prompt, description)
            except ReasonerError:
                raise
            except Exception as error:  # such as too little memory; the tracker keeps its description
                raise ReasonerError("generate", f"{type(error).__name__}: {error}", detail) from error
            if not raw.strip():
                raise ReasonerError("empty", "the model wrote nothing", detail)
            return raw

        return self._cache.answer(asked, self.compat, detail, ask)

    def info(self) -> Mapping[str, Any]:
        """Facts for the run's record."""
        return {
            "reasoner": "transformers",
            "model": self.path,
            "device": str(self._model.device),
            "dtype": str(self._model.dtype),
            "prompt_sha256": text_hash(self.prompt),
            "view": self.view,
            "sampling": dict(self._sampling),
        }

    def generate(self, shown: Sequence[Image], prompt: str, text: str) -> str:
        """What the model writes about images, a system prompt and a text.

        Generation stops at the deadline; what is written by then is not an answer: ReasonerError.
        """
        from PIL import Image as Pictures

        deadline = time.monotonic() + self.total_timeout
        late = ReasonerError("timeout", f"no whole answer within {self.total_timeout:g} s")
        if not self._lock.acquire(timeout=self.total_timeout):
            raise late
        try:
            images = [Pictures.fromarray(bounded(image, self.max_pixels)) for image in shown]
            seconds = deadline - time.monotonic()
            question = (prompt, images, text)
            (text,) = write_answers(self._model, self._processor, [question], **self._sampling, max_time=seconds)
        finally:
            self._lock.release()
        if time.monotonic() >= deadline:
            raise late
        return text
