"""A 2D network applied slice by slice along any axis of a volume, in micro-batches of one fixed size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from operators.errors import ShapeError

Network = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(batch, channel, y, x), sigma (batch,), condition or None -> (batch, channel, y, x)."""


def apply_to_slices(
    network: Network,
    x: Tensor,
    sigma: float | Tensor,
    cond: Tensor | None = None,
    *,
    axis: int = -3,
    micro_batch: int = 8,
    multiple: int = 1,
    compute_dtype: torch.dtype | None = None,
) -> Tensor:
    """Denoise every slice of x across `axis`.

    Each call of the network sees exactly `micro_batch` slices (the last batch is filled up with copies), so a slice
    gives the same bits in whatever slab it comes. Sides are padded at their edges to a multiple of `multiple` and
    cropped after.
    Gradients flow when they are enabled and asked for; the network's own parameters then get them too.

    Parameters
    ----------
    x : (..., z, y, x) with at least three axes; complex images go in as two channels (real, imaginary)
    sigma : one number, or one per slice with the shape of x without its slice's two axes
    cond : image of the shape of x, real or complex
    axis : -3, -2 or -1, the axis that counts the slices
    compute_dtype : bfloat16 or float16 for autocast, None for the dtype of x
    """
    if x.ndim < 3 or axis not in (-3, -2, -1):
        raise ShapeError(
            f"Expected (..., z, y, x) and an axis of -3, -2 or -1, got shape {tuple(x.shape)}, axis {axis}."
        )
    if cond is not None and cond.shape != x.shape:
        raise ShapeError(f"Expected a condition of shape {tuple(x.shape)}, got {tuple(cond.shape)}.")
    moved = x.movedim(axis, -3)
    lead, size = moved.shape[:-2], moved.shape[-2:]
    images = to_channels(moved)
    conditions = None if cond is None else to_channels(cond.movedim(axis, -3))
    count = len(images)
    sigmas = torch.as_tensor(sigma, dtype=images.dtype, device=x.device)
    sigmas = sigmas.expand(count) if sigmas.ndim == 0 else sigmas.expand(lead).reshape(count)

    track = torch.is_grad_enabled() and (x.requires_grad or (cond is not None and cond.requires_grad))
    pieces: list[Tensor] = []
    with (
        torch.set_grad_enabled(track),
        torch.autocast(x.device.type, dtype=compute_dtype or torch.bfloat16, enabled=compute_dtype is not None),
    ):
        for start in range(0, count, micro_batch):
            stop = min(start + micro_batch, count)
            index = torch.arange(start, start + micro_batch, device=x.device).clamp(max=stop - 1)
            batch = pad_to_multiple(images[index], multiple)
            condition = None if conditions is None else pad_to_multiple(conditions[index], multiple)
            answer = network(batch.contiguous(memory_format=torch.channels_last), sigmas[index], condition)
            pieces.append(answer[: stop - start, :, : size[0], : size[1]].to(images.dtype))
    out = torch.cat(pieces) if pieces else images
    return from_channels(out, complex_image=x.is_complex()).reshape(*lead, *size).movedim(-3, axis)


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until both sides of (batch, channel, y, x) are multiples."""
    rows, columns = (-images.shape[-2] % multiple, -images.shape[-1] % multiple)
    return F.pad(images, (0, columns, 0, rows), mode="replicate") if rows or columns else images


def fast_dtype(device: torch.device | str) -> torch.dtype | None:
    """bfloat16 where the device multiplies it natively (AVX512-BF16, AMX, Ampere and later), else None."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device)[0] >= 8 else None
    if device.type != "cpu":
        return None
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:  # not Linux: no sure way to know, and slow bfloat16 is worse than float32
        return None
    return torch.bfloat16 if flags & {"avx512_bf16", "amx_bf16"} else None


def to_channels(x: Tensor) -> Tensor:
    """(..., y, x) -> (slices, channels, y, x), real: one channel, or two of a complex image (real, imaginary)."""
    flat = x.reshape(-1, *x.shape[-2:])
    return torch.stack([flat.real, flat.imag], dim=1) if x.is_complex() else flat[:, None]


def from_channels(images: Tensor, *, complex_image: bool) -> Tensor:
    """(slices, channels, y, x) -> (slices, y, x), the inverse of `to_channels`."""
    return torch.complex(images[:, 0], images[:, 1]) if complex_image else images[:, 0]
