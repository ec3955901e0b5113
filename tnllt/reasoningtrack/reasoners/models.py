"""Vision-language models and their processors, loaded by transformers; Qwen's also where torchvision is missing.

`AutoProcessor` cannot be loaded without torchvision because of its video half, which two images do not need.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tnllt.errors import DataError, MissingExtraError, UsageError

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


def load_processor(path: str | Path, **image_options: int) -> Any:
    """The processor of the model at `path` (a folder, or a name on the hub).

    `image_options` (min_pixels, max_pixels) go to its image half.

    Raises:
        MissingExtraError: without transformers. DataError: no such model, or one that needs torchvision after all.
    """
    with usable(path):
        from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, AutoTokenizer

        model_type = "" if find_spec("torchvision") is not None else AutoConfig.from_pretrained(path).model_type
        if model_type not in _PROCESSORS:
            return AutoProcessor.from_pretrained(path, **image_options)
        module, name = _PROCESSORS[model_type]
        tokenizer = AutoTokenizer.from_pretrained(path)
        make = image_only(getattr(import_module(module), name))
        images = AutoImageProcessor.from_pretrained(path, **image_options)
        return make(images, tokenizer, chat_template=_template(path, tokenizer))


def load_model(path: str | Path, dtype: str) -> Any:
    """The model at `path` (a folder, or a name on the hub) from its safetensors; none of its code is run.

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
        return AutoModelForImageTextToText.from_pretrained(path, dtype=wanted, use_safetensors=True)


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
    for prompt, shown, description in questions:
        content: list[dict[str, str]] = [{"type": "image"} for _ in shown]
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
        raise DataError(f"not usable as {what}: {' '.join(str(error).split())[:300]}", place) from error


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

    settings, _ = ProcessorMixin.get_processor_dict(path)
    return settings.get("chat_template")
