"""MSSA: each frequency slice becomes a plane whose block-Hankel matrix has a low rank, and known traces, in turn."""

from __future__ import annotations

import torch
from torch import Tensor

from recon3d.solvers.hankel import PlaneHankel

__all__ = ["low_rank_fill"]

PAD = 32
"""Empty samples after a trace, so that its end does not meet its beginning."""


def low_rank_fill(
    data: Tensor,
    live: Tensor,
    *,
    rank: int,
    iterations: int,
    damping: float | None = None,
    band: float = 1e-3,
    alpha: float = 1.0,
) -> Tensor:
    """A real cube whose unknown traces are filled by what a few plane waves explain.

    Parameters
    ----------
    data, live : known traces with zeros elsewhere, (x, y, t), and their mask, 1 or 0, (x, y, 1)
    rank : plane waves
    iterations : per frequency
    damping : exponent that weakens noise, see `PlaneHankel.reduced`
    band : frequencies below this share of the strongest one's amplitude stay empty
    alpha : 1 keeps the known traces, less lets noise on them go
    """
    length = data.shape[2] + PAD
    spectrum = torch.fft.rfft(data, length)
    strength = torch.linalg.vector_norm(spectrum, dim=(0, 1))
    kept = torch.nonzero(strength > band * strength.max()).flatten()
    if len(kept) == 0:
        return torch.zeros_like(data)
    D = spectrum[..., kept].permute(2, 0, 1)
    hankel = PlaneHankel((data.shape[0], data.shape[1]), data.device)
    mask = live[..., 0]
    s = D
    for _ in range(iterations):
        z = hankel.reduced(s, rank, damping)
        s = alpha * D + (1 - alpha * mask) * z
    filled = torch.zeros_like(spectrum)
    filled[..., kept] = s.permute(1, 2, 0)
    return torch.fft.irfft(filled, length)[..., : data.shape[2]]
