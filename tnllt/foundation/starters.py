"""Starters: models that find what a text names in an image. See `tnllt.tracking.language_start`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from tnllt.errors import DataError, UsageError
from tnllt.foundation.box_model import BoxModel
from tnllt.foundation.checkpoints import Precision, load_whole, model_hash
from tnllt.options import key_values, split_pairs
from tnllt.reasoningtrack.reasoners.models import LOCAL, model_folder, torch_device, usable
from tnllt.sequence import Image

Found = list[tuple[Sequence[float], float]]
#: model_type in config.json -> threshold of its authors. Florence-2 gives no scores.
_THRESHOLDS = {"grounding-dino": 0.25, "mm-grounding-dino": 0.25, "owlv2": 0.1, "omdet-turbo": 0.3, "florence2": 0.0}
#: Of all that a detector proposes, so many are looked at.
_MOST = 100


class DetectorStarter:
    """GroundingDino, MMGroundingDino, Owlv2, OmDetTurbo or Florence2 through transformers.

    Args:
        model: its folder, or its name on the hub, of which what is on disk already is loaded.
        dtype: float32, bfloat16 or float16; device: cpu, cuda, cuda:1 or auto.
        download: fetch a name that is not on disk from the hub.

    Raises:
        DataError: no such model, or one of another kind.
    """

    name: ClassVar[str] = "starter transformers"

    @classmethod
    def identity(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"model": model_hash(model_folder(options["model"], bool(options.get("download"))))}

    def __init__(self, model: str, dtype: Precision = "float32", device: str = "auto", download: bool = False) -> None:
        import torch

        self.folder = model_folder(model, download)
        self.device, self._dtype = torch_device(device), getattr(torch, dtype)
        with usable(self.folder, "a detector started by a text"):
            import transformers

            self.kind = str(transformers.AutoConfig.from_pretrained(self.folder, **LOCAL).model_type)
            if self.kind not in _THRESHOLDS:
                raise DataError(f"a {self.kind} model is not one of {', '.join(_THRESHOLDS)}", self.folder)
            self._processor = transformers.AutoProcessor.from_pretrained(self.folder, **LOCAL)
            classes = transformers.models.auto.modeling_auto.MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES
            chosen = classes.get(self.kind, "Florence2ForConditionalGeneration")
        self.threshold = _THRESHOLDS[self.kind]
        self._model = load_whole(getattr(transformers, chosen), self.folder, self._dtype).to(self.device)

    def locate(self, image: Image, text: str) -> Found:
        """Boxes (x, y, w, h in pixels) with the model's scores; Florence-2's all have 1."""
        import torch

        with torch.inference_mode():
            boxes, scores = (self._generate if self.kind == "florence2" else self._detect)(image, text)
        order = sorted(range(len(scores)), key=lambda i: -scores[i])[:_MOST]
        return [
            ((boxes[i][0], boxes[i][1], boxes[i][2] - boxes[i][0], boxes[i][3] - boxes[i][1]), scores[i]) for i in order
        ]

    def _detect(self, image: Image, text: str) -> tuple[list[list[float]], list[float]]:
        from PIL import Image as Pictures

        dino = self.kind in ("grounding-dino", "mm-grounding-dino")
        # GroundingDino separates phrases by full stops, so that a description must not hold one within.
        asked: Any = text.lower().replace(".", ",").strip(" ,") + "." if dino else [[text]]
        if self.kind == "omdet-turbo":
            asked = [text]
        inputs = self._inputs(Pictures.fromarray(image), asked)
        outputs = self._model(**inputs)
        size = [(image.shape[0], image.shape[1])]
        own: dict[str, Any] = {"text_labels": [[text]]} if self.kind == "omdet-turbo" else {}
        own |= {"input_ids": inputs["input_ids"]} if dino else {}
        found = self._processor.post_process_grounded_object_detection(outputs, threshold=0.0, target_sizes=size, **own)
        return found[0]["boxes"].float().tolist(), found[0]["scores"].float().tolist()

    def _generate(self, image: Image, text: str) -> tuple[list[list[float]], list[float]]:
        from PIL import Image as Pictures

        task = "<CAPTION_TO_PHRASE_GROUNDING>"
        inputs = self._inputs(Pictures.fromarray(image), task + text)
        written = self._model.generate(**inputs, max_new_tokens=256, do_sample=False)
        answer = self._processor.batch_decode(written, skip_special_tokens=False)[0]
        size = (image.shape[1], image.shape[0])
        found = self._processor.post_process_generation(answer, task=task, image_size=size)[task]["bboxes"]
        return found, [1.0] * len(found)

    def _inputs(self, image: Any, text: Any) -> Any:
        import torch

        inputs = self._processor(images=image, text=text, return_tensors="pt").to(self.device)
        return {k: v.to(self._dtype) if torch.is_floating_point(v) else v for k, v in inputs.items()}


class ServerStarter:
    """A multimodal language model behind an OpenAI-compatible server, which grounds in its own convention.

    Args:
        url: the server's address.
        convention: qwen2.5-vl, qwen3-vl, internvl, glm-v, moondream, or your own TOML file.
        options: of the server, "name=value,...", as for reasoners.

    A language model gives no score: its first box has 1, the others less, in their order.
    """

    name: ClassVar[str] = "starter openai"

    def __init__(self, url: str, convention: str = "qwen3-vl", options: str = "") -> None:
        self._model = BoxModel(f"openai:{url}", Path(convention) if Path(convention).is_file() else convention,
                               key_values(split_pairs(options), "options", "NAME=VALUE"))  # fmt: skip
        self._model.reach()

    def locate(self, image: Image, text: str) -> Found:
        """Boxes in the order of the answer. Raises UsageError where the server gives no usable answer."""
        answer = self._model.locate(image, text)
        if answer.error:
            raise UsageError(f"the starter's server gives no box: {answer.error}")
        return [(box, 1 / (1 + place)) for place, box in enumerate(answer.boxes)]
