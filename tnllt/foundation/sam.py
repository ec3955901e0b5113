"""SAM 2, EdgeTAM and SAM 3 as trackers, by transformers' video classes, frame by frame in bounded memory.

Sources: Ravi et al., SAM 2, ICLR 2025; Zhou et al., EdgeTAM, CVPR 2025; SAM 3, 2025. transformers keeps every frame and
every output of a session; here those that no later frame can reach are forgotten, which changes no mask.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np

import tnllt.sequence
from tnllt.datasets.frames import read_image
from tnllt.errors import DataError, MissingExtraError, UsageError
from tnllt.foundation.checkpoints import Precision, load_whole, model_hash
from tnllt.masks import BoxRule, Mask, mask_box
from tnllt.reasoningtrack.reasoners.models import LOCAL, model_folder, torch_device, usable
from tnllt.sequence import Image
from tnllt.tracking.identity import content_hash
from tnllt.tracking.tracker import Emit, Mode, Prediction, Tracker

_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_HALVES = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
#: Tokens that SAM 3 pads a text to.
_TEXT_LENGTH = 32


@dataclass(eq=False)
class MaskState:
    """One sequence being tracked.

    Attributes:
        session: of transformers.
        size: height and width of the frames in pixels.
        frame: number of the last frame.
        prediction: the last answer, also that for the first frame.
        origin: what the session was started from, and how, for the record.
        text: the description that it was started from, "" for a box or a mask.
        target: in a session started from text, the object that is the target.
    """

    session: Any
    size: tuple[int, int]
    emit: Emit | None = None
    frame: int = -1
    prediction: Prediction = dataclasses.field(default_factory=lambda: Prediction((1.0, 1.0, 1.0, 1.0)))
    origin: str = ""
    text: str = ""
    target: int | None = None


class SamTracker(Tracker):
    """A video segmentation model as a tracker; subclasses name the model.

    Args:
        weights: a model's folder, or its name on the hub, of which what is on disk already is loaded.
        box_rule: the box goes around all pixels of the mask, or around its largest part.
        initial_masks: folder with a mask SEQUENCE.png of each first frame (0: background), to start from.
        dtype: float32, bfloat16 or float16.
        device: cpu, cuda, cuda:1, or auto: CUDA where there is one.
        download: fetch a name that is not on disk from the hub.
        wait: where it starts from a description (SAM 3) that fits nothing yet, wait for the first frame that it fits.

    Raises:
        DataError: no such model, or another one. UsageError: an invalid option.
    """

    name: ClassVar[str]
    model_class: ClassVar[str]
    normalisation: ClassVar[tuple[tuple[float, ...], tuple[float, ...]]] = _IMAGENET
    gives_masks: ClassVar[bool] = True
    published: ClassVar[str]

    @classmethod
    def missing(cls) -> str:
        """What keeps the tracker from running here, or ""."""
        try:
            model_folder(cls.published)
        except (DataError, MissingExtraError) as error:
            return str(error) if isinstance(error, MissingExtraError) else f"--set weights=FOLDER or {cls.published}"
        return ""

    @classmethod
    def identity(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        masks = options.get("initial_masks")
        facts = {"weights": model_hash(model_folder(options["weights"], bool(options.get("download"))))}
        return {**facts, **({"initial_masks": content_hash(Path(masks))} if masks else {})}

    def __init__(
        self,
        weights: str | Path,
        box_rule: BoxRule = "all",
        initial_masks: Path | None = None,
        dtype: Precision = "float32",
        device: str = "auto",
        download: bool = False,
        wait: bool = False,
    ) -> None:
        if box_rule not in get_args(BoxRule) or dtype not in get_args(Precision):
            raise UsageError(f"box_rule is all or largest, dtype {', '.join(get_args(Precision))}")
        self.folder, self.box_rule, self.initial_masks = model_folder(weights, download), box_rule, initial_masks
        self.device = torch_device(device)
        self.download, self.wait, self._sequence = download, wait, ""
        self._state: MaskState | None = None
        self._dtype_name = dtype
        self._model = self._load(self.model_class)
        self._prepare(self._model.config)

    def _load(self, name: str) -> Any:
        import torch

        with usable(self.folder, self.name):
            import transformers

            cls = getattr(transformers, name)
        self._dtype = getattr(torch, self._dtype_name)
        return load_whole(cls, self.folder, self._dtype).to(self.device)

    def _prepare(self, config: Any) -> None:
        """What follows from the model's configuration: the size of its input, and how far back it looks."""
        import torch

        side = config.image_size
        self._input = (side, side) if isinstance(side, int) else tuple(side)
        config = getattr(config, "tracker_config", config)
        self._memories, self._pointers = int(config.num_maskmem), int(config.max_object_pointers_in_encoder)
        self._conditioning = int(config.max_cond_frame_num)
        mean, deviation = self.normalisation
        self._mean, self._deviation = (torch.tensor(v, device=self.device).view(1, 3, 1, 1) for v in (mean, deviation))

    # --- one sequence -------------------------------------------------------------------------------------------

    def receive(self, sequence: tnllt.sequence.Sequence) -> None:
        """Called by the runner before a sequence starts: its name leads to its initial mask."""
        self._sequence = sequence.name

    def initialize(
        self,
        image: Image,
        box: Sequence[float] | None = None,
        language: str | None = None,
        mask: Mask | None = None,
    ) -> Prediction:
        """Starts from a box (x, y, w, h) or a mask (H, W) of the first frame; the answer is for this frame."""
        self._state = self.start(image, box, language, self.emit, mask)
        return self._state.prediction

    def track(self, image: Image) -> Prediction:
        if self._state is None:
            raise UsageError("the tracker was not started: call initialize(image, box) first")
        return self.step([self._state], [image])[0]

    def finish(self) -> None:
        self._state = None

    def info(self) -> Mapping[str, Any]:
        versions = {"transformers": sys.modules["transformers"].__version__} if "transformers" in sys.modules else {}
        return {
            "model": self.folder.name,
            "model_class": type(self._model).__name__,
            "dtype": self._dtype_name,
            "box_rule": self.box_rule,
            "start": self._state.origin if self._state is not None else "",
            "kept_frames": self._reach,
            **versions,
        }

    # --- several sequences at once ------------------------------------------------------------------------------

    def start(
        self,
        image: Image,
        box: Sequence[float] | None,
        language: str | None,
        emit: Emit | None = None,
        mask: Mask | None = None,
    ) -> MaskState:
        """A sequence's first frame. Raises UsageError without box and mask, DataError for a mask of another size."""
        import torch

        if mask is None and self.initial_masks is not None:
            mask = _read_mask(self.initial_masks / f"{self._sequence}.png")
        if box is None and mask is None:
            raise UsageError(f"{self.name} starts from a box or a mask; --starter makes a box from a description")
        if mask is not None and mask.shape != image.shape[:2]:
            raise DataError(f"the initial mask has {mask.shape}, the frame {image.shape[:2]} pixels")
        state = MaskState(self._session(self._model, image), image.shape[:2], emit)
        index = state.session.obj_id_to_idx(0)
        if mask is not None:
            state.origin = "mask"
            whole = torch.from_numpy(mask.astype(np.float32))[None, None].to(self.device)
            resized = torch.nn.functional.interpolate(whole, self._input, mode="bilinear", antialias=True)
            state.session.add_mask_inputs(index, 0, (resized >= 0.5).float())
        elif box is not None:
            state.origin = "box, as two points with the labels 2 and 3; the model's own mask of it"
            x, y, w, h = (float(v) for v in box)
            scale = torch.tensor([self._input[1] / image.shape[1], self._input[0] / image.shape[0]])
            points = torch.tensor([[[[x, y], [x + w, y + h]]]]) * scale
            labels = torch.tensor([[[2, 3]]], dtype=torch.int32)
            state.session.add_point_inputs(index, 0, {"point_coords": points, "point_labels": labels})
        state.session.obj_with_new_inputs = [0]
        self._advance([state], [image])
        return state

    def step(self, states: Sequence[MaskState], images: Sequence[Image]) -> list[Prediction]:
        """The next frame of each sequence; the images are encoded in one forward pass."""
        self._advance(states, images)
        return [state.prediction for state in states]

    def end(self, state: MaskState) -> Mapping[str, Any]:
        state.session = None
        return {"start": state.origin}

    # --- the parts of a step ------------------------------------------------------------------------------------

    def _session(self, model: Any, image: Image) -> Any:
        module, name = sys.modules[type(model).__module__], type(model).__name__.removesuffix("Model")
        session = getattr(module, f"{name}InferenceSession")
        places = dict.fromkeys(("inference_device", "inference_state_device", "video_storage_device"), self.device)
        return session(video_height=image.shape[0], video_width=image.shape[1], dtype=self._dtype, **places)

    def _advance(self, states: Sequence[MaskState], images: Sequence[Image]) -> None:
        import torch

        with torch.inference_mode():
            pixels = [self._pixels(image) for image in images]
            if len(states) > 1:
                self._encode(states, torch.cat(pixels))
            for state, frame in zip(states, pixels, strict=True):
                state.frame += 1
                output = self._model(inference_session=state.session, frame=frame)
                logit = float(output.object_score_logits.reshape(-1)[0])
                confidence = float(1 / (1 + np.exp(-np.clip(logit, -500, 500))))
                state.prediction = self._answer(state, output.pred_masks, confidence, absent=logit < 0)
                self._forget(state)

    def _pixels(self, image: Image) -> Any:
        """(1, 3, side, side), as transformers' processors make it: resized to whole grey levels, then normalised."""
        import torch

        whole = torch.from_numpy(np.ascontiguousarray(image)).to(self.device).permute(2, 0, 1)[None].float()
        resized = torch.nn.functional.interpolate(whole, self._input, mode="bilinear", antialias=True)
        return ((resized.round_().clamp_(0, 255) / 255 - self._mean) / self._deviation).to(self._dtype)

    def _encode(self, states: Sequence[MaskState], pixels: Any) -> None:
        """Encodes the images of several sequences in one pass, and leaves each session its own features."""
        found = self._model.get_image_features(pixels, return_dict=True)
        names = {"vision_feats": found.fpn_hidden_states, "vision_pos_embeds": found.fpn_position_encoding}
        for i, state in enumerate(states):
            # Position embeddings may be those of one image for all.
            own = {n: [m[:, min(i, m.shape[1] - 1)][:, None] for m in maps] for n, maps in names.items()}
            state.session.cache.cache_vision_features(state.frame + 1, own)

    def _answer(self, state: MaskState, logits: Any, confidence: float, absent: bool) -> Prediction:
        """Mask (at the frame's size) and box of low-resolution logits; an empty mask is an absent target."""
        import torch

        logits = logits.reshape(1, 1, *logits.shape[-2:]).float()
        whole = torch.nn.functional.interpolate(logits, state.size, mode="bilinear", align_corners=False)
        mask = (whole[0, 0] > 0).cpu().numpy()
        box = None if absent else mask_box(mask, self.box_rule)
        return Prediction(box or state.prediction.box, confidence, box is None, mask)

    @property
    def _reach(self) -> int:
        """How many frames back the model looks: for memories of masks or for object pointers."""
        return max(self._memories, self._pointers) - 1

    def _forget(self, state: MaskState) -> None:
        """Drops what no later frame reads; the numbers of frames stay as they are."""
        session, now = state.session, state.frame
        session.processed_frames[now] = None
        for index, outputs in session.output_dict_per_obj.items():
            recent, given = outputs["non_cond_frame_outputs"], outputs["cond_frame_outputs"]
            for frame in [frame for frame in recent if frame <= now - self._reach]:
                del recent[frame]
            near = sorted(given)[-self._conditioning :] if self._conditioning > 0 else list(given)
            for frame, output in [*recent.items(), *given.items()]:
                unused = ["pred_masks", "high_res_masks"] if frame < now or frame in recent else []
                if frame <= now - self._memories and frame not in near:
                    unused += ["maskmem_features", "maskmem_pos_enc"]
                for name in unused:
                    output.pop(name, None)
            for table in (session.frames_tracked_per_obj, session.mask_inputs_per_obj, session.point_inputs_per_obj):
                for frame in [frame for frame in table[index] if frame < now]:
                    del table[index][frame]


class Sam2(SamTracker):
    """SAM 2 and 2.1 (Ravi et al., ICLR 2025): a mask in every frame, from a box or a mask."""

    name, model_class, published = "sam2", "Sam2VideoModel", "facebook/sam2.1-hiera-tiny"


class EdgeTam(SamTracker):
    """EdgeTAM (Zhou et al., CVPR 2025): SAM 2 made small for devices, from a box or a mask."""

    name, model_class, published = "edgetam", "EdgeTamVideoModel", "yonigozlan/EdgeTAM-hf"


class Sam3(SamTracker):
    """SAM 3: a mask in every frame, from a box or a mask, or from the language description alone.

    From a description it finds every instance. The target is the one with the highest score in the first frame; where
    SAM 3 drops that object, the one with the highest score then takes its place, and the trace says so.
    """

    name, model_class, published = "sam3", "Sam3TrackerVideoModel", "facebook/sam3"
    normalisation = _HALVES
    modes: ClassVar[tuple[Mode, ...]] = (Mode.NL, Mode.BB)
    _grounding: Any = None
    _tokenizer: Any = None

    def start(
        self,
        image: Image,
        box: Sequence[float] | None,
        language: str | None,
        emit: Emit | None = None,
        mask: Mask | None = None,
    ) -> MaskState:
        if box is not None or mask is not None or self.initial_masks is not None or not language:
            return super().start(image, box, language, emit, mask)
        if self._grounding is None:
            self._load_grounding()
        session = self._session(self._grounding, image)
        words = self._tokenizer(
            language, padding="max_length", max_length=_TEXT_LENGTH, truncation=True, return_tensors="pt"
        ).to(self.device)
        prompt = session.add_prompt(language)
        session.prompt_input_ids[prompt] = words["input_ids"]
        session.prompt_attention_masks[prompt] = words["attention_mask"]
        rule = "description; the object with the highest score in the first frame"
        state = MaskState(session, image.shape[:2], emit, origin=rule, text=language)
        self._advance([state], [image])
        if state.target is None and not self.wait:
            raise DataError(
                f"SAM 3 finds nothing in the first frame that fits {language!r}; --set wait=yes waits for the first "
                "frame that shows it"
            )
        return state

    def _load_grounding(self) -> None:
        with usable(self.folder, "SAM 3 started from text"):
            from transformers import AutoTokenizer

            self._tokenizer = AutoTokenizer.from_pretrained(self.folder, **LOCAL)
        self._grounding = self._load("Sam3VideoModel")
        if not self.download:  # with the package `kernels`, transformers would fetch code from the hub and run it
            sys.modules[type(self._grounding).__module__].cv_utils_kernel = False  # type: ignore[attr-defined]

    def _advance(self, states: Sequence[MaskState], images: Sequence[Image]) -> None:
        pairs = list(zip(states, images, strict=True))
        boxed = [(state, image) for state, image in pairs if not state.text]
        if boxed:
            super()._advance([state for state, _ in boxed], [image for _, image in boxed])
        for state, image in pairs:
            if state.text:
                self._ground(state, image)

    def _ground(self, state: MaskState, image: Image) -> None:
        """One frame of a session started from text: which objects there are, and where the target is."""
        state.frame += 1
        output = self._grounding(inference_session=state.session, frame=self._pixels(image))
        scores = {k: float(v) for k, v in output.obj_id_to_score.items() if k in output.obj_id_to_mask}
        if state.target not in scores and scores:
            before, state.target = state.target, max(scores, key=lambda name: (scores[name], -name))
            if state.emit is not None:
                event = {"event": "target", "frame": state.frame, "object": state.target, "instead_of": before}
                state.emit({**event, "scores": {str(k): round(v, 6) for k, v in scores.items()}})
        if state.target in scores and state.target not in (output.suppressed_obj_ids or ()):
            score = (output.obj_id_to_tracker_score or {}).get(state.target, scores[state.target])
            state.prediction = self._answer(state, output.obj_id_to_mask[state.target], float(score), absent=False)
        else:
            nothing = np.zeros(state.size, bool)
            state.prediction = Prediction(state.prediction.box, 0.0, True, nothing)
        for table in (state.session.suppressed_obj_ids, state.session.obj_id_to_tracker_score_frame_wise):
            table.pop(state.frame - 1, None)
        self._forget(state)


def _read_mask(path: Path) -> Mask:
    """An image file as a mask: what is not black is the target. Raises DataError where it cannot be read."""
    import cv2

    image = read_image(path, cv2.IMREAD_UNCHANGED)
    mask: Mask = np.asarray(image.reshape(*image.shape[:2], -1).any(axis=2))
    if not mask.any():
        raise DataError("the mask of the first frame is empty", path)
    return mask
