"""Tiny models of transformers' real classes with random weights, saved as checkpoints are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

MEMORY = {
    "memory_attention_hidden_size": 128,
    "memory_attention_num_layers": 1,
    "memory_encoder_hidden_size": 128,
    "memory_encoder_output_channels": 64,
    "mask_downsampler_embed_dim": 128,
    "memory_fuser_embed_dim": 128,
    "memory_fuser_intermediate_dim": 64,
}
DECODER = {
    "hidden_size": 128,
    "num_attention_heads": 2,
    "mlp_dim": 32,
    "num_hidden_layers": 2,
    "iou_head_hidden_dim": 32,
}


def randomised(model: Any, score: float = 60.0) -> Any:
    """Weights under which masks change from frame to frame; `score` biases the object score towards "present"."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if tensor.dim() > 1:
                tensor.normal_(0, 0.3, generator=generator)
            elif "pred_obj_score_head.proj_out.bias" in name:
                tensor.fill_(score)
    return model.eval()


def _hiera_vision() -> Any:
    from transformers import Sam2HieraDetConfig, Sam2VisionConfig

    backbone = Sam2HieraDetConfig(
        hidden_size=8,
        num_attention_heads=1,
        image_size=[128, 128],
        blocks_per_stage=[1, 2, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 2, 4, 8],
        window_size_per_stage=[4, 2, 4, 2],
        global_attention_blocks=[4],
    )
    return Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
        fpn_hidden_size=128,
    )


def sam2(folder: Path, score: float = 60.0, **changes: Any) -> Path:
    torch.manual_seed(0)
    from transformers import Sam2VideoConfig, Sam2VideoModel

    config = Sam2VideoConfig(
        vision_config=_hiera_vision(),
        image_size=128,
        prompt_encoder_config={"hidden_size": 128, "image_size": 128},
        mask_decoder_config=DECODER,
        memory_attention_feed_forward_hidden_size=64,
        memory_attention_rope_feat_sizes=[8, 8],
        **{**MEMORY, **changes},
    )
    randomised(Sam2VideoModel(config), score).save_pretrained(folder)
    return folder


def edgetam(folder: Path) -> Path:
    torch.manual_seed(0)
    from transformers import EdgeTamVideoConfig, EdgeTamVideoModel

    config = EdgeTamVideoConfig(
        vision_config=_hiera_vision(),
        image_size=128,
        prompt_encoder_config={"hidden_size": 128, "image_size": 128},
        mask_decoder_config=DECODER,
        memory_attention_mlp_hidden_size=64,
        memory_attention_rope_feat_sizes=[8, 8],
        memory_attention_rope_k_sizes=[4, 4],
        perceiver_resampler_num_latents=16,
        perceiver_resampler_num_latents_2d=16,
        **MEMORY,
    )
    randomised(EdgeTamVideoModel(config)).save_pretrained(folder)
    return folder


def _sam3_vision() -> dict[str, Any]:
    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 112,
        "patch_size": 14,
        "window_size": 4,
        "global_attn_indexes": [1],
        "pretrain_image_size": 56,
    }
    sizes = [[32, 32], [16, 16], [8, 8]]
    return {
        "model_type": "sam3_vision_model",
        "backbone_config": backbone,
        "fpn_hidden_size": 128,
        "backbone_feature_sizes": sizes,
    }


def _sam3_tracker() -> dict[str, Any]:
    return {
        "vision_config": _sam3_vision(),
        "image_size": 112,
        "prompt_encoder_config": {"hidden_size": 128, "image_size": 112, "patch_size": 14},
        "mask_decoder_config": DECODER,
        "memory_attention_feed_forward_hidden_size": 64,
        "memory_attention_rope_feat_sizes": [8, 8],
        **MEMORY,
    }


def sam3_tracker(folder: Path) -> Path:
    torch.manual_seed(0)
    from transformers import Sam3TrackerVideoConfig, Sam3TrackerVideoModel

    randomised(Sam3TrackerVideoModel(Sam3TrackerVideoConfig(**_sam3_tracker()))).save_pretrained(folder)
    return folder


def sam3_video(folder: Path, threshold: float = 0.0) -> Path:
    """With a tokenizer. At threshold 0 its detector finds six instances in the first frame, whatever the text."""
    torch.manual_seed(0)
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Sam3VideoConfig, Sam3VideoModel

    text = {
        "model_type": "clip_text_model",
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 64,
        "projection_dim": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 32,
    }
    small = {"hidden_size": 128, "intermediate_size": 64, "num_attention_heads": 2}
    detector = {
        "model_type": "sam3",
        "vision_config": _sam3_vision(),
        "text_config": text,
        "geometry_encoder_config": {**small, "num_layers": 1},
        "detr_encoder_config": {**small, "num_layers": 1},
        "detr_decoder_config": {**small, "num_layers": 1, "num_queries": 6},
        "mask_decoder_config": {"hidden_size": 128, "num_attention_heads": 2},
    }
    tracker = {"model_type": "sam3_tracker_video", **_sam3_tracker()}
    thresholds = {"score_threshold_detection": threshold, "new_det_thresh": threshold}
    config = Sam3VideoConfig(
        detector_config=detector, tracker_config=tracker, low_res_mask_size=32, hotstart_delay=0, **thresholds
    )
    randomised(Sam3VideoModel(config)).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1, "the": 2, "person": 3}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>").save_pretrained(folder)
    return folder


def _bert_words(folder: Path) -> Any:
    from transformers import BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "the", "textured", "square", "red", "car"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return BertTokenizerFast(vocab_file=str(folder / "vocab.txt"), vocab=str(folder / "vocab.txt"))


def grounding_dino(folder: Path) -> Path:
    from transformers import (
        BertConfig,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoProcessor,
        SwinConfig,
    )
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil

    torch.manual_seed(0)
    swin = SwinConfig(
        image_size=64,
        embed_dim=16,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 4, 8],
        window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )
    text = BertConfig(vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    config = GroundingDinoConfig(
        backbone_config=swin,
        text_config=text,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        num_queries=9,
        num_feature_levels=4,
    )
    GroundingDinoForObjectDetection(config).eval().save_pretrained(folder)
    images = GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96})
    GroundingDinoProcessor(images, _bert_words(folder)).save_pretrained(folder)
    return folder


def owlv2(folder: Path) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import Owlv2Config, Owlv2ForObjectDetection, Owlv2Processor, PreTrainedTokenizerFast
    from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Owlv2Config(
        text_config={**small, "vocab_size": 64, "max_position_embeddings": 16, "bos_token_id": 2, "eos_token_id": 3},
        vision_config={**small, "image_size": 96, "patch_size": 16},
        projection_dim=32,
    )
    model = Owlv2ForObjectDetection(config).eval()
    with torch.no_grad():
        for tensor in model.box_head.parameters():
            tensor.mul_(0.01)  # else every box is as large as its saturated logistic functions allow, or a line
    model.save_pretrained(folder)
    words = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1, "<s>": 2, "</s>": 3, "the": 4}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=16, **special)
    Owlv2Processor(Owlv2ImageProcessorPil(size={"height": 96, "width": 96}), tokenizer).save_pretrained(folder)
    return folder
