"""Proximal maps with closed forms: thresholds and bounds."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["box", "group_shrink", "non_negative", "singular_value_threshold", "soft_threshold"]


def soft_threshold(x: Tensor, threshold: float | Tensor) -> Tensor:
    """Shrink each value towards zero by `threshold`: the proximal map of threshold * |x|.

    Complex values lose modulus and keep their phase.

    Parameters
    ----------
    x : real or complex tensor, any shape
    threshold : float or real tensor that broadcasts against `x`
        In the units of `x`, at least 0; 0 returns `x` unchanged.
    """
    if x.is_complex():
        return x * _shrink_factor(x.abs(), threshold)
    if isinstance(threshold, Tensor):
        return x - torch.minimum(torch.maximum(x, -threshold), threshold)
    return x - x.clamp(-threshold, threshold)


def group_shrink(x: Tensor, threshold: float | Tensor, dim: int = 0) -> Tensor:
    """Shrink the Euclidean length of the vectors that lie along `dim`: the proximal map of threshold * sum |x|_2.

    With the gradient's components along `dim` this is the step of isotropic total variation.
    """
    squared = torch.view_as_real(x).square().sum(-1) if x.is_complex() else x.square()
    return x * _shrink_factor(squared.sum(dim, keepdim=True).sqrt(), threshold)


def non_negative(x: Tensor) -> Tensor:
    """Project a real tensor on values that are at least 0."""
    return x.clamp(min=0)


def box(x: Tensor, lower: float, upper: float) -> Tensor:
    """Project a real tensor on values between `lower` and `upper`."""
    return x.clamp(lower, upper)


def singular_value_threshold(X: Tensor, threshold: float) -> Tensor:
    """Shrink the singular values of a wide matrix (few rows): the proximal map of threshold * |X|_*.

    By the eigenvectors of X X^H in double precision, so that a long X is read twice and never factored.

    References
    ----------
    Cai, Candes and Shen, SIAM J. Optim. 20 (2010) 1956.
    """
    wide = torch.complex128 if X.is_complex() else torch.float64
    gram = torch.zeros(len(X), len(X), dtype=wide, device=X.device)
    for part in X.split(1 << 14, dim=1):
        part = part.to(wide)
        gram += part @ part.mH
    squared, U = torch.linalg.eigh(gram)
    values = squared.clamp(min=0).sqrt()
    kept = _shrink_factor(values, threshold).to(wide)
    return ((U * kept) @ U.mH).to(X.dtype) @ X


def _shrink_factor(modulus: Tensor, threshold: float | Tensor) -> Tensor:
    smallest = torch.finfo(modulus.dtype).tiny  # 0 / tiny = 0 where there is nothing to shrink
    return (modulus - threshold).clamp(min=0) / modulus.clamp(min=smallest)
