"""Checkpoints: the state of an interrupted run on disk, as tensors and plain values, never as a pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from operators.blocks import Blocks
from recon3d.errors import InputError
from recon3d.io.atomic import atomic_path
from recon3d.runtime.scratch import give_back


@dataclass(frozen=True)
class Checkpoint:
    """Where a run had got to.

    Parameters
    ----------
    key : identifies the input and the configuration; another run must not continue from here
    index : first iteration still to do
    state : tensors and plain values by name
    """

    key: str
    index: int
    state: dict[str, Any]


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically; an older checkpoint at `path` stays whole until the new one is."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for name, value in checkpoint.state.items():
        if isinstance(value, Tensor):
            tensors |= _storable(name, value)
        elif isinstance(value, Blocks):
            for k, block in enumerate(value):
                tensors |= _storable(f"{name}[{k}]", block)
        else:
            plain[name] = value
    about = {"key": checkpoint.key, "index": checkpoint.index, "plain": plain}
    with atomic_path(path, overwrite=True) as temporary:
        _write(temporary, tensors, {"recon3d_checkpoint": json.dumps(about)})


def _write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """A safetensors file. Its own writer copies all tensors into memory first; they may not fit there."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
            give_back()


_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def read_checkpoint(path: Path, key: str) -> Checkpoint:
    """The checkpoint at `path`, for the run with this `key`.

    Raises
    ------
    InputError
        If the file is damaged or belongs to another input or configuration.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["recon3d_checkpoint"])
            owner, index, plain = about["key"], about["index"], about["plain"]
            tensors = dict(_restored(name, file.get_tensor(name)) for name in file.keys())  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"Checkpoint {path} is damaged: delete it to start from the beginning.") from error
    if owner != key:
        raise InputError(
            f"Checkpoint {path} belongs to another input or configuration: delete it, or run with its own settings."
        )
    return Checkpoint(key, index, {**plain, **_join_blocks(tensors)})


def _storable(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """The tensor under its name; complex numbers as pairs, since the format has no complex128."""
    tensor = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    return {f"complex:{name}": torch.view_as_real(tensor)} if tensor.is_complex() else {name: tensor}


def _restored(name: str, tensor: Tensor) -> tuple[str, Tensor]:
    base = name.removeprefix("complex:")
    return (base, torch.view_as_complex(tensor)) if base != name else (name, tensor)


def _join_blocks(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Tensors named ``name[0]``, ``name[1]`` ... become `Blocks` again."""
    state: dict[str, Any] = {}
    lists: dict[str, dict[int, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.endswith("]"):
            base, _, index = name[:-1].rpartition("[")
            lists.setdefault(base, {})[int(index)] = tensor
        else:
            state[name] = tensor
    return state | {base: Blocks(parts[k] for k in sorted(parts)) for base, parts in lists.items()}


def on_device(state: Mapping[str, Any], device: torch.device | str) -> dict[str, Any]:
    """The state with its tensors on a device."""
    return {k: v.to(device) if isinstance(v, Tensor | Blocks) else v for k, v in state.items()}
