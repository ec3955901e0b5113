"""A reasoner in this process: Qwen2.5-VL, Qwen3-VL or another image-text model through transformers."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from tnllt.reasoningtrack.reasoners.base import Question, ReasonerError, Reasoning
from tnllt.reasoningtrack.reasoners.cache import AnswerCache
from tnllt.reasoningtrack.reasoners.models import load_model, load_processor, torch_device, write_answers
from tnllt.reasoningtrack.reasoners.parsing import Compat, load_prompt
from tnllt.reasoningtrack.reasoners.trace import image_hash, text_hash
from tnllt.reasoningtrack.reasoners.views import MAX_PIXELS, View, bounded, shown
from tnllt.sequence import Image


class LocalReasoner:
    """Runs the model itself; one question at a time.

    Args:
        path: a model's folder, or its name on the hub. No code from it is ever run.
        view: what the model is shown: frames, boxes, search or crops (see `views`).
        prompt: file of the system prompt; None for the bundled one.
        compat: "released" reads answers as the released tracker does.
        device: "auto", "cpu", "cuda:0", ...; dtype: "auto" (as saved), "float32", "bfloat16", "float16".
        cache: "on", "off" or a folder: answers kept by content.
        max_pixels: bound on the size of each image.
        max_tokens: tokens of an answer.
        temperature: 0 takes the likeliest token; top_p, top_k as usual.
        total_timeout: seconds for one question; looked at after every token, so that reading the images is not cut.

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
    ) -> None:
        self.path, self.prompt, self.compat = str(path), load_prompt(prompt), compat
        self.max_pixels, self.total_timeout, self.view = max_pixels, total_timeout, view
        self._sampling: dict[str, Any] = {"max_new_tokens": max_tokens, "do_sample": temperature > 0}
        if temperature > 0:
            chosen = {"temperature": temperature, "top_p": top_p, "top_k": top_k}
            self._sampling.update({name: value for name, value in chosen.items() if value is not None})
        self._cache = AnswerCache(cache)
        # What changes with the weights and takes no reading of gigabytes: the files' names, sizes and times.
        files = [file for file in sorted(Path(path).glob("*")) if file.is_file()] if Path(path).is_dir() else []
        facts = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
        self._weights: list[Any] = [str(Path(path)), *facts]
        self._lock = threading.Lock()
        self._processor = load_processor(path)
        self._model = load_model(path, dtype).to(torch_device(device)).eval()

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
