"""Training a reasoner: records of frame pairs, supervised fine-tuning, GRPO, exports to other trainers."""
