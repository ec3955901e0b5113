"""Trackers made of foundation models: the SAM family, starts from language, multimodal language models."""
