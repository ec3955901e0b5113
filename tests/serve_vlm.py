"""`transformers serve` for a machine without torchvision: the processors lose their video half first.

python tests/serve_vlm.py serve MODEL --port 8000
"""

from __future__ import annotations

from transformers.cli.transformers import app
from transformers.models.qwen2_5_vl import processing_qwen2_5_vl as home

from tnllt.reasoningtrack.reasoners.models import image_only


def patch() -> None:
    home.Qwen2_5_VLProcessor.__init__ = image_only(home.Qwen2_5_VLProcessor).__init__


if __name__ == "__main__":
    patch()
    app()
