"""Checkpoints bring back every bit of a state, and refuse what is not theirs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from operators.blocks import Blocks
from recon3d.errors import InputError
from recon3d.runtime.checkpoint import Checkpoint, on_device, read_checkpoint, write_checkpoint

STATE = {
    "x": torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0)),
    "k": torch.randn(3, 4, dtype=torch.complex128, generator=torch.Generator().manual_seed(1)),
    "c64": torch.randn(3, dtype=torch.complex64),
    "transposed": torch.arange(6.0).reshape(2, 3).T,
    "conjugated": torch.tensor([1 + 2j]).conj(),
    "scalar": torch.tensor(1 / 3, dtype=torch.float64),
    "count": torch.tensor([1, 2, 3]),
    "mask": torch.tensor([True, False]),
    "empty": torch.zeros(0),
    "blocks": Blocks([torch.ones(2), torch.randn(3, dtype=torch.complex128)]),
    "many": Blocks(torch.full((1,), float(k)) for k in range(12)),
    "momentum": 0.1 + 0.2,
    "stopped_by": "rtol",
    "done": False,
    "nothing": None,
    "list": [1, 2.5],
}


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    write_checkpoint(path, Checkpoint("key", 7, dict(STATE)))
    found = read_checkpoint(path, "key")
    assert found.index == 7
    assert set(found.state) == set(STATE)
    for name, value in STATE.items():
        other = found.state[name]
        if isinstance(value, Blocks):
            assert isinstance(other, Blocks)
            pairs = list(zip(value, other, strict=True))
        elif isinstance(value, torch.Tensor):
            pairs = [(value, other)]
        else:
            assert other == value
            assert type(other) is type(value)
            continue
        for one, two in pairs:
            assert one.dtype == two.dtype, name
            assert torch.equal(one.resolve_conj(), two), name


def test_special_numbers(tmp_path: Path) -> None:
    state = {"x": torch.tensor([float("nan"), float("inf"), -0.0]), "best": math.inf}
    write_checkpoint(tmp_path / "c", Checkpoint("k", 0, state))
    found = read_checkpoint(tmp_path / "c", "k").state
    assert found["x"].isnan()[0]
    assert math.copysign(1, float(found["x"][2])) == -1
    assert found["best"] == math.inf


def test_writing_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    for index in (1, 2):
        write_checkpoint(path, Checkpoint("key", index, {"x": torch.ones(2)}))
    assert read_checkpoint(path, "key").index == 2
    assert [p.name for p in tmp_path.iterdir()] == ["run.checkpoint"]


def test_another_run_may_not_go_on_from_it(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c", Checkpoint("mine", 1, {"x": torch.ones(2)}))
    with pytest.raises(InputError, match="belongs to another input or configuration"):
        read_checkpoint(tmp_path / "c", "yours")


@pytest.mark.parametrize("keep", [0, 4, 60, -8])
def test_damaged_files(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "c"
    write_checkpoint(path, Checkpoint("key", 1, {"x": torch.ones(50)}))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="is damaged: delete it"):
        read_checkpoint(path, "key")


def test_foreign_files(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.ones(2)}, tmp_path / "weights")
    save_file({"x": torch.ones(2)}, tmp_path / "other", metadata={"recon3d_checkpoint": "{}"})
    (tmp_path / "pickle").write_bytes(b"\x80\x04\x95\x00\x00\x00\x00.")
    for name in ("weights", "other", "pickle"):
        with pytest.raises(InputError, match="is damaged: delete it"):
            read_checkpoint(tmp_path / name, "key")


def test_tensors_move_and_values_stay() -> None:
    moved = on_device({"x": torch.ones(2), "b": Blocks([torch.ones(1)]), "n": 3}, "meta")
    assert moved["x"].device.type == "meta"
    assert moved["b"].device.type == "meta"
    assert moved["n"] == 3
