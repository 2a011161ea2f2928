"""Mu-law companding: RF samples, most of them near zero, spread evenly over -1..1 with their sign kept."""

from __future__ import annotations

import math

import torch
from torch import Tensor

MU = 255.0
"""Of the released helpers of Stevens et al., IEEE TMI 43 (2024) 3546, and of telephony (ITU-T G.711)."""
_LOG = math.log1p(MU)


def compand(v: Tensor) -> Tensor:
    """``sgn(v) ln(1 + mu |v|) / ln(1 + mu)``; v is limited to -1..1. It does not keep sums."""
    limited = v.clamp(-1.0, 1.0)
    return torch.sign(limited) * torch.log1p(MU * limited.abs()) / _LOG


def expand(u: Tensor) -> Tensor:
    """The inverse of `compand`: ``sgn(u) ((1 + mu)^|u| - 1) / mu``; u is limited to -1..1."""
    limited = u.clamp(-1.0, 1.0)
    return torch.sign(limited) * torch.expm1(_LOG * limited.abs()) / MU


def slope(v: Tensor) -> Tensor:
    """d compand / d v at RF amplitudes: ``mu / (ln(1 + mu) (1 + mu |v|))``, 46 at 0 and 0.18 at 1."""
    return MU / (_LOG * (1 + MU * v.abs().clamp(max=1.0)))
