"""Weights from files: strict, and nothing in a pickle is executed."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from tnllt.errors import DataError
from tnllt.reasoningtrack.checkpoint import load_strictly, read_checkpoint, save_safetensors
from tnllt.reasoningtrack.config import Config
from tnllt.reasoningtrack.network import Network

CONFIG = Config.make({"size": "tiny", "search_size": 64, "template_size": 32, "depths": [1, 1, 1]})


class Settings(dict):  # type: ignore[type-arg]
    """Stands for the authors' own classes in a published checkpoint."""


class Meter:
    def __init__(self) -> None:
        self.values = [1.0, {"a": 2}]


class Attack:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return Network(CONFIG).state_dict()


def _same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_foreign_objects_are_tolerated_and_not_executed(tmp_path: Path, state: dict[str, Any]) -> None:
    mark = tmp_path / "executed"
    extras = {"epoch": 45, "settings": Settings(lr=1e-4), "stats": [Meter(), {Meter()}], "attack": Attack(mark)}
    path = tmp_path / "DUTrack.pth.tar"
    torch.save({"net": state, **extras}, path)
    tensors, config = read_checkpoint(path)
    assert _same(tensors, state)
    assert config == {}
    assert not mark.exists()
    # The check can fail: an ordinary unpickler does execute it.
    torch.load(path, weights_only=False)
    assert mark.exists()


def test_attacks_by_name_are_not_executed(tmp_path: Path) -> None:
    """Names that resolve inside allowed modules, by attribute path or by module, must not be reached."""
    mark = tmp_path / "executed"
    for module, name in (
        ("builtins", "eval"),
        ("torch", "hub.load"),
        ("torch._utils", "_import_dotted_name"),
        ("posix", "system"),
        ("torch", "load"),
    ):
        argument = f"__import__('pathlib').Path({str(mark)!r}).touch()"
        code = b"\x80\x04" + pickle.SHORT_BINUNICODE + bytes([len(module)]) + module.encode()
        code += pickle.SHORT_BINUNICODE + bytes([len(name)]) + name.encode() + pickle.STACK_GLOBAL
        code += pickle.BINUNICODE + len(argument).to_bytes(4, "little") + argument.encode()
        code += pickle.TUPLE1 + pickle.REDUCE + pickle.STOP
        path = tmp_path / "attack.pth"
        path.write_bytes(code)
        with pytest.raises(DataError, match=r"attack\.pth"):
            read_checkpoint(path)
    assert not mark.exists()


def test_bare_state_dict_and_safetensors(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(state, tmp_path / "bare.pth")
    assert _same(read_checkpoint(tmp_path / "bare.pth")[0], state)
    network = Network(CONFIG)
    network.load_state_dict(state)
    save_safetensors(network, tmp_path / "w.safetensors", CONFIG.to_dict())
    tensors, config = read_checkpoint(tmp_path / "w.safetensors")
    assert _same(tensors, state)
    assert Config.make(config) == CONFIG
    load_strictly(network, {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()})


def test_what_does_not_fit_is_named(state: dict[str, torch.Tensor]) -> None:
    name, network = "backbone.norm.weight", Network(CONFIG)
    load_strictly(network, state)
    missing = {k: v for k, v in state.items() if k != name}
    with pytest.raises(DataError, match=r"1 missing: backbone\.norm\.weight"):
        load_strictly(network, missing)
    with pytest.raises(DataError, match=r"1 missing: backbone\.norm\.weight; 1 unexpected: backbone\.norme\.weight"):
        load_strictly(network, {**missing, "backbone.norme.weight": state[name]})
    with pytest.raises(DataError, match=r"1 of the wrong shape: backbone\.norm\.weight \(127 instead of 128\)"):
        load_strictly(network, {**state, name: state[name][1:]})
    with pytest.raises(DataError, match=r"1 not finite: backbone\.norm\.weight"):
        load_strictly(network, {**state, name: state[name] * torch.nan})
    with pytest.raises(DataError, match=r"1 of the wrong kind: backbone\.norm\.weight"):
        load_strictly(network, {**state, name: state[name].long()})


def test_counters_of_batches_are_missing_together_or_not_at_all(state: dict[str, torch.Tensor]) -> None:
    floats = {k: v for k, v in state.items() if v.is_floating_point()}
    network = Network(CONFIG)
    load_strictly(network, floats)
    assert all(int(v) == 0 for k, v in network.state_dict().items() if k not in floats)
    one = next(k for k in state if k not in floats)
    with pytest.raises(DataError, match=f"1 missing: {one}"):
        load_strictly(network, {k: v for k, v in state.items() if k != one})


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut off", b'\x10\0\0\0\0\0\0\0{"cut', b"\x80\x02."])
def test_damaged_files_are_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.pth.tar"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.pth\.tar"):
        read_checkpoint(path)
    with pytest.raises(DataError, match="no such file"):
        read_checkpoint(tmp_path / "none.pth")


def test_checkpoint_cut_short(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "cut.pth"
    torch.save({"net": state}, path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DataError, match="damaged"):
        read_checkpoint(path)


def test_other_content_is_refused(tmp_path: Path) -> None:
    torch.save({"net": [1, 2]}, tmp_path / "list.pth")
    with pytest.raises(DataError, match='under the key "net"'):
        read_checkpoint(tmp_path / "list.pth")
