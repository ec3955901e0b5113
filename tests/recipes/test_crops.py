"""A tracker's weights for other crops: every place keeps its embedding."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import crops  # noqa: E402
from click.testing import CliRunner  # noqa: E402

from tnllt.reasoningtrack.checkpoint import read_checkpoint, save_safetensors  # noqa: E402
from tnllt.reasoningtrack.config import Config  # noqa: E402
from tnllt.reasoningtrack.network import Network  # noqa: E402

SMALL = {"size": "tiny", "template_size": 32, "search_size": 64, "search_factor": 2.0, "depths": (0, 0, 1)}


def test_a_larger_search_region_at_the_same_scale(tmp_path: Path) -> None:
    """Every cell keeps its place's embedding, the new ring has the edge's."""
    source = Network(Config.make(SMALL))
    with torch.no_grad():
        source.backbone.pos_embed_x.normal_(generator=torch.Generator().manual_seed(3))
    save_safetensors(source, tmp_path / "small.safetensors", source.config.to_dict())
    sizes = ["--template", "32", "2", "--search", "96", "3"]
    arguments = [str(tmp_path / name) for name in ("small.safetensors", "large.safetensors")]
    assert CliRunner().invoke(crops.main, [*arguments, *sizes], catch_exceptions=False).exit_code == 0
    made, config = read_checkpoint(tmp_path / "large.safetensors")
    assert (config["search_size"], config["search_factor"]) == (96, 3.0)
    old = source.backbone.pos_embed_x.reshape(4, 4, -1)
    new = made["backbone.pos_embed_x"].reshape(6, 6, -1)
    torch.testing.assert_close(new[1:5, 1:5], old)
    torch.testing.assert_close(new[0, 1:5], old[0])
    torch.testing.assert_close(new[5, 5], old[3, 3])
    # A target that was half of the crop is a third of it now: sigmoid(logit) by hand.
    bias = source.box_head.conv5_size.bias
    torch.testing.assert_close(made["box_head.conv5_size.bias"] - bias, torch.full((2,), math.log(1 / 2)))
