"""A 3D network applied to whole volumes, one at a time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from operators.errors import ShapeError
from recon3d.priors.slices import Network


def apply_to_volumes(
    network: Network, x: Tensor, sigma: float | Tensor, cond: Tensor | None = None, *, multiple: int = 1
) -> Tensor:
    """Denoise every volume of x; a volume that is cut into slabs gives another answer than the whole.

    Sides are padded at their edges to a multiple of `multiple` and cropped after.

    Parameters
    ----------
    x : (..., z, y, x); complex images go in as two channels (real, imaginary)
    sigma : one number, or one per volume with the shape of x without its last three axes
    cond : image of the shape of x, real or complex
    """
    if x.ndim < 3:
        raise ShapeError(f"Expected (..., z, y, x), got shape {tuple(x.shape)}.")
    if cond is not None and cond.shape != x.shape:
        raise ShapeError(f"Expected a condition of shape {tuple(x.shape)}, got {tuple(cond.shape)}.")
    size = x.shape[-3:]
    volumes = _to_channels(x)
    conditions = None if cond is None else _to_channels(cond)
    sigmas = torch.as_tensor(sigma, dtype=volumes.dtype, device=x.device).expand(x.shape[:-3]).reshape(-1)
    padding = [pad for side in reversed(size) for pad in (0, -side % multiple)]
    answers = []
    for k in range(len(volumes)):
        volume = F.pad(volumes[k : k + 1], padding, mode="replicate")
        condition = None if conditions is None else F.pad(conditions[k : k + 1], padding, mode="replicate")
        answers.append(network(volume, sigmas[k : k + 1], condition)[..., : size[0], : size[1], : size[2]])
    out = torch.cat(answers).to(volumes.dtype) if answers else volumes
    return (torch.complex(out[:, 0], out[:, 1]) if x.is_complex() else out[:, 0]).reshape(x.shape)


def _to_channels(x: Tensor) -> Tensor:
    """(..., z, y, x) -> (volumes, 1 or 2, z, y, x) real."""
    flat = x.reshape(-1, *x.shape[-3:])
    return torch.stack([flat.real, flat.imag], dim=1) if x.is_complex() else flat[:, None]
