"""The network as it runs (fused, packed, batched with padding) against the network as it is trained."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from tnllt.errors import TnlltError
from tnllt.reasoningtrack import fused
from tnllt.reasoningtrack.config import Config
from tnllt.reasoningtrack.fused import fuse_for_inference
from tnllt.reasoningtrack.inference import Answer, Engine, Query
from tnllt.reasoningtrack.network import Network
from tnllt.reasoningtrack.text import WordPiece
from tnllt.tracking.costs import counted

SMALL = Config.make({"size": "tiny", "search_size": 64, "template_size": 32, "depths": [1, 1, 2]})
CPU = torch.device("cpu")


def network_of(config: Config = SMALL) -> Network:
    """Random weights in which nothing is neutral: norms, biases and layer scales all matter."""
    torch.manual_seed(0)
    network = Network(config)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.7, 1.3)
            elif tensor.ndim == 1:
                tensor.add_(0.1 * torch.randn_like(tensor))
            elif name.startswith("backbone.") and "blocks" not in name:
                tensor.normal_(0, 0.2)
    return network.eval()


@pytest.mark.parametrize("packed", [True, False])
def test_fusing_changes_no_map(monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    if not packed:
        monkeypatch.setattr(fused, "_pack", lambda *_: None)
    torch.manual_seed(1)
    inputs = torch.randn(2, 3, 3, 32, 32), torch.randn(2, 3, 64, 64), torch.randint(0, 30522, (2, 16))
    network = network_of()
    with torch.inference_mode():
        plain = network(*inputs)
        tokens = plain.tokens
        plain = network(*inputs, tokens)
        after = fuse_for_inference(network)(*inputs, tokens)
    for a, b in zip(plain, after, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-5)


def test_packed_weights_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """By `--profile`: the same parameters and operations, packed, not packed, and where a recording is replayed."""

    def count(replayed: bool = False) -> tuple[int, int]:
        engine = Engine(network_of(), CPU, torch.float32)
        queries = _queries(engine)[:1]
        found = sum(parameter.numel() for parameter in engine.network.parameters())
        if replayed:
            monkeypatch.setattr(engine, "_graphs", lambda *_: pytest.fail("operations of a replay are not counted"))
        return found, counted(lambda: engine.predict(queries))[1]["flops"]

    loaded = sum(parameter.numel() for parameter in network_of().parameters())
    packed = count()
    monkeypatch.setattr(fused, "_pack", lambda *_: None)
    assert packed == count() == count(replayed=True)
    assert packed[0] == pytest.approx(loaded, rel=0.01)


@pytest.mark.skipif(fused._pack("_reorder_linear_weight", torch.ones(2, 2), 1) is None, reason="no oneDNN here")
def test_operations_of_packed_layers_by_hand() -> None:
    image, weight, bias = torch.ones(1, 5, 8, 8), torch.ones(7, 5, 3, 3), torch.zeros(7)
    ones, operators = [1, 1], torch.ops.mkldnn
    packed = operators._reorder_convolution_weight(weight, ones, ones, ones, 1, [1, 5, 8, 8])
    two: list[Any] = [packed, bias, ones, ones, ones, 1]
    for convolve in (
        lambda: operators._convolution_pointwise(image, *two, "relu", [], ""),
        lambda: operators._convolution_pointwise(image, packed, None, *two[2:], "none", [], ""),
        lambda: operators._convolution_pointwise.binary(image, torch.ones(1, 7, 8, 8), *two, "add", 1, None, [], None),
    ):
        assert counted(convolve)[1]["flops"] == 2 * (7 * 8 * 8) * (5 * 3 * 3)


def test_a_network_in_training_is_not_fused() -> None:
    with pytest.raises(ValueError, match="eval mode"):
        fuse_for_inference(Network(SMALL).train())


def _queries(engine: Engine, seed: int = 0) -> list[Query]:
    """First tracked frames and later ones, one to four templates."""
    rng = np.random.default_rng(seed)
    queries = []
    for count, later in ((1, False), (2, True), (4, True), (3, True), (4, False)):
        crops = list(rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8))
        temporal = torch.from_numpy(rng.standard_normal((3, SMALL.dims[2]), dtype=np.float32)) if later else None
        search = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        text = engine.embed_text(WordPiece().encode(f"a car, number {count}"))
        queries.append(Query(engine.encode_templates(crops).flatten(0, 1), text, temporal, search))
    return queries


def _assert_same(a: Answer, b: Answer, tolerance: float) -> None:
    np.testing.assert_allclose(a.box, b.box, rtol=0, atol=tolerance)
    np.testing.assert_allclose(a.score, b.score, rtol=0, atol=tolerance)
    torch.testing.assert_close(a.temporal, b.temporal, rtol=0, atol=50 * tolerance)


def test_a_batch_with_padding_answers_as_one_at_a_time() -> None:
    engine = Engine(network_of(), CPU, torch.float32)
    queries = _queries(engine)
    together = engine.predict(queries)
    for query, answer in zip(queries, together, strict=True):
        _assert_same(engine.predict([query])[0], answer, 1e-5)
    # The temporal token alone decides something, so the check above can fail.
    assert float((together[1].temporal - together[4].temporal).abs().max()) > 1e-3


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precisions_stay_near(precision: str) -> None:
    engine, lower = (Engine(network_of(), CPU, getattr(torch, p)) for p in ("float32", precision))
    exact, rough = engine.predict(_queries(engine)[2:3])[0], lower.predict(_lower(_queries(engine)[2:3], lower))[0]
    assert rough.temporal.dtype == getattr(torch, precision)
    assert abs(exact.score - rough.score) < 0.02


def _lower(queries: list[Query], engine: Engine) -> list[Query]:
    def cast(tensor: Any) -> Any:
        return None if tensor is None else tensor.to(engine.dtype)

    return [Query(cast(q.templates), cast(q.text), cast(q.temporal), q.search) for q in queries]


def test_an_answer_that_is_no_number_is_an_error() -> None:
    engine = Engine(network_of(), CPU, torch.float32)
    query = _queries(engine)[1]
    with pytest.raises(TnlltError, match="not finite"):
        engine.predict([Query(query.templates * torch.inf, query.text, query.temporal, query.search)])


def test_scores_are_the_networks_own_at_the_windowed_peak() -> None:
    network = network_of()
    out = network(torch.randn(1, 1, 3, 32, 32), torch.randn(1, 3, 64, 64), torch.zeros(1, 16, dtype=torch.long))
    window = torch.zeros(4, 4)
    window[3, 2] = 1.0
    box, score = out.boxes(window)
    assert torch.equal(score[0], out.score[0, 0, 3, 2])
    assert torch.equal(box[0, 0], (2 + out.offset[0, 0, 3, 2]) / 4)
    assert torch.equal(box[0, 1], (3 + out.offset[0, 1, 3, 2]) / 4)
    assert torch.equal(box[0, 2:], out.size[0, :, 3, 2])


def test_less_of_the_window_lets_the_scores_own_peak_decide() -> None:
    scores = []
    for share in (1.0, 0.5, 0.0):
        engine = Engine(network_of(dataclasses.replace(SMALL, window=share)), CPU, torch.float32)
        scores.append([answer.score for answer in engine.predict(_queries(engine))])
    all_of_it, half, none = np.array(scores)
    assert (all_of_it <= half).all() and (half <= none).all() and (all_of_it < none).any()
