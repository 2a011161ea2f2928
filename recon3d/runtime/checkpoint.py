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
    from safetensors.torch import save_file

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
        save_file(tensors, temporary, metadata={"recon3d_checkpoint": json.dumps(about)})


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
    tensor = tensor.detach().resolve_conj().cpu().contiguous().clone()
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
