"""The network against the golden outputs, and as something to train."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.reasoningtrack.golden import DATA, golden_state, inputs, state_table
from tnllt.errors import UsageError
from tnllt.reasoningtrack.config import PRESETS, Config
from tnllt.reasoningtrack.network import Network
from tnllt.reasoningtrack.text import WordPiece


def names_and_shapes(size: int) -> list[tuple[str, str, str]]:
    with torch.device("meta"):
        state = Network(Config.make(size)).state_dict()
    return [(k, "x".join(map(str, v.shape)), str(v.dtype).removeprefix("torch.")) for k, v in state.items()]


def test_tensors_are_those_of_the_published_checkpoint() -> None:
    assert names_and_shapes(256) == state_table(DATA / "state_256.csv")


def test_tensors_at_384_differ_in_two_position_tables() -> None:
    found = [pair for pair in zip(names_and_shapes(256), names_and_shapes(384), strict=True) if pair[0] != pair[1]]
    assert [(new[0], new[1]) for _, new in found] == [
        ("backbone.pos_embed_z", "1x144x512"),
        ("backbone.pos_embed_x", "1x576x512"),
    ]


@pytest.mark.slow
def test_whole_network_has_the_golden_maps(shared: Path) -> None:
    check_maps(shared / "golden/dutrack/net_256.npz")


@pytest.mark.parametrize("case", ["net_256_depth112", "net_384_depth112"])
def test_golden_maps(case: str) -> None:
    check_maps(DATA / f"{case}.npz")


def check_maps(path: Path) -> None:
    golden = np.load(path)
    template_size, search_size = (int(v) for v in golden["size"])
    config = Config.make({"size": search_size, "depths": tuple(int(d) for d in golden["depths"])})
    assert config.template_size == template_size
    network = Network(config).eval()
    network.load_state_dict(golden_state(config))
    templates, searches = inputs(int(golden["seed"]), template_size, search_size, int(golden["templates"]), 3)
    crops = torch.from_numpy(np.stack([t[0] for t in templates])[None])
    tokenizer, temporal = WordPiece(), None
    for i, search in enumerate(searches):
        text = tokenizer.encode(str(golden["texts"][i]))
        assert text.ids.tolist() == golden["token_ids"][i].tolist()
        with torch.inference_mode():
            out = network(crops, torch.from_numpy(search), torch.from_numpy(text.ids)[None], temporal)
        temporal = out.tokens
        for name, value, tolerance in (
            ("score_map", out.score, 1e-4),
            ("size_map", out.size, 1e-4),
            ("offset_map", out.offset, 1e-3),
            ("tokens", out.tokens, 1e-3),
        ):
            np.testing.assert_allclose(value.numpy(), golden[f"{name}_{i}"], rtol=0, atol=tolerance, err_msg=name)
        np.testing.assert_allclose(out.boxes()[0].numpy(), golden[f"pred_boxes_{i}"][:, 0], rtol=0, atol=1e-3)


SMALL = Config.make({"size": "tiny", "search_size": 64, "template_size": 32, "depths": [1, 1, 2]})


def test_gradients_reach_every_parameter_that_is_used() -> None:
    torch.manual_seed(0)
    network = Network(SMALL, drop_path=0.1).train()
    ids = torch.from_numpy(WordPiece().encode("a red car").ids).expand(2, -1)
    templates, searches = torch.randn(2, 3, 3, 32, 32), torch.randn(2, 2, 3, 64, 64)
    encoded = network.encode_templates(templates)
    first = network(encoded, searches[:, 0], ids)
    second = network(encoded, searches[:, 1], ids, first.tokens)
    assert not first.tokens.requires_grad
    loss = sum(m.square().mean() for out in (first, second) for m in (out.score, out.size, out.offset))
    loss.backward()
    without = {name for name, p in network.named_parameters() if p.requires_grad and p.grad is None}
    assert without == set()
    assert network.box_head.conv1_ctr[1].num_batches_tracked == 2


def test_templates_may_be_given_encoded() -> None:
    torch.manual_seed(0)
    network = Network(SMALL).eval()
    ids = torch.zeros(1, 16, dtype=torch.long)
    templates, search = torch.randn(1, 2, 3, 32, 32), torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(
            network(templates, search, ids).score, network(network.encode_templates(templates), search, ids).score
        )


def test_tiny_is_a_few_million_parameters() -> None:
    with torch.device("meta"):
        count = sum(p.numel() for p in Network(PRESETS["tiny"]).parameters())
    assert 2e6 < count < 6e6


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("512", "no network config '512'"),
        ({"size": 256, "deths": (1, 1, 2)}, "unknown field `deths`; did you mean 'depths'"),
        ({"size": 256, "depths": (1, 1)}, "depths.*length 3"),
        ({"size": 256, "depths": 3}, "`depths` must be a list, not a whole number"),
        ({"search_size": 250}, "multiple of 16"),
        ({"heads": 7}, "7 heads"),
        ("{", "is not JSON"),
    ],
)
def test_config_faults_are_named(spec: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Config.make(spec)  # type: ignore[arg-type]


def test_config_from_json_and_back() -> None:
    config = Config.make('{"size": 256, "depths": [1, 1, 2]}')
    assert config.depths == (1, 1, 2)
    assert Config.make(config.to_dict()) == config
